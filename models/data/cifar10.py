"""CIFAR-10, and any other folder of classes of 32x32 colour images. Shape (3, 32, 32).

A folder holds one of

- ``train/<class>/<name>.jpg`` (or .jpeg, .png) and ``test/<class>/...``,
- ``train.zip`` and ``test.zip`` of ``<class>/<name>.jpg``,
- the official binary version: ``data_batch_1.bin`` to ``_5`` and ``test_batch.bin``, of records of a byte for the label
  and 3,072 for red, green and blue, row by row (https://www.cs.toronto.edu/~kriz/cifar.html).

Classes are numbered in the order of their names, which is the official order. The official version for Python is
pickles, which run code when they are read; it is refused.
"""

from __future__ import annotations

import io
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import numpy as np
from PIL import Image

from snnc.errors import InputError
from snnc.files import sniff
from snnc.models.data import cache, coding, folders
from snnc.models.data.augment import AUGMENTATIONS
from snnc.models.data.dataset import Dataset, divide
from snnc.samples import Samples

SIDE = 32
SHAPE = (3, SIDE, SIDE)
ENDS = (".jpg", ".jpeg", ".png")
# No image of 32x32 is larger.
MOST_BYTES = 1 << 20
BINARY = {"train": [f"data_batch_{k}.bin" for k in range(1, 6)], "test": ["test_batch.bin"]}
_RECORD = 1 + 3 * SIDE * SIDE
_LAYOUT = "the folder must hold train/<class>/*.jpg and test/<class>/*.jpg, train.zip and test.zip, or data_batch_*.bin"


class _Split(Protocol):
    """One of the two official sets."""

    @property
    def classes(self) -> list[str]: ...

    @property
    def labels(self) -> np.ndarray:
        """int64 (samples,)."""

    def pixels(self, chosen: np.ndarray) -> np.ndarray:
        """Of the samples with these indices, uint8 (chosen, 3, 32, 32)."""


def load(folder: Path, spec: str, options: dict[str, Any]) -> Dataset:
    """The images of a folder; InputError names the file, or the entry of a .zip, at fault."""
    folders.require(folder)
    learning, held = _open(folder, "train"), _open(folder, "test")
    if learning.classes != held.classes:
        only = sorted(set(learning.classes) ^ set(held.classes))
        raise InputError(f"train and test must have the same classes; one lacks {', '.join(only)}", where=str(folder))
    generator = np.random.default_rng(options["seed"])
    train, validation, test = divide(
        learning.labels,
        held.labels,
        samples=options["samples"],
        validation=options["validation"],
        generator=generator,
        where=str(folder),
    )
    # In the order of the files, so that no other seed or share of validation decodes them again.
    both = np.sort(np.concatenate([train, validation]))
    pixels = learning.pixels(both)

    def samples(pixels: np.ndarray, labels: np.ndarray) -> Samples:
        return Samples(coding.of_images(pixels, options["encoding"], options["steps"], generator), labels, "cifar10")

    order = np.sort(test)
    return Dataset(
        samples(pixels[np.searchsorted(both, train)], learning.labels[train]),
        samples(pixels[np.searchsorted(both, validation)], learning.labels[validation]),
        samples(held.pixels(order)[np.searchsorted(order, test)], held.labels[test]),
        len(learning.classes),
        spec,
        AUGMENTATIONS[options["augment"]],
    )


def _open(folder: Path, part: str) -> _Split:
    if (folder / part).is_dir():
        return _Images.of_folder(folder / part)
    if (folder / f"{part}.zip").is_file():
        return _Images.of_zip(folder / f"{part}.zip")
    if (folder / BINARY[part][0]).is_file():
        return _Binary.of([folder / name for name in BINARY[part]])
    if (folder / Path(BINARY[part][0]).stem).is_file():
        raise InputError(
            "these are pickles, which run code when they are read",
            where=str(folder / Path(BINARY[part][0]).stem),
            fix="use the binary version, cifar-10-binary.tar.gz, from https://www.cs.toronto.edu/~kriz/cifar.html",
        )
    marks = (part, f"{part}.zip", BINARY[part][0])
    below = next((p for p in sorted(folder.iterdir()) if any((p / mark).exists() for mark in marks)), None)
    raise InputError(
        f"there are no images for '{part}' in this folder",
        where=str(folder),
        fix=f"did you mean {below}?" if below else _LAYOUT,
    )


