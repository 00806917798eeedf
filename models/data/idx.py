"""Folders in the format of MNIST: FashionMNIST, KMNIST, QMNIST's and EMNIST's like, and MNIST itself.

Four files, gzipped or not: ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``, and the same of ``t10k``, which
are the test split. A file begins with two zero bytes, a byte for the type (8: bytes), one for the number of
dimensions, and the big-endian size of each (http://yann.lecun.com/exdb/mnist).
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from snnc.errors import InputError
from snnc.files import sniff
from snnc.models.data import coding, folders
from snnc.models.data.augment import AUGMENTATIONS
from snnc.models.data.dataset import Dataset, divide
from snnc.samples import Samples

# More is no set of images that fits into memory.
MOST_BYTES = 1 << 31
_BYTES = 8  # the only type that images and labels are of


def load(folder: Path, spec: str, options: dict[str, Any]) -> Dataset:
    """The images of a folder, shape (1, rows, columns). InputError names the file at fault."""
    folders.require(folder)
    images, labels = _pair(folder, "train")
    others, their_labels = _pair(folder, "t10k")
    if images.shape[1:] != others.shape[1:]:
        raise InputError(
            f"images of {_size(others)} are in t10k, of {_size(images)} in train; they must be of one size",
            where=str(folder),
        )
    generator = np.random.default_rng(options["seed"])
    train, validation, test = divide(
        labels,
        their_labels,
        samples=options["samples"],
        validation=options["validation"],
        generator=generator,
        where=str(folder),
    )

    def samples(images: np.ndarray, labels: np.ndarray, part: np.ndarray) -> Samples:
        pixels = images[part][:, None]
        return Samples(
            coding.of_images(pixels, options["encoding"], options["steps"], generator), labels[part], folder.name
        )

    return Dataset(
        samples(images, labels, train),
        samples(images, labels, validation),
        samples(others, their_labels, test),
        int(max(labels.max(), their_labels.max())) + 1,
        spec,
        AUGMENTATIONS[options["augment"]],
    )


def _pair(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Images (samples, rows, columns) and labels (samples,), uint8."""
    images_file, labels_file = _find(folder, f"{part}-images", 3), _find(folder, f"{part}-labels", 1)
    images, labels = read(images_file, 3), read(labels_file, 1)
    if len(images) != len(labels):
        raise InputError(
            f"it holds {len(labels):,} labels, and {images_file.name} {len(images):,} images",
            where=str(labels_file),
            fix="take both files from one place",
        )
    return images, labels


def _find(folder: Path, stem: str, dimensions: int) -> Path:
    # Some tools unpack them with a dot for the second hyphen.
    usual = [f"{stem}{mark}idx{dimensions}-ubyte{end}" for mark in "-." for end in ("", ".gz")]
    for name in usual:
        if (folder / name).is_file():
            return folder / name
    below = next((p for p in sorted(folder.iterdir()) if any((p / name).is_file() for name in usual)), None)
    raise InputError(
        f"there is no {usual[0]} in this folder, nor with .gz",
        where=str(folder),
        fix=f"did you mean {below}?" if below else "the folder must hold the four files of MNIST's format",
    )


def read(path: Path, dimensions: int) -> np.ndarray:
    """The array in an idx file of bytes, uint8; InputError where it is not a whole one of so many dimensions."""
    where = str(path)
    sniff(path)
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            head = file.read(4 + 4 * dimensions)
            if len(head) < 4 + 4 * dimensions or head[:4] != bytes([0, 0, _BYTES, dimensions]):
                raise InputError(
                    f"this is not an idx file of bytes in {dimensions} dimensions: "
                    f"it begins with {head[:4].hex() or 'nothing'}, not {bytes([0, 0, _BYTES, dimensions]).hex()}",
                    where=where,
                )
            shape = tuple(int(n) for n in np.frombuffer(head[4:], ">u4"))
            size = math.prod(shape)
            if not 0 < size <= MOST_BYTES:
                raise InputError(f"it says to hold {' x '.join(map(str, shape))} bytes", where=where)
            content = file.read(size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"this is not a whole .gz file: {error}", where=where) from None
    if len(content) != size:
        more = "more" if len(content) > size else f"{len(content):,}"
        raise InputError(f"it must hold {size:,} bytes after its head, and holds {more}", where=where)
    return np.frombuffer(content, np.uint8).reshape(shape)


def _size(images: np.ndarray) -> str:
    return "x".join(map(str, images.shape[1:]))
