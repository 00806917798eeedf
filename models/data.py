"""Spike data by name: the digits of scikit-learn, which are always at hand, and N-MNIST.

A data set is asked for by a short text, ``name[=FOLDER][:key=value,...]``, for instance
``digits``, ``digits:steps=16,encoding=latency`` or ``nmnist=recordings/Train:steps=20``. The
same text always gives the same spikes; :attr:`Dataset.spec` is its full form, with every
option written out, and is what a checkpoint stores.

``digits`` (1,797 images of 8x8, 17 grey levels), shape (1, 8, 8):
  steps     time steps
  encoding  rate or latency, see :func:`rate` and :func:`latency`
  seed      of the split and of the encoding

``nmnist=FOLDER`` (event camera, 34x34, two polarities), shape (2, 34, 34). FOLDER holds
``<digit>/*.bin``, any number of them, or is where tonic keeps its data sets
(``FOLDER/NMNIST/Train``). Without FOLDER tonic downloads the data to the user's cache.
  steps     frames per recording; an event sets its pixel's bit in a frame, however often it occurs
  window    milliseconds per frame, what does not fit into `steps` is cut off; 0: the recording is
            divided evenly
  samples   use at most so many recordings, chosen by seed; 0: all
  seed      of the split
"""

from __future__ import annotations

import contextlib
import difflib
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from snnc.errors import InputError, UsageError
from snnc.files import sniff
from snnc.ops import Shape
from snnc.recordings import coded
from snnc.samples import Samples

SENSOR = (34, 34, 2)  # N-MNIST: columns, rows, polarities
EVENT_BYTES = 5  # x, y, polarity and time in 40 bits
TONIC_CURE = "pip install 'snnc[events]'"


@dataclass(frozen=True, eq=False)
class Dataset:
    """Three disjoint sets of recordings.

    train: to learn from. validation: to watch and to decide by. test: to report, once.
    classes: number of labels. spec: the full specification that gives exactly this data again.
    """

    train: Samples
    validation: Samples
    test: Samples
    classes: int
    spec: str
    augment = None

    @property
    def shape(self) -> Shape:
        """Of one step of one sample."""
        return self.train.shape


def load(spec: str) -> Dataset:
    """The data that `spec` asks for.

    Raises UsageError where the text is wrong or tonic is missing, InputError where files are
    missing or unreadable.
    """
    name, folder, options = _parse(spec)
    if name == "digits":
        return _digits(_complete(name, folder, options), **options)
    return _nmnist(folder, options)


def rate(values: np.ndarray, steps: int, generator: np.random.Generator) -> np.ndarray:
    """Spikes of one integrate-and-fire neuron per value, uint8 (samples, steps, *rest).

    values: (samples, *rest) in 0..1, added to the neuron's potential each step; at 1 it spikes and
    1 is subtracted. Each potential starts at a random phase in [0, 1), so that equal values do not
    spike in step; over T steps a value x gives floor(xT) or ceil(xT) spikes, xT on average.
    """
    return coded(values, generator.random(values.shape), 0, steps)


def latency(values: np.ndarray, steps: int, generator: np.random.Generator) -> np.ndarray:
    """One spike per value, the earlier the larger, uint8 (samples, steps, *rest).

    values: (samples, *rest) in 0..1. Value x spikes at (1 - x)(steps - 1), which is rounded up or
    down at random with its fraction as the probability; 0 never spikes.
    """
    time = np.floor((1 - values) * (steps - 1) + generator.random(values.shape))
    spikes = [(time == step) & (values > 0) for step in range(steps)]
    return np.stack(spikes, axis=1).astype(np.uint8)


ENCODINGS: dict[str, Callable[[np.ndarray, int, np.random.Generator], np.ndarray]] = {
    "rate": rate,
    "latency": latency,
}

# Options with their defaults; the default's type is the option's.
OPTIONS: dict[str, dict[str, int | str]] = {
    "digits": {"steps": 8, "encoding": "rate", "seed": 0},
    "nmnist": {"steps": 10, "window": 0, "samples": 0, "seed": 0},
}


