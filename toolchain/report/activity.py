"""What a network does that is run as it is: spikes of each layer, outputs, accuracy."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from snnc.network import SPIKING, Network, Population, Semantics
from snnc.report.neurobench import neurobench
from snnc.report.schema import ActiveLayer, NetworkActivity
from snnc.samples import accuracy
from snnc.simulator import workload

# More samples than this are not printed one by one.
SHOWN = 4


def activity(
    network: Network,
    totals: Mapping[str, np.ndarray],
    counted: workload.Workload | None,
    *,
    arithmetic: str,
    data: str,
    steps: int,
    labels: np.ndarray | None,
    seconds: float,
    warmup: int = 0,
) -> NetworkActivity:
    """The report of a run.

    totals: population -> what it put out over all steps, (samples, neurons). counted: what the run took.
    """
    samples = len(next(iter(totals.values())))
    layers = [
        ActiveLayer(
            name=p.name,
            neuron=p.neuron,
            neurons=p.size,
            semantics=describe(p),
            total=float(totals[p.name].sum()),
            rate=float(totals[p.name].sum()) / (samples * steps * p.size),
        )
        for p in network.populations
    ]
    known = labels is not None and len(network.outputs) == 1
    return NetworkActivity(
        network=network.name,
        arithmetic=arithmetic,
        dt=network.dt,
        data=data,
        samples=samples,
        steps=steps,
        layers=layers,
        outputs={name: totals[name].tolist() for name in network.outputs},
        accuracy=accuracy(totals[network.outputs[0]], labels) if known and labels is not None else None,
        seconds=seconds,
        warmup=warmup,
        neurobench=None if counted is None else neurobench(workload.neurobench(network, counted)),
    )


def describe(population: Population) -> str:
    """How a spiking neuron behaves, in a few words."""
    how = population.semantics
    if population.neuron not in SPIKING:
        return ""
    if how.arithmetic == "slayer":
        return "reset to zero, in SLAYER's fixed point"
    words = {
        "zero": "reset to zero",
        "value": "reset to v_reset",
        "subtract": "reset by subtraction",
        "none": "no reset",
    }
    found = [words[how.reset]]
    usual = Semantics()
    found += [
        text
        for field, value, text in (
            ("when", "next", "a step late"),
            ("when", "recheck", "with snntorch's recheck"),
            ("compare", ">=", "spikes at v >= h"),
            ("spikes", "many", "several per step"),
            ("floor", "threshold", "v >= -h"),
            ("start", "leak", "starts at v_leak"),
            ("start", "reset", "starts at v_reset"),
            ("decay", "exponential", "exponential decay"),
            ("output", "next", "sent a step late"),
        )
        if getattr(how, field) == value != getattr(usual, field)
    ]
    return ", ".join(found)


def activity_table(found: NetworkActivity) -> str:
    """The report on one screen."""
    name, rest = found.network, f"{found.arithmetic}, dt {found.dt:g} s, {found.seconds:.1f} s"
    rows = [f"{name:<42} {rest}", f"data         {found.samples} samples x {found.steps} steps of {found.data}", ""]
    if found.warmup:
        rows.insert(2, f"warm-up      {found.warmup} steps before these, run and not counted")
    rows.append(f"{'layer':16}{'model':12}{'neurons':>10}{'spikes':>14}{'per step':>11}")
    for layer in found.layers:
        rate = f"{layer.rate:11.4f}"
        rows.append(f"{layer.name:16}{layer.neuron:12}{layer.neurons:>10,}{layer.total:>14,.10g}{rate}")
    rows.append("")
    for semantics in dict.fromkeys(layer.semantics for layer in found.layers if layer.semantics):
        names = [layer.name for layer in found.layers if layer.semantics == semantics]
        rows.append(f"neurons      {semantics}: {', '.join(names[:6])}{' ...' if len(names) > 6 else ''}")
    for output, samples in found.outputs.items():
        if found.samples <= SHOWN and len(samples[0]) <= 24:
            rows += [f"{output:13}{' '.join(f'{value:g}' for value in sample)}" for sample in samples]
    if found.accuracy is not None:
        rows.append(f"accuracy     {found.accuracy:.2%}")
    return "\n".join(rows)


def activity_csv(found: NetworkActivity) -> str:
    """One row per sample: the totals of every output."""
    head = ["sample"] + [f"{name}[{k}]" for name, rows in found.outputs.items() for k in range(len(rows[0]))]
    lines = [",".join(head)]
    for sample in range(found.samples):
        values = [f"{v:.17g}" for rows in found.outputs.values() for v in rows[sample]]
        lines.append(",".join([str(sample), *values]))
    return "\n".join(lines) + "\n"
