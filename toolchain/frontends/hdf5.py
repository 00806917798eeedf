"""HDF5 from strangers, read into plain dicts.

HDF5 can do more than hold arrays: it follows links into other files, maps the bytes
of any local file as data, loads filter plugins and inflates kilobytes to terabytes.
A network needs none of that. This reader takes hard-linked groups and datasets of
numbers and text, stored plainly or with gzip and shuffle, and refuses the rest before
it touches any data. Whatever the bytes are, the outcome is a tree or an InputError
that names the file and the place in it.

Limits, far above any network that fits a chip and far below what harms a machine:

=====================  ==========================================================
:data:`DATASET_BYTES`  1 GiB for one dataset (a dense matrix 16,384 x 16,384)
:data:`TOTAL_BYTES`    2 GiB for all datasets of a file together
:data:`EXPANSION`      1,100 bytes in memory per byte of file: deflate cannot exceed 1,032
:data:`OBJECTS`        50,000 groups and datasets
:data:`DEPTH`          16 nested groups; also what ends a cycle of hard links
:data:`STRINGS`        200,000 strings in one dataset
=====================  ==========================================================
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from snnc.errors import InputError
from snnc.files import sniff
from snnc.frontends.hdf5_heap import REFERENCE_BYTES, Heaps

DATASET_BYTES = 1 << 30
TOTAL_BYTES = 2 << 30
EXPANSION = 1100
OBJECTS = 50_000
DEPTH = 16
STRINGS = 200_000

SIGNATURE = b"\x89HDF\r\n\x1a\n"

# A group; its leaves are numpy arrays of numbers or bool (0-d ones included), str, or arrays of str (dtype object).
Tree = dict[str, Any]

# Pipelines of filters, in the order in which they were applied on writing.
_GZIP, _SHUFFLE = h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE
_PLAIN = ((), (_SHUFFLE,), (_GZIP,), (_SHUFFLE, _GZIP))
# What h5py raises on damaged files, found by flipping bytes.
_DAMAGE = (OSError, RuntimeError, LookupError, ValueError, TypeError, ArithmeticError, MemoryError, zlib.error)


@dataclass
class _Budget:
    """One file, and what may still be read of it."""

    path: Path
    heaps: Heaps
    data_bytes: int
    objects: int

    def take_object(self, at: str) -> None:
        self.objects -= 1
        if self.objects < 0:
            raise InputError(f"it holds more than {OBJECTS:,} groups and datasets", where=self.place(at))

    def take_bytes(self, count: int, at: str) -> None:
        if count > DATASET_BYTES:
            raise InputError(
                f"it declares {count:,} bytes; at most {DATASET_BYTES:,} are read from one dataset",
                where=self.place(at),
            )
        self.data_bytes -= count
        if self.data_bytes < 0:
            raise InputError(
                "the file declares more data than it can hold, "
                f"or more than the {TOTAL_BYTES:,} bytes that are read from one file",
                where=self.place(at),
            )

    def place(self, at: str) -> str:
        return f"{self.path}: {at}"


def read_tree(path: Path) -> Tree:
    """All groups and datasets of a file; keys in the order of HDF5, i.e. alphabetical.

    Attributes are not read. InputError for anything but a whole file within the limits above.
    """
    where = str(path)
    if not sniff(path).startswith(SIGNATURE):
        raise InputError("this is not an HDF5 file", where=where, fix="check that the download is complete")
    budget = _Budget(path, Heaps(path), min(TOTAL_BYTES, EXPANSION * path.stat().st_size), OBJECTS)
    with _guard(where), h5py.File(path, "r") as file:
        return _group(file, "", 0, budget)


@contextmanager
def _guard(where: str) -> Iterator[None]:
    """Turn what h5py raises on damaged data into an InputError."""
    try:
        yield
    except _DAMAGE as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"the file is damaged or incomplete: {reason}", where=where, topic="damaged") from error


def _group(group: h5py.Group, at: str, depth: int, budget: _Budget) -> Tree:
    if depth > DEPTH:
        raise InputError(f"groups are nested deeper than {DEPTH}, or contain themselves", where=budget.place(at))
    tree: Tree = {}
    with _guard(budget.place(at or "/")):
        for name in group:
            if not isinstance(name, str):
                raise InputError(f"a name in it is no text: {name!r}", where=budget.place(at or "/"), topic="damaged")
            here = f"{at}/{name}"
            budget.take_object(here)
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise InputError(
                    "links to other places are not followed",
                    where=budget.place(here),
                    fix="store the data itself in the file",
                )
            item = group[name]
            if isinstance(item, h5py.Group):
                tree[name] = _group(item, here, depth + 1, budget)
            elif isinstance(item, h5py.Dataset):
                with _guard(budget.place(here)):
                    tree[name] = _dataset(item, here, budget)
            else:
                raise InputError("it is neither a group nor a dataset", where=budget.place(here))
    return tree


def _dataset(dataset: h5py.Dataset, at: str, budget: _Budget) -> np.ndarray | str:
    if dataset.external or dataset.is_virtual:
        raise InputError(
            "its data lie in another file, which is not opened",
            where=budget.place(at),
            fix="store the data itself in the file",
        )
    dtype, shape = dataset.dtype, dataset.shape
    text = h5py.check_string_dtype(dtype)
    numbers = dtype.kind in "iufb" and dtype.itemsize <= 8
    if shape is None or not (text or numbers):
        raise InputError(f"type {dtype} with shape {shape} is neither numbers nor text", where=budget.place(at))
    if text and math.prod(shape) > STRINGS:
        raise InputError(f"it holds more than {STRINGS:,} strings", where=budget.place(at))
    if text and text.length is None:
        return _text(dataset, at, budget)
    budget.take_bytes(math.prod(shape) * dtype.itemsize, at)
    _check_chunks(dataset, budget.place(at))
    if text:
        value = dataset.asstr()[()]
        return value if shape else str(value)
    return np.asarray(dataset[()]).astype(np.dtype(dtype.str).newbyteorder("="), copy=False)


def _check_chunks(dataset: h5py.Dataset, where: str) -> None:
    """Accept plain, gzip and shuffle storage, and no chunk that inflates beyond its declared size.

    HDF5 inflates whatever is there, and a megabyte of deflate holds a gigabyte.
    """
    plan = dataset.id.get_create_plist()
    filters = tuple(plan.get_filter(k)[0] for k in range(plan.get_nfilters()))
    if filters not in _PLAIN:
        raise InputError(
            f"compression {', '.join(map(str, filters))} (HDF5 filter numbers) is not read",
            where=where,
            fix="write it with gzip or without compression",
        )
    if dataset.chunks is None:
        return
    size = math.prod(dataset.chunks) * dataset.dtype.itemsize
    if size > DATASET_BYTES:
        raise InputError(f"it is stored in chunks of {size:,} bytes; at most {DATASET_BYTES:,} are read", where=where)
    chunks: list[Any] = []
    dataset.id.chunk_iter(chunks.append)
    for chunk in chunks:
        # Deflate adds at most 5 bytes per 16 KiB, and a header.
        if chunk.size > size + size // 1000 + 64:
            raise InputError("a stored chunk is larger than its contents", where=where, topic="damaged")
        if _GZIP in filters:
            skipped, stored = dataset.id.read_direct_chunk(chunk.chunk_offset)
            if not skipped and len(zlib.decompressobj().decompress(stored, size + 1)) > size:
                raise InputError("a compressed chunk holds more than it declares", where=where, topic="damaged")


def _text(dataset: h5py.Dataset, at: str, budget: _Budget) -> np.ndarray | str:
    """Strings of variable length: the one of a 0-d dataset, else an object array of str."""
    if dataset.id.get_create_plist().get_layout() != h5py.h5d.CONTIGUOUS:
        raise InputError("text in chunks is not read", where=budget.place(at), fix="write text without compression")
    count, size = math.prod(dataset.shape), dataset.id.get_storage_size()
    values = [""] * count  # what was never written is empty
    if size:
        if size != count * REFERENCE_BYTES:
            raise InputError("it refers to its text in an uncommon way", where=budget.place(at))
        offset = dataset.id.get_offset()
        budget.take_bytes(budget.heaps.lengths(offset, count), at)
        values = budget.heaps.strings(offset, count)
    return np.array(values, object).reshape(dataset.shape) if dataset.shape else values[0]
