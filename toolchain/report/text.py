"""The summary that the console shows, at most 80 columns wide."""

from __future__ import annotations

import textwrap
from typing import Any

from snnc.report.schema import TRIMS, Report, Side
from snnc.report.units import duration, energy, memory

WIDTH, LABEL = 80, 13
# Diagnoses that are shown; report.json has them all.
SHOWN = 4


def summary(report: Report) -> str:
    """The report on one screen; the README explains each line."""
    this, use = report.this, report.resources
    lines = [
        _head(report),
        _row(
            "cores",
            f"{this.cores} / {report.cores_available}",
            f"neurons {this.neurons:,}",
            f"weights {this.weights:,} ({_sparsity(report):.1%} sparse)",
        ),
        _row(
            "memory",
            f"{memory(this.synapse_bits)}",
            f"largest core {use['synapse_bits'].fullest_core}: {use['synapse_bits'].share:.0%} of synapse memory",
        ),
        _row(
            "fullest core",
            *(
                f"{noun} {use[name].share:.0%}"
                for name, noun in (("neurons", "neurons"), ("in_axons", "in-axons"), ("out_axons", "out-axons"))
            ),
        ),
    ]
    lines += _trimmed(report)
    lines += _mapping(report)
    lines += _traffic(report)
    if report.activity is None:
        lines.append(_row("no data", "traffic at random input; give --data to calibrate and to measure"))
    lines += _steps(report)
    lines += _drift(report)
    lines += _measured(report)
    lines += _diagnoses(report)
    for entry in report.verified:
        lines.append(_row("verified", f"on {entry['on']}: {_verdict(entry)}"))
    if report.dense is not None:
        lines += ["", *versus(this, report.dense)]
    elif report.dense_note:
        lines.append(_row("dense parent", report.dense_note))
    return "\n".join(lines)


def _mapping(report: Report) -> list[str]:
    """How the mapping was found, and what the plainest one would have cost."""
    found = report.passes.get("partition")
    if not found or report.this.cores == 1:
        return []
    plain = found["tried"][0]
    said = f"{plain['cores']} cores, {plain['traffic']:,.1f} spikes/step"
    parts = [found["method"]] if found["method"] == plain["method"] else [found["method"], f"{plain['method']}: {said}"]
    even = [f"{found['utilisation']:.0%} even"]
    if "balance" in found:
        even = [f"{found['balance']:.1%} balanced"]
    row = _row("mapping", *parts, *even)
    return [row] if len(row) <= WIDTH else [_row("mapping", *parts), _row("", *even)]


def _traffic(report: Report) -> list[str]:
    """What the placement makes of the spikes between cores, between links and between chips."""
    route = report.passes.get("route")
    if not route:
        return []
    leaving = f"{route['messages_per_step']:,.1f} spikes/step leave a core"
    lines = [_row("traffic", leaving, f"{route['hops_per_step']:,.1f} hops/step")]
    if link := route.get("hottest_link"):
        ends = " to ".join(f"{x},{y}" for x, y in (link["from"], link["to"]))
        hottest = f"hottest {route['hottest_link_per_step']:,.1f} spikes/step ({ends})"
        hops = route["longest_route"]["hops"]
        lines.append(_row("links", hottest, f"longest route {hops} hop{'' if hops == 1 else 's'}"))
    if report.chips > 1:
        leaving = f"{route['chip_messages_per_step']:,.1f} spikes/step leave a chip"
        used = f"{report.chips} / {report.chips_available}"
        lines.append(_row("chips", used, leaving, f"{route['crossings_per_step']:,.1f} crossings/step"))
    return lines


def _steps(report: Report) -> list[str]:
    """Accuracy step by step, and the layer whose spikes quantisation moved most."""
    steps = report.steps
    tuned = report.passes.get("quantize", {}).get("tuned")
    lines, data = [], ""
    if steps is not None and steps.floats is not None:
        parts = [f"float {steps.floats:.1%}", f"{report.options['bits']}-bit {steps.quantized:.1%}"]
        parts += [] if steps.finetuned is None else [f"finetuned {steps.finetuned:.1%}"]
        data = f"{steps.samples} samples of {steps.data}"
        lines.append(_row("calibrated", *parts, f"mapped {steps.mapped:.1%}", "" if tuned else data))
    if tuned:
        lines.append(_row("finetuned", _tuned(tuned), data))
    known = [layer for layer in report.layers if layer.misplaced is not None]
    if known:
        worst = max(known, key=lambda layer: layer.misplaced or 0.0)
        rate = "" if worst.rate_error is None else f"rate {worst.rate_error:+.1%}"
        lines.append(_row("spikes", f"worst layer '{worst.name}': {worst.misplaced:.1%} misplaced", rate))
    return lines


