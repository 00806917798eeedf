"""What is known of a compilation between two passes, for people and for programs.

:func:`state` makes plain data of it and :func:`text` lines that can be compared with ``diff``; both say the same on
every machine and in every run, so times are not in them. A :class:`Folder` keeps the state after every pass:

====================  =========================================================================================
``06-quantize.txt``   the text
``06-quantize.json``  the data; ``arrays`` tells for each array the file that holds it
``06-quantize.npz``   the arrays that this pass made or changed (``numpy.load``; nothing in it is pickled)
====================  =========================================================================================
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import numpy as np
from scipy import sparse

from snnc import layout, ops
from snnc.compilation import Compilation
from snnc.errors import UsageError
from snnc.files import atomic
from snnc.network import USUAL, Network, Population, Projection
from snnc.ops import Conv1d, Conv2d, Linear, Op

# Names longer than this are not taken over into the names of arrays.
_LONGEST = 200


def state(c: Compilation, number: int, name: str) -> dict[str, Any]:
    """Plain data on the state after the pass `name`, which is the `number`-th; 0 and "start" before the first."""
    found: dict[str, Any] = {
        "pass": name,
        "number": number,
        "target": c.target.name,
        "network": {
            "name": c.network.name,
            "dt": c.network.dt,
            "outputs": list(c.network.outputs),
            "neurons": c.network.size,
            "populations": [_population(c, p) for p in c.network.populations],
            "projections": [_projection(c.network, p) for p in c.network.projections],
        },
    }
    if c.usage is not None:
        found["cores"] = _cores(c)
    found["log"] = c.log.get(name, {})
    return found


def _population(c: Compilation, population: Population) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": population.name,
        "shape": list(population.shape),
        "neuron": population.neuron,
        "semantics": {
            f.name: getattr(population.semantics, f.name)
            for f in fields(USUAL)
            if getattr(population.semantics, f.name) != getattr(USUAL, f.name)
        },
        "params": {name: _range(value) for name, value in population.params.items()},
    }
    if c.run is not None:
        start = c.network.offsets[population.name]
        rates = c.rates[start : start + population.size]
        found["spikes_per_step"] = {
            "mean": float(rates.mean()),
            "max": float(rates.max()),
            "silent": int(np.sum(rates == 0)),
        }
    return found


def _projection(network: Network, projection: Projection) -> dict[str, Any]:
    shape = network[projection.pre].shape
    found: dict[str, Any] = {
        "name": projection.name,
        "pre": projection.pre,
        "post": projection.post,
        "delay": projection.delay,
        "bits": projection.bits,
        "bias_start": projection.bias_start,
        "ops": [],
    }
    for op in projection.ops:
        found["ops"].append(_operation(op, shape))
        shape = op.output_shape(shape)
    return found


def _operation(op: Op, shape: ops.Shape) -> dict[str, Any]:
    after = op.output_shape(shape)
    found: dict[str, Any] = {"op": type(op).__name__, "from": list(shape), "to": list(after)}
    for f in fields(op):
        value = getattr(op, f.name)
        if isinstance(value, np.ndarray) or sparse.issparse(value):
            found[f.name] = {"shape": list(value.shape), **_range(value)}
        elif value != f.default:
            found[f.name] = list(value) if isinstance(value, tuple) else value
    if isinstance(op, Linear | Conv1d | Conv2d):
        found["weights"] = op.taps
        found["possible"] = math.prod(op.weight.shape)
        found["synapses"] = ops.count(op, shape)
    return found


def _range(value: Any) -> dict[str, Any]:
    """The least and the largest of an array; of a sparse one, of what it holds."""
    data = value.data if sparse.issparse(value) else value
    if not data.size:
        return {"min": None, "max": None}
    return {"min": data.min().item(), "max": data.max().item()}


def _cores(c: Compilation) -> list[dict[str, Any]]:
    assert c.usage is not None
    assert c.core_of is not None
    held: list[list[str]] = [[] for _ in range(c.usage.cores)]
    for population in c.network.layers:
        start = c.network.offsets[population.name]
        for core in np.unique(c.core_of[start : start + population.size]):
            held[core].append(population.name)
    resources = [name for name in c.target.core.__struct_fields__ if hasattr(c.usage, name)]
    return [
        {
            "core": k,
            **({} if c.site_of is None else {"site": int(c.site_of[k])}),
            **{name: int(getattr(c.usage, name)[k]) for name in resources},
            "layers": held[k],
        }
        for k in range(c.usage.cores)
    ]


def arrays(c: Compilation) -> Iterator[tuple[str, np.ndarray]]:
    """Every array of the state with a name: those of the network, and what is known of each neuron and core."""
    for k, population in enumerate(c.network.populations):
        for name, value in population.params.items():
            yield f"populations/{_plain(population.name, k)}/{name}", value
    for k, projection in enumerate(c.network.projections):
        for place, op in enumerate(projection.ops):
            for f in fields(op):
                value = getattr(op, f.name)
                name = f"projections/{_plain(projection.name, k)}/{place}/{f.name}"
                if isinstance(value, np.ndarray):
                    yield name, value
                elif sparse.issparse(value):
                    for part in ("data", "indices", "indptr"):
                        yield f"{name}/{part}", getattr(value, part)
    for f in fields(c):
        value = getattr(c, f.name)
        if isinstance(value, np.ndarray):
            yield f.name, value
    if c.run is not None:
        yield "spikes", c.run.spikes


def _plain(name: str, number: int) -> str:
    """A name of the user's without what means something in the name of a file."""
    quoted = quote(name, safe="")
    return quoted if len(quoted) <= _LONGEST else f"({number})"


