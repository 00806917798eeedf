"""Chips as text: a list, and the data sheet of one with every number's source and the rules."""

from __future__ import annotations

from collections.abc import Sequence

from snnc import rules
from snnc.target import Target


def chip_list(chips: Sequence[Target]) -> str:
    """One line per chip."""
    return "\n".join(
        f"{c.name:12}{c.title:24}{c.mesh.cores:>5} cores  {c.core.neurons.value:>6,} neurons/core"
        f"  {c.chips:>3} chip{'s' if c.chips > 1 else ''}"
        for c in chips
    )


def chip_sheet(chip: Target) -> str:
    """All that snnc knows of a chip."""
    rows = [chip.title, ""]
    for field, number in chip.numbers():
        value = " ".join(map(str, number.value)) if isinstance(number.value, tuple) else f"{number.value:,}"
        rows.append(f"  {field:40}{value:>20}  {number.kind:10}{number.source:14} {number.note}".rstrip())
    rows += ["", "constants (--timing NAME)"]
    for name, costs in chip.costs.items():
        t, used = costs.timing, " (default)" * (name == chip.default)
        rows.append(f"  {name:14} {costs.title}{used}")
        rows.append(f"  {'':14} cores: {t.pipeline}; messages: {t.messages}")
        rows.append(f"  {'':14} updates that are active: {t.updates} for time, {costs.energy.updates} for energy")
    rows += ["", "sources", *(f"  {key:14} {text}" for key, text in chip.sources.items())]
    rows += ["", "rules", *(f"  {r.name:14} {r.text}" for r in (*rules.OPERATION_RULES, *rules.CAPACITY_RULES))]
    return "\n".join(rows)
