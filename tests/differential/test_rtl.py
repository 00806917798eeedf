"""The clocked simulators beside the RTL of the chips: every number of every trace."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.differential import rtl

# Of each chip a short trace, and what it says the chip did: a change of any of it must be seen.
SHORT = {
    "tinyodin/trace032.npz": [
        "spike_cycle",
        "spike_neuron",
        "ack_cycle",
        "done_cycle",
        "final_neuron_memory",
        "synapse_reads",
        "neuron_reads",
        "neuron_writes",
    ],
    "ranc/trace037.npz": [
        *(f"spike_{c}" for c in ("cycle", "core", "neuron")),
        *(f"hop_{c}" for c in ("cycle", "core", "dir", "packet")),
        *(f"arrival_{c}" for c in ("cycle", "core", "axon", "delay", "slot", "lost")),
        *(f"out_{c}" for c in ("cycle", "axon", "delay")),
        *("in_read_cycle", "in_left", "done_cycle", "done_core", "tick_error_cycle", "tick_error_core"),
        *("token_controller_error", "scheduler_error_count", "passes", "pass_potential", "final_potential"),
    ],
}
CHANGES = [(file, name) for file, names in SHORT.items() for name in names]


@pytest.mark.parametrize(("chip", "least"), [("tinyodin", 60), ("ranc", 40)])
def test_every_trace_is_exact(chip: str, least: int, shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = shared / "rtl" / chip
    assert rtl.main([str(folder)]) == 0
    total = len(list(folder.glob("*.npz")))
    assert total >= least
    assert capsys.readouterr().out == f"exact {total} of {total}\n"


@pytest.mark.parametrize(("file", "name"), CHANGES, ids=[f"{f.split('/')[0]}-{n}" for f, n in CHANGES])
def test_a_trace_that_differs_in_one_number_is_told(
    file: str, name: str, shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with np.load(shared / "rtl" / file) as trace:
        arrays = dict(trace)
    changed = arrays[name].copy()
    flat = changed.reshape(-1)
    flat[flat.size // 2] ^= 1
    np.savez(tmp_path / "changed.npz", **{**arrays, name: changed})
    assert rtl.main([str(tmp_path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "exact 0 of 1"
    assert len(lines) == 2
    assert lines[0].startswith("changed.npz: ")


def test_a_folder_without_traces_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert rtl.main([str(tmp_path)]) == 2
    assert "no .npz" in capsys.readouterr().err


def test_a_file_that_is_no_trace_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "other.npz"
    np.savez(file, weights=np.ones(3))
    assert rtl.main([str(tmp_path)]) == 3
    assert "other.npz" in capsys.readouterr().err
    file.write_bytes(file.read_bytes()[:60])
    assert rtl.main([str(tmp_path)]) == 3
    assert "cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("lacking", ["events", "max_neuron"])
def test_a_trace_that_lacks_an_array_is_told(
    lacking: str, shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with np.load(shared / "rtl" / "tinyodin" / "trace017.npz") as trace:
        np.savez(tmp_path / "part.npz", **{name: trace[name] for name in trace.files if name != lacking})
    assert rtl.main([str(tmp_path)]) == 3
    assert "part.npz" in capsys.readouterr().err


def test_numbers_that_do_not_fit_the_chip_are_told(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with np.load(shared / "rtl" / "tinyodin" / "trace017.npz") as trace:
        np.savez(tmp_path / "wide.npz", **{**dict(trace), "max_neuron": np.int64(256)})
    assert rtl.main([str(tmp_path)]) == 3
    message = capsys.readouterr().err
    assert "last has 256, but the most is 255" in message
    assert "wide.npz" in message
