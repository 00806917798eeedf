"""Two compilations side by side: what differs between their reports, and where the neurons went.

Counts, costs and accuracies are compared only where both were measured on the same samples; a note says so otherwise.
The numbers of cores mean nothing, so cores are matched first, those that share most neurons with each other, and a
neuron has moved if it is in another core than most of its former neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from snnc.errors import InputError
from snnc.image import Image
from snnc.report.schema import KINDS, Layer, Report
from snnc.target import Target

# Labels of fields whose names do not say it; None = not compared by itself.
_LABELS: dict[str, str | None] = {
    "name": None,
    "synapse_bits": "memory",
    "synops": "SynOps",
    "effective_synops": "effective SynOps",
    "energy_pj": "energy",
    "time_ns": "time",
}
# What a run of samples counted, in the order of the table.
_COUNTED = ("spikes", "synops", "effective_synops", "messages", "hops", "crossings")
_MEASURED = ("accuracy", *_COUNTED, "time_ns", "energy_pj")
# Of a layer: what a run counted.
_MEASURED_LAYER = ("rate", "neuron_updates", "active_updates", *_MEASURED, *KINDS)
_SHARES = ("sparsity", "accuracy", "weight_error")


@dataclass(frozen=True, eq=False)
class Compiled:
    """One of the two: what the user called it, its report, and its image where there is one."""

    name: str
    report: Report
    image: Image | None


class Row(msgspec.Struct, frozen=True):
    """A value that differs. part: "options", "chip", "in all" or "layer NAME". kind: how to write it.

    kind: count, bits, share (of 1), time (ns), energy (pJ), number or text.
    """

    part: str
    label: str
    kind: str
    a: Any
    b: Any


class Moves(msgspec.Struct, frozen=True):
    """Neurons that are in another core, and cores in another place. layers: name -> neurons that moved.

    neurons: of the layers that both have, in the same size. sites: matched cores on another site; None where the
    chips differ. cores: that were matched.
    """

    neurons: int
    moved: int
    layers: dict[str, int]
    cores: int
    sites: int | None


class Difference(msgspec.Struct, frozen=True):
    """What differs between two compilations. compared: values looked at, equal ones included.

    a, b: in a line each. moves: None where one of the two has no image. notes: what was not compared, and why.
    """

    a: str
    b: str
    same: bool
    compared: int
    rows: list[Row]
    moves: Moves | None
    notes: list[str]


def difference(a: Compiled, b: Compiled) -> Difference:
    """Compare two compilations; InputError where they have no layer in common."""
    layers = [{layer.name: layer for layer in each.report.layers} for each in (a, b)]
    names = [list(of) for of in layers]
    common = [name for name in names[0] if name in names[1]]
    if all(layers[0][name].operation == "input" for name in common):
        raise InputError(
            f"they have no layer in common: {_few(names[0])}; {_few(names[1])}",
            where=f"{a.name}, {b.name}",
            fix="compare two compilations of one network",
        )
    notes = list(_notes(a, b, names))
    measured = _same_data(a.report, b.report)
    rows = [*_options(a.report, b.report), *_in_all(a.report, b.report, measured)]
    if a.image is not None and b.image is not None and a.image.target.name == b.image.target.name:
        rows += _chip(a.image.target, b.image.target)
    for name in common:
        rows += _layer(layers[0][name], layers[1][name], measured)
    differing = [row for row in rows if row.a != row.b]
    moves = None
    if a.image is None or b.image is None:
        notes.append("which neurons moved is known only of images: give folders that hold image.snnc")
    else:
        moves = _moves(a.image, b.image)
    same = not differing and names[0] == names[1] and not (moves and (moves.moved or moves.sites))
    return Difference(_head(a), _head(b), same, len(rows), differing, moves, notes)


def _few(names: list[str]) -> str:
    return ", ".join(names[:4]) + (" ..." if len(names) > 4 else "")


def _head(each: Compiled) -> str:
    return f"{each.name}: {each.report.network} -> {each.report.target}"


def _notes(a: Compiled, b: Compiled, names: list[list[str]]) -> Iterator[str]:
    for this, other, where in ((names[0], names[1], "a"), (names[1], names[0], "b")):
        if alone := [name for name in this if name not in other]:
            yield f"only in {where}: layers {', '.join(alone)}"
    runs = [each.report.activity for each in (a, b)]
    if runs[0] and runs[1] and not _same_data(a.report, b.report):
        said = [f"{run.samples} samples x {run.steps} steps of {run.data}" for run in runs if run]
        yield f"what was counted is not compared, for it was on other data: {said[0]}; {said[1]}"
    elif bool(runs[0]) != bool(runs[1]):
        yield f"what was counted is not compared: only {'a' if runs[0] else 'b'} was run on data"


def _same_data(a: Report, b: Report) -> bool:
    runs = [(r.data, r.samples, r.steps) for r in (a.activity, b.activity) if r is not None]
    return len(runs) == 2 and runs[0] == runs[1]


def _options(a: Report, b: Report) -> Iterator[Row]:
    for label, one, other in (
        ("network", a.network, b.network),
        ("file", a.source.get("file"), b.source.get("file")),
        ("its SHA-256", a.source.get("sha256", "")[:16], b.source.get("sha256", "")[:16]),
        ("calibrated on", a.source.get("data"), b.source.get("data")),
        ("target", a.target, b.target),
        ("snnc", a.snnc, b.snnc),
    ):
        yield Row("options", label, "text", one, other)
    for name in dict.fromkeys([*a.options, *b.options]):
        yield Row("options", f"--{name.replace('_', '-')}", "text", a.options.get(name), b.options.get(name))
    one, other = (r.passes.get("quantize", {}).get("tuned", {}).get("epochs") for r in (a, b))
    yield Row("options", "--finetune, epochs", "text", one, other)


def _chip(a: Target, b: Target) -> Iterator[Row]:
    """The numbers of two descriptions that go by one name."""
    numbers = [{name: number.value for name, number in chip.numbers()} for chip in (a, b)]
    for name in dict.fromkeys([*numbers[0], *numbers[1]]):
        one, other = numbers[0].get(name), numbers[1].get(name)
        yield Row("chip", name, "text" if isinstance(one, tuple) else "number", one, other)


def _in_all(a: Report, b: Report, measured: bool) -> Iterator[Row]:
    def row(label: str, kind: str, of: Any) -> Row:
        return Row("in all", label, kind, of(a), of(b))

    yield row("cores", "count", lambda r: r.this.cores)
    yield row("neurons", "count", lambda r: r.this.neurons)
    yield row("weights", "count", lambda r: r.this.weights)
    yield row("sparsity", "share", _sparsity)
    yield row("synapses", "count", lambda r: sum(layer.synapses for layer in r.layers))
    yield row("memory", "bits", lambda r: r.this.synapse_bits)
    for name in (n for n in a.resources if n in b.resources):
        noun = "memory" if name == "synapse_bits" else name.replace("_", "-")
        yield row(f"fullest core, {noun}", "share", lambda r, n=name: r.resources[n].share)
        if name in ("neurons", "synapse_bits"):
            yield row(f"mean core, {noun}", "share", lambda r, n=name: _mean_share(r, n))
    for name, value in a.passes.get("route", {}).items():
        other = b.passes.get("route", {}).get(name)
        if all(isinstance(v, int | float) for v in (value, other)):
            yield Row("in all", name.replace("_", " "), "number", value, other)
    yield from _calibrated(a, b)
    if measured:
        for name in _MEASURED:
            label = "simulated accuracy" if name == "accuracy" else _label(name)
            yield row(label or name, _kind(name, None), lambda r, n=name: getattr(r.this, n))


def _calibrated(a: Report, b: Report) -> Iterator[Row]:
    """Accuracies on the calibration samples, where these are the same."""
    one, other = a.passes.get("verify", {}), b.passes.get("verify", {})
    if all(one.get(key) == other.get(key) is not None for key in ("data", "accuracy_samples")):
        for name in ("accuracy_float", "accuracy_integer"):
            if name in one and name in other:
                yield Row("in all", name.replace("accuracy_", "calibrated accuracy, "), "share", one[name], other[name])


def _sparsity(report: Report) -> float:
    possible = sum(layer.weights / (1 - layer.sparsity) for layer in report.layers if layer.weights)
    return 1 - report.this.weights / possible if possible else 0.0


def _mean_share(report: Report, name: str) -> float:
    use = report.resources[name]
    return use.used / (use.limit_per_core * report.this.cores)


def _layer(a: Layer, b: Layer, measured: bool) -> Iterator[Row]:
    for name in Layer.__struct_fields__:
        label = _label(name)
        if label is not None and (measured or name not in _MEASURED_LAYER):
            one, other = getattr(a, name), getattr(b, name)
            yield Row(f"layer {a.name}", label, _kind(name, one if one is not None else other), one, other)


def _label(name: str) -> str | None:
    return _LABELS.get(name, name.replace("_", " "))


def _kind(name: str, value: Any) -> str:
    if name in _SHARES:
        return "share"
    for suffix, kind in (("synapse_bits", "bits"), ("_pj", "energy"), ("_ns", "time")):
        if name.endswith(suffix):
            return kind
    if name in _MEASURED:
        return "count"
    if isinstance(value, int):
        return "count"
    return "number" if isinstance(value, float) else "text"


def _moves(a: Image, b: Image) -> Moves:
    from scipy.optimize import linear_sum_assignment

    shared = [p.name for p in a.network.layers if _size(b, p.name) == p.size]
    ours, theirs = ([_cores(image, name) for name in shared] for image in (a, b))
    together = np.zeros((a.cores, b.cores), np.int64)
    for one, other in zip(ours, theirs, strict=True):
        np.add.at(together, (one, other), 1)
    rows, columns = linear_sum_assignment(together, maximize=True)
    partner = np.full(a.cores, -1)
    partner[rows] = columns
    layers = {name: int(np.sum(partner[one] != other)) for name, one, other in zip(shared, ours, theirs, strict=True)}
    sites = None
    if a.target.grid == b.target.grid:
        sites = int(np.sum(a.mapping.site_of[rows] != b.mapping.site_of[columns]))
    return Moves(sum(map(len, ours)), sum(layers.values()), layers, len(rows), sites)


def _size(image: Image, name: str) -> int:
    return image.network[name].size if name in image.network.rank else 0


def _cores(image: Image, name: str) -> np.ndarray:
    start = image.network.offsets[name]
    return image.mapping.core_of[start : start + image.network[name].size]
