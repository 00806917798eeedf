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
:data:`SMALL_BYTES`    64 MiB of that for any file, however small it is
:data:`EXPANSION`      128 bytes more per byte of file: weights of which one in a thousand
                       is left compress to a twelfth, integers of a byte count eightfold
:data:`OBJECTS`        20,000 groups and datasets
:data:`DEPTH`          64 nested groups; also what ends a cycle of hard links
:data:`STRINGS`        200,000 strings in one dataset
=====================  ==========================================================

Bytes are those that numbers take when a network is made of them, 8 for integers of any width.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Collection, Iterator
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
SMALL_BYTES = 64 << 20
EXPANSION = 128
OBJECTS = 20_000
DEPTH = 64
STRINGS = 200_000
STRING_BYTES = 64  # of a text, besides its letters

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
    size: int
    objects: int
    data_bytes: int = 0

    def __post_init__(self) -> None:
        self.data_bytes = self.allowed

    @property
    def allowed(self) -> int:
        return min(TOTAL_BYTES, SMALL_BYTES + EXPANSION * self.size)

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
                f"with it the file declares more than {self.allowed:,} bytes, "
                f"which is all that is read from a file of {self.size:,} bytes",
                where=self.place(at),
                fix="write it without compression, if it is a network",
            )

    def place(self, at: str) -> str:
        return f"{self.path}: {at}"


def read_tree(path: Path, *, attributes: Collection[str] = ()) -> Tree:
    """All groups and datasets of a file; keys in the order of HDF5, i.e. alphabetical.

    attributes: names of single numbers that groups may have; one called dt becomes the leaf "@dt". No others are read.
    InputError for anything but a whole file within the limits above.
    """
    where = str(path)
    if not sniff(path).startswith(SIGNATURE):
        raise InputError("this is not an HDF5 file", where=where, fix="check that the download is complete")
    with path.open("rb") as raw, _guard(where), h5py.File(path, "r") as file:
        size = path.stat().st_size
        return _group(file.id, "", 0, _Budget(path, Heaps(raw, size), size, OBJECTS), attributes)


@contextmanager
def _guard(where: str) -> Iterator[None]:
    """Turn what h5py raises on damaged data into an InputError."""
    try:
        yield
    except _DAMAGE as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"the file is damaged or incomplete: {reason}", where=where, topic="damaged") from error


# h5py's low-level interface takes a fifth of the time of its groups and datasets, which matters for thousands of them.


def _group(group: h5py.h5g.GroupID, at: str, depth: int, budget: _Budget, attributes: Collection[str]) -> Tree:
    if depth > DEPTH:
        raise InputError(f"groups are nested deeper than {DEPTH}, or contain themselves", where=budget.place(at))
    tree: Tree = {}
    with _guard(budget.place(at or "/")):
        links: list[tuple[bytes, Any]] = []
        group.links.iterate(lambda name, info: links.append((name, info.type)), info=True)
        for raw, kind in links:
            try:
                name = raw.decode()
            except UnicodeDecodeError:
                where = budget.place(at or "/")
                raise InputError(f"a name in it is no text: {raw!r}", where=where, topic="damaged") from None
            here = f"{at}/{name}"
            budget.take_object(here)
            if kind != h5py.h5l.TYPE_HARD:
                raise InputError(
                    "links to other places are not followed",
                    where=budget.place(here),
                    fix="store the data itself in the file",
                )
            item = h5py.h5o.open(group, raw)
            if isinstance(item, h5py.h5g.GroupID):
                tree[name] = _group(item, here, depth + 1, budget, attributes)
            elif isinstance(item, h5py.h5d.DatasetID):
                with _guard(budget.place(here)):
                    tree[name] = _dataset(item, here, budget)
            else:
                raise InputError("it is neither a group nor a dataset", where=budget.place(here))
        for name in attributes:
            if h5py.h5a.exists(group, name.encode()):
                tree[f"@{name}"] = _attribute(h5py.h5a.open(group, name.encode()), budget.place(f"{at}/@{name}"))
    return tree


