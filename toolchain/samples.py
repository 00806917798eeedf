"""Spike data: what goes into a network and, where known, what should come out.

An ``.npz`` holds ``spikes`` (samples, steps, *shape), zeros and ones, and optionally
``labels`` (samples,), integers.
"""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from snnc.errors import InputError
from snnc.files import sniff
from snnc.ops import Shape


@dataclass(frozen=True, eq=False)
class Samples:
    """A batch of recordings of equal length.

    spikes: uint8 zeros and ones, (samples, steps, *shape of the input population).
    labels: int64 (samples,), or None. name: shown to the user. Raises InputError for anything else.
    """

    spikes: np.ndarray
    labels: np.ndarray | None = None
    name: str = "data"

    def __post_init__(self) -> None:
        if self.spikes.ndim < 3 or 0 in self.spikes.shape:
            raise InputError(
                f"spikes must be (samples, steps, *shape) and not empty, got {self.spikes.shape}", where=self.name
            )
        if self.spikes.dtype.kind not in "buif" or not np.isin(self.spikes, (0, 1)).all():
            raise InputError("spikes must be zeros and ones", where=self.name, fix="threshold the data first")
        object.__setattr__(self, "spikes", np.ascontiguousarray(self.spikes, dtype=np.uint8))
        if self.labels is not None:
            labels = np.asarray(self.labels)
            if labels.shape != (len(self.spikes),) or labels.dtype.kind not in "ui":
                raise InputError(
                    f"labels must be {len(self.spikes)} integers, got {labels.dtype} {labels.shape}", where=self.name
                )
            object.__setattr__(self, "labels", labels.astype(np.int64))

    def __len__(self) -> int:
        return len(self.spikes)

    @property
    def steps(self) -> int:
        return int(self.spikes.shape[1])

    @property
    def shape(self) -> Shape:
        return tuple(int(n) for n in self.spikes.shape[2:])

    def first(self, count: int | None) -> Samples:
        """The first `count` samples (all, if None or more than there are)."""
        labels = None if self.labels is None else self.labels[:count]
        return replace(self, spikes=self.spikes[:count], labels=labels)

    def expect(self, shape: Shape) -> None:
        """Raise InputError unless the samples feed an input population of `shape`."""
        if self.shape != shape:
            raise InputError(
                f"the data has shape {self.shape} per step, the network's input {shape}",
                where=self.name,
                fix=f"give spikes of shape (samples, steps, {', '.join(map(str, shape))})",
            )


def accuracy(counts: np.ndarray, labels: np.ndarray) -> float:
    """Share of samples whose most active output is the label; ties go to the lowest index.

    counts: (samples, outputs). labels: (samples,).
    """
    return float(np.mean(counts.argmax(axis=1) == labels))


def load_npz(path: Path) -> Samples:
    """Read an ``.npz`` of spikes; raises InputError naming file and field."""
    sniff(path)
    try:
        # Opened here: numpy leaves a file open that it cannot read.
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = {name: file[name] for name in ("spikes", "labels") if name in file.files}
    except (OSError, ValueError, TypeError, MemoryError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise InputError(f"this is not a readable .npz: {error}", where=str(path)) from None
    if "spikes" not in arrays:
        raise InputError("it has no array 'spikes'", where=str(path), fix="np.savez(path, spikes=..., labels=...)")
    return Samples(arrays["spikes"], arrays.get("labels"), path.name)
