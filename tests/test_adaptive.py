"""Neurons of two joined compartments: by hand, on cores, and where there are none of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from integer_networks import adaptive, population
from small_chips import chip

import snnc
from snnc import rules
from snnc import target as targets
from snnc.errors import DoesNotFit, InputError
from snnc.image import Image
from snnc.network import Network, Population, Projection, identical
from snnc.ops import Linear, canonical
from snnc.samples import Samples
from snnc.simulator import energy, simulate
from snnc.targets.lava.chain import chain


def network(weight: int = 100, size: int = 1, inputs: int = 1, **params: int) -> Network:
    """Adaptive neurons, all fed by all inputs."""
    matrix = np.full((size, inputs), weight, np.int16)
    return Network(
        (Population("in", (inputs,), "input"), adaptive("out", (size,), v_decay=4096, **params)),
        (Projection("p", "in", "out", (Linear(canonical(matrix)),)),),
        ("out",),
        1e-3,
    )


def spikes(net: Network, steps: int = 12) -> list[int]:
    run = simulate(net, Samples(np.ones((1, steps, *net.inputs[0].shape), np.uint8)), rasters=["out"])
    return run.rasters["out"][0].reshape(steps, -1)[:, 0].astype(int).tolist()


def test_a_neuron_adapts_as_computed_by_hand() -> None:
    """100 a step against a threshold of 80, of which each spike takes 50 from the next step on; half of it decays.

    w: 0, -50, -25 (75: silent), -12.5 (87.5: spike), -56.25, ...: silent, silent (-28), spike (-14), ...
    """
    assert spikes(network(threshold=80, w_decay=2048, w_jump=50)) == [1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0]
    assert spikes(network(threshold=80, w_decay=2048, w_jump=0)) == [1] * 12
    # Without decay the second compartment only sinks.
    assert spikes(network(threshold=80, w_decay=0, w_jump=10)) == [1, 1] + [0] * 10


def test_a_core_holds_half_as_many() -> None:
    """Eight compartments a core: four of these neurons, or eight plain ones."""
    image = snnc.compile(network(size=20, inputs=3), chip(neurons=8))
    assert image.cores == 5
    assert image.usage.neurons.tolist() == [8] * 5
    with pytest.raises(DoesNotFit, match="neurons"):
        snnc.compile(network(size=2), chip(neurons=1))


def test_both_compartments_are_updated() -> None:
    image = snnc.compile(network(size=3, threshold=80, w_decay=2048, w_jump=50), "loihi")
    run = simulate(image, Samples(np.ones((1, 10, 1), np.uint8)))
    # The first is driven in every step, the second is at rest in step 0 only.
    assert run.core_active.sum() == 3 * 10 + 3 * 9
    found = energy.estimate(image, run)
    assert found.neuron_pj == pytest.approx(57 * 81 + 3 * 52)


def test_an_image_keeps_them(tmp_path: Path) -> None:
    image = snnc.compile(network(threshold=80, w_jump=5), "loihi")
    image.save(tmp_path / "image.snnc")
    assert identical(Image.load(tmp_path / "image.snnc").network, image.network)


def test_a_chip_without_joins_refuses_them() -> None:
    (found,) = rules.neuron_model(network(), targets.load("loihi2"))
    assert "alif_fixed" in found.message
    assert not list(rules.neuron_model(network(), targets.load("loihi")))


def test_registers_beyond_their_width_are_refused() -> None:
    found = list(rules.integers(network(w_jump=1 << 17), targets.load("loihi")))
    assert [v.rule for v in found] == ["w_jump"]


def test_lava_refuses_them() -> None:
    with pytest.raises(InputError, match="adapt"):
        chain(network())


def one_layer(*values: int) -> Network:
    matrix = canonical(np.array([values], np.int16))
    plain = network(inputs=len(values))
    return dataclasses.replace(
        plain,
        populations=(plain.populations[0], population("out", (1,))),
        projections=(Projection("p", "in", "out", (Linear(matrix),)),),
    )


@pytest.mark.parametrize(
    ("values", "fits"),
    [
        ((255, 1), True),  # of one sign: eight bits of magnitude
        ((255, -1), False),
        ((254, -2), True),
        ((1020, 4), True),  # 255 and 1, shifted
        ((1020, -4), False),
        ((1016, -8), True),
        ((32640, 128), True),
        ((32512, -256), True),
        ((257, 1), False),
    ],
)
def test_integer_weights_share_an_exponent_and_perhaps_a_sign(values: tuple[int, ...], fits: bool) -> None:
    assert fits == (not list(rules.integers(one_layer(*values), targets.load("loihi"))))
