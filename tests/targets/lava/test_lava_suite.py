"""The differential suite against Lava: our engine, the emitted program and the ``.net`` agree in every spike, u and v.

Each network of the suite is held by a route, and then every layer, sample, step and neuron must be equal, or it is
refused in words that the case foretells. The part in ``QUICK`` shows each kind once; the rest has the marker
``lava_suite``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import suite_features as features
from suite_drawn import ENOUGH
from suite_networks import NAMES, QUICK, Case, get

from snnc.compare import compare_traces
from snnc.errors import InputError, SnncError
from snnc.network import READ_OUT, identical
from snnc.samples import Samples
from snnc.simulator import reference, simulate
from snnc.targets.lava import run
from snnc.targets.lava.dialogue import Worker, worker

RUN = [name for name in NAMES if name != "two-inputs"]
"""Networks that anything runs."""

RARE = {
    *("even above 127", "dilation", "parallel", "unfed", "own decays", "subtract next", "subtract recheck"),
    *("one step", "values", "wraps", "leaves its range"),
}
"""What the quick part leaves out."""

everything = [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.lava_suite]) for name in NAMES]


# What the suite is, for which no Lava is needed.


def test_the_suite_is_large() -> None:
    assert len(NAMES) >= 120
    for route in ("net", "program"):
        assert sum(route not in get(name).refused for name in NAMES) >= 60, route
    assert 15 <= len(QUICK) <= 30


def test_no_two_networks_are_equal() -> None:
    for a, b in combinations(map(get, NAMES), 2):
        assert not (identical(a.network, b.network) and np.array_equal(a.spikes, b.spikes)) or a.sparse != b.sparse, (
            a.name,
            b.name,
        )


def test_every_feature_is_shown_and_held() -> None:
    """By a network that is there for it and that Lava runs; the quick part shows most of them."""
    shown = {name: get(name).shows for name in NAMES}
    assert set().union(*shown.values()) == features.FEATURES
    for feature in features.FEATURES:
        assert any(feature in shown[name] and "program" not in get(name).refused for name in NAMES), feature
    assert features.FEATURES - set().union(*(shown[name] for name in QUICK)) <= RARE


@pytest.mark.parametrize("name", RUN)
def test_a_network_is_what_it_claims(name: str) -> None:
    case = get(name)
    assert case.about.endswith("."), "say what it is there for"
    found, seen = features.trace(case.network, case.spikes)
    assert case.shows <= features.of(case.network) | seen
    # Silence in all layers, or constant fire, would be equal by chance.
    spiking = [found["spikes", p.name] for p in case.network.layers if p.neuron != READ_OUT]
    assert all(spikes.sum() >= ENOUGH for spikes in spiking)
    assert not spiking or not all(spikes.all() for spikes in spiking)
    read = [found["v", p.name] for p in case.network.layers if p.neuron == READ_OUT]
    assert all(len(np.unique(membranes)) > ENOUGH for membranes in read)


@pytest.mark.parametrize("name", RUN)
def test_the_engine_equals_the_reference(name: str) -> None:
    agree(ours(get(name)), reference.trace(get(name).network, get(name).spikes))


# Lava.


@pytest.fixture(scope="module")
def shared_worker(lava: Path) -> Iterator[Callable[[], Worker]]:
    """A worker for all runs, started when it is first asked for, and anew after one that failed."""
    with ExitStack() as stack:
        running: list[Worker] = []

        def get_worker(fresh: bool = False) -> Worker:
            if fresh:
                running.clear()
            if not running:
                running.append(stack.enter_context(worker(lava, 120)))
            return running[0]

        yield get_worker


@pytest.mark.parametrize("name", everything)
@pytest.mark.parametrize("through", ["net", "program"])
def test_lava_agrees(name: str, through: str, request: pytest.FixtureRequest) -> None:
    """In every spike, u and v of every layer; or the route refuses the network in the words that the case foretells."""
    case = get(name)
    # A .net plays each sample in a run of its own where spikes are under way for long.
    apart = through == "net" and any(case.network.lag(p) for p in case.network.projections)
    data = Samples(case.spikes[: 2 if apart else None])
    options = {"sparse": case.sparse and through == "net", "through": through, "registers": True}
    if words := case.refused.get(through):
        with pytest.raises(InputError, match=words) as caught:
            run(case.network, data, **options)
        assert caught.value.where
        return
    get_worker = request.getfixturevalue("shared_worker")
    try:
        theirs = run(case.network, data, lava=get_worker(), **options)
    except SnncError:
        get_worker(fresh=True)
        raise
    agree({trace: values[: len(data)] for trace, values in ours(case).items()}, theirs)


Traces = dict[tuple[str, str], np.ndarray]


def ours(case: Case) -> Traces:
    """All that the engine shows of a case's layers; in each step what comes first in a layer stands first."""
    traces = [
        (kind, p.name)
        for p in case.network.layers
        for kind in ("u", "v", "spikes")
        if not (p.neuron == READ_OUT and kind == "spikes")
    ]
    return simulate(case.network, Samples(case.spikes), traces=traces).traces


def agree(expected: Traces, found: Traces) -> None:
    """Assert that all that is expected was found, and equal; else tell the first difference."""
    assert set(expected) <= set(found)
    result = compare_traces(expected, found)
    assert result.first is None, f"{result.first}; differing {result.differing}"
