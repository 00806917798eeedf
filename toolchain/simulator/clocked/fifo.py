"""Finite queues of words between the units of a chip."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from snnc.jit import lean


class Fifos(NamedTuple):
    """Queues F in one array of words. first: int64 (F,), where each begins; depth, head, held (words): (F,)."""

    first: np.ndarray
    depth: np.ndarray
    head: np.ndarray
    held: np.ndarray
    words: np.ndarray


def empty(depth: np.ndarray) -> Fifos:
    """Queues for so many words, int64 (F,)."""
    ends = np.cumsum(depth)
    zero = np.zeros(len(depth), np.int64)
    return Fifos(ends - depth, depth.astype(np.int64), zero, zero.copy(), np.zeros(int(ends[-1]), np.int64))


@lean
def full(f: Fifos, k: int) -> bool:
    """Whether a queue has no place left."""
    return bool(f.held[k] >= f.depth[k])


@lean
def push(f: Fifos, k: int, word: int) -> None:
    """Put a word into a queue that is not full."""
    f.words[f.first[k] + (f.head[k] + f.held[k]) % f.depth[k]] = word
    f.held[k] += 1


@lean
def pop(f: Fifos, k: int) -> int:
    """Take the first word of a queue that is not empty."""
    word = f.words[f.first[k] + f.head[k]]
    f.head[k] = (f.head[k] + 1) % f.depth[k]
    f.held[k] -= 1
    return int(word)
