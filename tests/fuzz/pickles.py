"""Pickles written by hand, for files of torch that torch.save would not write."""

from __future__ import annotations

import io
import pickletools
import struct
import zipfile
from dataclasses import dataclass
from typing import Any

import torch
from damage import NUMBERS
from numpy.random import Generator

PROTOCOL = b"\x80\x02"
LEGACY_HEAD = (
    PROTOCOL + b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19." + PROTOCOL + b"M\xe9\x03." + PROTOCOL + b"}."
)
ORDERED = b"ccollections\nOrderedDict\n)R"


def text(value: str) -> bytes:
    data = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(data)) + data


def integer(value: int) -> bytes:
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def called(name: str, *arguments: bytes) -> bytes:
    """The pickle of a call of ``module.function``."""
    module, _, function = name.rpartition(".")
    return f"c{module}\n{function}\n".encode() + b"(" + b"".join(arguments) + b"tR"


def mapping(entries: dict[str, bytes]) -> bytes:
    return b"}(" + b"".join(text(k) + v for k, v in entries.items()) + b"u"


def listed(*entries: bytes) -> bytes:
    return b"](" + b"".join(entries) + b"e"


def stored(key: str, numel: int, legacy: bool = False, kind: str = "Float") -> bytes:
    """A reference to a storage of the file, and how large it claims to be."""
    view = b"N" if legacy else b""
    return (
        b"("
        + text("storage")
        + f"ctorch\n{kind}Storage\n".encode()
        + text(key)
        + text("cpu")
        + integer(numel)
        + view
        + b"tQ"
    )


def tensor(storage: bytes, size: tuple[int, ...], stride: tuple[int, ...], offset: int = 0) -> bytes:
    axes = [b"(" + b"".join(map(integer, axis)) + b"t" for axis in (size, stride)]
    return called("torch._utils._rebuild_tensor_v2", storage, integer(offset), *axes, b"\x89", ORDERED)


def doubled(value: bytes, join: bytes, times: int) -> bytes:
    """A value that holds itself twice, which does so itself ...; each is stored once."""
    return value + b"".join(b"q" + bytes([k]) + b"h" + bytes([k]) + join for k in range(200, 200 + times))


TWICE = b"\x86"  # the two topmost as a tuple


@dataclass(frozen=True)
class Saved:
    """What torch.save writes: a pickle, and the bytes of storages by name, each with its number of elements."""

    body: bytes
    storages: dict[str, tuple[int, bytes]]

    @staticmethod
    def of(value: Any) -> Saved:

        buffer = io.BytesIO()
        torch.save(value, buffer)
        with zipfile.ZipFile(buffer) as archive:
            records = {n.partition("/")[2]: archive.read(n) for n in archive.namelist()}
        body = records["data.pkl"]
        memo: dict[int, Any] = {}
        values: list[Any] = []  # of each operation
        sizes: dict[str, int] = {}
        for operation, argument, _ in pickletools.genops(body):
            if operation.name.endswith("PUT"):
                memo[argument] = values[-1]
            else:
                values.append(memo.get(argument) if operation.name.endswith("GET") else argument)
            if operation.name == "BINPERSID":
                key, _, numel, *_ = values[-5:]
                sizes[key] = numel
        return Saved(body, {key: (sizes[key], records[f"data/{key}"]) for key in sizes})

    def zipped(self, **more: bytes) -> bytes:
        records = {"data.pkl": self.body, "byteorder": b"little"}
        records |= {f"data/{key}": data for key, (_, data) in self.storages.items()} | {"version": b"3\n"} | more
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, data in records.items():
                archive.writestr(zipfile.ZipInfo(f"archive/{name}"), data)
        return buffer.getvalue()

    def viewed(self) -> Saved:
        """With the pickle of the old format, where a reference to a storage says which part of it is meant."""
        body = bytearray()
        operations = list(pickletools.genops(self.body))
        ends = [place for _, _, place in operations[1:]] + [len(self.body)]
        for k, ((operation, _, place), end) in enumerate(zip(operations, ends, strict=True)):
            following = [o.name for o, _, _ in operations[k + 1 : k + 3] if not o.name.endswith("PUT")]
            if operation.name == "TUPLE" and following[:1] == ["BINPERSID"]:
                body += b"N"
            body += self.body[place:end]
        return Saved(bytes(body), self.storages)

    def legacy(self, keys: list[str] | None = None) -> bytes:
        """As before torch 1.6; of a pickle from :meth:`viewed`."""
        keys = list(self.storages) if keys is None else keys
        data = b"".join(struct.pack("<q", self.storages[key][0]) + self.storages[key][1] for key in keys)
        return LEGACY_HEAD + self.body + PROTOCOL + listed(*map(text, keys)) + b"." + data

    def with_entry(self, key: str, value: bytes) -> Saved:
        """With one more entry, or another one, of the outermost dict."""
        return Saved(self.body[:-1] + text(key) + value + b"s.", self.storages)


