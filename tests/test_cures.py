"""Cures: whatever is named makes the network fit, and a little less does not."""

from __future__ import annotations

import logging
import time
from dataclasses import replace

import numpy as np
import pytest
from float_networks import chain, conv, lif, linear, mlp, spikes
from hypothesis import given, settings
from hypothesis import strategies as st
from small_chips import chip, few

import snnc
from snnc import cures, pipeline
from snnc.compilation import Options, Spent, Stopped
from snnc.console import diagnostic
from snnc.errors import Cure, DoesNotFit
from snnc.network import Network, Population, Semantics
from snnc.ops import Conv2d, Linear, canonical
from snnc.samples import Samples
from snnc.target import Target

ENOUGH = 1000.0  # seconds: of a busy machine


def refused(network: Network, target: Target, samples: Samples | None = None, **options: object) -> DoesNotFit:
    with pytest.raises(DoesNotFit) as caught:
        snnc.compile(network, target, data=samples, **options)
    return caught.value


def compiles(cure: Cure, network: Network, target: Target, samples: Samples | None = None, **options: object) -> bool:
    source, other, how = cures.applied(cure, network, target, Options(**options))
    try:
        pipeline.compile(source, other, samples=samples, options=how)
    except DoesNotFit:
        return False
    return True


def wide() -> Network:
    rng = np.random.default_rng(0)
    return chain([Population("input", (5000,), "input"), lif("fc1", (4,))], [(linear(rng, 4, 5000),)], "wide")


def test_too_many_axons_of_one_neuron() -> None:
    """No mapping and no width helps a neuron with too many sources: another chip does, and pruning."""
    error = refused(wide(), chip(), map="layers")
    found = cures.find(error, seconds=ENOUGH)
    assert [(c.target, bool(c.share)) for c in found.cures] == [("loihi2", False), (None, True)]
    assert found.untried == found.failed == ()
    pruning = found.cures[1]
    assert pruning.layers == ("fc1",)
    assert pruning.action.startswith("prune 'fc1' to 8")
    for cure in found.cures:
        assert compiles(cure, wide(), chip(), map="layers")
    assert not compiles(replace(pruning, share=pruning.share + 0.04), wide(), chip(), map="layers")


@pytest.mark.parametrize("how", ["layers", "auto"])
def test_too_many_cores_for_the_synapses(how: str) -> None:
    network, target = mlp((60, 60, 60, 10), seed=1), few(2, synapse_bits=16_000)
    data = Samples(spikes(network), np.array([0, 1, 2, 3]), "random")
    error = refused(network, target, data, map=how)
    assert error.topic == "cores"
    found = cures.find(error, seconds=ENOUGH)
    bits, *others, pruning = (cure for cure in found.cures if "map" not in cure.options)
    assert set(bits.options) == {"bits"}
    assert "% of the calibration samples" in bits.outcome
    assert pruning.layers == ("fc1", "fc2", "fc3")
    assert all(cure.target for cure in others)
    for cure in found.cures:
        assert compiles(cure, network, target, data, map=how)
    if how == "layers":
        assert not compiles(replace(bits, options={"bits": bits.options["bits"] + 1}), network, target, data, map=how)
        assert not compiles(replace(pruning, share=pruning.share + 0.04), network, target, data, map=how)


def test_convolutions_are_pruned_in_their_kernels() -> None:
    target = few(2, synapse_bits=12_000)
    error = refused(conv(), target, map="layers")
    pruning = cures.find(error, seconds=ENOUGH).cures[-1]
    assert 0 < pruning.share < 1
    assert compiles(pruning, conv(), target, map="layers")


@settings(max_examples=15, deadline=None)
@given(
    sizes=st.lists(st.integers(5, 40), min_size=2, max_size=4),
    density=st.sampled_from([0.2, 1.0]),
    cores=st.integers(1, 4),
    neurons=st.integers(8, 60),
    axons=st.integers(20, 60),
    kibibits=st.integers(2, 12),
    seed=st.integers(0, 99),
)
def test_whatever_is_named_makes_it_fit(sizes, density, cores, neurons, axons, kibibits, seed) -> None:
    network = mlp(tuple(sizes), density, seed)
    target = few(cores, neurons=neurons, in_axons=axons, synapse_bits=kibibits * 1024)
    try:
        snnc.compile(network, target, map="layers")
    except DoesNotFit as error:
        found = cures.find(error, seconds=ENOUGH)
        assert found.cures or found.failed
        for cure in found.cures:
            assert compiles(cure, network, target, map="layers"), cure


