"""Hold the clocked simulators against traces of RTL: ``python -m tests.differential.rtl DIR``.

Checks every .npz below a folder (tinyODIN's or RANC's, told by its arrays; what they mean is in the README beside the
traces), prints what differs and then ``exact N of N``. All that a trace records is compared, number by number.
"""

from __future__ import annotations

import argparse
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from snnc import console
from snnc.errors import InputError, SnncError, UsageError
from snnc.simulator.clocked import crossbar, grid

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Checked:
    """differences: what is not as in the trace, a line each. cycles, seconds: simulated, and how long that took."""

    differences: list[str]
    cycles: int
    seconds: float


def check(path: Path) -> Checked:
    """Run the chip of a trace on its input and compare. InputError for a file that is no trace."""
    arrays = _read(path)
    chip = next((name for name, (_, key) in CHIPS.items() if key in arrays), None)
    if chip is None:
        keys = " nor ".join(f"'{key}'" for _, key in CHIPS.values())
        raise InputError(f"this is no trace: it has neither {keys}", where=str(path), fix="leave the file out")
    try:
        return CHIPS[chip][0](arrays)
    except KeyError as error:
        raise InputError(
            f"the trace lacks the array {error}", where=str(path), fix=f"it must have all of a {chip} trace"
        ) from None
    except InputError as error:
        raise InputError(error.message, where=str(path), fix=f"is it a whole {chip} trace?") from None


def _read(path: Path) -> Arrays:
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"cannot be read: {error}", where=str(path), fix="is it a whole .npz?") from None


def tinyodin(trace: Arrays) -> Checked:
    """A trace of tinyODIN."""
    loaded = trace["neuron_memory"].astype(np.int64)
    words = trace["synapse_memory"].astype(np.int64).reshape(len(loaded), -1, 1)
    chip = crossbar.Crossbar(
        weights=_signed(words >> 4 * np.arange(8), 4).reshape(len(loaded), -1),
        leak=loaded >> 24 & 0x7F,
        threshold=loaded >> 12 & 0xFFF,
        potential=_signed(loaded, 12),
        disabled=loaded >> 31 & 1 > 0,
        last=int(trace["max_neuron"]),
        open_loop=bool(trace["open_loop"]),
    )
    begin = time.perf_counter()
    got = crossbar.run(chip, trace["events"].astype(np.int64), longest=4 * int(trace["done_cycle"]) + 1000)
    seconds = time.perf_counter() - begin
    pairs = {
        "spikes (cycle, neuron)": (_rows(trace, "spike", "cycle", "neuron"), got.spikes),
        "ack_cycle": (trace["ack_cycle"], got.acknowledged),
        "done_cycle": (trace["done_cycle"], got.done),
        "final_neuron_memory": (trace["final_neuron_memory"], loaded & ~0xFFF | got.potential & 0xFFF),
        "synapse_reads": (trace["synapse_reads"], got.synapse_reads),
        "neuron_reads": (trace["neuron_reads"], got.neuron_reads),
        "neuron_writes": (trace["neuron_writes"], got.neuron_writes),
    }
    return Checked(_differences(pairs), got.done, seconds)


