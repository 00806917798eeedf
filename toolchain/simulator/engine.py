"""Run an integer network on data, quickly: blocks of samples on threads, one kernel call each."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from snnc.errors import UsageError
from snnc.image import Image
from snnc.network import READ_OUT, Network
from snnc.processors import processors
from snnc.samples import Samples
from snnc.simulator.axons import LANES
from snnc.simulator.run import STEP_WORK, Run
from snnc.simulator.tables import Placement, Tables, flatten, place
from snnc.simulator.timing import step_ns

# Bound on what one block of samples counts per step and core, rasters included.
BLOCK_BYTES = 64 << 20
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
    samples: Samples,
    *,
    threads: int | None = None,
    rasters: Collection[str] = (),
    progress: Progress | None = None,
) -> Run:
    """Simulate all samples, bit for bit as :mod:`snnc.simulator.reference`.

    compiled: an image; or an integer network that has no mapping yet, which counts spikes only; or
    either of them prepared. threads: None = all that this process may use. rasters: names of
    populations whose spikes are wanted one by one. progress(done, all): called after each block of
    samples, in the calling thread.

    The result is the same for any number of threads. InputError where the data does not feed the
    network or the network is not an integer one; UsageError for an unknown raster or fewer than one
    thread.
    """
    samples.require_integers()
    graded = samples.spikes.dtype != np.uint8
    if isinstance(compiled, Prepared):
        same = compiled.graded == graded
        prepared = compiled if same else prepare(compiled.image or compiled.network, graded=graded)
    else:
        prepared = prepare(compiled, graded=graded)
    network = prepared.network
    samples.expect(network.populations[prepared.tables.feed].shape)
    names = [p.name for p in network.populations]
    if unknown := sorted(set(rasters) - set(names)):
        raise UsageError(f"there is no layer '{unknown[0]}'", where=network.name, fix=f"known: {', '.join(names)}")
    if threads is not None and threads < 1:
        raise UsageError(f"at least one thread is needed, got {threads}")
    workers = threads or processors()

    job = _Job(prepared, samples, [name for name in names if name in rasters])
    blocks = job.blocks(workers)
    done = 0
    with ThreadPoolExecutor(workers) as pool:
        try:
            for block, _ in zip(blocks, pool.map(job.simulate, blocks), strict=True):
                done += block.stop - block.start
                if progress is not None:
                    progress(done, len(samples))
        except BaseException:
            # An interrupt must not wait for the blocks that have not begun.
            pool.shutdown(cancel_futures=True)
            raise
    return job.run


class _Job:
    """One simulation: the result's arrays, filled block by block."""

    def __init__(self, prepared: Prepared, samples: Samples, rasters: list[str]) -> None:
        network, count, steps = prepared.network, len(samples), samples.steps
        self.prepared, self.samples, self.wanted = prepared, samples, rasters
        self.kept = threading.local()
        reads = dict(zip(network.rank, prepared.tables.reads, strict=True))
        # Where each population that is read out finds its values: in the sums of membranes, or among all spikes.
        self.outputs = [
            (reads[name] >= 0, reads[name] if reads[name] >= 0 else network.offsets[name], network[name].size)
            for name in network.outputs
        ]
        mapped = prepared.image is not None
        cores = prepared.placement.cores if mapped else 0
        self.run = Run(
            network_name=network.name,
            steps=steps,
            spikes=np.zeros((count, network.size), np.int32),
            outputs=np.zeros((count, sum(network[name].size for name in network.outputs)), np.int64),
            core_synops=np.zeros((count, cores), np.int64),
            core_active=np.zeros((count, cores), np.int64),
            core_spikes=np.zeros((count, cores), np.int64),
            step_ns=np.zeros((count, steps if mapped else 0)),
            step_work=np.zeros((count, steps if mapped else 0, len(STEP_WORK)), np.int64),
            layer_active=np.zeros((count, len(network.populations)), np.int64),
            rasters={
                name: np.zeros((count, steps, *network[name].shape), np.int32 if reads[name] >= 0 else bool)
                for name in rasters
            },
            labels=samples.labels,
        )
        self.raster_at, self.trace_at = np.full((2, len(network.populations)), -1, np.int64)
        self.columns = self.trace_columns = 0
        for k, population in enumerate(network.populations):
            if population.name in rasters and reads[population.name] >= 0:
                self.trace_at[k] = self.trace_columns
                self.trace_columns += population.size
            elif population.name in rasters:
                self.raster_at[k] = self.columns
                self.columns += population.size

    def blocks(self, workers: int) -> list[slice]:
        """Consecutive samples, such that every worker has some and a block stays in bounds."""
        count = len(self.samples)
        each = self.samples.steps * (12 * self.prepared.placement.cores + self.columns + 4 * self.trace_columns)
        self.blocks_of = size = max(1, min(BLOCK_SAMPLES, -(-count // workers), BLOCK_BYTES // each))
        return [slice(start, min(start + size, count)) for start in range(0, count, size)]

    def simulate(self, block: slice) -> None:
        from snnc.simulator import kernels  # numba: seconds to import, and no one else needs it

        network, tables, placement = self.prepared.network, self.prepared.tables, self.prepared.placement
        steps, count = self.samples.steps, block.stop - block.start
        # Copies, since the kernel is compiled for arrays that may be written to.
        spikes = np.array(self.samples.spikes[block]).reshape(count, steps, -1)
        work = self._work(count)
        core_work = np.zeros((count, 3, placement.cores), np.int64)
        raster = np.zeros((count, steps, self.columns), np.uint8)
        counts = self.run.spikes[block]
        read = int(np.sum([p.size for p in network.populations if p.neuron == READ_OUT], dtype=np.int64))
        sums, trace = np.zeros((count, read), np.int64), np.zeros((count, steps, self.trace_columns), np.int32)
        places = (self.raster_at, self.trace_at)
        totals = (core_work, self.run.step_work[block], self.run.layer_active[block])
        arguments = (spikes, *tables.arrays, *placement.arrays, *places, counts, work, *totals, raster, sums, trace)
        kernels.run(*arguments)
        values = [(sums if reads else counts)[:, first : first + size] for reads, first, size in self.outputs]
        self.run.outputs[block] = np.concatenate(values, axis=1)
        for k, name in enumerate(p.name for p in network.populations):
            if name in self.run.rasters:
                target = self.run.rasters[name][block]
                record, first = (trace, self.trace_at[k]) if self.trace_at[k] >= 0 else (raster, self.raster_at[k])
                target[...] = record[:, :, first : first + network[name].size].reshape(target.shape)
        if self.prepared.image is not None:
            work = work[..., : placement.cores]
            for kind, total in enumerate((self.run.core_synops, self.run.core_active, self.run.core_spikes)):
                total[block] = core_work[:, kind]
            self.run.step_ns[block] = step_ns(self.prepared.image, work[:, :, 0], work[:, :, 1], work[:, :, 2])

    def _work(self, count: int) -> np.ndarray:
        """Zeros for what each core does in each step of a block of samples: int32 (count, steps, 3, whole LANES).

        One array per thread, for memory that is new to the process costs more than counting into it.
        """
        if not hasattr(self.kept, "work"):
            lanes = -(-self.prepared.placement.cores // LANES) * LANES
            self.kept.work = np.empty((self.blocks_of, self.samples.steps, 3, lanes), np.int32)
        work: np.ndarray = self.kept.work[:count]
        work[...] = 0
        return work
