"""HDF5 files of no network: tricks of the format, and damage that knows its structure."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
from bait import BAITS
from damage import NUMBERS
from numpy.random import Generator


def hdf5(build: Callable[[h5py.File], object], content: bytes = b"", **options: Any) -> bytes:
    """An HDF5 file in memory: a new one, or `content`, changed by `build`."""
    if content:
        access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
        access.set_fapl_core(1 << 16, False)
        access.set_file_image(content)
        file = h5py.File(h5py.h5f.open(b"image", h5py.h5f.ACC_RDWR, access))
    else:
        file = h5py.File("image", "w", driver="core", backing_store=False, **options)
    with file:
        build(file)
        file.flush()
        return bytes(file.id.get_file_image())


Trick = Callable[[Generator, h5py.Group, str], object]


def _plan(*filters: int, chunk: int = 64) -> h5py.h5p.PropDCID:
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_chunk((chunk,))
    for number in filters:
        plan.set_filter(number, h5py.h5z.FLAG_OPTIONAL, (4,) if number != 3 else ())
    return plan


def _filtered(rng: Generator, group: h5py.Group, name: str) -> None:
    number = int(rng.choice([1, 3, 305, 32015, 512, 65535]))
    space = h5py.h5s.create_simple((64,))
    made = h5py.h5d.create(group.id, name.encode(), h5py.h5t.IEEE_F64LE, space, _plan(number, number))
    made.write_direct_chunk((0,), rng.bytes(600))


def _virtual(rng: Generator, group: h5py.Group, name: str) -> None:
    layout = h5py.VirtualLayout((64,), "f8")
    layout[:] = h5py.VirtualSource(str(rng.choice(BAITS)), "x", (64,))
    group.create_virtual_dataset(name, layout, fillvalue=1)


def _inflating(rng: Generator, group: h5py.Group, name: str) -> None:
    dataset = group.create_dataset(name, (1000,), "f8", chunks=(1000,), compression="gzip")
    dataset.id.write_direct_chunk((0,), zlib.compress(bytes(int(rng.choice([8001, 10**6, 10**8])))))


def _deep(rng: Generator, group: h5py.Group, name: str) -> None:
    group.create_group("/".join([name] + ["g"] * int(rng.choice([14, 15, 16, 40, 62, 63, 64, 65, 300]))))


def _cycle(rng: Generator, group: h5py.Group, name: str) -> None:
    group[name] = group
    group[name + "'"] = group["/"]


def _many(rng: Generator, group: h5py.Group, name: str) -> None:
    inner = group.create_group(name, track_order=bool(rng.integers(2)))
    for k in range(int(rng.integers(1, 300))):
        inner.create_group(str(k))


def _odd_name(rng: Generator, group: h5py.Group, name: str) -> None:
    odd = [b"\xff\xfe", b"a\x1b[2Jb", "grün\u2028".encode(), b"..", b" ", b"x" * 60_000, b"\xed\xa0\x80", b"a.b"]
    h5py.h5g.create(group.id, odd[rng.integers(len(odd))])


def _attributes(rng: Generator, group: h5py.Group, name: str) -> None:
    item = group.create_dataset(name, data=np.ones(4))
    for k in range(int(rng.integers(1, 40))):
        item.attrs[f"a{k}"] = np.zeros(int(rng.integers(1, 1000)))
    item.attrs["x"] = "text" * 100
    item.attrs["me"] = item.ref


STRUCTURES: dict[str, Trick] = {
    "soft link": lambda r, g, n: g.__setitem__(n, h5py.SoftLink(str(r.choice(["/", ".", n, "/nowhere", "/node"])))),
    "external link": lambda r, g, n: g.__setitem__(n, h5py.ExternalLink(str(r.choice(BAITS)), "/x")),
    "external storage": lambda r, g, n: g.create_dataset(n, (64,), "f8", external=[(str(r.choice(BAITS)), 0, 512)]),
    "virtual": _virtual,
    "filters": _filtered,
    "lzf": lambda r, g, n: g.create_dataset(n, data=np.ones(99), compression="lzf"),
    "scaled": lambda r, g, n: g.create_dataset(n, data=np.arange(99), scaleoffset=0),
    "declared": lambda r, g, n: g.create_dataset(n, (int(r.choice([1 << 27, 1 << 40, 1 << 60])),), "f8"),
    "declared matrix": lambda r, g, n: g.create_dataset(n, (1 << int(r.integers(10, 40)), 1 << 20), "f4"),
    "declared chunks": lambda r, g, n: g.create_dataset(n, (10**12,), "f8", chunks=(1 << 16,), fillvalue=3.0),
    "declared little": lambda r, g, n: g.create_dataset(n, (1 << int(r.integers(12, 27)),), "i1", chunks=(1 << 12,)),
    "large chunk": lambda r, g, n: g.create_dataset(n, (9,), "f8", chunks=(1 << 28,), maxshape=(None,)),
    "inflating": _inflating,
    "zeros": lambda r, g, n: g.create_dataset(n, data=np.zeros(1 << int(r.integers(10, 24))), compression="gzip"),
    "attributes": _attributes,
    "deep": _deep,
    "cycle": _cycle,
    "many": _many,
    "odd name": _odd_name,
    "group": lambda r, g, n: g.create_group(n),
    "compound": lambda r, g, n: g.create_dataset(n, data=np.zeros(3, [("a", "f4"), ("b", "S3", (2, 2))])),
    "reference": lambda r, g, n: g.create_dataset(n, data=g.ref, dtype=h5py.ref_dtype),
    "ragged": lambda r, g, n: g.create_dataset(n, (3,), h5py.vlen_dtype(np.float64)),
    "enum": lambda r, g, n: g.create_dataset(n, data=np.ones(3, int), dtype=h5py.enum_dtype({"A": 1, "B": 2})),
    "opaque": lambda r, g, n: g.create_dataset(n, data=np.zeros(3, "V17")),
    "array type": lambda r, g, n: g.create_dataset(n, (3,), np.dtype(("f8", (2, 2)))),
    "named type": lambda r, g, n: g.__setitem__(n, np.dtype("f8")),
    "void": lambda r, g, n: g.create_dataset(n, data=h5py.Empty(r.choice(["f4", "S5"]))),
    "strings": lambda r, g, n: g.create_dataset(n, data=np.array([b"dense", b"\xff\xfe", b""])),
    "many strings": lambda r, g, n: g.create_dataset(n, (1 << int(r.integers(10, 20)),), h5py.string_dtype()),
    "wide strings": lambda r, g, n: g.create_dataset(n, (1 << int(r.integers(20)),), f"S{1 << int(r.integers(20))}"),
}

LIES: tuple[Any, ...] = (
    *(0, 1, -1, 2, 3, 7, 100, 1 << 16, 1 << 20, (1 << 20) + 1, 1 << 31, -(1 << 31), 1 << 40, (1 << 63) - 1, -(1 << 63)),
    *(0.0, -0.0, 0.5, 1e-4, np.nan, np.inf, -np.inf, 5e-324, 1e-300, 1e300, 1.7e308, True, False),
    *(np.float32(3e38), np.float16(6e4), np.uint64((1 << 64) - 1), np.int8(-128), np.longdouble(1)),
    *("", "valid", "same", "conv", "dense_rec", "NIRGraph", "subtract", "x" * 70_000, "\x1b[2J", "é\u202e"),
    *([], [0], [1], [-1], [1, 1, 1], [1 << 20, 1 << 20], [1 << 12, 1 << 12], [2, 6, 6], [1, 2, 6, 6], [2.5, np.nan]),
    *(["a", "b"], [["a", "b"]], [b"dense"], [[["a"]]]),
    *(np.ones((1,) * 32), np.zeros((0, 3)), np.zeros((3, 0), np.int8), np.ones(3, complex), np.ones((200, 200), "i1")),
    *(np.arange(3, dtype=">i2"), np.ones(1 << 16, bool)),
)
CASTS = ("f2", "f4", "f8", ">f8", "i1", "u1", "i2", "i4", "i8", "u8", "?", "c8")


def lie(rng: Generator, old: Any) -> Any:
    """Something else in place of the value `old`."""
    if not isinstance(old, np.ndarray) or old.dtype.kind not in "iufb" or not old.size or rng.random() < 0.4:
        return LIES[rng.integers(len(LIES))]
    with np.errstate(all="ignore"):
        changes: list[Callable[[np.ndarray], Any]] = [
            lambda v: v.T,
            lambda v: v.ravel(),
            lambda v: v[None],
            lambda v: v[..., None],
            lambda v: v[:-1] if v.ndim else v,
            lambda v: np.concatenate([v, v]) if v.ndim else np.stack([v, v]),
            lambda v: v.astype(CASTS[rng.integers(len(CASTS))]),
            lambda v: v * rng.choice([0, -1, 1e-320, 1e-30, 1e30, 1e308]),
            lambda v: np.full_like(v, NUMBERS[rng.integers(len(NUMBERS))] % 127),
            lambda v: np.broadcast_to(v.ravel()[0], (1 << 10, 1 << 10)),
            lambda v: np.where(np.arange(v.size).reshape(v.shape) == rng.integers(v.size), np.nan, v),
            lambda v: v + rng.integers(-2, 3),
        ]
        return changes[rng.integers(len(changes))](old)


def _put(file: h5py.File, path: str, value: Any) -> None:
    if path in file:
        del file[path]
    if isinstance(value, np.ndarray) and value.size > 1 << 12:
        file.create_dataset(path, data=value, compression="gzip")
    else:
        file[path] = value


def restructured(rng: Generator, content: bytes) -> tuple[str, bytes]:
    """An HDF5 file with a value replaced by another, or an object by something that no network needs."""
    what = []

    def change(file: h5py.File) -> None:
        for _ in range(int(rng.choice([1, 1, 1, 2, 3]))):
            names: list[str] = []
            file.visit(names.append)
            path = names[rng.integers(len(names))]
            group, _, name = path.rpartition("/")
            kind = str(rng.choice(["value"] * 10 + ["edges"] * 3 + ["type", "delete", "rename", "copy", *STRUCTURES]))
            what.append(f"{kind} at {path}")
            if kind == "value":
                fields = [n for n in names if isinstance(file[n], h5py.Dataset)]
                path = fields[rng.integers(len(fields))]
                _put(file, path, lie(rng, file[path][()]))
            elif kind == "type":
                fields = [n for n in names if n.endswith("/type")]
                _put(file, fields[rng.integers(len(fields))], str(rng.choice(KINDS)))
            elif kind == "edges":
                _rewire(rng, file)
            elif kind == "delete":
                del file[path]
            elif kind in ("rename", "copy"):
                other = f"{path.rpartition('/')[0]}/{rng.choice(['9', 'x', '3', '0', 'metadata', 'bias'])}"
                if other not in file:
                    file.copy(path, other)
                    if kind == "rename":
                        del file[path]
            else:
                del file[path]
                STRUCTURES[kind](rng, file[group or "/"], name)
                return  # whoever looks further may open a bait

    made = hdf5(change, content)
    return "; ".join(what), made


KINDS = (
    *("Input", "Output", "Affine", "Linear", "Scale", "Conv1d", "Conv2d", "SumPool2d", "AvgPool2d", "Flatten", "Delay"),
    *("Threshold", "I", "LI", "CubaLI", "IF", "LIF", "CubaLIF", "NIRGraph"),
    *("input", "flatten", "dense", "dense_rec", "conv", "pool", "CUBA", "LOIHI", "Sigma", ""),
)


def _rewire(rng: Generator, file: h5py.File) -> None:
    """Change the edges of a NIR graph, if it is one."""
    if "node/edges" not in file or "node/nodes" not in file or not isinstance(file["node/nodes"], h5py.Group):
        return
    nodes = [*file["node/nodes"], "ghost"]
    count = int(rng.integers(0, 3 * len(nodes)))
    old = file["node/edges"]
    edges = [tuple(e) for e in old.asstr()[()]] if h5py.check_string_dtype(old.dtype) and old.ndim == 2 else []
    for _ in range(count if rng.integers(3) == 0 else 1):
        a, b = (str(rng.choice(nodes[: -1 if rng.random() < 0.9 else None])) for _ in "ab")
        if rng.integers(3) and edges:
            edges[rng.integers(len(edges))] = (a, b)
        else:
            edges.append((a, b))
    _put(file, "node/edges", edges or np.zeros((0, 2)))


HDF5_LANDMARKS = (
    b"TREE",
    b"SNOD",
    b"HEAP",
    b"GCOL",
    b"OHDR",
    b"FRHP",
    b"BTHD",
    b"FAHD",
    b"FADB",
    b"\x89HDF",
    b"\x08\0\x18\0",
)


def tiny_groups(count: int, *, flat: bool = True) -> bytes:
    def build(file: h5py.File) -> None:
        here = h5py.h5g.create(file.id, b"node")
        for k in range(count):
            made = h5py.h5g.create(here, b"%d" % k)
            here = here if flat else made

    return hdf5(build, libver="latest")


def lying_strings(length: int, count: int) -> bytes:
    """Text whose references claim another length than the heap has."""
    places = []

    def build(file: h5py.File) -> None:
        file["node/type"] = ["hello"] * count
        places.append(file["node/type"].id.get_offset())

    content = bytearray(hdf5(build))
    for place in range(places[0], places[0] + 16 * count, 16):
        content[place : place + 4] = struct.pack("<I", length)
    return bytes(content)


def repeated_text(count: int) -> bytes:
    """Pairs of text that all refer to the same megabyte."""
    places = []

    def build(file: h5py.File) -> None:
        file["node/type"] = ["x" * (1 << 20)]
        file["node/edges"] = np.full((count, 2), "y", object)
        places.extend(file[name].id.get_offset() for name in ("node/type", "node/edges"))

    content = bytearray(hdf5(build))
    one, many = places
    content[many : many + 32 * count] = content[one : one + 16] * (2 * count)
    return bytes(content)


def modern(build: Callable[[h5py.File], object]) -> bytes:
    """Written with the newest structures of HDF5, in the order of creation."""
    return hdf5(build, libver="latest", track_order=True)


HDF5_ONCE: dict[str, Callable[[], bytes]] = {
    "100,000 groups": lambda: tiny_groups(100_000),
    "1,000 groups in each other": lambda: tiny_groups(1000, flat=False),
    "20,000 groups in each other": lambda: tiny_groups(20_000, flat=False),
    "strings of 4 GiB": lambda: lying_strings((1 << 32) - 1, 3),
    "strings of nothing": lambda: lying_strings(0, 3),
    "as many strings as are read, each a megabyte": lambda: repeated_text(100_000),
    "a user block": lambda: bytes(512) + hdf5(lambda f: f.create_group("node")),
    "a signature alone": lambda: b"\x89HDF\r\n\x1a\n",
    "zeros behind a signature": lambda: b"\x89HDF\r\n\x1a\n" + bytes(1 << 20),
    "nothing": lambda: b"",
}
