"""Damage to bytes, whatever they mean."""

from __future__ import annotations

from numpy.random import Generator

NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 40, (1 << 63) - 1, 1 << 63)
NUMBERS = (*NUMBERS, (1 << 64) - 1)


def damaged(rng: Generator, content: bytes, landmarks: tuple[bytes, ...]) -> tuple[str, bytes]:
    """`content` with a few bytes changed: anywhere, near its beginning, or near the structures named."""
    data = bytearray(content)
    if len(data) < 64:
        return "as it is", content

    def place() -> int:
        kind = rng.integers(4)
        if kind == 0:
            return int(rng.integers(min(4096, len(data) - 8)))
        found = [k for mark in landmarks for k in _occurrences(content, mark)] if kind < 3 else []
        if found:
            return min(int(rng.choice(found)) + int(rng.integers(96)), len(data) - 9)
        return int(rng.integers(len(data) - 8))

    kind = str(rng.choice(["flip", "flip", "number", "number", "number", "cut", "hole", "copy", "shift", "noise"]))
    if kind == "flip":
        for _ in range(int(rng.integers(1, 9))):
            data[place()] ^= 1 << int(rng.integers(8))
    elif kind == "number":
        for _ in range(int(rng.integers(1, 4))):
            at, size = place(), int(rng.choice([1, 2, 4, 8]))
            at -= at % size if rng.integers(2) else 0
            value = NUMBERS[rng.integers(len(NUMBERS))] & ((1 << 8 * size) - 1)
            data[at : at + size] = value.to_bytes(size, "little")
    elif kind == "cut":
        end = place()
        data[end:] = bytes(len(data) - end if rng.integers(2) else 0)
    elif kind in ("hole", "noise"):
        at, size = place(), int(rng.integers(1, 64))
        data[at : at + size] = bytes(size) if kind == "hole" else rng.bytes(size)
    elif kind == "copy":
        at, start, size = place(), place(), int(rng.choice([8, 32, 128, 512]))
        data[at : at + size] = data[start : start + size]
    else:
        at, size = place(), int(rng.integers(1, 17))
        data[at : at + (size if rng.integers(2) else 0)] = rng.bytes(size) if rng.integers(2) else b""
    return kind, bytes(data)


def _occurrences(content: bytes, mark: bytes) -> list[int]:
    found, at = [], content.find(mark)
    while at >= 0 and len(found) < 500:
        found.append(at)
        at = content.find(mark, at + 1)
    return found