def ranc(trace: Arrays) -> Checked:
    """A trace of RANC."""
    columns, axons = int(trace["grid_x"]), int(trace["num_axons"])
    whole = {name: array.astype(np.int64) for name, array in trace.items() if array.dtype.kind in "iu"}
    chip = grid.Grid(
        columns=columns,
        rows=int(trace["grid_y"]),
        port=int(trace["out_x"]) + int(trace["out_y"]) * columns,
        depth=int(trace["buffer_depth"]),
        synapses=np.unpackbits(trace["synapses"], axis=2, bitorder="little")[:, :, :axons] > 0,
        axon_type=whole["axon_type"],
        weights=whole["weights"],
        leak=whole["leak"],
        positive=whole["pos_threshold"],
        negative=whole["neg_threshold"],
        reset=whole["reset_potential"],
        subtract=whole["reset_mode"] > 0,
        potential=whole["potential"],
        dx=whole["dx"],
        dy=whole["dy"],
        axon=whole["dest_axon"],
        delay=whole["dest_tick"],
    )
    end = int(trace["end_cycle"])
    begin = time.perf_counter()
    got = grid.run(chip, whole["tick_cycle"], _rows(trace, "in", "cycle", "packet"), end)
    seconds = time.perf_counter() - begin
    _, first = np.unique(got.refused[:, 1], return_index=True)
    pairs = {
        "spikes (cycle, core, neuron)": (_rows(trace, "spike", "cycle", "core", "neuron"), got.spikes),
        "hops (cycle, core, dir, packet)": (_rows(trace, "hop", "cycle", "core", "dir", "packet"), got.hops),
        "arrivals (cycle, core, axon, delay, slot, lost)": (
            _rows(trace, "arrival", "cycle", "core", "axon", "delay", "slot", "lost"),
            got.arrivals,
        ),
        "outputs (cycle, axon, delay)": (_rows(trace, "out", "cycle", "axon", "delay"), got.outputs),
        "in_read_cycle": (trace["in_read_cycle"], got.reads[:, 0]),
        "in_left": (trace["in_left"], len(trace["in_cycle"]) - len(got.reads)),
        "done (cycle, core)": (_rows(trace, "done", "cycle", "core"), got.passes),
        "tick errors (cycle, core)": (_rows(trace, "tick_error", "cycle", "core"), got.refused[first]),
        "token_controller_error": (trace["token_controller_error"], len(got.refused) > 0),
        "scheduler_error_count": (trace["scheduler_error_count"], 0),  # its comparison is never true
        "passes": (trace["passes"], np.bincount(got.passes[:, 1], minlength=len(chip.potential))),
        "pass_potential": (trace["pass_potential"], got.potentials),
        "final_potential": (trace["final_potential"], got.final),
    }
    return Checked(_differences(pairs), end, seconds)


CHIPS: dict[str, tuple[Callable[[Arrays], Checked], str]] = {
    "tinyODIN": (tinyodin, "max_neuron"),
    "RANC": (ranc, "grid_x"),
}
"""Name -> function of the arrays of a trace, and an array that only such traces have."""


def _rows(trace: Arrays, what: str, *columns: str) -> np.ndarray:
    """Events of a kind, int64 (events, columns)."""
    return np.stack([trace[f"{what}_{column}"].astype(np.int64) for column in columns], axis=1)


def _signed(words: np.ndarray, bits: int) -> np.ndarray:
    """The low bits as numbers with sign."""
    half = 1 << (bits - 1)
    return ((words + half) & (2 * half - 1)) - half


def _differences(pairs: dict[str, tuple[object, object]]) -> list[str]:
    """A line for each pair that is not equal; events of the same cycle have no order."""
    found = []
    for name, (expected, got) in pairs.items():
        a, b = (np.asarray(x).astype(np.int64) for x in (expected, got))
        if a.ndim == 2:
            a, b = (x[np.lexsort(x.T[::-1])] for x in (a, b))
        if a.shape != b.shape:
            found.append(f"{name}: {b.shape} instead of {a.shape}")
        elif not np.array_equal(a, b):
            where = tuple(int(k) for k in np.argwhere(a != b)[0])
            found.append(f"{name}: {b[where]} instead of {a[where]} at {where}")
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0 if all traces are exact, 1 if one is not."""
    parser = argparse.ArgumentParser(prog="python -m tests.differential.rtl", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder of traces")
    chosen = parser.parse_args(arguments)
    try:
        return _run(chosen.folder)
    except SnncError as error:
        print(console.diagnostic(error), file=sys.stderr)
        return error.exit_code


def _run(folder: Path) -> int:
    files = sorted(folder.rglob("*.npz"))
    if not files:
        raise UsageError("there is no .npz in the folder", where=str(folder), fix="name a folder of traces")
    exact, cycles, seconds = 0, 0, 0.0
    for k, path in enumerate(files):
        done = check(path)
        exact += not done.differences
        for line in done.differences:
            print(f"{path.relative_to(folder)}: {line}")
        if k:  # the first waits for the compiler
            cycles, seconds = cycles + done.cycles, seconds + done.seconds
    if seconds:
        print(f"{cycles:,} cycles at {cycles / seconds / 1e6:.1f} M/s", file=sys.stderr)
    print(f"exact {exact} of {len(files)}")
    return int(exact < len(files))


if __name__ == "__main__":
    sys.exit(main())
