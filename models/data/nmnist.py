"""N-MNIST (Orchard et al. 2015): digits before a moving event camera. Shape (2, 34, 34).

A folder holds ``<digit>/*.bin``, any number of them, or is where tonic keeps its data sets (``FOLDER/NMNIST/Train``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from snnc.errors import InputError
from snnc.models.data import events, folders
from snnc.models.data.augment import AUGMENTATIONS
from snnc.models.data.dataset import Dataset, share_out
from snnc.samples import Samples

SENSOR = (34, 34, 2)  # columns, rows, polarities


def load(folder: Path | None, spec: str, options: dict[str, Any]) -> Dataset:
    """The recordings of a folder, or of tonic."""
    events.tonic()  # said before the folder is looked at
    files, labels, official = _recordings(folder)
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
    recordings = events.Recordings(labels, files, lambda k: events.camera(files[k]))
    grid = events.Grid(SENSOR, options["steps"], options["window"], SENSOR[0], SENSOR[1])
    frames = events.Frames.of(recordings, np.arange(len(files)), grid)
    parts = [Samples(frames[part], labels[part], "nmnist") for part in (train, validation, test)]
    return Dataset(parts[0], parts[1], parts[2], 10, spec, AUGMENTATIONS[options["augment"]])


def _recordings(folder: Path | None) -> tuple[list[Path], np.ndarray, np.ndarray]:
    """Files, their labels, and which of them belong to the official test set (none for a plain folder)."""
    if folder and not (folders.require(folder) / "NMNIST").is_dir():
        files = sorted(p for p in folder.glob("[0-9]/*.bin") if p.is_file())
        if not files:
            below = next((p for p in sorted(folder.iterdir()) if any(p.glob("[0-9]/*.bin"))), None)
            fix = f"did you mean {below}?" if below else "the folder must hold <digit>/*.bin, digits 0 to 9"
            raise InputError("there are no recordings in this folder", where=str(folder), fix=fix)
        labels = np.array([int(p.parent.name) for p in files])
        return files, labels, np.zeros(len(files), bool)
    cure = "name a folder of recordings: nmnist=FOLDER with FOLDER/<digit>/*.bin"
    sets = events.sets("NMNIST", folder, {"train": True}, {"train": False}, fix=cure)
    files = [Path(p) for s in sets for p in s.data]
    return files, np.concatenate([s.targets for s in sets]), np.repeat([False, True], [len(s.data) for s in sets])
