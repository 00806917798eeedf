"""Small networks on four cores: the mapper finds a mapping of the least traffic there is under all limits."""

from __future__ import annotations

import itertools
from dataclasses import replace

import exact
import msgspec
import numpy as np
import pytest
from core_counts import LIMITED, count
from small_chips import chip

from snnc.compilation import Options
from snnc.network import Network, Projection
from snnc.ops import Linear, canonical
from snnc.target import Target
from tests.instances.families import join
from tests.instances.jobs import run_passes

CORES = 4


def small(**limits: int) -> Target:
    """One tile of four cores that store synapses in lists."""
    target = chip(**limits)
    one = {name: msgspec.structs.replace(getattr(target.mesh, name), value=1) for name in ("columns", "rows")}
    return msgspec.structs.replace(
        target,
        mesh=msgspec.structs.replace(target.mesh, **one),
        synapse=msgspec.structs.replace(target.synapse, formats=("sparse",)),
    )


def random_network(seed: int, sizes: tuple[int, ...], density: float, loop: float = 0) -> tuple[Network, np.ndarray]:
    """Layers of random synapses, the second of which may be recurrent. Rates are sixteenths, so that sums are exact."""
    rng = np.random.default_rng(seed)

    def weights(after: int, before: int, share: float) -> Linear:
        return Linear(canonical(np.where(rng.random((after, before)) < share, 127, 0).astype(np.int16)))

    network = join("net", [(n,) for n in sizes], [weights(b, a, density) for a, b in itertools.pairwise(sizes)])
    if loop:
        more = Projection("loop", "layer1", "layer1", (weights(sizes[1], sizes[1], loop),))
        network = replace(network, projections=(*network.projections, more))
    return network, rng.integers(1, 17, network.size) / 16


def two_kinds(network: Network) -> Network:
    """Every other neuron of each layer has another threshold."""
    populations = []
    for p in network.populations:
        threshold = p.params["threshold"].copy()
        threshold[::2] += 1
        populations.append(replace(p, params={**p.params, "threshold": threshold}))
    return replace(network, populations=tuple(populations))


def traffic(network: Network, rates: np.ndarray, core_of: np.ndarray, target: Target) -> float:
    return float(count(network, core_of, target).flows(core_of, rates).sum())


# Seed, sizes of the layers, density of the synapses between them and within the second.
FREE = {
    "24 neurons": (0, (8, 8, 8), 0.25, 0),
    "30 neurons": (2, (10, 10, 10), 0.15, 0),
    "48 neurons": (3, (20, 16, 12), 0.08, 0),
    "60 neurons": (6, (24, 20, 16), 0.07, 0),
    "recurrent": (6, (6, 10, 6), 0.2, 0.12),
}
# The same, and a limit that the best mapping without it would break.
LIMITS = {
    "in_axons": (8, (8, 6, 6), 0.25, 5),
    "out_axons": (9, (8, 8, 8), 0.25, 5),
    "synapse_bits": (10, (8, 6, 6), 0.25, 4 * 64),
    "neuron_groups": (11, (8, 6, 6), 0.25, 1),
}


@pytest.mark.parametrize("name", FREE)
def test_nothing_is_better_than_what_the_mapper_finds(name: str) -> None:
    network, rates = random_network(*FREE[name])
    _assert_best(network, rates, small(neurons=_fair(network)))


@pytest.mark.parametrize("name", LIMITS)
def test_nor_under_any_limit(name: str) -> None:
    seed, sizes, density, limit = LIMITS[name]
    network, rates = random_network(seed, sizes, density)
    if name == "neuron_groups":
        network = two_kinds(network)
    free, tight = small(neurons=_fair(network)), small(**{"neurons": _fair(network), name: limit})
    optimum = _assert_best(network, rates, tight)
    assert traffic(network, rates, exact.best(network, rates, free, CORES), free) < optimum


def _fair(network: Network) -> int:
    """Neurons of a core, were all equally full but for a tenth."""
    return -(-network.size * 11 // (CORES * 10))


def _assert_best(network: Network, rates: np.ndarray, target: Target) -> float:
    """The traffic of the mapper's mapping, which is within all limits and as good as any."""
    found = run_passes(network, rates, target, Options(cores=CORES)).core_of
    assert found is not None
    assert not count(network, found, target).broken(target)
    assert found.max() < CORES
    optimum = exact.best(network, rates, target, CORES)
    assert not count(network, optimum, target).broken(target)
    cost = traffic(network, rates, found, target)
    assert cost == pytest.approx(traffic(network, rates, optimum, target), abs=1e-9)
    return cost


@pytest.mark.parametrize("seed", range(2))
def test_the_program_says_what_trying_all_mappings_says(seed: int) -> None:
    """Also where a limit is as low as it can be."""
    network, rates = random_network(seed, (3, 2, 2), 0.7, loop=0.5)
    network = two_kinds(network)
    every = {tuple(np.unique(cores, return_inverse=True)[1]) for cores in itertools.product(range(3), repeat=7)}
    numbered = [np.array(cores, np.int32) for cores in every if _as_they_come(cores)]
    tried = [count(network, core_of, small()) for core_of in numbered]
    costs = [float(c.flows(core_of, rates).sum()) for c, core_of in zip(tried, numbered, strict=True)]
    fair = [c for c in tried if c.neurons.max() <= 4]
    for name in LIMITED:
        limit = min(int(getattr(c, name).max()) for c in fair)
        target = small(**{"neurons": 4, name: limit})
        allowed = [cost for cost, c in zip(costs, tried, strict=True) if not c.broken(target)]
        core_of = exact.best(network, rates, target, 3)
        assert not count(network, core_of, target).broken(target), name
        assert traffic(network, rates, core_of, target) == pytest.approx(min(allowed), abs=1e-9), name


def _as_they_come(cores: tuple[int, ...]) -> bool:
    """Whether cores are numbered in the order of their first neurons; any other numbering is the same mapping."""
    return all(c <= max(cores[:k], default=-1) + 1 for k, c in enumerate(cores))
