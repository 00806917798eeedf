"""N-MNIST (Orchard et al. 2015): digits before a moving event camera. Shape (2, 34, 34).

A folder holds ``<digit>/*.bin``, any number of them, or is where tonic keeps its data sets (``FOLDER/NMNIST/Train``).
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from snnc.errors import InputError
from snnc.models.data import cache, events, folders
from snnc.models.data.augment import AUGMENTATIONS
from snnc.models.data.dataset import Dataset, share_out
from snnc.samples import Samples

SENSOR = (34, 34, 2)  # columns, rows, polarities


def load(folder: Path | None, spec: str, options: dict[str, Any]) -> Dataset:
    """The recordings of a folder, or of tonic."""
    tonic = events.tonic()
    files, labels, official = _recordings(tonic, folder)
    generator = np.random.default_rng(options["seed"])
    chosen = np.sort(generator.permutation(len(files))[: options["samples"] or None])
    files, labels = [files[i] for i in chosen], labels[chosen]
    held = official[chosen]
    learning, test = np.flatnonzero(~held), np.flatnonzero(held)
    if not len(test):
        count = len(files)
        learning, test = share_out(labels, (count - -(-count // 4), -(-count // 4)), generator)
    validating = max(1, round(len(files) / 12))
    if len(learning) <= validating or not len(test):
        raise InputError(f"{len(files)} recordings are too few to train, validate and test", where=str(folder or ""))
    train, validation = (
        learning[part] for part in share_out(labels[learning], (len(learning) - validating, validating), generator)
    )

    def read(part: np.ndarray) -> Samples:
        return Samples(np.stack([_frames(tonic, files[i], options) for i in part]), labels[part], "nmnist")

    return Dataset(read(train), read(validation), read(test), 10, spec, AUGMENTATIONS[options["augment"]])


def _recordings(tonic: Any, folder: Path | None) -> tuple[list[Path], np.ndarray, np.ndarray]:
    """Files, their labels, and which of them belong to the official test set (none for a plain folder)."""
    if folder and not (folders.require(folder) / "NMNIST").is_dir():
        files = sorted(p for p in folder.glob("[0-9]/*.bin") if p.is_file())
        if not files:
            below = next((p for p in sorted(folder.iterdir()) if any(p.glob("[0-9]/*.bin"))), None)
            fix = f"did you mean {below}?" if below else "the folder must hold <digit>/*.bin, digits 0 to 9"
            raise InputError("there are no recordings in this folder", where=str(folder), fix=fix)
        labels = np.array([int(p.parent.name) for p in files])
        return files, labels, np.zeros(len(files), bool)
    place = folder or cache.root()
    try:
        # Tonic tells of its download on stdout, which is for results.
        with contextlib.redirect_stdout(sys.stderr):
            sets = [tonic.datasets.NMNIST(save_to=str(place), train=train) for train in (True, False)]
    except (OSError, RuntimeError) as error:  # no network, a refused or damaged download
        raise InputError(
            f"tonic found no complete N-MNIST and could not download it: {error}",
            where=str(place),
            fix="name a folder of recordings: nmnist=FOLDER with FOLDER/<digit>/*.bin",
        ) from None
    files = [Path(p) for s in sets for p in s.data]
    return files, np.concatenate([s.targets for s in sets]), np.repeat([False, True], [len(s.data) for s in sets])


def _frames(tonic: Any, path: Path, options: Mapping[str, Any]) -> np.ndarray:
    """One recording as frames of zeros and ones, uint8 (steps, 2, 34, 34)."""
    recorded = events.camera(path)
    if not len(recorded) or recorded["x"].max() >= SENSOR[0] or recorded["y"].max() >= SENSOR[1]:
        raise InputError(
            f"this is not an N-MNIST recording: no events, or outside {SENSOR[0]}x{SENSOR[1]}", where=str(path)
        )
    steps, window = options["steps"], options["window"]
    if np.any(np.diff(recorded["t"]) < 0):
        raise InputError("this is not an N-MNIST recording: its times go backwards", where=str(path))
    if not window and recorded["t"][-1] - recorded["t"][0] < steps:
        raise InputError(f"it is too short to be divided into {steps} steps of whole microseconds", where=str(path))
    if window:
        to_frame = tonic.transforms.ToFrame(SENSOR, time_window=1000 * window, include_incomplete=True)
    else:
        to_frame = tonic.transforms.ToFrame(SENSOR, n_time_bins=steps)
    frames = to_frame(recorded)[:steps] > 0
    return np.pad(frames, ((0, steps - len(frames)), (0, 0), (0, 0), (0, 0))).astype(np.uint8)
