"""Samples from what a user types: an ``.npz`` file, or a data set of snnc.models.data."""

from __future__ import annotations

from pathlib import Path

from snnc.errors import UsageError
from snnc.samples import Samples, load_npz

SPLITS = ("train", "validation", "test")


def samples(spec: str, split: str = "test") -> Samples:
    """The samples that `spec` names; an ``.npz`` has no splits and is returned whole.

    Raises UsageError for an unknown data set or split, InputError for unreadable data.
    """
    if spec.endswith(".npz"):
        return load_npz(Path(spec))
    if split not in SPLITS:
        raise UsageError(f"there is no split '{split}'", fix=f"choose one of {', '.join(SPLITS)}")
    from snnc.models import data

    chosen: Samples = getattr(data.load(spec), split)
    return chosen
