"""Spiking Heidelberg Digits (Cramer et al. 2020): spoken digits in two languages, 20 classes, as spikes of 700 channels
of an artificial inner ear. Shape (channels,).

A folder is where tonic keeps its data sets: ``FOLDER/SHD/shd_train.h5`` and ``shd_test.h5``, of ``spikes/times`` in
seconds, ``spikes/units`` and ``labels``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from snnc.errors import InputError
from snnc.models.data import events
from snnc.models.data.dataset import Dataset

SENSOR = (700, 1, 1)  # channels of the ear, as columns; one row, one polarity
CLASSES = 20


def load(folder: Path | None, spec: str, options: dict[str, Any]) -> Dataset:
    """The recordings of tonic."""
    found = events.sets("SHD", folder, {"train": True}, {"train": False})
    paths = [Path(s.location_on_system) / s.data_filename for s in found]
    grid = events.Grid(SENSOR, options["steps"], options["window"], options["channels"], 1, flat=True)
    with _open(paths[0]) as learning, _open(paths[1]) as test:
        sets = _recordings(learning, paths[0]), _recordings(test, paths[1])
        return events.dataset(sets[0], sets[1], grid, CLASSES, spec, options)


def _open(path: Path) -> h5py.File:
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise InputError(f"this is not a readable .h5: {error}", where=str(path)) from None


def _recordings(file: h5py.File, path: Path) -> events.Recordings:
    try:
        times, units, labels = file["spikes/times"], file["spikes/units"], file["labels"][()]
    except (LookupError, OSError, TypeError, AttributeError) as error:
        raise InputError(f"this is not a file of the Heidelberg digits: {error}", where=str(path)) from None
    if not len(labels) == len(times) == len(units):
        raise InputError(
            f"it holds {len(labels)} labels, and times of {len(times)} recordings and units of {len(units)}",
            where=str(path),
        )
    if labels.dtype.kind not in "ui" or np.any(labels >= CLASSES) or np.any(labels < 0):
        raise InputError(f"labels must be 0 to {CLASSES - 1}", where=str(path))

    def read(k: int) -> np.ndarray:
        try:
            seconds, channels = np.asarray(times[k], np.float64), np.asarray(units[k])
        except OSError as error:
            raise InputError(f"recording {k} cannot be read: {error}", where=str(path)) from None
        if seconds.shape != channels.shape or not np.all(np.isfinite(seconds)):
            raise InputError(f"recording {k} has times that are no numbers, or none for a spike", where=str(path))
        found = np.zeros(len(seconds), events.FIELDS)
        found["x"], found["t"] = channels, seconds * 1e6
        return found[np.argsort(found["t"], kind="stable")]

    return events.Recordings(labels.astype(np.int64), [path] * len(labels), read)