def _attribute(attribute: h5py.h5a.AttrID, where: str) -> np.ndarray:
    dtype, shape = attribute.dtype, attribute.shape
    if dtype.kind not in "iuf" or dtype.itemsize > 8 or shape != ():
        raise InputError(f"type {dtype} with shape {shape} is no number", where=where)
    value = np.zeros((), dtype)
    attribute.read(value)
    return value


def _dataset(dataset: h5py.h5d.DatasetID, at: str, budget: _Budget) -> np.ndarray | str:
    plan = dataset.get_create_plist()
    if plan.get_external_count() or plan.get_layout() == h5py.h5d.VIRTUAL:
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
    count = math.prod(shape)
    if text and count > STRINGS:
        raise InputError(f"it holds more than {STRINGS:,} strings", where=budget.place(at))
    budget.take_bytes(count * (STRING_BYTES if text else 0), at)
    if text and text.length is None:
        return _text(dataset, plan, shape, at, budget)
    budget.take_bytes(count * _bytes(dtype), at)
    _check_chunks(dataset, plan, budget.place(at))
    if text:
        value = h5py.Dataset(dataset).asstr()[()]
        return value if shape else str(value)
    values = np.zeros(shape, np.dtype(dtype.str))
    if count:
        dataset.read(h5py.h5s.ALL, h5py.h5s.ALL, values)
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _bytes(dtype: np.dtype) -> int:
    """What an element takes in the end: integers become int64 or float64, and half precision float32."""
    return {"i": 8, "u": 8, "f": max(4, dtype.itemsize)}.get(dtype.kind, dtype.itemsize)


def _check_chunks(dataset: h5py.h5d.DatasetID, plan: h5py.h5p.PropDCID, where: str) -> None:
    """Accept plain, gzip and shuffle storage, and no chunk that inflates beyond its declared size.

    HDF5 inflates whatever is there, and a megabyte of deflate holds a gigabyte.
    """
    filters = tuple(plan.get_filter(k)[0] for k in range(plan.get_nfilters()))
    if filters not in _PLAIN:
        raise InputError(
            f"compression {', '.join(map(str, filters))} (HDF5 filter numbers) is not read",
            where=where,
            fix="write it with gzip or without compression",
        )
    if plan.get_layout() != h5py.h5d.CHUNKED:
        return
    size = math.prod(plan.get_chunk()) * dataset.dtype.itemsize
    if size > DATASET_BYTES:
        raise InputError(f"it is stored in chunks of {size:,} bytes; at most {DATASET_BYTES:,} are read", where=where)
    chunks: list[Any] = []
    dataset.chunk_iter(chunks.append)
    for chunk in chunks:
        # Deflate adds at most 5 bytes per 16 KiB, and a header.
        if chunk.size > size + size // 1000 + 64:
            raise InputError("a stored chunk is larger than its contents", where=where, topic="damaged")
        if _GZIP in filters:
            skipped, stored = dataset.read_direct_chunk(chunk.chunk_offset)
            if not skipped and len(zlib.decompressobj().decompress(stored, size + 1)) > size:
                raise InputError("a compressed chunk holds more than it declares", where=where, topic="damaged")


def _text(
    dataset: h5py.h5d.DatasetID, plan: h5py.h5p.PropDCID, shape: tuple[int, ...], at: str, budget: _Budget
) -> np.ndarray | str:
    """Strings of variable length: the one of a 0-d dataset, else an object array of str."""
    if plan.get_layout() != h5py.h5d.CONTIGUOUS:
        raise InputError("text in chunks is not read", where=budget.place(at), fix="write text without compression")
    count, size = math.prod(shape), dataset.get_storage_size()
    values = [""] * count  # what was never written is empty
    if size:
        if size != count * REFERENCE_BYTES:
            raise InputError("it refers to its text in an uncommon way", where=budget.place(at))
        offset = dataset.get_offset()
        budget.take_bytes(budget.heaps.lengths(offset, count), at)
        values = budget.heaps.strings(offset, count)
    return np.array(values, object).reshape(shape) if shape else values[0]
