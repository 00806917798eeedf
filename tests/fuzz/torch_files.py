"""Files of torch to be damaged, and hostile ones made by hand."""

from __future__ import annotations

import argparse
import contextlib
import io
import math
import struct
import tarfile
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import small_checkpoints
import spiking_net
import torch
from formats import Format
from numpy.random import Generator
from pickles import (
    LEGACY_HEAD,
    NAMES,
    PROTOCOL,
    TWICE,
    Saved,
    called,
    doubled,
    integer,
    listed,
    mapping,
    repickled,
    stored,
    tensor,
    text,
)


def revalued(rng: Generator, value: Any) -> tuple[str, Any]:
    """A plain value with a part of it replaced by something else."""

    def replaced(old: Any, path: str) -> tuple[str, Any]:
        if isinstance(old, dict) and old and rng.random() < 0.9:
            key = list(old)[rng.integers(len(old))]
            what, new = replaced(old[key], f"{path}/{key}")
            kind = rng.random()
            if kind < 0.05:
                return f"without {path}/{key}", type(old)((k, v) for k, v in old.items() if k != key)
            if kind < 0.1:
                return f"more in {path}", type(old)([*old.items(), (str(rng.choice(["x", "mask", key])) + "'", new)])
            return what, type(old)((k, new if k is key else v) for k, v in old.items())
        if isinstance(old, list) and old and rng.random() < 0.7:
            k = int(rng.integers(len(old)))
            what, new = replaced(old[k], f"{path}/{k}")
            return what, [*old[:k], new, *old[k + 1 :]]
        return f"another value at {path}", lies(old)

    def lies(old: Any) -> Any:
        if isinstance(old, torch.Tensor) and rng.random() < 0.7:
            changes: list[Callable[[Any], Any]] = [
                lambda t: t.double(),
                lambda t: t.half(),
                lambda t: t.to(torch.int8),
                lambda t: t.bool(),
                lambda t: t.to(torch.complex64),
                lambda t: t.float() * float("nan"),
                lambda t: t.float() * 1e38 * 1e38,
                lambda t: t.float() * 1e-44,
                lambda t: -t.float(),
                lambda t: t.unsqueeze(0),
                lambda t: t.flatten(),
                lambda t: t.T if t.ndim == 2 else t,
                lambda t: torch.cat([t.reshape(-1), t.reshape(-1)]),
                lambda t: t.to_sparse() if t.ndim else t,
                lambda t: t.flatten()[:1].expand(1 << int(rng.integers(40))),
                lambda t: torch.empty_like(t, device="meta"),
                lambda t: torch.nn.Parameter(t.float()),
                lambda t: torch.quantize_per_tensor(t.float(), 0.1, 0, torch.qint8),
            ]
            return changes[rng.integers(len(changes))](old)
        values = [*PLAIN_LIES, torch.ones(3), torch.tensor(3), torch.zeros(0, 4), torch.ones(1).expand(7, 15)]
        return values[rng.integers(len(values))]

    return replaced(value, "")


PLAIN_LIES: tuple[Any, ...] = (
    *(None, True, 0, 1, -1, 8, 64, 65, 1 << 20, 1 << 31, 1 << 62, 1 << 63, 1 << 2000, -(1 << 2000)),
    *(0.0, -1.0, 0.5, float("nan"), float("inf"), 5e-324, 1e-300, 1e300),
    *("", "zero", "mlp", "conv", "no such model", "x" * 100_000, "a.b.c", b"bytes"),
    *(
        [],
        [1],
        [0],
        [-3],
        [1 << 40],
        [1 << 62] * 3,
        [3, 5],
        [1.5],
        ["a"],
        [[[]]],
        [1] * 63,
        [1] * 70,
        list(range(5000)),
    ),
    *({}, {"a": 1}, {1: 2}, {(1, 2): 3}, (1, 2), ((),)),
    *(np.float64(3), np.int32(3), np.bool_(True)),
)


