"""Chips as text: a list, and the data sheet of one with every number's source and the rules."""

from __future__ import annotations

from collections.abc import Sequence

from snnc import rules
from snnc.families import Chip
from snnc.target import Target


def chip_list(chips: Sequence[Chip]) -> str:
    """One line per chip."""
    rows = []
    for c in chips:
        cores, several = (c.mesh.cores, c.chips) if isinstance(c, Target) else (c.cores, 1)
        rows.append(
            f"{c.name:12}{c.title:24}{cores:>5} core{'s' if cores > 1 else ' '}"
            f"  {c.core.neurons.value:>6,} neurons/core  {several:>3} chip{'s' if several > 1 else ''}"
        )
    return "\n".join(rows)


def chip_sheet(chip: Chip) -> str:
    """All that snnc knows of a chip."""
    rows = [chip.title, ""]
    for field, number in chip.numbers():
        value = " ".join(map(str, number.value)) if isinstance(number.value, tuple) else f"{number.value:,}"
        rows.append(f"  {field:40}{value:>20}  {number.kind:10}{number.source:14} {number.note}".rstrip())
    rows.append(f"  {'neuron.resets':40}{', '.join(chip.neuron.resets):>20}")
    if isinstance(chip, Target) and "subtract" in chip.neuron.resets:
        rows.append(f"  {'neuron.moments':40}{', '.join(chip.neuron.moments):>20}")
    sets = chip.costs if isinstance(chip, Target) else {}
    rows += ["", "constants (--timing NAME)"] if sets else []
    for name, costs in sets.items():
        t, used = costs.timing, " (default)" * (isinstance(chip, Target) and name == chip.default)
        rows.append(f"  {name:14} {costs.title}{used}")
        rows.append(f"  {'':14} cores: {t.pipeline}; messages: {t.messages}")
        rows.append(f"  {'':14} updates that are active: {t.updates} for time, {costs.energy.updates} for energy")
    rows += ["", "sources", *(f"  {key:14} {text}" for key, text in chip.sources.items())]
    from snnc.crossbars.rules import RULES  # and with it the compiler, which no simulation needs

    told = (*rules.OPERATION_RULES, *rules.CAPACITY_RULES) if isinstance(chip, Target) else RULES
    rows += ["", "rules", *(f"  {r.name:14} {r.text}" for r in told)]
    return "\n".join(rows)
