"""Samples from what a user types: an ``.npz`` or ``.npy`` file, or a data set of snnc.models.data."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from snnc.errors import UsageError
from snnc.ops import Shape
from snnc.samples import Samples, load_npy, load_npz

SPLITS = ("train", "validation", "test", "all")


def samples(spec: str, split: str = "test", *, shape: Shape | None = None) -> Samples:
    """The samples that `spec` names; a file has no splits and is returned whole.

    split: "all" is the three others one after the other. shape: of the network's input, which tells an ``.npy`` of
    one sample from one of several. Raises UsageError for an unknown data set or split, InputError for unreadable
    data.
    """
    if spec.endswith(".npz"):
        return load_npz(Path(spec))
    if spec.endswith(".npy"):
        if shape is None:
            raise UsageError("an .npy does not say where its samples begin", where=spec, fix="use an .npz")
        return load_npy(Path(spec), shape)
    if split not in SPLITS:
        raise UsageError(f"there is no split '{split}'", fix=f"choose one of {', '.join(SPLITS)}")
    from snnc.models import data

    loaded = data.load(spec)
    if split != "all":
        chosen: Samples = getattr(loaded, split)
        return chosen
    parts = (loaded.train, loaded.validation, loaded.test)
    labels = np.concatenate([p.labels for p in parts if p.labels is not None])
    return Samples(np.concatenate([p.spikes for p in parts]), labels, loaded.train.name)
