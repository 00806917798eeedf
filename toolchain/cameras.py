"""Recordings of event cameras (and of others that tell time and place of each event), one sample a file.

=============  ===================================================================================
``.bin``       N-MNIST, by tonic
``.aedat``     version 2 of a DVS128 or a DAVIS346, version 3 of any camera
``.aedat4``    by tonic, with the package aedat
``.dat``       Prophesee, version 2
``.npy``       a structured array with t, x and, where the input has such axes, y and p, as tonic's
=============  ===================================================================================

Times are microseconds. The first event begins step 0, as in tonic's ToFrame; an event falls into step
(t - first) // dt. Of an input of shape (2, rows, columns) an event is neuron (p, y, x). Maps of .npy and .dat files are
read piece by piece, so that their size does not matter.

Which bits of an .aedat address are what is told by the formats' documentation (jAER; iniVation, AEDAT 3.1); axes of the
DVS128 are named as in tonic, whose networks these are for. tonic 1.7 itself fails on these files.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from snnc.errors import InputError, UsageError
from snnc.files import sniff
from snnc.ops import Shape
from snnc.recordings import Bits, Events, Track
from snnc.samples import map_npy

ENDS = (".bin", ".aedat", ".aedat4", ".dat")
# Fields by the number of axes that the input has; of an input of one axis x is the neuron (a cochlea's channel).
_AXES = {1: ("x",), 2: ("y", "x"), 3: ("p", "y", "x")}
_NAMES = {"p": "polarity", "y": "row (y)", "x": "column (x)"}


def is_events(array: np.ndarray) -> bool:
    """Whether an array is one of events."""
    return {"t", "x"} <= set(array.dtype.names or ())


def read(path: Path, shape: Shape, dt: float, bins: int | None) -> Events:
    """The recording in a file, for an input of that shape.

    dt: seconds per step. bins: instead, so many steps of equal length, of whole microseconds; what is left of the
    recording then is left out. Raises InputError naming file, event and value.
    """
    sniff(path)
    if path.suffix == ".npy":
        return events(map_npy(path), shape, dt, bins, str(path))
    if path.suffix == ".dat":
        return _binned(_prophesee(path), shape, dt, bins, str(path))
    if path.suffix == ".aedat":
        return _binned(_aedat(path, shape), shape, dt, bins, str(path))
    from snnc.models import data  # the one place of tonic

    return events(data.camera(path), shape, dt, bins, str(path))


def events(array: np.ndarray, shape: Shape, dt: float, bins: int | None, where: str) -> Events:
    """The same of a structured array."""
    return _binned({name: array[name] for name in array.dtype.names or ()}, shape, dt, bins, where)


def _prophesee(path: Path) -> dict[str, np.ndarray | Bits]:
    """Fields of a .dat file.

    Lines that begin with % are followed by a byte for the type of event (0 or 12: change detection), its size, 8, and
    events of two little-endian words: the time, and x in 14 bits, y in 14, the polarity in 4.
    """
    with path.open("rb") as file:
        at = 0
        while (line := file.readline(1 << 12)).startswith(b"%"):
            at += len(line)
        file.seek(at)
        kind = file.read(2)
    if len(kind) < 2 or kind[0] not in (0, 12) or kind[1] != 8 or (path.stat().st_size - at - 2) % 8:
        raise InputError(
            "this is not a whole .dat recording of change detection events of 8 bytes",
            where=str(path),
            fix="check that the file is complete, or save its events as a structured .npy (t, x, y, p)",
        )
    if path.stat().st_size == at + 2:
        raise InputError("it holds no events", where=str(path), fix="check that the file is complete")
    words = np.memmap(path, np.dtype([("t", "<u4"), ("at", "<u4")]), "r", at + 2)
    return {
        "t": words["t"],
        "x": Bits(words["at"], 0, 14),
        "y": Bits(words["at"], 14, 14),
        "p": Bits(words["at"], 28, 4),
    }


def _aedat(path: Path, shape: Shape) -> dict[str, np.ndarray | Bits]:
    """Fields of an .aedat file of version 2 or 3: lines that begin with #, then events of two words."""
    with path.open("rb") as file:
        at, line = 0, b""
        version = file.readline(1 << 12).strip()
        file.seek(0)
        while line.strip() != b"#!END-HEADER" and (line := file.readline(1 << 12)).startswith(b"#"):
            at += len(line)
    size = path.stat().st_size - at
    if version.startswith(b"#!AER-DAT3") and size:
        times, words = _packets(path, at)
        return {"t": times, "x": Bits(words, 17, 15), "y": Bits(words, 2, 15), "p": Bits(words, 1, 1)}
    if not version.startswith(b"#!AER-DAT2") or size % 8 or not size:
        raise InputError(
            "this is not a whole .aedat recording of version 2 or 3", where=str(path), fix="check that it is complete"
        )
    pairs: np.ndarray = np.memmap(path, np.dtype([("at", ">u4"), ("t", ">u4")]), "r", at)
    sensor = shape[-2:]
    if sensor == (128, 128):
        address = pairs["at"]
        return {"t": pairs["t"], "x": Bits(address, 8, 7), "y": Bits(address, 1, 7), "p": Bits(address, 0, 1)}
    if sensor == (260, 346):
        pairs = pairs[pairs["at"] < 1 << 31]  # the others are grey values and the motion sensor's
        address = pairs["at"]
        return {
            "t": pairs["t"],
            "x": Bits(address, 12, 10, 345),
            "y": Bits(address, 22, 9, 259),
            "p": Bits(address, 11, 1),
        }
    raise InputError(
        f"version 2 does not name its camera, and none is known whose sensor has the size of an input of shape {shape}",
        where=str(path),
        fix="known are 128x128 and 260x346; save other events as a structured .npy (t, x, y, p)",
    )


