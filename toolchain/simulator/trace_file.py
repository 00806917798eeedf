"""Traces in a file: ``.npz``, which numpy opens, or HDF5, which may be larger than memory.

Both hold an array for each trace, called KIND/LAYER (``v/fc1``), (samples, steps, *shape): bool for spikes, int32 or
int64 for registers. A file of HDF5 is written piece by piece, in chunks of some steps of one sample, compressed by
gzip. The arrays do not depend on the number of threads; the order of chunks in the file may.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from snnc.errors import UsageError
from snnc.files import atomic
from snnc.simulator.traces import Form, Memory, Sink, Trace

HDF5 = (".h5", ".hdf5")
# One chunk, before it is compressed: large enough to compress well, small enough for a reader of single steps.
CHUNK_BYTES = 256 << 10


@contextmanager
def create(path: Path) -> Iterator[Sink]:
    """A sink for traces; the file appears whole on success, and not at all on any error.

    UsageError where the end of the name is unknown or nothing can be written there.
    """
    if path.suffix not in (".npz", *HDF5):
        raise UsageError(
            f"traces are written to .npz or .h5, not '{path.suffix}'", where=str(path), fix="choose a name with .h5"
        )
    with atomic(path) as temporary:
        if path.suffix == ".npz":
            memory = Memory()
            yield memory
            arrays: dict[str, Any] = {"/".join(trace): array for trace, array in memory.arrays.items()}
            np.savez_compressed(temporary, **arrays)
        else:
            import h5py

            with h5py.File(temporary, "w") as file:
                yield _Hdf5(file)


class _Hdf5:
    """Writes to an open file, from one thread at a time."""

    def __init__(self, file: Any) -> None:
        self._file, self._lock = file, threading.Lock()

    def open(self, forms: Mapping[Trace, Form], samples: int, steps: int) -> None:
        """Make a dataset for each trace."""
        for (kind, name), (dtype, shape) in forms.items():
            chunk = max(1, min(steps, CHUNK_BYTES // (math.prod(shape) * dtype.itemsize)))
            self._file.create_dataset(
                f"{kind}/{name}",
                (samples, steps, *shape),
                dtype,
                chunks=(1, chunk, *shape),
                compression="gzip",
                compression_opts=1,
                shuffle=True,
            )

    def write(self, trace: Trace, samples: slice, first: int, values: np.ndarray) -> None:
        """Write a piece."""
        with self._lock:
            self._file["/".join(trace)][samples, first : first + values.shape[1]] = values
