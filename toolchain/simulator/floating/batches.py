"""Many samples through the float network: blocks of them on threads, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from snnc.errors import UsageError
from snnc.network import Network
from snnc.processors import processors
from snnc.simulator.floating import simulate
from snnc.simulator.workload import Recorder, Workload, join

# What one block may take for the records of the layers that are alive together.
BLOCK_BYTES = 64 << 20
BLOCK_SAMPLES = 16

Found = TypeVar("Found")


def counts(
    network: Network,
    inputs: Mapping[str, np.ndarray],
    layers: Collection[str] | None = None,
    *,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, np.ndarray]:
    """What populations put out, summed over the steps: spikes, or of values their sum.

    inputs: name of each input -> (samples, steps, *shape). layers: names of populations; None = all. threads: None =
    all that this process may use. Returns name -> float64 (samples, neurons). Errors as in
    :func:`snnc.simulator.floating.simulate`; UsageError for fewer than one thread.
    """

    def run(data: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return _totals(simulate(network, data, keep=layers))

    parts = _in_blocks(network, inputs, run, threads, progress)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def watched(
    network: Network,
    inputs: Mapping[str, np.ndarray],
    *,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[dict[str, np.ndarray], Workload]:
    """As :func:`counts`, of all populations, and the workload in NeuroBench's terms."""

    def run(data: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], Workload]:
        recorder = Recorder(network, *next(iter(data.values())).shape[:2])
        records = simulate(network, data, watch=recorder)
        return _totals(records), recorder.workload(records)

    parts = _in_blocks(network, inputs, run, threads, progress)
    totals = {name: np.concatenate([part[name] for part, _ in parts]) for name in parts[0][0]}
    return totals, join([workload for _, workload in parts])


def _totals(records: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: r.sum(axis=1, dtype=np.float64).reshape(len(r), -1) for name, r in records.items()}


def _in_blocks(
    network: Network,
    inputs: Mapping[str, np.ndarray],
    run: Callable[[Mapping[str, np.ndarray]], Found],
    threads: int | None,
    progress: Callable[[int, int], None] | None,
) -> list[Found]:
    """What `run` finds in each block of samples, in order."""
    if threads is not None and threads < 1:
        raise UsageError(f"at least one thread is needed, got {threads}")
    total, steps = next(iter(inputs.values())).shape[:2]
    workers = threads or processors()
    # A record and what is delivered to it, of the two largest layers that follow each other.
    largest = sum(sorted(p.size for p in network.populations)[-2:])
    size = max(1, min(BLOCK_SAMPLES, -(-total // workers), BLOCK_BYTES // (9 * steps * largest)))
    blocks = [slice(start, min(start + size, total)) for start in range(0, total, size)]

    def of(block: slice) -> Found:
        return run({name: data[block] for name, data in inputs.items()})

    parts = []
    with ThreadPoolExecutor(workers) as pool:
        try:
            for block, part in zip(blocks, pool.map(of, blocks), strict=True):
                parts.append(part)
                if progress is not None:
                    progress(block.stop, total)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return parts
