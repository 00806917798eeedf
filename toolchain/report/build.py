"""From an image and a run to a :class:`~snnc.report.schema.Report`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import msgspec
import numpy as np

from snnc import traffic
from snnc.compilation import Spent
from snnc.image import Image
from snnc.network import Population
from snnc.ops import Conv2d, Weighted
from snnc.report.neurobench import neurobench
from snnc.report.schema import (
    KINDS,
    TRIMS,
    VERSION,
    Activity,
    BusyLink,
    Core,
    Cost,
    Layer,
    NeuroBench,
    Report,
    Side,
    Steps,
    Use,
)
from snnc.resources import FORMATS, pattern
from snnc.simulator import Estimate, Run, accounting, energy, workload


@dataclass(frozen=True, eq=False)
class _Measured:
    """A run in the forms the report needs."""

    run: Run
    account: accounting.Account
    links: accounting.Links
    cost: Estimate


def build(
    image: Image,
    run: Run | None = None,
    *,
    data: str = "",
    inputs: np.ndarray | None = None,
    dense: Side | None = None,
    dense_note: str = "",
    verified: list[dict[str, Any]] | None = None,
    spent: Mapping[str, Spent] | None = None,
) -> Report:
    """The report of an image, with what `run` (of samples named `data`) counted, if there was a run.

    inputs: the samples themselves, (samples, steps, *shape); needed if they are other than spikes.
    """
    spent = spent or {}
    measured = _measure(image, run)
    limits = image.target.core
    resources = {}
    for name in ("neurons", "in_axons", "out_axons", "synapse_bits", "neuron_groups"):
        used = getattr(image.usage, name)
        fullest = int(used.argmax())
        resources[name] = Use(int(used.sum()), getattr(limits, name).value, fullest, int(used[fullest]))
    record = image.provenance
    return Report(
        schema=VERSION,
        snnc=record.get("snnc", ""),
        network=image.network.name,
        target=image.target.name,
        target_title=image.target.title,
        source=record.get("source", {}),
        options=record.get("options", {}),
        passes=record.get("passes", {}),
        this=_side(image, measured),
        resources=resources,
        cores_available=image.target.mesh.cores * image.chips,
        layers=[_layer(image, k, p, measured) for k, p in enumerate(image.network.populations)],
        cores=_cores(image, measured),
        activity=_activity(data, measured),
        cost=_cost(measured),
        dense=dense,
        dense_note=dense_note,
        verified=verified or [],
        seconds={name: each.seconds for name, each in spent.items()},
        peak_mib={name: each.peak_mib for name, each in spent.items()},
        chips=image.chips,
        chips_available=image.target.chips,
        steps=_steps(record),
        neurobench=_neurobench(image, run, inputs),
        diagnoses=[f"layer '{d['layer']}' {d['text']}" for d in _found(record, "verify").get("diagnoses", [])],
    )


def _found(record: dict[str, Any], name: str) -> dict[str, Any]:
    """What a pass wrote into the log."""
    found: dict[str, Any] = record.get("passes", {}).get(name, {})
    return found


def _steps(record: dict[str, Any]) -> Steps | None:
    found = _found(record, "verify")
    if "accuracy_integer" not in found:
        return None
    before = _found(record, "quantize").get("tuned", {}).get("accuracy_before")
    return Steps(
        data=found["data"],
        samples=found["accuracy_samples"],
        floats=found.get("accuracy_float"),
        quantized=found["accuracy_integer"] if before is None else before,
        finetuned=None if before is None else found["accuracy_integer"],
        mapped=found["mapped"]["accuracy"],
    )


def _neurobench(image: Image, run: Run | None, inputs: np.ndarray | None) -> NeuroBench | None:
    counted = None if run is None else workload.of_run(image.network, run, inputs)
    return None if counted is None else neurobench(workload.neurobench(image.network, counted))


def side(image: Image, run: Run | None = None) -> Side:
    """The figures by which an image and a run of it are compared with another."""
    return _side(image, _measure(image, run))


def _measure(image: Image, run: Run | None) -> _Measured | None:
    if run is None:
        return None
    account = accounting.account(image, run)
    return _Measured(run, account, accounting.links(image, run), energy.estimate(image, run, account))


def _mean(values: np.ndarray) -> float:
    return float(values.mean())


def _weights(image: Image) -> int:
    return sum(p.op.taps for p in image.network.projections)


def _side(image: Image, measured: _Measured | None) -> Side:
    static = {
        "cores": image.cores,
        "neurons": int(image.usage.neurons.sum()),
        "weights": _weights(image),
        "synapse_bits": int(image.usage.synapse_bits.sum()),
    }
    if measured is None:
        return Side(**static)
    total = measured.account.totals
    return Side(
        **static,
        accuracy=measured.run.accuracy,
        spikes=_mean(total.spikes),
        synops=_mean(total.synops),
        effective_synops=_mean(total.effective_synops),
        messages=_mean(total.messages),
        hops=_mean(total.hops_x + total.hops_y),
        crossings=_mean(total.crossings),
        time_ns=measured.cost.time_ns,
        energy_pj=measured.cost.dynamic_pj,
    )


def _layer(image: Image, index: int, population: Population, measured: _Measured | None) -> Layer:
    network, usage = image.network, image.usage
    incoming = network.into(population.name)
    ops = [p.op for p in incoming]
    possible = sum(math.prod(op.weight.shape) for op in ops)
    weights = sum(op.taps for op in ops)
    note = _noted(image, "quantize", population)
    trims = [trim for name in TRIMS if (trim := _noted(image, name, population))]
    spiked = _found(image.provenance, "verify").get("layers", {}).get(population.name, {})
    start = network.offsets[population.name]
    cores = np.unique(image.mapping.core_of[start : start + population.size])
    formats = {FORMATS[f] for p in incoming for f in np.unique(usage.formats[p.name]) if f >= 0}
    layer = Layer(
        name=population.name,
        neurons=population.size,
        operation="input" if population.neuron == "input" else " + ".join(_describe(op) for op in ops) or "none",
        weights=weights,
        synapses=sum(pattern(network, p).nnz for p in incoming),
        sparsity=1 - weights / possible if possible else 0.0,
        bits=incoming[0].bits if incoming else None,
        threshold=tuple(note["threshold"]) if note and note["threshold"] else None,
        weight_error=note["weight_error"] if note else None,
        rounded_to_zero=note["rounded_to_zero"] if note else None,
        cores=int(np.sum(cores >= 0)),
        formats=tuple(sorted(formats)),
        synapse_bits=sum(int(usage.synapse_bits_of[p.name].sum()) for p in incoming),
        clipped=note["clipped"] if note else None,
        scales=note["scales"] if note else None,
        rate_float=spiked.get("rate_float"),
        rate_error=spiked.get("rate_error"),
        misplaced=spiked.get("misplaced"),
        silent=sum(trim["silent"] for trim in trims),
        unread=sum(trim["unread"] for trim in trims),
    )
    if measured is None:
        return layer
    counted, cost = measured.account.layers, measured.cost.layers[index]
    spikes = _mean(counted.spikes[:, index])
    return msgspec.structs.replace(
        layer,
        rate=spikes / (population.size * measured.run.steps),
        spikes=spikes,
        synops=_mean(counted.synops[:, index]),
        effective_synops=_mean(counted.effective_synops[:, index]),
        neuron_updates=float(counted.updates[index]),
        active_updates=_mean(counted.active[:, index]),
        messages=_mean(counted.messages[:, index]),
        hops=_mean(counted.hops_x[:, index] + counted.hops_y[:, index]),
        crossings=_mean(counted.crossings[:, index]),
        energy_pj=cost.total_pj,
        **{kind: getattr(cost, kind) for kind in KINDS},
    )


def _noted(image: Image, name: str, population: Population) -> dict[str, Any] | None:
    """What the pass of that name found out about a layer."""
    layers = image.provenance.get("passes", {}).get(name, {}).get("layers", [])
    return next((note for note in layers if note["layer"] == population.name), None)


def _describe(op: Weighted) -> str:
    if isinstance(op, Conv2d):
        out, channels, rows, columns = op.weight.shape
        return f"Conv2d {channels * op.groups} -> {out}, {rows}x{columns}, stride {op.stride[0]}x{op.stride[1]}"
    return f"Linear {op.weight.shape[1]} -> {op.weight.shape[0]}"


def _cores(image: Image, measured: _Measured | None) -> list[Core]:
    usage, mapping = image.usage, image.mapping
    x, y = traffic.tile_of(mapping.site_of, image.target.grid)
    chip = traffic.chip_of(mapping.site_of, image.target.grid)
    offsets = image.network.offsets
    held: list[list[str]] = [[] for _ in range(image.cores)]
    for population in image.network.layers:
        start = offsets[population.name]
        for core in np.unique(mapping.core_of[start : start + population.size]):
            held[core].append(population.name)
    counted: dict[str, np.ndarray] = {}
    if measured is not None:
        c = measured.account.cores
        columns = {
            "spikes": c.spikes,
            "synops": c.synops,
            "effective_synops": c.effective_synops,
            "active_updates": c.active,
            "inactive_updates": c.inactive,
            "messages": c.messages,
            "hops": c.hops_x + c.hops_y,
            "crossings": c.crossings,
        }
        spent = energy.kinds(image, c)
        columns |= {"energy_pj": spent.total_pj, **vars(spent)}
        counted = {name: values.mean(axis=0) for name, values in columns.items()}
    return [
        Core(
            core=k,
            site=int(mapping.site_of[k]),
            tile_x=int(x[k]),
            tile_y=int(y[k]),
            layers=tuple(held[k]),
            neurons=int(usage.neurons[k]),
            in_axons=int(usage.in_axons[k]),
            out_axons=int(usage.out_axons[k]),
            synapse_bits=int(usage.synapse_bits[k]),
            neuron_groups=int(usage.neuron_groups[k]),
            chip=int(chip[k]),
            **{name: float(values[k]) for name, values in counted.items()},
        )
        for k in range(image.cores)
    ]


def _activity(data: str, measured: _Measured | None) -> Activity | None:
    if measured is None:
        return None
    total, by_link = measured.account.totals, measured.links
    return Activity(
        data=data,
        samples=measured.run.samples,
        steps=measured.run.steps,
        accuracy=measured.run.accuracy,
        input_spikes=_mean(total.input_spikes),
        neuron_updates=_mean(total.active + total.inactive),
        active_updates=_mean(total.active),
        warmup=measured.run.warmup,
        busiest_link=_busiest(by_link),
    )


def _busiest(links: accounting.Links) -> BusyLink | None:
    if links.busiest is None:
        return None
    (x, y), (to_x, to_y) = links.start[links.busiest].tolist(), links.stop[links.busiest].tolist()
    return BusyLink((x, y), (to_x, to_y), _mean(links.messages[:, links.busiest]))


def _cost(measured: _Measured | None) -> Cost | None:
    if measured is None:
        return None
    cost = measured.cost
    return Cost(
        cost.synapse_pj,
        cost.neuron_pj,
        cost.spike_pj,
        cost.hop_pj,
        cost.static_pj,
        [asdict(c) for c in cost.constants],
        cost.crossing_pj,
        cost.message_pj,
        cost.timing,
        cost.least_pj,
        cost.latest_ns,
    )