@cache
def checkpoints() -> dict[str, Any]:
    """Plain values of checkpoints of ours."""
    path = Path("seed.pt")
    found = {}
    for name, checkpoint in (("ticket", small_checkpoints.ticket()), ("dense", small_checkpoints.dense())):
        checkpoint.save(path)
        found[name] = torch.load(path, weights_only=True)
    return found


@cache
def states() -> dict[str, Any]:
    """State dicts of a network of snntorch, bare and among what training scripts put beside them."""

    torch.manual_seed(0)
    module = spiking_net.Net()
    optimizer = torch.optim.Adam(module.parameters())
    sum(p.sum() for p in module.parameters()).backward()
    optimizer.step()
    state = module.state_dict()
    training = {
        "epoch": 7,
        "loss": np.float64(0.3),
        "args": argparse.Namespace(lr=1e-3, hidden=[8]),
        "optimizer": optimizer.state_dict(),
        "model": {f"module.{k}": v for k, v in state.items()},
    }
    return {"state": state, "training": training}


def torch_seeds(plain: dict[str, Any]) -> dict[str, bytes]:
    found = {}
    for name, value in plain.items():
        saved = Saved.of(value)
        found |= {name: saved.zipped(), f"{name}, legacy": saved.viewed().legacy()}
    return found


def resaved(rng: Generator, plain: dict[str, Any]) -> tuple[str, bytes]:
    """A file of torch with another value in it, or with other operations in its pickle."""
    what, value = "", plain[str(rng.choice(list(plain)))]
    if rng.integers(2):
        what, value = revalued(rng, value)
    saved = Saved.of(value)
    old = bool(rng.integers(2))
    saved = saved.viewed() if old else saved
    if not what or rng.random() < 0.1:
        more, body = repickled(rng, saved.body)
        what, saved = f"{what} {more}", Saved(body, saved.storages)
    return what + " (legacy)" * old, saved.legacy() if old else saved.zipped()


def _bodies(saved: Saved) -> dict[str, Callable[[], Saved]]:
    """Pickles that do harm wherever they stand."""
    touch = {name: called(name, text("touch touched")) for name in NAMES}
    values: dict[str, bytes] = {
        **{f"a call of {name}": code for name, code in touch.items()},
        "lists in each other": b"]" * 100_000 + b"a" * 99_999,
        "dicts in each other": (b"}" + text("a")) * 50_000 + b"N" + b"s" * 50_000,
        "a list in itself": b"]q\xc8h\xc8a",
        "a dict in itself": b"}q\xc8" + text("a") + b"h\xc8s",
        "a million entries": b"}(" + b"".join(b"J" + struct.pack("<i", k) + b"N" for k in range(1_000_000)) + b"u",
        "a list of millions": b"](" + b"N" * 3_000_000 + b"e",
        "a text of 50 MB": text("x" * 50_000_000),
        "a text that ends early": b"X\xff\xff\xff\xffabc",
        "a number of 600 digits": integer(1 << 2000),
        "a tuple of tuples of ...": doubled(b")", TWICE, 40),
        "a tuple of tuples of ... as key": b"}" + doubled(b")", TWICE, 40) + b"Ns",
        "lists of lists of ...": doubled(b"]N\x61", TWICE, 40),
        "bytes without end": called("builtins.bytearray", integer((1 << 31) - 1)),
        "a tensor without end": called("torch.FloatTensor", integer(1 << 29)),
        "a tensor without end, empty": called("torch.Tensor", *[integer(1 << 20)] * 2),
        "a storage without end": called("torch.storage.UntypedStorage", integer(1 << 33)),
        "a number of numpy without end": called(
            "numpy.core.multiarray.scalar", called("numpy.dtype", text("V2000000000"))
        ),
        "an object of numpy": called("numpy.core.multiarray.scalar", called("numpy.dtype", text("O8")), b"N"),
        "a slow encoding": called("_codecs.encode", text("é" * 20_000 + "ü" * 20_000), text("punycode")),
        "a slow encoding of names": called("_codecs.encode", text("é" * 100_000), text("idna")),
    }
    places = {name: lambda value=value: saved.with_entry("log", b"]" + value + b"a") for name, value in values.items()}
    return places | {"nothing but a number": lambda: Saved(PROTOCOL + b"K\x01.", {})}