def test_where_nothing_helps_the_advice_of_the_rule_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snnc.target, "names", lambda: ["loihi"])
    # All of the neurons are read out, so none can be spared.
    error = refused(mlp((10, 300)), few(2, neurons=20), map="layers")
    advice = error.fix
    cures.attach(error, seconds=ENOUGH)
    assert error.cures == ()
    assert advice in diagnostic(error)
    assert diagnostic(error).endswith("tried, and not enough: another mapping, fewer bits, other targets, pruning")


def test_a_diagnosis_with_cures() -> None:
    error = refused(wide(), chip(), map="layers")
    cures.attach(error, seconds=ENOUGH)
    lines = diagnostic(error).splitlines()
    assert lines[0].startswith("error[in-axons]: layer 'fc1', core 0")
    assert lines[1] == "  fix    --target loihi2: it fits on 1 core"
    assert lines[2].startswith("         or prune 'fc1' to 8")
    assert "% sparse): it fits on 4 cores" in lines[2]
    assert lines[3] == "  rule   core.in_axons (snnc targets NAME)"
    assert len(lines) == 4
    assert error.fix.startswith("--target loihi2")


def slow(error: DoesNotFit, **seconds: float) -> DoesNotFit:
    """As if the passes had taken so long."""
    stopped = error.stopped
    spent = {name: Spent(seconds.get(name, each.seconds), each.peak_mib) for name, each in stopped.spent.items()}
    error.stopped = Stopped(stopped.name, stopped.state, spent)
    return error


def test_no_trial_begins_that_would_take_too_long() -> None:
    network, target = mlp((60, 60, 60, 10)), few(2, synapse_bits=16_000)
    error = slow(refused(network, target), partition=3600.0)
    begin = time.perf_counter()
    found = cures.find(error)
    assert time.perf_counter() - begin < 5
    assert found.cures == found.failed == ()
    assert found.untried == ("another mapping", "fewer bits", "other targets", "pruning")
    cures.attach(error)
    assert "note: not tried in 20 s: another mapping, fewer bits" in diagnostic(error)
    assert "prune it: its synapses alone fill" in diagnostic(error)


def test_no_time_and_no_capacity_rule_mean_no_search() -> None:
    assert cures.find(refused(wide(), chip(), map="layers"), seconds=0) == cures.Found((), (), ())
    network = mlp()
    how = Semantics(reset="subtract")
    populations = tuple(replace(p, semantics=how) if p.name == "fc1" else p for p in network.populations)
    error = refused(replace(network, populations=populations), chip())
    assert error.topic == "reset"
    assert cures.find(error) == cures.Found((), (), ())


def test_a_trial_that_breaks_hides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    error = refused(wide(), chip(), map="layers")
    monkeypatch.setattr(cures, "pruned", lambda *a: 1 / 0)
    found = cures.find(error, seconds=ENOUGH)
    assert [c.target for c in found.cures] == ["loihi2"]
    assert found.failed == ("pruning",)


def test_trials_warn_nobody(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("snnc")
    level = logger.level
    error = refused(mlp((60, 60, 60, 10)), few(2, synapse_bits=4_000), map="layers")
    with caplog.at_level(logging.DEBUG):
        cures.find(error, seconds=ENOUGH)
    assert not caplog.records
    assert logger.level == level


def test_pruning_keeps_the_largest() -> None:
    weight = np.array([[3, 0, -5, 1], [2, -2, 0, 2]])
    network = chain([Population("input", (4,), "input"), lif("fc1", (2,))], [(Linear(canonical(weight)),)])
    kept = cures.pruned(network, 0.5, ["fc1"]).projections[0].op.weight
    assert np.array_equal(kept.toarray(), [[3, 0, -5, 0], [2, 0, 0, 0]])  # of three twos the first
    assert kept.has_canonical_format
    assert cures.pruned(network, 0.01, ["fc1"]).projections[0].op.taps == 1
    assert snnc.network.identical(cures.pruned(network, 1.0, ["fc1"]), network)
    assert snnc.network.identical(cures.pruned(network, 0.1, ["fc2"]), network)
    kernel = cures.pruned(conv(), 0.25, ["conv1"]).projections[0].op
    assert isinstance(kernel, Conv2d)
    assert kernel.taps == 18
    assert (
        np.abs(kernel.weight[kernel.weight != 0]).min() >= np.sort(np.abs(conv().projections[0].op.weight).ravel())[-18]
    )