@dataclass(frozen=True, eq=False)
class _Images:
    """Files in folders, one for each class, or in a .zip of them. names: ``<class>/<name>.jpg``, sorted."""

    place: Path
    names: list[str]
    classes: list[str]
    labels: np.ndarray

    @classmethod
    def of_folder(cls, place: Path) -> _Images:
        folders = [p for p in place.iterdir() if p.is_dir() and not p.name.startswith(".")]
        return cls._of(place, [f"{p.name}/{f.name}" for p in folders for f in p.iterdir()], [p.name for p in folders])

    @classmethod
    def of_zip(cls, place: Path) -> _Images:
        with _zip(place) as file:
            for entry in file.infolist():
                if ".." in PurePosixPath(entry.filename).parts or entry.filename.startswith(("/", "\\")):
                    raise InputError(f"its entry '{entry.filename}' points outside of it", where=str(place))
                if entry.file_size > MOST_BYTES and entry.filename.lower().endswith(ENDS):
                    raise InputError(
                        f"its entry '{entry.filename}' takes {entry.file_size:,} bytes, too many for an image of "
                        f"{SIDE}x{SIDE}",
                        where=str(place),
                    )
            names = [name for name in file.namelist() if not name.startswith((".", "__MACOSX/"))]
        return cls._of(place, names, [n.rstrip("/") for n in names if n.endswith("/") and n.count("/") == 1])

    @classmethod
    def _of(cls, place: Path, names: list[str], named: list[str]) -> _Images:
        """named: classes that there are, even if none of the names is of them."""
        names = sorted(n for n in names if n.lower().endswith(ENDS) and n.count("/") == 1 and "/." not in n)
        owners = [n.partition("/")[0] for n in names]
        if empty := sorted(set(named) - set(owners)):
            raise InputError(
                f"the class '{empty[0]}' has no images", where=str(place), fix="remove it, or add *.jpg or *.png"
            )
        if not names:
            raise InputError("there are no images in it", where=str(place), fix="it must hold <class>/*.jpg or *.png")
        classes = sorted(set(owners))
        number = {name: k for k, name in enumerate(classes)}
        return cls(place, names, classes, np.array([number[owner] for owner in owners]))

    def pixels(self, chosen: np.ndarray) -> np.ndarray:
        names = [self.names[k] for k in chosen]
        files = [self.place / name for name in names] if self.place.is_dir() else [self.place]
        return cache.kept({"images": names}, files, lambda: self._decoded(names))

    def _decoded(self, names: list[str]) -> np.ndarray:
        pixels = np.empty((len(names), *SHAPE), np.uint8)
        with warnings.catch_warnings():
            # Of an image that says to be huge, before any of it is decoded.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            for k, (where, content) in enumerate(self._contents(names)):
                pixels[k] = decode(content, where)
        return pixels

    def _contents(self, names: list[str]) -> Iterator[tuple[str, bytes]]:
        if self.place.is_dir():
            for name in names:
                sniff(self.place / name)
                with (self.place / name).open("rb") as file:
                    yield str(self.place / name), file.read(MOST_BYTES)
            return
        with _zip(self.place) as archive:
            for name in names:
                with archive.open(name) as entry:
                    yield f"{self.place}, '{name}'", entry.read(MOST_BYTES)


def decode(content: bytes, where: str) -> np.ndarray:
    """The image in a .jpg or .png, uint8 (3, 32, 32); InputError where it is none, or of another size."""
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG", "PNG")) as image:
            if image.size != (SIDE, SIDE):
                raise InputError(
                    f"this image has {image.width}x{image.height} pixels, not {SIDE}x{SIDE}",
                    where=where,
                    fix="rescale the images first",
                )
            return np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    # What Pillow raises on damage.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(f"this is not a readable image: {error}", where=where) from None


@contextmanager
def _zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """The archive, to be read inside; what is wrong with it is an InputError."""
    sniff(path)
    try:
        with zipfile.ZipFile(path) as file:
            yield file
    # Damage; a compression that is unknown; a password.
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise InputError(f"this is not a readable .zip: {error}", where=str(path)) from None


@dataclass(frozen=True, eq=False)
class _Binary:
    """The official binary version. records: uint8 (samples, 3073)."""

    records: np.ndarray
    classes: list[str]

    @classmethod
    def of(cls, files: list[Path]) -> _Binary:
        parts = []
        for path in files:
            sniff(path)
            content = np.fromfile(path, np.uint8)
            if len(content) % _RECORD:
                raise InputError(
                    f"it must hold records of {_RECORD:,} bytes, and has {len(content):,}",
                    where=str(path),
                    fix="fetch it anew: it was cut off, or is of CIFAR-100",
                )
            parts.append(content.reshape(-1, _RECORD))
            if (most := parts[-1][:, 0].max()) > 9:
                raise InputError(f"a label is {most}, and there are 10 classes", where=str(path))
        return cls(np.concatenate(parts), [str(k) for k in range(10)])

    @property
    def labels(self) -> np.ndarray:
        return self.records[:, 0].astype(np.int64)

    def pixels(self, chosen: np.ndarray) -> np.ndarray:
        return self.records[chosen, 1:].reshape(-1, *SHAPE)