def _tuned(log: dict[str, Any]) -> str:
    if not log["epochs"]:
        return "nothing, as every weight is exact"
    done = f"{log['epochs']} epoch{'s' * (log['epochs'] > 1)}"
    better = log["best"] and log.get("kept", True)
    return f"{done}, number {log['best']} is the best" if better else f"{done} made nothing better"


def _diagnoses(report: Report) -> list[str]:
    lines = []
    for text in report.diagnoses[:SHOWN]:
        lines += textwrap.wrap(text, WIDTH - LABEL)
    more = len(report.diagnoses) - SHOWN
    if more > 0:
        lines.append(f"and {more} more")
    return [_row("warning" if k == 0 else "", line) for k, line in enumerate(lines)]


def _trimmed(report: Report) -> list[str]:
    """What was removed because it could change nothing."""
    found = [report.passes[name] for name in TRIMS if name in report.passes]
    neurons, synapses = (sum(trim[what] for trim in found) for what in ("neurons", "synapses"))
    if not neurons and not synapses:
        return []
    silent, unread = (sum(layer[why] for trim in found for layer in trim["layers"]) for why in ("silent", "unread"))
    removed = f"removed {neurons:,} dead neurons ({synapses:,} synapses)"
    return [_row("trimmed", removed, f"{silent:,} silent, {unread:,} unread" if neurons else "")]


def _drift(report: Report) -> list[str]:
    """What was approximated when asked, and what that did to the float network."""
    changed = report.passes.get("approximate", {}).get("layers", [])
    drift = report.passes.get("verify", {}).get("drift")
    if not changed or drift is None:
        return []
    kinds = list(dict.fromkeys(what for entry in changed for what in entry["changes"]))
    lines = [_row("approximated", f"{len({e['layer'] for e in changed})} layers", "; ".join(kinds))]
    spikes = drift["layers"].values()
    exact, nearest = (sum(layer[f"spikes_{k}"] for layer in spikes) for k in ("exact", "approximated"))
    parts = [f"spikes {nearest / exact - 1:+.1%}" if exact else "no spikes"]
    parts.append(f"same prediction {drift['same_prediction']:.1%}")
    if "accuracy_exact" in drift:
        parts.append(f"accuracy {drift['accuracy_exact']:.1%} -> {drift['accuracy_approximated']:.1%}")
    return [*lines, _row("drift", *parts)]


def versus(this: Side, dense: Side) -> list[str]:
    """A table of a ticket against its dense parent."""
    rows = [f"{'':{LABEL}}{'ticket':>14}{'dense':>14}{'saved':>10}"]
    for label, name, form in (
        ("cores", "cores", _count),
        ("neurons", "neurons", _count),
        ("weights", "weights", _count),
        ("memory", "synapse_bits", memory),
        ("SynOps", "synops", _count),
        ("hops", "hops", _count),
        ("time", "time_ns", duration),
        ("energy", "energy_pj", energy),
    ):
        a, b = getattr(this, name), getattr(dense, name)
        if a is not None and b is not None:
            saved = f"{1 - a / b:.1%}" if b else "-"
            rows.append(f"{label:{LABEL}}{form(a):>14}{form(b):>14}{saved:>10}")
    if this.accuracy is not None and dense.accuracy is not None:
        rows.append(f"{'accuracy':{LABEL}}{this.accuracy:>14.1%}{dense.accuracy:>14.1%}")
    return rows


