"""Spikes that take the threshold off the membrane, on chips whose neurons can be programmed to."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from float_networks import chain, cuba, lif, mlp, spikes
from hypothesis import given, settings
from hypothesis import strategies as st
from integer_networks import adaptive, population

import snnc
from snnc import pipeline, rules
from snnc import target as targets
from snnc.compilation import Options
from snnc.errors import InputError
from snnc.image import Image, Mapping
from snnc.network import SUBTRACTING, Network, Population, Projection, Semantics, identical
from snnc.ops import Linear, canonical
from snnc.quantization import diagnosis, kernels
from snnc.quantization.adjust import neuron_table
from snnc.quantization.trial import cost
from snnc.samples import Samples
from snnc.simulator import floating, reference, simulate
from snnc.simulator.reference import RANGE, UNIT
from snnc.targets.lava.chain import chain as chained

LOIHI, LOIHI2 = targets.load("loihi"), targets.load("loihi2")
MOMENTS = [how.when for how in SUBTRACTING]


def subtracting(network: Network, when: str) -> Network:
    """All neurons of a network take their threshold off."""
    how = Semantics("subtract", when=when)
    layers = (p if p.neuron == "input" else replace(p, semantics=how) for p in network.populations)
    return replace(network, populations=tuple(layers))


def one(when: str = "now", weight: int = 10, **params: int) -> Network:
    """A single neuron behind a single input."""
    link = Projection("p", "in", "out", (Linear(canonical(np.array([[weight]], np.int16))),))
    populations = (Population("in", (1,), "input"), population("out", (1,), **params))
    return subtracting(Network(populations, (link,), ("out",), 1e-3), when)


def alone(neuron: Population) -> Network:
    return Network((Population("in", (1,), "input"), neuron), (), ("out",), 1e-3)


def fed(*values: int) -> np.ndarray:
    return np.array(values, np.uint8).reshape(1, -1, 1)


def image_of(network: Network, target: targets.Target) -> Image:
    """All of a network with one input neuron on one core."""
    core_of = np.array([-1] + [0] * (network.size - 1), np.int32)
    return Image(network, Mapping(core_of, np.zeros(1, np.int32)), target)


# What arrives, in tens; parameters; and the membrane and the spikes of each step.
BY_HAND = {
    # Half of the membrane is kept, and the threshold is 12. Late, more than that is gone of what the spike was of.
    "leaky now": ("now", (1, 1, 1, 1, 0), (2048, 12), [10, 3, 11.5, 3.75, 1.875], [0, 1, 0, 1, 0]),
    "leaky next": ("next", (1, 1, 1, 1, 0), (2048, 12), [10, 15, 5.5, 12.75, -5.625], [0, 1, 0, 1, 0]),
    "leaky recheck": ("recheck", (1, 1, 1, 1, 0), (2048, 12), [10, 3, 11.5, 3.75, 1.875], [0, 1, 0, 1, 0]),
    # Several thresholds at once are spent in as many steps; at the threshold it does not spike.
    "much now": ("now", (6, 0, 0, 0, 0, 0), (0, 10), [50, 40, 30, 20, 10, 10], [1, 1, 1, 1, 1, 0]),
    "much next": ("next", (6, 0, 0, 0, 0, 0), (0, 10), [60, 50, 40, 30, 20, 10], [1, 1, 1, 1, 1, 0]),
    # It compares what the next subtraction would leave, and gives back what was taken for no spike.
    "much recheck": ("recheck", (6, 0, 0, 0, 0, 0), (0, 10), [50, 40, 30, 20, 20, 20], [1, 1, 1, 1, 0, 0]),
}


@pytest.mark.parametrize("case", BY_HAND)
def test_the_equations_by_hand(case: str) -> None:
    when, arrives, (decay, threshold), membrane, fired = BY_HAND[case]
    network = one(when, v_decay=decay, threshold=threshold)
    found = reference.trace(network, fed(*arrives))
    assert (found["v", "out"].ravel() / 2**UNIT).tolist() == membrane
    assert found["spikes", "out"].ravel().astype(int).tolist() == fired
    run = simulate(network, Samples(fed(*arrives)), traces=[("v", "out")])
    assert (run.traces["v", "out"].ravel() / 2**UNIT).tolist() == membrane
    # And as the float neuron of the same semantics does.
    form = {"tau": 2e-3, "r": 2.0, "v_leak": 0.0} if decay else {"r": 1.0}
    params = {k: np.full((1,), v) for k, v in {**form, "v_threshold": float(threshold), "v_reset": 0.0}.items()}
    neuron = Population("out", (1,), "lif" if decay else "if", params, Semantics("subtract", when=when))
    link = Projection("p", "in", "out", (Linear(canonical(np.array([[10.0]]))),))
    exact = Network((Population("in", (1,), "input"), neuron), (link,), ("out",), 1e-3)
    assert floating.simulate(exact, fed(*arrives))["out"].ravel().astype(int).tolist() == fired


@pytest.mark.parametrize("when", MOMENTS)
def test_rest_takes_what_a_subtraction_left(when: str) -> None:
    """Six thresholds arrive at once: a spike, and then rest, in which the membrane is 0, so that no other follows."""
    network = one(when, threshold=10)
    out = network["out"]
    resting = replace(out, params={**out.params, "refractory": np.array([2], np.int32)})
    network = replace(network, populations=(network.populations[0], resting))
    found = reference.trace(network, fed(6, 1, 0, 1, 0))
    assert found["spikes", "out"].ravel().astype(int).tolist() == [1, 0, 0, 0, 0]
    assert (found["v", "out"].ravel() >> UNIT).tolist() == [60 if when == "next" else 50, 0, 0, 10, 10]
    run = simulate(network, Samples(fed(6, 1, 0, 1, 0)), traces=[("v", "out")])
    np.testing.assert_array_equal(run.traces["v", "out"], found["v", "out"])


def test_no_subtraction_leaves_the_range_of_a_membrane() -> None:
    """Two thresholds just fit; by recheck one is taken off, and given back where the neuron does not spike then."""
    found = reference.trace(one("recheck", weight=13107, threshold=65500), fed(10, 4, 0))
    assert found["spikes", "out"].ravel().astype(int).tolist() == [1, 0, 0]
    assert (found["v", "out"].ravel() >> UNIT).tolist() == [131070 - 65500, 131070 - 65500 + 4 * 13107, 117998]
    assert found["v", "out"].max() < RANGE


def binary(kind: str) -> Network:
    """Layers of weights of one magnitude, which are exact in integers, and decays of a half or none."""
    rng = np.random.default_rng(7)

    def neurons(name: str, size: int) -> Population:
        if kind == "cuba_lif":
            return cuba(name, (size,), alpha=0.5, beta=0.5)
        if kind == "lif":
            return lif(name, (size,), beta=0.5)
        params = {"r": np.ones(size), "v_threshold": np.ones(size), "v_reset": np.zeros(size)}
        return Population(name, (size,), "if", params)

    def links(post: int, pre: int) -> tuple[Linear]:
        return (Linear(canonical(0.5 * rng.choice([-1, 1, 1], (post, pre)) * (rng.random((post, pre)) < 0.5))),)

    return chain(
        [Population("input", (12,), "input"), neurons("fc1", 20), neurons("fc2", 5)], [links(20, 12), links(5, 20)]
    )


@pytest.mark.parametrize("when", MOMENTS)
@pytest.mark.parametrize("kind", ["if", "lif", "cuba_lif"])
def test_what_is_exact_in_integers_spikes_as_in_floats(kind: str, when: str) -> None:
    """A membrane is a multiple of half a threshold, halved in each of 12 steps; registers hold 13 bits below that."""
    network = subtracting(binary(kind), when)
    data = Samples(spikes(network, samples=16, steps=12))
    state, _ = pipeline.compile_until("quantize", network, LOIHI2)
    assert state.log["approximate"] == {"asked": False, "layers": []}
    wanted = floating.simulate(network, data.spikes)
    run = simulate(state.network, data, rasters=["fc1", "fc2"])
    for name in ("fc1", "fc2"):
        np.testing.assert_array_equal(run.rasters[name], wanted[name][:, :, state.places(name, lowered=False)])
        assert 0.05 < wanted[name].mean() < 0.95
    # It is the reset that makes the difference, and its moment, but for neurons without a leak.
    zero = floating.simulate(binary(kind), data.spikes)
    assert not np.array_equal(zero["fc1"], wanted["fc1"])
    for other in set(MOMENTS) - {when}:
        found = floating.simulate(subtracting(binary(kind), other), data.spikes)
        assert np.array_equal(found["fc1"], wanted["fc1"]) == (kind == "if" and "recheck" not in (when, other))


def differing(network: Network, target: targets.Target, data: Samples) -> float:
    """Steps in which a neuron spikes in floats and not in integers, or the reverse, per spike in floats."""
    state, _ = pipeline.compile_until("quantize", network, target, samples=data, options=Options(approximate=True))
    names = [p.name for p in network.layers]
    wanted = floating.simulate(network, data.spikes)
    run = simulate(state.network, data, rasters=names)
    off = sum(int(np.count_nonzero(run.rasters[n] != wanted[n].astype(bool))) for n in names)
    return off / sum(int(wanted[n].sum()) for n in names)


@pytest.mark.parametrize("when", MOMENTS)
def test_a_chip_that_subtracts_is_nearer_to_the_float_network(when: str) -> None:
    network = subtracting(mlp((12, 30, 5), seed=3), when)
    data = Samples(spikes(network, samples=16, steps=30), np.zeros(16, np.int64))
    assert differing(network, LOIHI2, data) < differing(network, LOIHI, data) / 3


def test_what_such_a_chip_cannot_is_told() -> None:
    """Sinabs subtracts, several times a step: once a step is what is left, and said."""
    how = Semantics("subtract", ">=", spikes="many", floor="threshold")
    network = mlp()
    network = replace(network, populations=tuple(replace(p, semantics=how) for p in network.populations))
    state, _ = pipeline.compile_until("approximate", network, LOIHI2, options=Options(approximate=True))
    changes = {entry["layer"]: entry["changes"] for entry in state.log["approximate"]["layers"]}
    assert changes["fc1"] == ["compare >= -> >", "spikes many -> one", "floor threshold -> none"]
    assert state.network["fc1"].semantics == Semantics("subtract")


@pytest.mark.parametrize("when", MOMENTS)
def test_an_image_keeps_it(when: str, tmp_path: Path) -> None:
    image = snnc.compile(subtracting(mlp(), when), "loihi2")
    image.save(tmp_path / "image.snnc")
    again = Image.load(tmp_path / "image.snnc")
    assert identical(again.network, image.network)
    assert {p.semantics.when for p in again.network.layers} == {when}
    assert {p.semantics.reset for p in again.network.layers} == {"subtract"}


def test_an_image_of_others_has_no_new_field(tmp_path: Path) -> None:
    """So files are as they were before there were moments, in both directions."""
    snnc.compile(mlp(), "loihi2").save(tmp_path / "image.snnc")
    with zipfile.ZipFile(tmp_path / "image.snnc") as archive:
        packed = json.loads(archive.read("manifest.json"))["network"]["populations"]
    assert {key for p in packed for key in p} == {"name", "shape", "neuron", "params", "reset", "compare"}


def test_a_chip_without_it_takes_no_such_image(tmp_path: Path) -> None:
    image_of(one(), LOIHI2).save(tmp_path / "fine.snnc")
    assert Image.load(tmp_path / "fine.snnc").network["out"].subtracts
    image_of(one(), LOIHI).save(tmp_path / "edited.snnc")
    with pytest.raises(
        InputError, match=r"it resets by 'subtract'; loihi resets by 'zero' \(neuron.resets\)"
    ) as caught:
        Image.load(tmp_path / "edited.snnc")
    assert caught.value.where.endswith("edited.snnc: layer 'out'")
    assert caught.value.fix == "compile the network again"


def test_a_chip_may_subtract_at_one_moment_only(tmp_path: Path) -> None:
    fixed = msgspec.structs.replace(LOIHI2, neuron=msgspec.structs.replace(LOIHI2.neuron, moments=("now",)))
    assert not rules.check_widths(one("now"), fixed)
    (found,) = rules.check_widths(one("next"), fixed)
    assert (found.rule, found.limit) == ("reset", "neuron.moments")
    assert found.message == "it subtracts 'next'; loihi2 subtracts 'now'"
    (found, _) = rules.check_operations(subtracting(mlp(), "next"), fixed)
    assert found.message.startswith("it resets by the rule 'next' of its framework")
    options = Options(approximate=True)
    state, _ = pipeline.compile_until("approximate", subtracting(mlp(), "next"), fixed, options=options)
    assert [entry["changes"] for entry in state.log["approximate"]["layers"]] == [["when next -> now"]] * 2


def test_bad_ones_are_refused() -> None:
    with pytest.raises(InputError, match="subtraction need a threshold of 0 or more, got -1"):
        simulate(one(threshold=-1), Samples(fed(1)))
    for how in (Semantics("value"), Semantics("none"), Semantics(compare=">="), Semantics(when="next")):
        with pytest.raises(InputError, match="a cuba_fixed neuron has no "):
            alone(replace(population("out", (1,)), semantics=how))
    other = replace(adaptive("out", (1,)), semantics=Semantics("subtract"))
    with pytest.raises(InputError, match="a alif_fixed neuron has no reset 'subtract'"):
        alone(other)
    with pytest.raises(InputError, match="a spike subtracts the threshold of its neurons, which no model behind"):
        chained(one())


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32), st.sampled_from(["zero", *MOMENTS]))
def test_single_weights_are_judged_by_the_neuron_as_it_is(seed: int, when: str) -> None:
    """What moves weights has its own loop over steps; here it counts the misplaced spikes of the specification."""
    rng = np.random.default_rng(seed)
    how = Semantics() if when == "zero" else Semantics("subtract", when=when)
    values = {"u_decay": rng.integers(0, 4097), "v_decay": rng.integers(0, 4097), "bias": rng.integers(-99, 100)}
    neuron = replace(population("out", (1,), threshold=rng.integers(1, 500), **values), semantics=how)
    drive = rng.integers(-300, 600, (1, 25)) * rng.choice([1, 1, 500])
    wanted = rng.random((1, 25, 1)) < 0.4
    params = {name: value.astype(np.int64) for name, value in neuron.params.items()}
    u = v = np.zeros((1, 1), np.int64)
    fired = []
    for t in range(25):
        u, v, s = reference.step(params, u, v, drive[:, t : t + 1], how=how)
        fired.append(s)
    expected = cost(np.stack(fired, axis=1), wanted)
    silence, goal = np.zeros(25, np.uint8), wanted[0, :, 0].astype(np.uint8)
    found = kernels.cost_of(drive[0].astype(np.int32), 0, silence, goal, neuron_table(neuron)[0], 0.0)
    assert found == expected


def test_a_membrane_that_loses_its_excess_is_told() -> None:
    """More than a register holds arrives, of which single thresholds are taken: what is cut is missed later."""
    for when in MOMENTS:
        network = one(when, weight=32767, threshold=10000)
        rasters = {"in": np.full((1, 12, 1), 2), "out": reference.simulate(network, np.full((1, 12, 1), 2))["out"]}
        assert diagnosis.saturated(network, "out", rasters)[1] > 0
        (found,) = diagnosis.of_registers(network, rasters)
        assert "membranes reach an end of their range" in found.text
        calm = one(when, weight=100, threshold=90)
        rasters = {"in": np.ones((1, 12, 1), int), "out": np.zeros((1, 12, 1), bool)}
        assert diagnosis.saturated(calm, "out", rasters)[1] == 0
