"""NIRData: recordings in HDF5 as ``nir.write_data`` of nir 1.0.8 writes them, read without h5py's objects.

A file is a NIRGraphData: ``nodes/NAME/observables/NAME`` with an observable each::

    TimeGriddedData   data (samples, steps, neurons)                          attribute dt, seconds
    EventData         idx (samples, events), time the same, in seconds        attributes n_neurons, t_max
    ValuedEventData   these, and value

Rows of events are filled up with an index of -1. The names of nodes are those of the NIR graph, so that the input
is found by its name; what an observable is called, NIR leaves open. An event falls into step floor(time / dt).
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from snnc.errors import InputError
from snnc.frontends.hdf5 import Tree, read_tree
from snnc.ops import Shape
from snnc.recordings import EARLY, Events, Track
from snnc.samples import Recording, Samples

ATTRIBUTES = ("dt", "n_neurons", "t_max")
# Names by which the input's spikes go, where there are several observables.
_SPIKES = ("spikes", "input", "output")


def read(path: Path, feed: str, shape: Shape, dt: float, bins: int | None) -> Recording:
    """What a file holds for the input population `feed` of that shape.

    dt: seconds per step of the network; a grid must have the same. bins: instead, so many steps for events. InputError
    naming file, node and field.
    """
    tree = read_tree(path, attributes=ATTRIBUTES)
    nodes = _groups(tree, "nodes", str(path))
    at, node = _choose(nodes, (feed, "input"), "node", str(path))
    where = f"{path}: nodes/{at}"
    name, found = _choose(_groups(node, "observables", where), _SPIKES, "observable", where)
    where = f"{where}/observables/{name}"
    if "data" in found:
        return replace(_gridded(found, shape, dt, where), name=path.name)
    return replace(_events(found, shape, dt, bins, where), name=path.name)


def _groups(tree: Tree, name: str, where: str) -> dict[str, Tree]:
    inside = tree.get(name)
    groups = {k: v for k, v in inside.items() if isinstance(v, dict)} if isinstance(inside, dict) else {}
    if not groups:
        raise InputError(f"it has no {name}", where=where, fix="write the file with nir.write_data")
    return groups


def _choose(found: dict[str, Tree], names: tuple[str, ...], what: str, where: str) -> tuple[str, Tree]:
    """The one that has one of the names, the first first; or the only one."""
    for name in (*names, *(found if len(found) == 1 else ())):
        if name in found:
            return name, found[name]
    raise InputError(
        f"none of its {what}s is called '{names[0]}': {', '.join(found)}",
        where=where,
        fix=f"give the {what} of the network's input that name",
    )


def _gridded(found: Tree, shape: Shape, dt: float, where: str) -> Samples:
    data = _array(found, "data", "biuf", 3, where)
    theirs = _number(found, "dt", where)
    if abs(theirs - dt) > EARLY * dt:
        raise InputError(
            f"its steps are dt = {theirs:g} s long, the network's {dt:g} s",
            where=where,
            fix=f"--dt {theirs:g} takes a step of the data for one of the network",
        )
    _count(data.shape[2], shape, where)
    return Samples(data.reshape(*data.shape[:2], *shape), None, where)


def _events(found: Tree, shape: Shape, dt: float, bins: int | None, where: str) -> Events:
    index, time = _array(found, "idx", "iu", 2, where), _array(found, "time", "iuf", 2, where)
    value = _array(found, "value", "biuf", 2, where) if "value" in found else None
    for name, other in (("time", time), ("value", value)):
        if other is not None and other.shape != index.shape:
            raise InputError(f"{name} has shape {other.shape}, idx {index.shape}", where=where)
    _count(_number(found, "n_neurons", where), shape, where)
    end = _number(found, "t_max", where)
    finite = 0 < end < math.inf
    dt = end / bins if bins and finite else dt
    steps = (bins or math.floor(end / dt + EARLY)) if finite else 0
    if steps < 1 or not len(index):
        raise InputError(
            f"{len(index)} samples of t_max = {end:g} s hold no step of {dt:g} s",
            where=where,
            fix="choose a shorter --dt, or write t_max in seconds",
        )
    tracks: list[Track] = []
    kind: np.dtype = np.dtype(np.uint8)
    if value is not None:
        whole = value == np.rint(value)
        kind = np.dtype(np.int32 if whole.all() and np.abs(value).max(initial=0) < 1 << 31 else np.float64)
    for k, (idx, times) in enumerate(zip(index, time, strict=True)):
        real = idx != -1
        values = None if value is None else value[k][real].astype(kind)
        places = np.unravel_index(np.clip(idx[real], 0, math.prod(shape) - 1), shape)
        flat = Track(times[real], (idx[real],), 0.0, dt, ("index",))
        flat.check((math.prod(shape),), end, f"{where}, sample {k}")
        tracks.append(Track(times[real], places, 0.0, dt, ("index",) * len(shape), values))
    return Events(tuple(tracks), steps, shape, kind, where)


def _array(found: Tree, name: str, kinds: str, axes: int, where: str) -> np.ndarray:
    value: Any = found.get(name)
    if not isinstance(value, np.ndarray) or value.dtype.kind not in kinds or value.ndim != axes:
        is_ = f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else "missing"
        raise InputError(f"'{name}' must be an array of numbers with {axes} axes, it is {is_}", where=where)
    return value


def _number(found: Tree, name: str, where: str) -> float:
    if f"@{name}" not in found:
        raise InputError(f"it has no attribute '{name}'", where=where, fix="write the file with nir.write_data")
    return float(found[f"@{name}"])


def _count(theirs: float, shape: Shape, where: str) -> None:
    if theirs != math.prod(shape):
        raise InputError(
            f"it is of {theirs:g} neurons; the network's input, of shape {shape}, has {math.prod(shape)}",
            where=where,
            fix="record the layer that feeds this network",
        )
