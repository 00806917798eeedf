"""DVS128 Gesture (Amir et al. 2017): eleven gestures before an event camera of 128x128. Shape (2, size, size).

A folder is where tonic keeps its data sets: ``FOLDER/DVSGesture/ibmGestureTrain/<user>_<light>/<label>.npy`` and the
same of ``ibmGestureTest``, which is the test split. Each is an array (events, 4) of x, y, polarity and milliseconds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from snnc.errors import InputError
from snnc.models.data import events
from snnc.models.data.dataset import Dataset
from snnc.samples import map_npy

SENSOR = (128, 128, 2)  # columns, rows, polarities
CLASSES = 11


def load(folder: Path | None, spec: str, options: dict[str, Any]) -> Dataset:
    """The recordings of tonic."""
    learning, test = map(_recordings, events.sets("DVSGesture", folder, {"train": True}, {"train": False}))
    grid = events.Grid(SENSOR, options["steps"], options["window"], options["size"], options["size"])
    return events.dataset(learning, test, grid, CLASSES, spec, options)


def _recordings(found: Any) -> events.Recordings:
    # Tonic lists the files of a folder in no order.
    pairs = sorted(zip(map(Path, found.data), found.targets, strict=True))
    files, labels = [file for file, _ in pairs], np.array([label for _, label in pairs], np.int64)
    if np.any((labels < 0) | (labels >= CLASSES)):
        odd = files[int(np.argmax((labels < 0) | (labels >= CLASSES)))]
        raise InputError(f"a file is named after its gesture, 0 to {CLASSES - 1}", where=str(odd))
    return events.Recordings(labels, files, lambda k: _read(files[k]))


def _read(path: Path) -> np.ndarray:
    array = np.asarray(map_npy(path))
    if array.ndim != 2 or array.shape[1] != 4 or array.dtype.kind not in "uif":
        raise InputError(
            f"a gesture is an array (events, 4) of numbers, this one {array.shape} of {array.dtype}", where=str(path)
        )
    found = np.empty(len(array), events.FIELDS)
    for name, column in zip("xypt", array.T, strict=True):
        found[name] = column
    found["t"] *= 1000  # from milliseconds
    return found[np.argsort(found["t"], kind="stable")]
