"""Data from what a user types: a file, or a data set of snnc.models.data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from snnc.errors import InputError, UsageError
from snnc.network import Network
from snnc.ops import Shape
from snnc.recordings import LARGE_BYTES, Frames, Rates, cut, whole
from snnc.samples import Recording, Samples, check_npz, held, load_arrays, load_npy, map_npy

SPLITS = ("train", "validation", "test", "all")
NIR_DATA = (".nir", ".h5", ".hdf5")


@dataclass(frozen=True)
class Feed:
    """The input of a network: name, shape of a step, and seconds per step."""

    name: str
    shape: Shape
    dt: float

    @classmethod
    def of(cls, network: Network, dt: float | None = None) -> Feed | None:
        """The first input of a network, None where it has none. dt: instead of the network's, in seconds."""
        if dt is not None and not 0 < dt < math.inf:
            raise UsageError(f"a step of {dt:g} s is none", fix="choose --dt above 0, in seconds")
        first = network.inputs[0] if network.inputs else None
        return None if first is None else cls(first.name, first.shape, network.dt if dt is None else dt)


@dataclass(frozen=True)
class Excerpt:
    """Which part of the data is wanted, and how it becomes steps.

    split: of a data set; "all" is the three others one after the other. samples, steps: the first so many; None = all.
    Of rates, steps is how many there shall be. bins: so many steps of equal length for each recording of events;
    None = steps as long as the network's. seed: of the coding of rates; None = 0.
    """

    split: str = "test"
    samples: int | None = None
    steps: int | None = None
    bins: int | None = None
    seed: int | None = None


def samples(spec: str, split: str = "test", *, feed: Feed | None = None) -> Samples:
    """All samples that `spec` names, see :func:`recording`."""
    return whole(recording(spec, Excerpt(split), feed))


def recording(spec: str, excerpt: Excerpt, feed: Feed | None = None) -> Recording:
    """What `spec` names; a file has no splits and is one.

    feed: what it is for; events, NIRData and an ``.npy`` of one sample cannot be told without. Raises UsageError for an
    unknown data set or split, or a part that there is not, InputError for unreadable data.
    """
    _check(excerpt, spec)
    found, of_events, of_rates = _open(spec, excerpt, feed)
    _check_kind(excerpt, spec, of_events, of_rates)
    return cut(found.first(excerpt.samples), excerpt.steps)


def excerpt_of(found: Samples, excerpt: Excerpt, spec: str) -> Recording:
    """The part of samples that is wanted; the errors of :func:`recording`."""
    _check(excerpt, spec)
    _check_kind(excerpt, spec, of_events=False, of_rates=False)
    return cut(found.first(excerpt.samples), excerpt.steps)


def _check(excerpt: Excerpt, spec: str) -> None:
    for value, what, option in (
        (excerpt.samples, "samples", "--samples"),
        (excerpt.steps, "steps", "--steps"),
        (excerpt.bins, "steps", "--bins"),
    ):
        if value is not None and value < 1:
            raise UsageError(f"{value} {what} are none", where=spec, fix=f"choose {option} 1 or more")
    if excerpt.split not in SPLITS:
        raise UsageError(f"there is no split '{excerpt.split}'", fix=f"choose one of {', '.join(SPLITS)}")


def _check_kind(excerpt: Excerpt, spec: str, of_events: bool, of_rates: bool) -> None:
    if excerpt.bins is not None and not of_events:
        raise UsageError(
            "--bins divides recordings of events, and this data has steps already", where=spec, fix="leave it out"
        )
    if excerpt.seed is not None and not of_rates:
        raise UsageError("--seed is for the coding of rates, and here are none", where=spec, fix="leave it out")


def _open(spec: str, excerpt: Excerpt, feed: Feed | None) -> tuple[Recording, bool, bool]:
    """The recording, whether it is one of events, whether one of rates."""
    from snnc import cameras

    path = Path(spec)
    if path.suffix == ".npz":
        arrays = load_arrays(path)
        if "rates" in arrays and "spikes" not in arrays:
            return _rates(arrays, excerpt, path), False, True
        return check_npz(arrays, path), False, False
    if path.suffix not in (".npy", *NIR_DATA, *cameras.ENDS):
        return _data_set(spec, excerpt.split), False, False
    if feed is None:
        raise UsageError(
            f"an {path.suffix} file does not say what it is for, nor where its samples begin",
            where=spec,
            fix="use an .npz, or name the network",
        )
    if path.suffix in NIR_DATA:
        from snnc.frontends import nir_data

        found = nir_data.read(path, feed.name, feed.shape, feed.dt, excerpt.bins)
        return found, not isinstance(found, Samples), False
    if path.suffix == ".npy":
        mapped = map_npy(path)
        if not cameras.is_events(mapped):
            if mapped.nbytes <= LARGE_BYTES:
                return load_npy(path, feed.shape), False, False
            one = mapped.ndim == 1 + len(feed.shape)
            return Frames.of(mapped[None] if one else mapped, path.name), False, False
    return cameras.read(path, feed.shape, feed.dt, excerpt.bins), True, False


def _rates(arrays: dict[str, np.ndarray], excerpt: Excerpt, path: Path) -> Rates:
    if excerpt.steps is None:
        raise UsageError("rates do not say how many steps there shall be", where=str(path), fix="--steps 100")
    return Rates.of(arrays["rates"], excerpt.steps, excerpt.seed or 0, arrays.get("labels"), path.name)


def _data_set(spec: str, split: str) -> Samples:
    from snnc.models import data

    if Path(spec).is_file():
        raise InputError(
            "what kind of data a file holds is told by its end, and this one is unknown",
            where=spec,
            fix=".npz, .npy; of NIRData .nir or .h5; of events .bin, .aedat, .aedat4, .dat",
        )
    loaded = data.load(spec)
    if split != "all":
        chosen: Samples = getattr(loaded, split)
        return chosen
    parts = (loaded.train, loaded.validation, loaded.test)
    labels = np.concatenate([p.labels for p in parts if p.labels is not None])
    if all(p.still for p in parts):
        return Samples(held(np.concatenate([p.spikes[:, 0] for p in parts]), parts[0].steps), labels, loaded.train.name)
    return Samples(np.concatenate([p.spikes for p in parts]), labels, loaded.train.name)