def _parse(spec: str) -> tuple[str, Path | None, dict[str, Any]]:
    """Name, folder and all options of a specification, or UsageError."""
    # Options are whatever follows the last colon and looks like them, so that a folder may hold colons.
    match = re.fullmatch(r"([^=:]*)(?:=(.*?))?(?::((?:\w+=[^,=:]*)(?:,\w+=[^,=:]*)*))?", spec)
    name = match[1] if match else re.split("[=:]", spec)[0]
    if name not in OPTIONS:
        close = difflib.get_close_matches(name, OPTIONS, n=1)
        fix = f"did you mean '{close[0]}'?" if close else f"data: {', '.join(OPTIONS)}"
        raise UsageError(f"there is no data set '{name}'", where=spec, fix=fix)
    if not match:
        raise UsageError("this is not name[=FOLDER][:key=value,...]", where=spec, fix=f"for instance {_example(name)}")
    if match[2] == "" or (match[2] and name == "digits"):
        raise UsageError(f"'{name}' cannot be read from the folder '{match[2]}'", where=spec, fix=_example(name))
    options: dict[str, Any] = dict(OPTIONS[name])
    for pair in match[3].split(",") if match[3] else []:
        key, value = pair.split("=")
        if key not in options:
            close = difflib.get_close_matches(key, options, n=1)
            fix = f"did you mean '{close[0]}'?" if close else f"options: {', '.join(options)}"
            raise UsageError(f"'{name}' has no option '{key}'", where=spec, fix=fix)
        options[key] = _value(spec, key, value)
    return name, Path(match[2]) if match[2] else None, options


def _value(spec: str, key: str, value: str) -> int | str:
    if key == "encoding":
        if value not in ENCODINGS:
            raise UsageError(f"encoding must be one of {', '.join(ENCODINGS)}; got '{value}'", where=spec)
        return value
    least = 1 if key == "steps" else 0
    if not re.fullmatch("[0-9]{1,9}", value) or int(value) < least:
        raise UsageError(f"{key} must be a whole number of at least {least}; got '{value}'", where=spec)
    return int(value)


def _example(name: str) -> str:
    options = ",".join(f"{key}={value}" for key, value in OPTIONS[name].items())
    return f"{name}{'=FOLDER' if name == 'nmnist' else ''}:{options}"


def _complete(name: str, folder: Path | None, options: Mapping[str, Any]) -> str:
    """The full specification. The folder must be absolute: a checkpoint is used from anywhere."""
    place = f"={folder}" if folder else ""
    return f"{name}{place}:" + ",".join(f"{key}={value}" for key, value in options.items())


def _share_out(labels: np.ndarray, parts: tuple[int, ...], generator: np.random.Generator) -> list[np.ndarray]:
    """Disjoint random index sets of sizes `parts`, each with the classes in the proportion of `labels`."""
    shuffled = generator.permutation(len(labels))
    position = np.empty(len(labels))
    for label in np.unique(labels):
        members = shuffled[labels[shuffled] == label]
        # Spread the class evenly over [0, 1): any interval holds its fair share of each class.
        position[members] = (np.arange(len(members)) + 0.5) / len(members)
    order = shuffled[np.argsort(position[shuffled], kind="stable")]
    # Within a set the order is random: neighbours in `order` are alike in class.
    return [generator.permutation(part) for part in np.split(order, np.cumsum(parts))[: len(parts)]]


def _digits(spec: str, *, steps: int, encoding: str, seed: int) -> Dataset:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    values = images.reshape(-1, 1, 8, 8) / 16.0
    generator = np.random.default_rng(seed)
    parts = _share_out(labels, (1197, 150, 450), generator)
    spikes = ENCODINGS[encoding](values, steps, generator)
    train, validation, test = (Samples(spikes[part], labels[part], "digits") for part in parts)
    return Dataset(train, validation, test, 10, spec)