class Folder:
    """A folder with the state after every pass.

    An earlier dump in it is replaced; UsageError where it holds anything else.
    """

    _OURS = re.compile(r"\d\d-[a-z_]+\.(txt|json|npz)")

    def __init__(self, path: Path) -> None:
        self.path = path
        self.last = ""
        # Name of an array -> the array as it was written last, and where.
        self._written: dict[str, tuple[np.ndarray, str]] = {}
        if path.exists() and not path.is_dir():
            raise UsageError("cannot dump there: it is a file", where=str(path), fix="name a folder")
        earlier = sorted(path.iterdir()) if path.exists() else []
        if others := [file.name for file in earlier if not self._OURS.fullmatch(file.name)]:
            raise UsageError(
                f"cannot dump there: the folder holds other things, such as '{others[0]}'",
                where=str(path),
                fix="name a new or an empty folder",
            )
        for file in earlier:
            file.unlink()

    def write(self, c: Compilation, number: int, name: str) -> None:
        """Keep the state after the pass `name`."""
        stem = f"{number:02d}-{name}"
        current = dict(arrays(c))
        changed: dict[str, Any] = {
            k: v for k, v in current.items() if k not in self._written or self._written[k][0] is not v
        }
        self._written = {k: self._written[k] for k in current if k not in changed} | {
            k: (v, f"{stem}.npz") for k, v in changed.items()
        }
        document = {**state(c, number, name), "arrays": {k: self._written[k][1] for k in current}}
        if changed:
            with atomic(self.path / f"{stem}.npz") as temporary, temporary.open("wb") as file:
                np.savez(file, **changed)
        for suffix, content in (
            ("json", msgspec.json.format(msgspec.json.encode(document), indent=1)),
            ("txt", (text(document) + "\n").encode()),
        ):
            with atomic(self.path / f"{stem}.{suffix}") as temporary:
                temporary.write_bytes(content)
        self.last = stem


def text(document: Mapping[str, Any]) -> str:
    """What :func:`state` says, a fact a line."""
    network = document["network"]
    lines = [
        f"{document['number']:02d} {document['pass']}",
        "",
        f"network {network['name']}: {network['neurons']:,} neurons, dt {network['dt']:g} s, "
        f"read out: {', '.join(network['outputs'])}",
    ]
    for population in network["populations"]:
        lines += ["", *_population_lines(population)]
    for projection in network["projections"]:
        lines += ["", *_projection_lines(projection)]
    if "cores" in document:
        lines += ["", f"cores {len(document['cores']):,}", *layout.table(document["cores"], "  ")]
    if document["log"]:
        lines += ["", "log", *layout.outline(document["log"], "  ")]
    return "\n".join(lines)


def _population_lines(population: Mapping[str, Any]) -> Iterator[str]:
    yield f"population {population['name']}: {_times(population['shape'])} {population['neuron']}"
    if population["semantics"]:
        yield "  " + ", ".join(f"{k} {v}" for k, v in population["semantics"].items())
    for name, value in population["params"].items():
        yield f"  {name:12} {_span(value)}"
    if "spikes_per_step" in population:
        rate = population["spikes_per_step"]
        yield f"  spikes/step  mean {rate['mean']:.6g}, max {rate['max']:.6g}, silent neurons {rate['silent']:,}"


def _projection_lines(projection: Mapping[str, Any]) -> Iterator[str]:
    notes = [] if projection["bits"] is None else [f"{projection['bits']} bits"]
    notes += [f"{k.replace('_', ' ')} {projection[k]}" for k in ("delay", "bias_start") if projection[k]]
    ends = f"{projection['pre']} -> {projection['post']}"
    yield ", ".join([f"projection {projection['name']}: {ends}", *notes])
    for op in projection["ops"]:
        yield f"  {op['op']} {_times(op['from'])} -> {_times(op['to'])}"
        for name, value in op.items():
            if isinstance(value, Mapping):
                yield f"    {name:10} {_times(value['shape'])}, {_span(value)}"
            elif name == "weights":
                yield f"    {name:10} {value:,} of {op['possible']:,}"
            elif name not in ("op", "from", "to", "possible"):
                yield f"    {name:10} {_times(value) if isinstance(value, list) else layout.scalar(value)}"


def _times(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "1"


def _span(value: Mapping[str, Any]) -> str:
    low, high = value["min"], value["max"]
    if low is None:
        return "nothing"
    return layout.scalar(low) if low == high else f"{layout.scalar(low)} .. {layout.scalar(high)}"
