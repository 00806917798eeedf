"""Pickles that ask for more than they hold: found out before they are read."""

from __future__ import annotations

import io
import pickle
import pickletools
import struct
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch

from snnc.tickets import pickle_scan
from snnc.tickets.pickle_scan import Unreadable, scan, walked

HEAD = b"\x80\x02"


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def call(name: str, *arguments: bytes) -> bytes:
    module, _, function = name.rpartition(".")
    return f"c{module}\n{function}\n(".encode() + b"".join(arguments) + b"tR"


def storage(kind: str, count: bytes, device: str = "cpu") -> bytes:
    return b"(" + text("storage") + f"ctorch\n{kind}\n".encode() + text("0") + text(device) + count + b"tQ"


def scanned(body: bytes) -> dict[str, int]:
    return scan(io.BytesIO(HEAD + body + b"."))


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (call("builtins.bytearray", b"J" + struct.pack("<i", 1 << 30)), "no builtins.bytearray of a size"),
        (call("torch.FloatTensor", b"K\x05"), "no torch.FloatTensor of a size"),
        (call("torch.sparse.FloatTensor", b"K\x05"), "of a size"),
        (call("torch.storage.UntypedStorage", b"K\x05"), "of a size"),
        (b"ctorch\nTensor\n(K\x05t\x81", "no torch.Tensor of a size"),
        (call("numpy.dtype", text("V2000000000")), "no numbers"),
        (call("numpy.dtype", text("O8")), "no numbers"),
        (call("numpy.dtype"), "no numbers"),
        (call("_codecs.encode", text("x"), text("idna")), "encoding"),
        (b"N(tR", "calls what is no function"),
        (b"cos\nsystem\nNR", "calls what is no function"),
        (b")" + b"q\x01h\x01\x86" * 30, "1,000,000 values"),
        (storage("NoStorage", b"K\x05"), "torch.NoStorage is no storage"),
        (storage("FloatStorage", b"N"), "not the form"),
        (text("storage") + b"Q", "not the form"),
        (b"\x80\x04N", "pickle protocol 4"),
        (b"(NNl", "torch.save writes no LIST"),
        (b"\x85", "empty stack"),
    ],
)
def test_what_is_refused(body: bytes, says: str) -> None:
    with pytest.raises(Unreadable, match=says):
        scanned(body)


def test_storages_count_once_and_only_where_they_are() -> None:
    twice = storage("DoubleStorage", b"K\x05") + storage("DoubleStorage", b"K\x07")
    assert scanned(twice) == {"0": 56}
    assert scanned(storage("UntypedStorage", b"K\x05")) == {"0": 5}
    assert scanned(storage("FloatStorage", b"K\x05", "cuda:0")) == {"0": 20}
    assert scanned(storage("FloatStorage", b"K\x05", "meta")) == {}


def test_too_many_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    body = b"](" + b"N" * 50 + b"e"
    assert scanned(body) == {}
    monkeypatch.setattr(pickle_scan, "OPERATIONS", 50)
    with pytest.raises(Unreadable, match="50 operations"):
        scanned(body)


def test_the_size_of_every_storage_that_torch_saves() -> None:
    dtypes = (torch.uint8, torch.int8, torch.bool, torch.int16, torch.float16, torch.bfloat16, torch.int32)
    dtypes += (torch.float32, torch.int64, torch.float64, torch.complex64, torch.complex128)
    values = {str(dtype): torch.zeros(6, dtype=dtype) for dtype in dtypes}
    buffer = io.BytesIO()
    torch.save(values, buffer, _use_new_zipfile_serialization=False)
    buffer.seek(0)
    found = [scan(buffer) for _ in range(5)][3]
    assert sorted(found.values()) == sorted(6 * v.element_size() for v in values.values())


def test_what_training_scripts_save_passes() -> None:
    values: Any = {"loss": np.float64(0.5), "best": np.int32(3), "order": OrderedDict(a=1), "set": {1, 2}}
    values |= {"shape": torch.Size([1, 2]), "raw": b"\x00\xff", "deep": (1, (2, (3, [4, {"a": None, "b": 1e300}])))}
    body = pickle.dumps(values, protocol=2)
    assert scan(io.BytesIO(body)) == {}
    assert len(list(pickletools.genops(body))) > 50


def test_every_value_is_walked_each_time_it_appears() -> None:
    shared = [1, 2]
    assert list(walked({"a": (shared, shared)})) == [
        {"a": (shared, shared)},
        "a",
        (shared, shared),
        *[shared, 1, 2] * 2,
    ]
    endless: list[Any] = []
    endless.append(endless)
    steps = walked(endless)
    assert all(next(steps) is endless for _ in range(10_000))
