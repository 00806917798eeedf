"""Runs of Lava: progress, limits, and what is said where one fails. What they compute proves test_lava_suite."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from integer_chains import spikes
from suite_chains import mlp

from snnc.errors import InputError, UsageError
from snnc.network import Network
from snnc.samples import Samples
from snnc.targets.lava import dialogue, netx, run
from snnc.targets.lava.dialogue import LavaError


def small() -> tuple[Network, Samples]:
    rng = np.random.default_rng(0)
    return mlp(rng), Samples(spikes(rng, 4, 6, (30,), 0.2))


def test_progress_counts_to_the_end(lava: Path) -> None:
    network, data = small()
    seen: list[tuple[int, int]] = []
    run(network, data, progress=lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (24, 24)


def test_samples_must_fit_the_input() -> None:
    network, _ = small()
    with pytest.raises(InputError, match="shape"):
        run(network, Samples(np.ones((1, 2, 59), np.uint8)))


def test_time_is_limited(lava: Path) -> None:
    network, data = small()
    with pytest.raises(UsageError, match=r"no sign of life within 0\.2 s"):
        run(network, data, timeout=0.2)


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf")])
def test_a_time_limit_is_positive(timeout: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNNC_LAVA_PYTHON", sys.executable)
    network, data = small()
    with pytest.raises(UsageError, match="positive"):
        run(network, data, timeout=timeout)


def test_a_python_without_lava_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNNC_LAVA_PYTHON", sys.executable)
    network, data = small()
    with pytest.raises(LavaError, match="No module named 'lava'") as caught:
        run(network, data)
    assert "snnc lava setup" in caught.value.fix


def test_a_failure_inside_lava_is_reported_with_its_cause(lava: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export = netx.export

    def spoil(network: Network, path: Path, steps: int) -> None:
        export(network, path, steps)
        with h5py.File(path, "r+") as file:
            del file["layer/1/neuron/type"]
            file["layer/1/neuron/type"] = np.array([b"ALIF"])

    monkeypatch.setattr(netx, "export", spoil)
    network, data = small()
    with pytest.raises(LavaError, match="AttributeError") as caught:
        run(network, data)
    assert any("hdf5.py" in note for note in caught.value.__notes__)


def test_a_worker_that_dies_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho 'Segmentation fault' >&2\nexit 139\n")
    program.chmod(0o755)
    monkeypatch.setenv("SNNC_LAVA_PYTHON", str(program))
    network, data = small()
    with pytest.raises(LavaError, match="Segmentation fault"):
        run(network, data)


def test_nothing_runs_on_after_a_time_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that ignores the request to end, with a child, is ended by force."""
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\ntrap '' TERM\necho $$ > {tmp_path}/pid\nsleep 600 &\nwhile :; do sleep 1; done\n")
    program.chmod(0o755)
    monkeypatch.setenv("SNNC_LAVA_PYTHON", str(program))
    monkeypatch.setattr(dialogue, "GRACE", 0.2)
    network, data = small()
    with pytest.raises(UsageError, match="no sign of life"):
        run(network, data, timeout=1)
    group = int((tmp_path / "pid").read_text())
    # What was killed stays visible until init has collected it.
    for _ in range(100):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("a process of the worker still runs")
