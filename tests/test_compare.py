"""The comparison of two executors finds what differs, and the first of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snnc.compare import Difference, Explanation, State, compare, compare_traces, explain, joined
from snnc.errors import InputError


def rasters(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {"conv": rng.random((3, 5, 2, 4, 4)) < 0.3, "fc": rng.random((3, 5, 7)) < 0.3}


def test_equal_rasters() -> None:
    result = compare(rasters(), rasters())
    assert result.equal
    assert result.first is None
    assert result.differing == {"conv": 0, "fc": 0}
    assert (result.samples, result.steps, result.compared) == (3, 5, 3 * 5 * (32 + 7))
    assert result.spikes == {name: raster.sum() for name, raster in rasters().items()}


@given(
    flips=st.lists(
        st.tuples(st.sampled_from(["conv", "fc"]), st.integers(0, 2), st.integers(0, 4), st.integers(0, 6)),
        min_size=1,
        unique=True,
    )
)
def test_the_first_difference_is_the_cause(flips: list[tuple[str, int, int, int]]) -> None:
    ours, theirs = rasters(), rasters()
    for name, sample, step, neuron in flips:
        flat = theirs[name].reshape(3, 5, -1)
        flat[sample, step, neuron] = ~flat[sample, step, neuron]
    result = compare(ours, theirs)
    name, sample, step, neuron = min(flips, key=lambda f: (f[1], f[2], f[0], f[3]))  # "conv" < "fc"
    at = tuple(int(k) for k in np.unravel_index(neuron, ours[name].shape[2:]))
    value = bool(ours[name][(sample, step, *at)])
    assert result.first == Difference(name, sample, step, at, value, not value)
    assert sum(result.differing.values()) == len(flips)
    assert not result.equal


def test_a_difference_reads_as_a_sentence() -> None:
    text = str(Difference("conv", 1, 2, (0, 3, 1), ours=True, theirs=False))
    assert text == "layer 'conv', neuron (0, 3, 1), sample 1, step 2: spikes here, is silent there"


def test_layers_of_one_side_only_are_left_out() -> None:
    theirs = rasters()
    del theirs["conv"]
    assert compare(rasters(), theirs).differing == {"fc": 0}


@pytest.mark.parametrize("theirs", [{}, {"other": np.zeros((3, 5, 7), bool)}, {"fc": np.zeros((3, 4, 7), bool)}])
def test_what_cannot_be_compared_is_refused(theirs: dict[str, np.ndarray]) -> None:
    with pytest.raises(InputError):
        compare(rasters(), theirs)


def traces(seed: int = 0) -> dict[tuple[str, str], np.ndarray]:
    """Of two layers, the second a read-out."""
    rng = np.random.default_rng(seed)
    found: dict[tuple[str, str], np.ndarray] = {("spikes", "fc"): rng.random((3, 5, 7)) < 0.3}
    found |= {(kind, name): rng.integers(-999, 999, (3, 5, 7)) for name in ("fc", "out") for kind in ("u", "v")}
    return found


TRACES = [("u", "fc"), ("spikes", "fc"), ("v", "fc"), ("u", "out"), ("v", "out")]


@given(
    changes=st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 4), st.integers(0, 4), st.integers(0, 6)), min_size=1, unique=True
    )
)
def test_the_first_register_is_that_computed_first(changes: list[tuple[int, int, int, int]]) -> None:
    """Lowest sample, then step, then layer, then u before spikes before v."""
    ours, theirs = traces(), traces()
    for sample, step, trace, neuron in changes:
        values = theirs[TRACES[trace]]
        at = (sample, step, neuron)
        values[at] = not values[at] if values.dtype == bool else values[at] + 1
    sample, step, trace, neuron = min(changes)
    kind, name = TRACES[trace]
    result = compare_traces(ours, theirs)
    at = (sample, step, neuron)
    mine, other = ours[kind, name][at].item(), theirs[kind, name][at].item()
    assert result.first == Difference(name, sample, step, (neuron,), mine, other, kind)
    assert sum(result.differing.values()) == len(changes)
    assert (result.compared, result.registers) == (5 * 105, 4 * 105)
    assert result.spikes == {"fc": ours["spikes", "fc"].sum(), "out": np.count_nonzero(ours["v", "out"])}
    told = explain(ours, theirs, threshold={"fc": np.arange(7)})
    assert told is not None
    assert told.first == result.first
    assert told.threshold == (neuron if name == "fc" else None)
    assert (told.ours[0] is None) == (step == 0)
    for side, values in ((told.ours, ours), (told.theirs, theirs)):
        for back, state in zip((1, 0), side, strict=True):
            if state is not None:
                at = (sample, step - back, neuron)
                spiked = bool(values["spikes", "fc"][at]) if name == "fc" else None
                assert state == State(values["u", name][at], values["v", name][at], spiked)
    assert explain(ours, ours, threshold={}) is None


def test_comparisons_of_consecutive_samples_are_one() -> None:
    theirs = rasters()
    theirs["fc"][2, 1, 4] ^= True
    parts = [slice(0, 1), slice(1, 2), slice(2, 3)]
    found = [
        compare({n: r[part] for n, r in rasters().items()}, {n: r[part] for n, r in theirs.items()}) for part in parts
    ]
    assert joined(found) == compare(rasters(), theirs)


def test_an_explanation_shows_both_sides() -> None:
    first = Difference("fc", 3, 7, (4,), ours=True, theirs=False)
    states = (State(640, 12_000, False), State(-1_280, 0, True)), (State(640, 12_000, False), State(-1_280, 5, False))
    assert str(Explanation(first, *states, threshold=19_200)).splitlines() == [
        "they part in layer 'fc', neuron (4), sample 3, step 7:",
        "                       here                              there",
        "                    u          v   spikes             u          v   spikes",
        "step 6            640     12,000       no           640     12,000       no",
        "step 7         -1,280          0      yes        -1,280          5       no",
        "here a spike takes v above 19,200; v is shown as the spike leaves it",
        "all that feeds it and u agree until then: its v_decay, bias or threshold is not the same",
    ]
    read_out = Explanation(
        Difference("out", 0, 0, (1, 2), 5, 6, "v"), (None, State(4, 5, None)), (None, State(4, 6, None)), None
    )
    assert str(read_out).splitlines()[3:5] == [
        "step 0              4          5        -             4          6        -",
        "it is read out and never spikes",
    ]