def _packets(path: Path, at: int) -> tuple[np.ndarray, np.ndarray]:
    """Times and addresses in the packets of AEDAT 3.1, each a header of 28 bytes and events."""
    data = np.memmap(path, np.uint8, "r", at)
    parts, place = [np.zeros((0, 2), "<u4")], 0
    while place < len(data):
        whole = place + 28 <= len(data)
        kind = int(data[place : place + 2].view("<u2")[0]) if whole else 0
        sizes = data[place + 4 : place + 28].view("<u4").tolist() if whole else [0] * 6
        each, _, overflow, capacity, number, valid = sizes
        body = place + 28
        place = body + each * capacity
        if not each or number > capacity or place > len(data) or (kind == 1 and (each != 8 or overflow)):
            raise InputError(
                f"the packet of events before byte {at + body:,} is cut short, damaged or too late",
                where=str(path),
                fix="check that the file is complete; times beyond 2^31 microseconds are not read",
            )
        if kind == 1:  # of changes; others are marks, grey values, motion
            found = data[body : body + 8 * number].view("<u4").reshape(-1, 2)
            parts.append(found if valid == number else found[found[:, 0] & 1 == 1])
    events = np.concatenate(parts)
    return events[:, 1], events[:, 0]


def _binned(fields: dict[str, np.ndarray | Bits], shape: Shape, dt: float, bins: int | None, where: str) -> Events:
    axes = _AXES.get(len(shape), ())
    if len(shape) == 2 and "y" not in fields:
        axes = ("p", "x")
    missing = [name for name in ("t", *axes) if name not in fields]
    if missing or not axes:
        raise InputError(
            f"its events have {', '.join(fields)}; an input of shape {shape} needs {', '.join(('t', *axes))}",
            where=where,
            fix="rename the fields, or use a network whose input is (polarities, rows, columns)",
        )
    times = fields["t"]
    assert isinstance(times, np.ndarray)
    kinds = {"t": times.dtype.kind, **{n: np.asarray(fields[n][0:1]).dtype.kind for n in axes}}
    if any(kind not in ("buif" if name == "t" else "bui") for name, kind in kinds.items()):
        raise InputError("its fields must be numbers, and whole ones but for t", where=where, fix="convert them")
    places = tuple(fields[name] for name in axes)
    track = Track(times, places, 0.0, 1.0, tuple(_NAMES[name] for name in axes))
    track.check(shape, None, where)
    start, length = times[0].item(), times[-1].item() - times[0].item()
    if bins is None:
        micro = dt * 1e6
        # 1e-3 * 1e6 is 1000; 1.1e-3 * 1e6 is that only nearly.
        per_step = float(round(micro)) if round(micro) >= 1 and abs(micro - round(micro)) < 1e-6 else micro
    else:
        per_step = float(length // bins) if bins > 0 else 0.0
        if per_step < 1:
            raise UsageError(
                f"{length:g} microseconds cannot be divided into {bins} steps of whole microseconds",
                where=where,
                fix=f"choose --bins 1 to {int(length)}" if length >= 1 else "use --dt",
            )
    track = Track(times, places, start, per_step, track.names)
    steps = bins or int(track.steps(slice(len(times) - 1, None))[0]) + 1
    return Events((track,), steps, shape, np.dtype(np.uint8), Path(where).name)