def _nmnist(folder: Path | None, options: dict[str, Any]) -> Dataset:
    tonic = _tonic()
    folder = folder.expanduser().resolve() if folder else None
    files, labels, official = _recordings(tonic, folder)
    generator = np.random.default_rng(options["seed"])
    chosen = np.sort(generator.permutation(len(files))[: options["samples"] or None])
    files, labels = [files[i] for i in chosen], labels[chosen]
    held = official[chosen]
    learning, test = np.flatnonzero(~held), np.flatnonzero(held)
    if not len(test):
        count = len(files)
        learning, test = _share_out(labels, (count - -(-count // 4), -(-count // 4)), generator)
    validating = max(1, round(len(files) / 12))
    if len(learning) <= validating or not len(test):
        raise InputError(f"{len(files)} recordings are too few to train, validate and test", where=str(folder or ""))
    train, validation = (
        learning[part] for part in _share_out(labels[learning], (len(learning) - validating, validating), generator)
    )

    def read(part: np.ndarray) -> Samples:
        return Samples(np.stack([_frames(tonic, files[i], options) for i in part]), labels[part], "nmnist")

    return Dataset(read(train), read(validation), read(test), 10, _complete("nmnist", folder, options))


def _recordings(tonic: Any, folder: Path | None) -> tuple[list[Path], np.ndarray, np.ndarray]:
    """Files, their labels, and which of them belong to the official test set (none for a plain folder)."""
    if folder and not folder.is_dir():
        raise InputError("there is no such folder", where=str(folder))
    if folder and not (folder / "NMNIST").is_dir():
        files = sorted(p for p in folder.glob("[0-9]/*.bin") if p.is_file())
        if not files:
            below = next((p for p in sorted(folder.iterdir()) if any(p.glob("[0-9]/*.bin"))), None)
            fix = f"did you mean {below}?" if below else "the folder must hold <digit>/*.bin, digits 0 to 9"
            raise InputError("there are no recordings in this folder", where=str(folder), fix=fix)
        labels = np.array([int(p.parent.name) for p in files])
        return files, labels, np.zeros(len(files), bool)
    place = folder or Path.home() / ".cache" / "snnc"
    try:
        # Tonic tells of its download on stdout, which is for results.
        with contextlib.redirect_stdout(sys.stderr):
            sets = [tonic.datasets.NMNIST(save_to=str(place), train=train) for train in (True, False)]
    except (OSError, RuntimeError) as error:  # no network, a refused or damaged download
        raise InputError(
            f"tonic found no complete N-MNIST and could not download it: {error}",
            where=str(place),
            fix="name a folder of recordings: nmnist=FOLDER with FOLDER/<digit>/*.bin",
        ) from None
    files = [Path(p) for s in sets for p in s.data]
    return files, np.concatenate([s.targets for s in sets]), np.repeat([False, True], [len(s.data) for s in sets])


def _frames(tonic: Any, path: Path, options: Mapping[str, Any]) -> np.ndarray:
    """One recording as frames of zeros and ones, uint8 (steps, 2, 34, 34)."""
    sniff(path)
    if path.stat().st_size % EVENT_BYTES:
        raise InputError(f"this is not an N-MNIST recording: events take {EVENT_BYTES} bytes each", where=str(path))
    events = tonic.io.read_mnist_file(str(path), dtype=tonic.datasets.NMNIST.dtype)
    if not len(events) or events["x"].max() >= SENSOR[0] or events["y"].max() >= SENSOR[1]:
        raise InputError(
            f"this is not an N-MNIST recording: no events, or outside {SENSOR[0]}x{SENSOR[1]}", where=str(path)
        )
    steps, window = options["steps"], options["window"]
    if np.any(np.diff(events["t"]) < 0):
        raise InputError("this is not an N-MNIST recording: its times go backwards", where=str(path))
    if not window and events["t"][-1] - events["t"][0] < steps:
        raise InputError(f"it is too short to be divided into {steps} steps of whole microseconds", where=str(path))
    if window:
        to_frame = tonic.transforms.ToFrame(SENSOR, time_window=1000 * window, include_incomplete=True)
    else:
        to_frame = tonic.transforms.ToFrame(SENSOR, n_time_bins=steps)
    frames = to_frame(events)[:steps] > 0
    return np.pad(frames, ((0, steps - len(frames)), (0, 0), (0, 0), (0, 0))).astype(np.uint8)


# What tonic's readers raise on files that are damaged or of another kind.
_DAMAGE = (OSError, ValueError, TypeError, LookupError, AttributeError, RuntimeError)


def camera(path: Path) -> np.ndarray:
    """Events of a ``.bin`` or ``.aedat4`` file, which tonic reads: a structured array of x, y, t in microseconds, p.

    UsageError where a package is missing, InputError where the file is damaged.
    """
    tonic = _tonic()
    sniff(path)
    if path.suffix == ".bin":
        if path.stat().st_size % EVENT_BYTES:
            raise InputError(f"this is not an N-MNIST recording: events take {EVENT_BYTES} bytes each", where=str(path))
        events: np.ndarray = tonic.io.read_mnist_file(str(path), dtype=tonic.datasets.NMNIST.dtype)
        return events
    try:
        found: np.ndarray = tonic.io.read_aedat4(str(path))
    except ImportError:
        raise UsageError("reading .aedat4 needs the package aedat", where=str(path), fix="pip install aedat") from None
    except _DAMAGE as error:
        raise InputError(f"this is not a readable .aedat4: {error}", where=str(path)) from None
    return found


def _tonic() -> Any:
    try:
        import tonic
    except ImportError:
        raise UsageError("reading event recordings needs the package tonic", fix=TONIC_CURE) from None
    return tonic
