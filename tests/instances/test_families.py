"""The bundled instances are what they are called, and the same every time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from snnc import ops
from snnc.network import identical
from tests.instances import families

# name -> neurons, synapses
SMALL = {"local": (1818, 32_626), "random": (1818, 33_389), "conv-fc": (3658, 35_886), "recurrent": (1748, 54_009)}


def synapses(network) -> int:
    return sum(ops.matrix(p.op, network[p.pre].shape).nnz for p in network.projections)


@pytest.mark.parametrize("name", SMALL)
def test_small_instances_are_made_the_same_every_time(name: str) -> None:
    instance = families.build(name)
    again = families.build(name)
    assert instance.name == instance.network.name == name
    assert identical(instance.network, again.network)
    assert np.array_equal(instance.rates, again.rates)
    assert (instance.network.size, synapses(instance.network)) == SMALL[name]
    assert instance.cores == 16
    assert instance.rates.shape == (instance.network.size,)
    assert 0 <= instance.rates.min() <= instance.rates.max() <= 1
    assert abs(instance.rates.mean() - 0.1) < 0.01
    assert instance.network.inputs == ()


def test_large_instances_have_the_sizes_they_are_known_for() -> None:
    vgg, pilotnet = families.build("vgg"), families.build("pilotnet")
    assert vgg.network.size == 49_418
    assert pilotnet.network.size == 158_641
    assert vgg.cores is pilotnet.cores is None
    for instance in (vgg, pilotnet):
        assert sum(isinstance(p.op, ops.Conv2d) for p in instance.network.projections) == 5


def test_no_neuron_of_the_sheet_knows_its_place_by_its_number() -> None:
    network = families.build("recurrent").network
    (loop,) = [p for p in network.projections if network.backward(p)]
    matrix = loop.op.weight.tocoo()
    assert not np.any(matrix.row == matrix.col)
    distance = np.abs(matrix.row - matrix.col)
    assert abs(distance.mean() / (1600 / 3) - 1) < 0.05  # as of two random numbers


def test_windows_reach_as_far_as_they_say() -> None:
    shape, reach = (30, 12), 3
    matrix = families._window(np.random.default_rng(0), shape, reach, 0.5).tocoo()
    for axis in (0, 1):
        post, pre = (np.unravel_index(k, shape)[axis] for k in (matrix.row, matrix.col))
        assert np.abs(post - pre).max() == reach
    assert 0.45 < matrix.nnz / _window_places(shape, reach) < 0.55
    assert np.all(matrix.data != 0)
    made = families._window(np.random.default_rng(0), shape, reach, 0.5)
    assert made.has_canonical_format
    assert isinstance(made, sparse.csr_array)


def _window_places(shape: tuple[int, int], reach: int) -> int:
    per_axis = [sum(min(n - 1, k + reach) - max(0, k - reach) + 1 for k in range(n)) for n in shape]
    return per_axis[0] * per_axis[1]


def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """At density 1 nothing is left to chance but the weights."""
    whole = families._window(np.random.default_rng(0), (40, 5), 1, 1.1)
    monkeypatch.setattr(families, "AT_ONCE", 7)
    blocks = families._window(np.random.default_rng(0), (40, 5), 1, 1.1)
    assert np.array_equal(whole.indices, blocks.indices)
    assert np.array_equal(whole.indptr, blocks.indptr)


def test_a_ticket_is_found_once_and_keeps_the_rates_of_its_data(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    epochs = families.models.recipe("mlp")
    monkeypatch.setattr(families.models, "recipe", lambda name: quick(epochs))
    instance = families._ticket(0.5)(tmp_path)
    (kept,) = tmp_path.iterdir()
    assert kept.name.startswith("ticket-50-")
    monkeypatch.setattr(families.tickets, "find", None)  # not called again
    network, rates = families._ticket(0.5)(tmp_path)
    assert identical(network, instance[0])
    assert np.array_equal(rates, instance[1])
    assert network.inputs == ()
    assert network.size == len(rates) == 64 + 12 + 10
    assert rates[:64].max() > 0
    assert network.populations[0].neuron == "cuba_fixed"


def quick(recipe):
    return replace(recipe.with_args(hidden=[12]), epochs=2, rewind=1)
