"""The report of a chip with a clock: plain data, and one screen of text."""

from __future__ import annotations

from typing import Any

import msgspec

from snnc.crossbars.image import Image, weight_bits
from snnc.crossbars.packets import Loaded
from snnc.crossbars.running import Run, agreement
from snnc.samples import Samples
from snnc.version import VERSION

SCHEMA = 1
LABEL = 13


class Use(msgspec.Struct, frozen=True):
    """used: on the fullest core. limit: of a core."""

    used: int
    limit: int


class Layer(msgspec.Struct, frozen=True):
    """A population. spikes, spikes_in_steps: per sample, on the chip and step by step. differing: pairs of step and
    neuron per sample in which the two have not as many."""

    name: str
    neurons: int
    synapses: int
    threshold: tuple[int, int]
    spikes: float | None = None
    spikes_in_steps: float | None = None
    differing: float | None = None


class Activity(msgspec.Struct, frozen=True):
    """What was simulated. cycles: per sample; step_cycles, longest_step: per step. counts: per sample. lost: in all."""

    data: str
    samples: int
    steps: int
    accuracy: float | None
    accuracy_in_steps: float | None
    cycles: float
    step_cycles: float
    longest_step: int
    time_ns: float
    counts: dict[str, float]


class ClockedReport(msgspec.Struct, frozen=True, kw_only=True, tag_field="family", tag="clocked"):
    """Everything there is to say about an image of a chip with a clock, and one run of it, if there was one.

    bits: of a weight, with sign, at most. clock: period_ns of a cycle, with its kind and source. accuracy_float: of
    the network as it was read.
    """

    schema: int
    snnc: str
    network: str
    target: str
    target_title: str
    source: dict[str, Any]
    options: dict[str, Any]
    passes: dict[str, Any]
    bits: int
    cores: int
    cores_available: int
    resources: dict[str, Use]
    layers: list[Layer]
    clock: dict[str, Any]
    activity: Activity | None = None
    accuracy_float: float | None = None
    files: list[str] = []


def build(
    image: Image,
    run: Run | None = None,
    samples: Samples | None = None,
    *,
    accuracy_float: float | None = None,
    files: list[str] | None = None,
) -> ClockedReport:
    """The report of an image, and of a run of samples."""
    network, chip = image.network, image.chip
    told, in_steps, count = {}, None, 1
    if run is not None and samples is not None:
        found, in_steps = agreement(image, run, samples)
        told, count = {a.layer: a for a in found}, len(samples)
    layers = []
    for population in network.layers:
        threshold = population.params["threshold"]
        layer = Layer(
            population.name,
            population.size,
            sum(p.op.taps for p in network.into(population.name)),
            (int(threshold.min()), int(threshold.max())),
        )
        if (a := told.get(population.name)) is not None:
            layer = msgspec.structs.replace(
                layer, spikes=a.chip / count, spikes_in_steps=a.steps / count, differing=a.differing / count
            )
        layers.append(layer)
    clock = chip.clock.period_ns
    return ClockedReport(
        schema=SCHEMA,
        snnc=VERSION,
        network=network.name,
        target=chip.name,
        target_title=chip.title,
        source=image.provenance.get("source", {}),
        options=image.provenance.get("options", {}),
        passes=image.provenance.get("passes", {}),
        bits=min(image.provenance.get("options", {}).get("bits", 8), weight_bits(chip)),
        cores=1 if not isinstance(image.loaded, Loaded) else image.placement.cores,
        cores_available=chip.cores,
        resources={name: Use(*use) for name, use in image.usage().items()},
        layers=layers,
        clock={
            "period_ns": clock.value,
            "kind": clock.kind,
            "source": chip.sources[clock.source],
            "note": clock.note,
        },
        activity=None if run is None or samples is None else _activity(run, samples, in_steps, clock.value),
        accuracy_float=accuracy_float,
        files=files or [],
    )


def _activity(run: Run, samples: Samples, in_steps: float | None, period: float) -> Activity:
    cycles = float(run.total.mean())
    return Activity(
        data=samples.name,
        samples=len(samples),
        steps=samples.steps,
        accuracy=run.accuracy,
        accuracy_in_steps=in_steps,
        cycles=cycles,
        step_cycles=float(run.cycles.mean()),
        longest_step=int(run.cycles.max()),
        time_ns=cycles * period,
        counts={name: float(count.mean()) for name, count in run.counts.items()},
    )


def summary(report: ClockedReport) -> str:
    """The report on one screen, at most 80 columns wide."""
    neurons, synapses = (sum(getattr(layer, name) for layer in report.layers) for name in ("neurons", "synapses"))
    lines = [
        f"{report.network + ' -> ' + report.target:<43}weights of up to {report.bits} bits",
        _row("cores", f"{report.cores} / {report.cores_available}", f"neurons {neurons:,}", f"synapses {synapses:,}"),
        _row("fullest core", *(f"{name} {use.used:,} / {use.limit:,}" for name, use in report.resources.items())),
    ]
    lines += _changed(report)
    activity = report.activity
    if activity is None:
        return "\n".join([*lines, _row("no data", "give --data to calibrate and to measure")])
    parts = [
        f"{name} {value:.1%}"
        for name, value in (
            ("float", report.accuracy_float),
            ("steps", activity.accuracy_in_steps),
            ("chip", activity.accuracy),
        )
        if value is not None
    ]
    lines.append(_row("simulated", f"{activity.samples} samples x {activity.steps} steps of {activity.data}"))
    lines += [_row("accuracy", *parts)] if parts else []
    kind = f"{report.clock['period_ns']:g} ns a cycle: {report.clock['kind']}"
    lines.append(_row("per sample", f"{activity.cycles:,.0f} cycles", f"{activity.time_ns / 1e3:,.1f} us", f"({kind})"))
    lines.append(_row("per step", f"{activity.step_cycles:,.0f} cycles", f"longest {activity.longest_step:,}"))
    counts = [f"{value:,.0f} {name.replace('_', ' ')}" for name, value in activity.counts.items()]
    lines += [_row("counted" if k == 0 else "", *counts[k : k + 4]) for k in range(0, len(counts), 4)]
    for k, layer in enumerate(report.layers):
        assert layer.spikes is not None
        assert layer.spikes_in_steps is not None
        assert layer.differing is not None
        said = f"'{layer.name}' {layer.spikes:,.1f} spikes, {layer.spikes_in_steps:,.1f} step by step"
        lines.append(_row("" if k else "agreement", f"{said}, {layer.differing:,.1f} places differ"))
    return "\n".join(lines)


def _changed(report: ClockedReport) -> list[str]:
    """What was removed and what was approximated."""
    trim, changed = report.passes.get("trim", {}), report.passes.get("approximate", {}).get("layers", [])
    lines = []
    if trim.get("silent") or trim.get("unread"):
        lines.append(_row("trimmed", f"{trim['silent']:,} silent, {trim['unread']:,} unread neurons"))
    for entry in changed:
        drift = f"{entry['misplaced']:,} of {entry['spikes']:,} spikes misplaced" if "misplaced" in entry else ""
        lines.append(_row("approximated", f"'{entry['layer']}': {'; '.join(entry['changes'])}", drift))
    return lines


def _row(label: str, *parts: str) -> str:
    return f"{label:{LABEL}}" + "   ".join(p for p in parts if p)
