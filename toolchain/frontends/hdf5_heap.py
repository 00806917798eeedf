"""Strings of variable length in HDF5 files, read without the HDF5 library.

Such strings lie in global heaps (HDF5 File Format Specification, section III.E), and HDF5 2.0
trusts what stands there: one wrong byte makes it allocate the 4 GiB that a reference claims,
or walk forever over an object of size zero. The format is simple, so we follow it ourselves.

A reference, 16 bytes: length (u32), address of the heap (u64), number of the object (u32).
A heap: ``GCOL``, version (u8), 3 bytes, size of all (u64), then objects up to number 0 or the end.
An object: number (u16), 6 bytes, length (u64), contents, padding to 8 bytes. All little endian.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

REFERENCE_BYTES = 16
_HEADER = struct.Struct("<4s4xQ")
_OBJECT = struct.Struct("<H6xQ")
_REFERENCE = struct.Struct("<IQI")


class Heaps:
    """The global heaps of one file, parsed as they are needed. Raises ValueError where they are damaged."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file, size
        self._unread = size  # heaps do not overlap, so all together are no larger than the file
        self._heaps: dict[int, dict[int, tuple[int, int]]] = {}

    def lengths(self, offset: int, count: int) -> int:
        """Bytes of all strings together whose `count` references begin at `offset` of the file."""
        return sum(length for length, _, _ in self._references(offset, count))

    def strings(self, offset: int, count: int) -> list[str]:
        """The strings whose `count` references begin at `offset` of the file."""
        return [self._string(*r) if r[0] else "" for r in self._references(offset, count)]

    def _references(self, offset: int, count: int) -> list[tuple[int, int, int]]:
        data = self._read(offset, count * REFERENCE_BYTES)
        if len(data) < count * REFERENCE_BYTES:
            raise ValueError("references to text end early")
        return list(_REFERENCE.iter_unpack(data))

    def _string(self, length: int, address: int, number: int) -> str:
        if address not in self._heaps:
            self._heaps[address] = self._parse(address)
        offset, size = self._heaps[address].get(number, (0, 0))
        if size < length:
            raise ValueError("a reference to text points nowhere")
        return self._read(offset, length).partition(b"\0")[0].decode()

    def _read(self, offset: int, count: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(count)

    def _parse(self, address: int) -> dict[int, tuple[int, int]]:
        """Number of an object -> where its contents begin and how long they are."""
        if address + _HEADER.size > self._size:
            raise ValueError("a heap of text lies beyond the end of the file")
        signature, size = _HEADER.unpack(self._read(address, _HEADER.size))
        self._unread -= size
        if signature != b"GCOL" or size < _HEADER.size or self._unread < 0:
            raise ValueError("a heap of text is damaged")
        data = self._read(address + _HEADER.size, size - _HEADER.size)
        objects: dict[int, tuple[int, int]] = {}
        at = 0
        while at + _OBJECT.size <= len(data):
            number, length = _OBJECT.unpack_from(data, at)
            if number == 0:  # the rest is free
                break
            at += _OBJECT.size
            if length > len(data) - at:
                raise ValueError("an object in a heap of text is larger than the heap")
            objects[number] = (address + _HEADER.size + at, length)
            at += -(-length // 8) * 8
        return objects
