"""Many samples through the float network: blocks of them on threads, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from snnc.errors import UsageError
from snnc.network import Network
from snnc.processors import processors
from snnc.simulator.floating import simulate

# What one block may take for the records of the layers that are alive together.
BLOCK_BYTES = 64 << 20
BLOCK_SAMPLES = 16


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
    if threads is not None and threads < 1:
        raise UsageError(f"at least one thread is needed, got {threads}")
    total, steps = next(iter(inputs.values())).shape[:2]
    workers = threads or processors()
    # A record and what is delivered to it, of the two largest layers that follow each other.
    largest = sum(sorted(p.size for p in network.populations)[-2:])
    size = max(1, min(BLOCK_SAMPLES, -(-total // workers), BLOCK_BYTES // (9 * steps * largest)))
    blocks = [slice(start, min(start + size, total)) for start in range(0, total, size)]

    def run(block: slice) -> dict[str, np.ndarray]:
        records = simulate(network, {name: data[block] for name, data in inputs.items()}, keep=layers)
        return {name: r.sum(axis=1, dtype=np.float64).reshape(len(r), -1) for name, r in records.items()}

    parts = []
    with ThreadPoolExecutor(workers) as pool:
        try:
            for block, part in zip(blocks, pool.map(run, blocks), strict=True):
                parts.append(part)
                if progress is not None:
                    progress(block.stop, total)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
