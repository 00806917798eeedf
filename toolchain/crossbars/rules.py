"""What chips of crossbars cannot do: rules as in :mod:`snnc.rules`, many of which hold here as they stand."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from snnc import rules
from snnc.crossbars.approximate import nearest
from snnc.crossbars.ticks import hold, offsets
from snnc.errors import DoesNotFit, Violation
from snnc.euler import discretise
from snnc.families import ClockedChip, CrossbarChip, GridChip
from snnc.network import Network
from snnc.passes.dissolve import dissolve
from snnc.passes.lower import lower
from snnc.rules import Rule


def neuron_model(network: Network, chip: ClockedChip) -> Iterator[Violation]:
    """Layers are of IF neurons, which add and compare, or have the chip's own model."""
    if not network.layers:
        yield Violation("neuron", f"network '{network.name}'", "it has no neurons", "join input and output by neurons")
    for population in network.layers:
        if population.neuron not in ("if", "lif", chip.neuron.model):  # of lif, another rule speaks
            current = " has a synaptic current" if population.neuron == "cuba_lif" else ""
            yield Violation(
                "neuron",
                f"layer '{population.name}'",
                f"its model '{population.neuron}'{current or ' is another'}; {chip.name} adds and compares",
                'use IF neurons (snntorch: beta=1, reset_mechanism="zero")',
                "neuron.model",
            )


def leak(network: Network, chip: ClockedChip) -> Iterator[Violation]:
    """Membranes keep what they hold: no exponential decay; on a crossbar, a leak by an amount."""
    crossbar = isinstance(chip, CrossbarChip)
    for population in network.layers:
        if population.neuron == "linear_fixed" and not crossbar and np.any(population.params["leak"]):
            yield Violation(
                "leak",
                f"layer '{population.name}'",
                f"its membranes leak towards 0; on {chip.name} they keep what they hold",
                "train without leak",
                "neuron.bits",
            )
        if population.neuron != "lif":
            continue
        lost = 1 - discretise(population, network.dt).beta
        if np.any(lost > 0):
            does = "leaks by an amount" if crossbar else "adds an amount"
            cure = f", {rules.APPROXIMATE}" if crossbar else ""
            yield Violation(
                "leak",
                f"layer '{population.name}'",
                f"its membranes lose a share of up to {lost.max():.1%} per step; {chip.name} {does}, not a share",
                f"train IF neurons (snntorch: beta=1){cure}",
                "neuron.leak_bits" if crossbar else "neuron.bits",
            )


def reset(network: Network, chip: ClockedChip) -> Iterator[Violation]:
    """After a spike the membrane returns in a way the chip knows, and to zero."""
    yield from rules.Rule("reset", rules.reset).check(network, chip)
    for population in network.layers:
        how = population.semantics
        if population.neuron == chip.neuron.model and how.reset not in chip.neuron.resets:
            yield Violation(
                "reset",
                f"layer '{population.name}'",
                f"it resets by '{how.reset}'; {chip.name} resets by '{' or '.join(chip.neuron.resets)}'",
                "train with another reset, or use another chip",
                "neuron.resets",
            )


def threshold(network: Network, chip: ClockedChip) -> Iterator[Violation]:
    """A threshold is positive."""
    for population in network.layers:
        names = {"v_threshold", "threshold"} & set(population.params)
        if any(np.any(population.params[name] <= 0) for name in names):
            yield Violation(
                "threshold", f"layer '{population.name}'", "its threshold is not positive", "use a v_threshold > 0"
            )


def delay(network: Network, chip: ClockedChip) -> Iterator[Violation]:
    """Delays are no longer than the chip can hold a spike back; on a grid, short cuts past layers wait for them."""
    limit = chip.synapse.delay_limit.value
    late = offsets(network)
    for projection in network.projections:
        held = hold(network, projection, late) if isinstance(chip, GridChip) else projection.delay
        if held > limit:
            yield Violation(
                "delay",
                f"projection '{projection.name}'",
                f"spikes wait {held:,} steps in it; {chip.name} can hold them back for {limit}",
                f"train with delays of at most {limit} steps" if limit else "train without delays",
                "synapse.delay_limit",
            )


def feedback(network: Network, chip: ClockedChip) -> Iterator[Violation]:
    """On a grid, spikes lead back to an earlier layer no faster than a tick for each layer between."""
    late = offsets(network)
    for projection in network.projections if isinstance(chip, GridChip) else ():
        missing = -hold(network, projection, late)
        if missing > 0 and projection.op.taps:
            steps = "a step" if missing == 1 else f"{missing} steps"
            yield Violation(
                "feedback",
                f"projection '{projection.name}'",
                f"its spikes come back {steps} sooner than they can on {chip.name}, where each layer takes a tick",
                f"train with {steps} more of delay in it",
            )


KEPT = (
    Rule("leak", leak),
    Rule("reset", reset),
    Rule("delay", delay),
    Rule("feedback", feedback),
)
"""Those that hold of integers as well."""

RULES = (
    Rule("inputs", rules.one_input),
    Rule("outputs", rules.one_output),
    Rule("neuron", neuron_model),
    Rule("threshold", threshold),
    Rule("updates", rules.order_of_updates),
    *KEPT,
    Rule("empty", rules.connected),
)


def vanished(before: Network, after: Network, most: int) -> Iterator[Violation]:
    """Layers whose synapses have all become 0 in integers. most: the largest threshold."""
    for population in before.layers:
        weights = [p.op.weight for p in before.into(population.name)]
        if weights and not after.into(population.name):
            largest = max(float(np.abs(w).max()) for w in weights)
            times = float(population.params["threshold"].min()) / largest
            yield Violation(
                "weights",
                f"layer '{population.name}'",
                f"all its weights become 0: its thresholds are {times:,.0f} times the largest of them, and a threshold "
                f"is at most {most:,}",
                "train with larger weights, or with a lower threshold",
            )


def checked(network: Network, chip: ClockedChip, *, approximate: bool = False) -> Network:
    """The network, lowered, if its operations are possible on the chip; DoesNotFit with every breach of a rule.

    approximate: if they are so after :func:`snnc.crossbars.approximate.nearest`.
    """
    lowered = lower(dissolve(network))
    near = nearest(lowered, chip)[0] if approximate else lowered
    if found := [v for rule in RULES for v in rule.check(near, chip)]:
        raise DoesNotFit(found)
    return lowered