NAMES = (
    *(
        "os.system",
        "posix.system",
        "builtins.eval",
        "builtins.exec",
        "builtins.open",
        "builtins.getattr",
        "runpy.run_path",
    ),
    *("subprocess.Popen", "importlib.import_module", "numpy.load", "numpy.fromfile", "torch.load", "torch.hub.load"),
    *("torch.jit.load", "torch.from_file", "torch.storage._load_from_bytes", "torch.nn.modules.linear.Linear"),
    *("torch._utils._rebuild_tensor", "torch._utils._rebuild_qtensor", "torch._utils._rebuild_sparse_tensor"),
    *("torch._utils._rebuild_meta_tensor_no_storage", "torch._utils._rebuild_wrapper_subclass", "torch.Tensor"),
    *("torch._utils._rebuild_parameter", "torch._utils._rebuild_nested_tensor", "torch._tensor._rebuild_from_type_v2"),
    *("torch.FloatStorage", "torch.DoubleStorage", "torch.QInt8Storage", "torch.storage.UntypedStorage", "torch.Size"),
    *(
        "torch.FloatTensor",
        "torch.sparse.FloatTensor",
        "torch.device",
        "torch.float32",
        "torch.quint8",
        "torch.sparse_coo",
    ),
    *("torch.serialization._get_layout", "collections.OrderedDict", "collections.Counter", "builtins.bytearray"),
    *("builtins.set", "builtins.complex", "_codecs.encode", "numpy.dtype", "numpy.core.multiarray.scalar"),
    *("numpy._core.multiarray.scalar", "numpy.dtypes.Float64DType", "argparse.Namespace", "snnc.cli.run"),
)
SNIPPETS = (
    b"N",
    b"]",
    b"}",
    b")",
    b"(",
    b"t",
    b"R",
    b"Q",
    b"\x81",
    b"b",
    b"a",
    b"e",
    b"s",
    b"u",
    b"\x85",
    TWICE,
    b"\x87",
    b"\x89",
    b"\x8f",
    b"0",
    b"2",
    b".",
    b"\x95",
    b"\x93",
    b"i",
    b"h\x01",
    b"j\xff\xff\xff\xff",
    b"r\xff\xff\xff\xff",
)


def repickled(rng: Generator, body: bytes) -> tuple[str, bytes]:
    """A pickle with a few of its operations changed."""
    operations = list(pickletools.genops(body))
    ends = [place for _, _, place in operations[1:]] + [len(body)]
    pieces = [body[place:end] for (_, _, place), end in zip(operations, ends, strict=True)]
    what = []
    for _ in range(int(rng.choice([1, 1, 2, 4]))):
        kind = str(
            rng.choice(["number"] * 4 + ["text", "text", "name", "name", "drop", "twice", "swap", "insert", "insert"])
        )
        wanted = {"number": ("BININT", "BININT1", "BININT2", "LONG1"), "text": ("BINUNICODE",), "name": ("GLOBAL",)}
        places = [k for k, (o, _, _) in enumerate(operations) if o.name in wanted[kind]] if kind in wanted else []
        k = int(rng.choice(places)) if places else int(rng.integers(1, len(pieces)))
        what.append(f"{kind} at operation {k}")
        if kind == "number":
            pieces[k] = integer(int(NUMBERS[rng.integers(len(NUMBERS))]) * (-1 if rng.random() < 0.2 else 1))
        elif kind == "text":
            texts = [a for o, a, _ in operations if o.name == "BINUNICODE"]
            pieces[k] = text(str(rng.choice([*texts, "meta", "cuda", "", "x" * 1000])))
        elif kind == "name":
            module, _, name = str(rng.choice(NAMES)).rpartition(".")
            pieces[k] = f"c{module}\n{name}\n".encode()
        elif kind == "drop":
            pieces[k] = b""
        elif kind == "twice":
            pieces[k] *= int(rng.choice([2, 3, 1000]))
        elif kind == "swap":
            other = int(rng.integers(1, len(pieces)))
            pieces[k], pieces[other] = pieces[other], pieces[k]
        else:
            pieces[k] = SNIPPETS[rng.integers(len(SNIPPETS))] + pieces[k]
    return "; ".join(what), b"".join(pieces)