def _storages(numel: int, names: dict[str, tuple[int, ...]], legacy: bool) -> bytes:
    """A state dict whose large tensors share a storage that claims `numel` elements."""
    strides = {n: tuple(math.prod(s[k + 1 :]) for k in range(len(s))) for n, s in names.items()}
    return mapping({n: tensor(stored("huge", numel, legacy), s, strides[n]) for n, s in names.items()})


def zip_tricks(saved: Saved) -> dict[str, Callable[[], bytes]]:
    whole = saved.zipped()

    def archive(entries: list[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", method) as made:
            for name, data in entries:
                made.writestr(zipfile.ZipInfo(name), data, method)
        return buffer.getvalue()

    def entries() -> list[tuple[str, bytes]]:
        with zipfile.ZipFile(io.BytesIO(whole)) as made:
            return [(n, made.read(n)) for n in made.namelist()]

    def lying() -> bytes:
        """Deflated, while the directory at its end says stored or small."""
        data = bytearray(archive([*entries(), ("archive/data/99", bytes(1 << 28))], zipfile.ZIP_DEFLATED))
        at = data.rfind(b"archive/data/99") - 46
        data[at + 24 : at + 28] = struct.pack("<I", 10)
        return bytes(data)

    def twice() -> bytes:
        with contextlib.suppress(UserWarning):
            return archive(
                [*entries(), ("archive/data.pkl", PROTOCOL + called("os.system", text("touch touched")) + b".")]
            )
        return whole

    return {
        "compressed": lambda: archive([*entries(), ("archive/zeros", bytes(1 << 24))], zipfile.ZIP_DEFLATED),
        "compressed, and lying": lying,
        "two pickles": twice,
        "leading out": lambda: archive([(f"../../{n}", d) for n, d in entries()]),
        "100,000 entries": lambda: archive([*entries(), *((f"archive/{k}", b"") for k in range(100_000))]),
        "bytes in front": lambda: b"PK\x03\x04" + bytes(100) + whole,
        "bytes behind": lambda: whole + bytes(1000),
        "TorchScript": lambda: saved.zipped(**{"constants.pkl": b"."}),
        "big endian": lambda: saved.zipped(byteorder=b"big"),
        "an archive in the archive": lambda: saved.zipped(**{"data.pkl": whole}),
        "a tar archive": lambda: tar_file(saved),
    }


def tar_file(saved: Saved) -> bytes:
    """Of torch before 0.1.10, with a link in it; its first name begins as the pickles of later versions do."""

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", encoding="latin-1") as archive:
        first = tarfile.TarInfo(LEGACY_HEAD[:8].decode("latin-1"))
        archive.addfile(first)
        for name in ("storages", "tensors"):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, "../pipe"
            archive.addfile(link)
        archive.addfile(tarfile.TarInfo("pickle"))
    return buffer.getvalue()


@cache
def checkpoint_once() -> dict[str, Callable[[], bytes]]:
    saved = Saved.of(checkpoints()["dense"])
    old = saved.viewed()
    found: dict[str, Callable[[], bytes]] = {}
    for name, make in _bodies(saved).items():
        found[name] = lambda make=make: make().zipped()
    old_bodies = _bodies(old)
    for name in ("a call of os.system", "bytes without end", "a tuple of tuples of ... as key", "lists in each other"):
        found[f"{name} (legacy)"] = lambda make=old_bodies[name]: make().legacy()
    args = {"shape": listed(integer(1)), "classes": integer(1), "hidden": listed(integer(1 << 27))}
    state = checkpoints()["dense"]["state_dict"]
    shapes = {n: tuple(t.shape) for n, t in state.items()} | {
        "layers.1.weight": (1 << 27, 1),
        "layers.3.weight": (1, 1 << 27),
    }

    def wide(of: Saved, legacy: bool) -> Saved:
        small = {n: tuple(t.shape) for n, t in state.items()}
        changed = of.with_entry("model", mapping({"name": text("mlp"), "args": mapping(args)}))
        return changed.with_entry("state_dict", _storages(1 << 27, small | shapes, legacy))

    found |= {
        "a storage that is not there": lambda: wide(saved, False).zipped(),
        "a storage that is not there (legacy)": lambda: wide(old, True).legacy(),
        "layers of layers of ...": lambda: saved.with_entry(
            "model", mapping({"name": text("mlp"), "args": mapping({"hidden": doubled(b"]Na", b"\x86", 40)})})
        ).zipped(),
        "layers in lists of lists of ...": lambda: saved.with_entry(
            "model",
            mapping({"name": text("mlp"), "args": mapping({**args, "hidden": listed(doubled(b")", TWICE, 40))})}),
        ).zipped(),
        "a hundred thousand layers": lambda: saved.with_entry(
            "model", mapping({"name": text("mlp"), "args": mapping({**args, "hidden": listed(*[b"K\x01"] * 100_000)})})
        ).zipped(),
        **zip_tricks(saved),
    }
    return found


@cache
def state_once() -> dict[str, Callable[[], bytes]]:
    saved = Saved.of(states()["state"])
    old = saved.viewed()
    one = stored("one", 1)
    single = Saved(b"", {"one": (1, bytes(4))})

    def shared_dicts() -> Saved:
        """A dict of a thousand entries that are all the same dict, and so on."""
        body, name = mapping({"w": tensor(one, (1,), (1,))}), 200
        for _ in range(3):
            body += b"q" + bytes([name])
            body = (
                b"}(" + text("0") + body + b"".join(text(str(k)) + b"h" + bytes([name]) for k in range(1, 1000)) + b"u"
            )
            name += 1
        return Saved(PROTOCOL + body + b".", single.storages)

    def many_names() -> Saved:
        some = b"".join(text(f"a{k}.b{k}.c{k}.d") + b"h\xc8" for k in range(10_000))
        body = mapping({"w": tensor(one, (1,), (1,)) + b"q\xc8"})[:-1] + some + b"u"
        return Saved(PROTOCOL + body + b".", single.storages)

    found: dict[str, Callable[[], bytes]] = {
        "dicts of the same dict": lambda: shared_dicts().zipped(),
        "ten thousand names": lambda: many_names().zipped(),
        "a storage that is not there (legacy)": lambda: Saved(
            PROTOCOL + _storages(1 << 29, {"fc1.weight": (8, 6)}, True) + b".", {}
        ).legacy(),
        "a view beyond its storage": lambda: Saved(
            PROTOCOL + mapping({"fc1.weight": tensor(one, (8, 6), (6, 1))}) + b".", single.storages
        ).zipped(),
        "a view far off": lambda: Saved(
            PROTOCOL + mapping({"fc1.weight": tensor(one, (1,), (1,), 1 << 40)}) + b".", single.storages
        ).zipped(),
        "a view backwards": lambda: Saved(
            PROTOCOL + mapping({"fc1.weight": tensor(one, (8, 6), (-6, -1))}) + b".", single.storages
        ).zipped(),
    }
    for name, make in _bodies(saved).items():
        found[name] = lambda make=make: make().zipped()
    old_bodies = _bodies(old)
    for name in ("a call of os.system", "bytes without end", "a dict in itself", "a slow encoding"):
        found[f"{name} (legacy)"] = lambda make=old_bodies[name]: make().legacy()
    return found | zip_tricks(saved)


ZIP_LANDMARKS = (b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06", b"PK\x06\x06", b"data.pkl", PROTOCOL, b"ctorch")
CHECKPOINT = Format(
    ".pt",
    lambda: torch_seeds(checkpoints()),
    lambda rng, _: resaved(rng, checkpoints()),
    checkpoint_once,
    ZIP_LANDMARKS,
)
STATE = Format(
    ".pt",
    lambda: torch_seeds(states()),
    lambda rng, _: resaved(rng, states()),
    state_once,
    ZIP_LANDMARKS,
    {"model": "spiking_net:Net", "shape": "6"},
)
