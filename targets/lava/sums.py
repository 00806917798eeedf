"""How large the sums may become that Lava takes of weights, and what keeps them within its words."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from snnc.errors import InputError
from snnc.ops import Conv2d, Linear, canonical
from snnc.targets.lava.weights import Encoding

LARGEST_VALUE = (1 << 17) - 1
"""A value that a neuron sends is its membrane in units of 2^6, and that has 24 bits with sign."""

WORD = (1 << 31) - 1
"""Lava sums in 32 bits what arrives through a matrix (``lava.proc.dense``),"""

KERNEL_WORD = (1 << 23) - 1
"""in 24 bits what arrives through a kernel (``lava.proc.conv``),"""

LIF_INPUT = (1 << 24) - 1
"""and its LIF shifts the sum by 6 within 32 bits, and adds a u of 24 (``lava.proc.lif``)."""


def word(op: Linear | Conv2d) -> int:
    """The largest sum of an operation."""
    return KERNEL_WORD if isinstance(op, Conv2d) else WORD


def row_sum(op: Linear | Conv2d, encoding: Encoding | None = None) -> int:
    """The most that arrives at one neuron if every source sends 1 or -1.

    encoding: count what the process sums instead, in which the weights of a matrix may be doubled.
    """
    if isinstance(op, Conv2d):
        return int(np.abs(op.weight.astype(np.int64)).sum(axis=(1, 2, 3)).max(initial=0))
    total = int(abs(op.weight.astype(np.int64)).sum(axis=1).max(initial=0))
    return total << 1 if encoding is not None and encoding.exponent < 0 else total


def split(op: Linear | Conv2d, encoding: Encoding, largest: int, where: str) -> list[Linear | Conv2d]:
    """The operation in parts, each with some of its sources, of which no sum can become too large.

    largest: the most that a source sends. Raises InputError, naming `where`, if one weight is too large already.
    """
    parts = [op]
    while any(row_sum(part, encoding) * largest > word(op) for part in parts):
        columns = 0 if isinstance(op, Conv2d) else op.weight.shape[1]
        if columns < 2 * len(parts):
            raise InputError(
                f"what arrives may sum up to {row_sum(op) * largest:,}, which is more than Lava's "
                f"{word(op).bit_length() + 1} bits hold",
                where=where,
                fix="use fewer or smaller weights there, or run it with snnc simulate",
            )
        parts = _columns(op, 2 * len(parts))
    return parts


def _columns(op: Linear | Conv2d, parts: int) -> list[Linear | Conv2d]:
    """A matrix in so many parts with the weights of neighbouring sources; all other weights of each are absent."""
    weight = canonical(op.weight).tocsc()
    edges = np.linspace(0, weight.shape[1], parts + 1).astype(int)
    made: list[Linear | Conv2d] = []
    for first, last in pairwise(edges):
        part = weight.copy()
        part.data[: weight.indptr[first]] = 0
        part.data[weight.indptr[last] :] = 0
        made.append(Linear(canonical(part)))
    return made
