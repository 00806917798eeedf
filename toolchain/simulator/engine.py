"""Run an integer network on data, quickly: blocks of samples on threads, each in pieces of steps."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from snnc.errors import UsageError
from snnc.image import Image
from snnc.network import READ_OUT, Network
from snnc.processors import processors
from snnc.samples import Recording, expect, require_integers
from snnc.simulator.axons import LANES
from snnc.simulator.run import STEP_WORK, Run
from snnc.simulator.state import Scratch, State, empty, scratch
from snnc.simulator.tables import Placement, Tables, flatten, place
from snnc.simulator.timing import EARLIEST, LATEST, LENGTHS, TOTALS
from snnc.simulator.traces import Columns, Memory, Sink, Trace, check

# Bound on what one call of the kernel reads and writes per step.
PIECE_BYTES = 64 << 20
# And on its steps, so that an interrupt need not wait long.
PIECE_STEPS = 4096
# An interval longer than any recording.
NEVER = 1 << 62
# Few enough that threads finish together and progress moves, enough to hide the cost of a call.
BLOCK_SAMPLES = 16

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Prepared:
    """A network, with its image where it has one, in the form of the kernel. Reusable and read-only."""

    network: Network
    image: Image | None
    tables: Tables
    placement: Placement
    graded: bool


def prepare(compiled: Image | Network, *, graded: bool = False) -> Prepared:
    """Flatten once what is simulated often; InputError where the network is not an integer one.

    graded: for data of other values than 0 and 1.
    """
    network = compiled.network if isinstance(compiled, Image) else compiled
    image = compiled if isinstance(compiled, Image) else None
    tables = flatten(network, graded=graded)
    return Prepared(network, image, tables, place(network, tables, image), graded)


def simulate(
    compiled: Image | Network | Prepared,
    recording: Recording,
    *,
    threads: int | None = None,
    rasters: Collection[str] = (),
    traces: Collection[Trace] = (),
    sink: Sink | None = None,
    warmup: int = 0,
    stream: bool = False,
    reset_every: int | None = None,
    progress: Progress | None = None,
) -> Run:
    """Simulate all samples, bit for bit as :mod:`snnc.simulator.reference`.

    compiled: an image; or an integer network that has no mapping yet, which counts spikes only; or
    either of them prepared. threads: None = all that this process may use. rasters: names of
    populations of which is wanted, step by step, what they put out. traces: (kind, layer), what else is wanted step
    by step; they go to `sink`, or else into the run. warmup: the first so many steps of each sample are run, and
    neither counted nor traced. stream: keep nothing per step, so that memory does not grow with the steps.
    reset_every: steps after which all neurons begin anew, with nothing under way to them, as at a sample's begin.
    progress(done, all): called after each block of samples, in the calling thread.

    Recordings are run in pieces of steps, and what the network remembers is carried on. The result is the same for
    any number of threads and any pieces. InputError where the data does not feed the network or the network is not an
    integer one; UsageError for an unknown raster or trace, fewer than one thread, or nothing left after the warm-up.
    """
    require_integers(recording)
    graded = recording.kind != np.uint8
    if isinstance(compiled, Prepared):
        same = compiled.graded == graded
        prepared = compiled if same else prepare(compiled.image or compiled.network, graded=graded)
    else:
        prepared = prepare(compiled, graded=graded)
    network = prepared.network
    expect(recording, network.populations[prepared.tables.feed].shape)
    names = [p.name for p in network.populations]
    if unknown := sorted(set(rasters) - set(names)):
        raise UsageError(f"there is no layer '{unknown[0]}'", where=network.name, fix=f"known: {', '.join(names)}")
    if threads is not None and threads < 1:
        raise UsageError(f"at least one thread is needed, got {threads}", fix="choose --threads 1 or more")
    if not 0 <= warmup < recording.steps:
        raise UsageError(
            f"a warm-up of {warmup} steps, and samples of {recording.steps}, of which some must be left to count",
            where=recording.name,
            fix=f"choose a warm-up of 0 to {recording.steps - 1} steps",
        )
    if reset_every is not None and reset_every < 1:
        raise UsageError(f"a reset every {reset_every} steps", where=recording.name, fix="choose 1 step or more")
    workers = threads or processors()

    shown = {name: ("v" if network[name].neuron == READ_OUT else "spikes", name) for name in names if name in rasters}
    wanted = check(network, traces)
    own, kept = Memory(), Memory()
    job = _Job(prepared, recording, warmup, stream, reset_every, [(own, list(shown.values())), (sink or kept, wanted)])
    blocks = job.blocks(workers)
    done = 0
    with ThreadPoolExecutor(workers) as pool:
        try:
            for block, _ in zip(blocks, pool.map(job.simulate, blocks), strict=True):
                done += block.stop - block.start
                if progress is not None:
                    progress(done, len(recording))
        except BaseException:
            # An interrupt must not wait for the blocks that have not begun, nor for all pieces of those that have.
            job.stopped = True
            pool.shutdown(cancel_futures=True)
            raise
    return replace(job.run, rasters={name: own.arrays[trace] for name, trace in shown.items()}, traces=kept.arrays)


class _Job:
    """One simulation: the result's arrays, filled block by block."""

    def __init__(
        self,
        prepared: Prepared,
        recording: Recording,
        warmup: int,
        stream: bool,
        reset_every: int | None,
        sinks: list[tuple[Sink, list[Trace]]],
    ) -> None:
        network, count, steps = prepared.network, len(recording), recording.steps - warmup
        self.prepared, self.recording, self.warmup, self.stopped = prepared, recording, warmup, False
        self.interval = reset_every or NEVER
        reads = dict(zip(network.rank, prepared.tables.reads, strict=True))
        # Where each population that is read out finds its values: in the sums of membranes, or among all spikes.
        self.outputs = [
            (reads[name] >= 0, reads[name] if reads[name] >= 0 else network.offsets[name], network[name].size)
            for name in network.outputs
        ]
        self.read = sum(p.size for p in network.populations if p.neuron == READ_OUT)
        mapped = prepared.image is not None
        cores = prepared.placement.cores if mapped else 0
        kept = steps if mapped and not stream else 0
        self.run = Run(
            network_name=network.name,
            steps=steps,
            spikes=np.zeros((count, network.size), np.int32),
            outputs=np.zeros((count, sum(network[name].size for name in network.outputs)), np.int64),
            core_synops=np.zeros((count, cores), np.int64),
            core_active=np.zeros((count, cores), np.int64),
            core_spikes=np.zeros((count, cores), np.int64),
            time_ps=np.zeros(count, np.int64),
            latest_ps=np.zeros(count, np.int64),
            step_ns=np.zeros((count, kept)),
            latest_ns=np.zeros((count, kept)),
            step_work=np.zeros((count, kept, len(STEP_WORK)), np.int64),
            layer_active=np.zeros((count, len(network.populations)), np.int64),
            rasters={},
            traces={},
            labels=recording.labels,
            warmup=warmup,
            graded=prepared.graded,
        )
        self.arrays = (*prepared.tables.arrays, prepared.placement.places)
        self.columns = Columns(network, prepared.tables, sinks)
        self.columns.open(count, steps)
        inputs = int(np.prod(recording.shape)) * recording.kind.itemsize
        self.step_bytes = inputs + 8 * (LANES + len(LENGTHS)) + self.columns.bytes

    def blocks(self, workers: int) -> list[slice]:
        """Consecutive samples, such that every worker has some and a block of whole samples stays in bounds."""
        count = len(self.recording)
        each = self.recording.steps * self.step_bytes
        size = max(1, min(BLOCK_SAMPLES, -(-count // workers), PIECE_BYTES // each))
        return [slice(start, min(start + size, count)) for start in range(0, count, size)]

    def pieces(self, samples: int) -> Iterator[tuple[int, int]]:
        """First step and one past the last of each piece; one ends where the warm-up does."""
        longest = max(1, min(PIECE_STEPS, PIECE_BYTES // (samples * self.step_bytes)))
        for first, last in ((0, self.warmup), (self.warmup, self.recording.steps)):
            for start in range(first, last, longest):
                yield start, min(start + longest, last)

    def simulate(self, block: slice) -> None:
        """Run a block of samples."""
        count, tables = block.stop - block.start, self.prepared.tables
        # Recordings in one piece share a state, which stays in the cache.
        whole = next(iter(self.pieces(count)))[1] == self.recording.steps
        state, room = empty(tables, 1 if whole else count), scratch(tables, self.prepared.placement.cores)
        sums = np.zeros((count, self.read), np.int64)
        for first, stop in self.pieces(count):
            if self.stopped:
                return
            if first == self.warmup:
                self.run.spikes[block], sums[:] = 0, 0
            self._piece(block, first, stop, state, room, sums)
        counts = self.run.spikes[block]
        values = [(sums if reads else counts)[:, first : first + size] for reads, first, size in self.outputs]
        self.run.outputs[block] = np.concatenate(values, axis=1)

    def _piece(self, block: slice, first: int, stop: int, state: State, room: Scratch, sums: np.ndarray) -> None:
        from snnc.simulator import kernels  # numba: seconds to import, and no one else needs it

        placement, run = self.prepared.placement, self.run
        count, steps = block.stop - block.start, stop - first
        # A copy, since the kernel is compiled for arrays that may be written to.
        spikes = np.array(self.recording.piece(block, first, stop)).reshape(count, steps, -1)
        totals = np.zeros((count, len(TOTALS), placement.cores), np.int64)
        lengths = np.zeros((count, steps, len(LENGTHS)), np.int64)
        effects = np.zeros((count, steps, LANES), np.int64)
        active = np.zeros((count, len(self.prepared.network.populations)), np.int64)
        record = self.columns.record(count, steps)
        counters = (run.spikes[block], sums, totals, lengths, effects, active)
        arguments = (spikes, first, self.interval, state, room, *self.arrays, *counters, record)
        kernels.run(*arguments)
        if first < self.warmup:
            return
        run.layer_active[block] += active
        first, stop = first - self.warmup, stop - self.warmup
        self.columns.write(record, block, first)
        if self.prepared.image is not None:
            for k, total in enumerate((run.core_synops, run.core_active, run.core_spikes)):
                total[block] += totals[:, k]
            earliest, latest = lengths[..., EARLIEST], lengths[..., LATEST]
            run.time_ps[block] += earliest.sum(axis=1)
            run.latest_ps[block] += latest.sum(axis=1)
            if run.step_ns.shape[1]:
                run.step_ns[block, first:stop], run.latest_ns[block, first:stop] = earliest / 1000, latest / 1000
                run.step_work[block, first:stop] = effects[:, :, : len(STEP_WORK)]
