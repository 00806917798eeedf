"""Runs an integer network in Lava, in a process of its own, and brings back spikes, u and v."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack, overload

import numpy as np

from snnc.errors import InputError, UsageError
from snnc.network import READ_OUT, Network
from snnc.samples import Recording, expect, require_integers
from snnc.simulator.common import input_of
from snnc.targets.lava import environment, netx, program
from snnc.targets.lava.chain import chain
from snnc.targets.lava.dialogue import Worker, worker
from snnc.targets.lava.processes import plan

Progress = Callable[[int, int], None]
Traces = dict[tuple[str, str], np.ndarray]
Through = Literal["net", "program"]

BYTES = {"spikes": 1, "u": 8, "v": 4}
"""What is recorded, and what one neuron takes of it in one step."""

BLOCK_BYTES = 64 << 20
"""Bound on inputs and recordings of the samples that are played at once; one sample always is."""

MESSAGE_BITS = 24
"""Of inputs that are values instead of spikes."""


class Options(TypedDict, total=False):
    """Of :func:`play`."""

    through: Through | None
    sparse: bool
    timeout: float
    lava: Worker | None
    progress: Progress | None


@overload
def run(network: Network, recording: Recording, *, registers: Literal[True], **options: Unpack[Options]) -> Traces: ...


@overload
def run(
    network: Network, recording: Recording, *, registers: Literal[False] = False, **options: Unpack[Options]
) -> dict[str, np.ndarray]: ...


def run(
    network: Network, recording: Recording, *, registers: bool = False, **options: Unpack[Options]
) -> Traces | dict[str, np.ndarray]:
    """What every layer does in Lava's bit-accurate ``fixed_pt`` simulation, all samples in memory.

    network, recording, options: see :func:`play`.
    Returns name of layer -> bool (samples, steps, *shape), or of a read-out its membranes, int32, in model time: a
    layer answers in the step of its input; the input population is not included. With `registers`: (kind, name) ->
    array, kind "spikes", "u" or "v", as :func:`snnc.simulator.reference.trace`.
    """
    parts = [found for _, found in play(network, recording, registers=registers, **options)]
    traces = {trace: np.concatenate([part[trace] for part in parts]) for trace in parts[0]}
    return traces if registers else {name: values for (_, name), values in traces.items()}


def play(
    network: Network,
    recording: Recording,
    *,
    through: Through | None = None,
    registers: bool = False,
    sparse: bool = False,
    timeout: float = 600.0,
    lava: Worker | None = None,
    progress: Progress | None = None,
) -> Generator[tuple[slice, Traces]]:
    """Run samples through Lava's bit-accurate ``fixed_pt`` simulation, some at a time.

    network: after quantisation. recording: run back to back, with all state reset in between. through: see
    :func:`route`, which decides where it is None. A ``.net`` has no way to stop spikes that are under way: with delays
    or recurrence each sample is a run of its own there. registers: record u and v of every layer too. sparse: of a
    ``.net``, use Lava's Sparse process instead of Dense for dense layers.
    timeout: seconds for which Lava may stay silent, of which it needs some to start.
    lava: a worker that runs, whose timeout counts then; several networks can share one, one after the other.
    progress: called with (steps done, steps in all).

    Yields consecutive samples, as few as :data:`BLOCK_BYTES` asks for, and (kind, name of layer) -> (samples, steps,
    *shape) in model time, in network order: "spikes", bool; "u", int64, and "v", int32, as they are after the step;
    without `registers` only the v of a read-out, which has no spikes. Raises InputError where the network is not one
    that Lava runs or the samples do not fit it, UsageError where Lava is not set up or is silent for too long,
    LavaError where it fails.
    """
    feed = input_of(network)
    expect(recording, feed.shape)
    require_integers(recording)
    graded = recording.kind != np.uint8
    through = through or route(network, values=graded)
    wanted = [(kind, p.name) for p in network.layers for kind in _kinds(p.neuron == READ_OUT, registers)]
    places = {p.name: k for k, p in enumerate(network.layers, start=1)}
    step_bytes = feed.size * recording.kind.itemsize + sum(BYTES[kind] * network[name].size for kind, name in wanted)
    total = len(recording) * recording.steps

    with tempfile.TemporaryDirectory(prefix="snnc-lava-") as name:
        folder = Path(name)
        written = _write(network, recording, through, sparse, folder)
        if graded and written.largest == 1:
            raise InputError("spikes must be zeros and ones here", where=recording.name, fix="threshold the data first")
        request = written.request | {
            "spikes": str(folder / "spikes.npy"),
            "steps": recording.steps,
            "message_bits": MESSAGE_BITS if graded else 0,
            "folder": name,
            "record": {kind: [places[layer] for k, layer in wanted if k == kind] for kind in BYTES},
        }
        most = 1 if written.apart else max(1, BLOCK_BYTES // (step_bytes * recording.steps))
        with worker(environment.require(), timeout) if lava is None else nullcontext(lava) as running:
            for block in _blocks(len(recording), most):
                count = block.stop - block.start
                spikes = recording.piece(block, 0, recording.steps)
                if graded:
                    _check_values(spikes, written.largest, recording.name)
                np.save(folder / "spikes.npy", spikes.reshape(-1, *feed.shape))
                first, steps = block.start * recording.steps, count * recording.steps

                def move(done: int, of: int, first: int = first, steps: int = steps) -> None:
                    # The last steps of a block only let what was played pass all layers.
                    if progress is not None:
                        progress(first + steps * done // of, total)

                running.ask(request, move)
                found = {}
                for kind, layer in wanted:
                    values = np.load(folder / f"{places[layer]}{'' if kind == 'spikes' else f'.{kind}'}.npy")
                    found[kind, layer] = values.reshape(count, recording.steps, *network[layer].shape)
                yield block, found


def route(network: Network, *, values: bool = False) -> Through:
    """How a network comes into Lava: by a ``.net``, which netx loads, or by a program of processes, which holds more.

    "net" wherever netx holds the network, since that is what most people run. values: whether the input is other than
    zeros and ones, which takes a program. InputError where neither will do.
    """
    if not values:
        try:
            chain(network)
        except InputError:
            pass
        else:
            return "net"
    plan(network)
    return "program"


@dataclass(frozen=True)
class _Written:
    """A network in a file or folder. request: which, for the worker. apart: each sample takes a run of its own.
    largest: value of an input that it takes.
    """

    request: dict[str, Any]
    apart: bool
    largest: int


def _write(network: Network, recording: Recording, through: Through, sparse: bool, folder: Path) -> _Written:
    if through == "program":
        if sparse:
            raise UsageError("a program has Sparse processes where they pay", fix="leave that out, or run it by a .net")
        made = program.export(network, folder / "program")
        return _Written({"program": str(folder / "program")}, False, made.largest_input)
    netx.export(network, folder / "network.net", recording.steps)
    _, layers = chain(network)
    apart = any(layer.delay is not None or layer.recurrent is not None for layer in layers)
    return _Written({"net": str(folder / "network.net"), "sparse": sparse}, apart, 1)


def _check_values(spikes: np.ndarray, largest: int, where: str) -> None:
    """InputError for values of an input that Lava would not sum up as we do."""
    found = int(np.abs(spikes).max())
    if found > largest:
        raise InputError(
            f"the data holds {found:,}; beyond {largest:,} sums of this network can overflow in Lava",
            where=where,
            fix="scale the data, or run it with snnc simulate",
        )


def _kinds(reads_out: bool, registers: bool) -> tuple[str, ...]:
    """What is recorded of a layer."""
    spikes = () if reads_out else ("spikes",)
    return (*spikes, "u", "v") if registers else spikes or ("v",)


def _blocks(count: int, most: int) -> list[slice]:
    """Consecutive samples, in as few and as equal parts as `most` allows."""
    parts = -(-count // most)
    edges = [count * k // parts for k in range(parts + 1)]
    return [slice(*pair) for pair in pairwise(edges)]
