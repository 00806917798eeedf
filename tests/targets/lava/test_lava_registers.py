"""u and v of Lava's neurons, recorded while it runs, are those of the specification and of the engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from integer_chains import spikes
from test_lava_run import CASES, delayed

from snnc.samples import Samples
from snnc.simulator import reference, simulate
from snnc.targets.lava import run
from snnc.targets.lava.dialogue import Worker, worker


@pytest.fixture(scope="module")
def shared_worker(lava: Path) -> Iterator[Worker]:
    with worker(lava, 120) as running:
        yield running


@pytest.mark.parametrize("case", CASES)
def test_registers_equal_those_of_lava(case: str, shared_worker: Worker) -> None:
    """At every layer, sample, step and neuron. Spikes stay what they are without probes (test_lava_run)."""
    build, rate, steps, sparse = CASES[case]
    rng = np.random.default_rng(sum(case.encode()))
    network = build(rng)
    # With delays every sample is a run of Lava of its own.
    data = Samples(spikes(rng, 2 if build is delayed else 6, steps, network["in"].shape, rate))
    theirs = run(network, data, registers=True, sparse=sparse, lava=shared_worker)
    names = [p.name for p in network.layers]
    assert set(theirs) == {(kind, name) for name in names for kind in ("spikes", "u", "v")}
    specified = reference.trace(network, data.spikes)
    ours = simulate(network, data, traces=list(theirs)).traces
    for trace, values in theirs.items():
        np.testing.assert_array_equal(values, specified[trace], err_msg=str(trace))
        np.testing.assert_array_equal(values, ours[trace], err_msg=str(trace))
        assert len(np.unique(values)) > 1, trace  # nothing would be proven by zeros
