"""Recordings of events, which tonic reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from snnc.errors import InputError, UsageError
from snnc.files import sniff

EVENT_BYTES = 5  # of N-MNIST: x, y, polarity and time in 40 bits
TONIC_CURE = "pip install 'snnc[events]'"

# What tonic's readers raise on files that are damaged or of another kind.
DAMAGE = (OSError, ValueError, TypeError, LookupError, AttributeError, RuntimeError)


def tonic() -> Any:
    """The package; UsageError with the cure where it is missing."""
    try:
        import tonic
    except ImportError:
        raise UsageError("reading event recordings needs the package tonic", fix=TONIC_CURE) from None
    return tonic


def camera(path: Path) -> np.ndarray:
    """Events of a ``.bin`` or ``.aedat4`` file: a structured array of x, y, t in microseconds, p.

    UsageError where a package is missing, InputError where the file is damaged.
    """
    reader = tonic()
    sniff(path)
    if path.suffix == ".bin":
        if path.stat().st_size % EVENT_BYTES:
            raise InputError(f"this is not an N-MNIST recording: events take {EVENT_BYTES} bytes each", where=str(path))
        events: np.ndarray = reader.io.read_mnist_file(str(path), dtype=reader.datasets.NMNIST.dtype)
        return events
    try:
        found: np.ndarray = reader.io.read_aedat4(str(path))
    except ImportError:
        raise UsageError("reading .aedat4 needs the package aedat", where=str(path), fix="pip install aedat") from None
    except DAMAGE as error:
        raise InputError(f"this is not a readable .aedat4: {error}", where=str(path)) from None
    return found
