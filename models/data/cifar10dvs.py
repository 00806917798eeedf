"""CIFAR10-DVS (Li et al. 2017): 10,000 images of CIFAR-10, moved before an event camera. Shape (2, size, size).

A folder is where tonic keeps its data sets: ``FOLDER/CIFAR10DVS/<class>/*.aedat4``. There is no official test split; a
tenth of each class is held out, as is usual.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from snnc.models.data import events
from snnc.models.data.dataset import Dataset, share_out

SENSOR = (128, 128, 2)  # columns, rows, polarities
CLASSES = 10
# The test split is the same whatever the seed, so that no two trainings tell each other of it.
_SPLIT_SEED = 0


def load(folder: Path | None, spec: str, options: dict[str, Any]) -> Dataset:
    """The recordings of tonic."""
    (found,) = events.sets("CIFAR10DVS", folder, {})
    # Tonic lists the files of a folder in no order.
    pairs = sorted(zip(map(Path, found.data), found.targets, strict=True))
    labels = np.array([label for _, label in pairs], np.int64)
    held = round(len(labels) / 10)
    parts = share_out(labels, (len(labels) - held, held), np.random.default_rng(_SPLIT_SEED))
    learning, test = (_recordings([pairs[k][0] for k in np.sort(part)], labels[np.sort(part)]) for part in parts)
    grid = events.Grid(SENSOR, options["steps"], options["window"], options["size"], options["size"])
    return events.dataset(learning, test, grid, CLASSES, spec, options)


def _recordings(files: list[Path], labels: np.ndarray) -> events.Recordings:
    return events.Recordings(labels, files, lambda k: _read(files[k]))


def _read(path: Path) -> np.ndarray:
    events_there = events.camera(path)
    found = np.empty(len(events_there), events.FIELDS)
    # Packages differ in their names of the polarity; the order of the fields is the same.
    for name, own in zip("txyp", events_there.dtype.names or (), strict=True):
        found[name] = events_there[own]
    return found[np.argsort(found["t"], kind="stable")]