def cost_table(report: Report) -> str:
    """Energy by kind, time, and every constant with its kind and source; for a report with a run."""
    cost, side, activity = report.cost, report.this, report.activity
    assert cost is not None
    assert activity is not None
    total = side.energy_pj or 0.0
    lines = [f"{report.network} on {report.target_title}", f"{activity.samples} samples of {activity.data}", ""]
    lines += [f"{'energy':{LABEL}}{energy(total):>12} per sample, dynamic{_range(cost.least_pj, total)}"]
    for label, value in (
        ("  synapses", cost.synapse_pj),
        ("  neurons", cost.neuron_pj),
        ("  spikes", cost.spike_pj),
        *([("  messages", cost.message_pj)] if cost.message_pj else []),
        ("  hops", cost.hop_pj),
        *([("  crossings", cost.crossing_pj)] if report.chips > 1 else []),
    ):
        lines.append(f"{label:{LABEL}}{energy(value):>12}{value / total if total else 0:>8.1%}")
    if cost.static_pj is None:
        lines.append(f"{'static':{LABEL}}{'-':>12}  no source gives the static power")
    else:
        lines.append(f"{'static':{LABEL}}{energy(cost.static_pj):>12} per sample, {_chips(report.chips)}")
    most = "" if cost.latest_ns == side.time_ns or cost.latest_ns is None else f", at most {duration(cost.latest_ns)}"
    lines.append(f"{'time':{LABEL}}{duration(side.time_ns or 0.0):>12} per sample{most}")
    lines += ["", f"constants {cost.timing}".rstrip()]
    sources = list(dict.fromkeys(c["source"] for c in cost.constants))
    for c in cost.constants:
        number = f"{c['value']:g} {c['unit'].replace('mw', 'mW').replace('pj', 'pJ')}"
        note = f"  {c['note']}" if c["note"] else ""
        lines.append(f"  {c['name']:26}{number:>10}  {c['kind']:9} [{sources.index(c['source']) + 1}]{note}")
    lines += ["", "sources", *(f"  [{k + 1}] {s}" for k, s in enumerate(sources))]
    return "\n".join(lines)


def _range(least: float | None, total: float) -> str:
    return "" if least is None or least == total else f"; {energy(least)} if no update of a neuron is an active one"


def _head(report: Report) -> str:
    left = f"{report.network} -> {report.target}"
    seconds = sum(report.seconds.values())
    kept = report.passes.get("quantize", {}).get("bits", "?") is None
    width = "integers kept" if kept else f"{report.options.get('bits', '?')}-bit"
    right = f"{width}, seed {report.options.get('seed', '?')}"
    return f"{left:<43}{right}" + (f", {seconds:.1f} s" if seconds else "")


def _measured(report: Report) -> list[str]:
    activity, cost, this = report.activity, report.cost, report.this
    if activity is None or cost is None or this.energy_pj is None or this.time_ns is None:
        return []
    kinds = {c["kind"] for c in cost.constants if c["name"].startswith("energy.")}
    constants = "published" if kinds == {"published"} else "partly assumed"
    accuracy = "" if activity.accuracy is None else f"accuracy {activity.accuracy:.2%}"
    return [
        _row("simulated", f"{activity.samples} samples x {activity.steps} steps of {activity.data}", accuracy),
        *([_row("warm-up", f"{activity.warmup} steps before these, run and not counted")] if activity.warmup else []),
        _row(
            "per sample",
            f"{_count(this.synops)} SynOps",
            f"{_count(this.spikes)} spikes",
            f"{_count(activity.neuron_updates)} neuron updates",
        ),
        _row(
            "estimated",
            f"{duration(this.time_ns)}, {energy(this.energy_pj)} per sample",
            f"constants: {constants}",
        ),
    ]


def _verdict(entry: dict[str, object]) -> str:
    if entry["differing"]:
        return f"{entry['differing']:,} of {entry['compared']:,} values differ"
    return f"0 of {entry['spikes']:,} spikes differ, {entry['samples']} samples, every layer"


def _sparsity(report: Report) -> float:
    possible = sum(layer.weights / (1 - layer.sparsity) for layer in report.layers if layer.weights)
    return 1 - report.this.weights / possible if possible else 0.0


def _row(label: str, *parts: str) -> str:
    return f"{label:{LABEL}}" + "   ".join(p for p in parts if p)


def _chips(count: int) -> str:
    return "one chip" if count == 1 else f"{count} chips"


def _count(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"
