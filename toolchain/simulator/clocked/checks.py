"""What the rules of a chip may take for granted about numbers that come from outside."""

from __future__ import annotations

import numpy as np

from snnc.errors import InputError


def expect(
    name: str, array: np.ndarray, shape: tuple[int, ...], least: int | None = None, most: int | None = None
) -> None:
    """InputError unless an array has a shape, and whole numbers between two limits."""
    if array.shape != shape:
        raise InputError(f"{name} has the shape {array.shape} instead of {shape}")
    if array.dtype.kind not in "iub":
        raise InputError(f"{name} must be whole numbers, not {array.dtype}")
    low, high = (int(array.min()), int(array.max())) if array.size else (least or 0, least or 0)
    if least is not None and low < least:
        raise InputError(f"{name} has {low}, but the least is {least}")
    if most is not None and high > most:
        raise InputError(f"{name} has {high}, but the most is {most}")
