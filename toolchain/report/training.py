"""What a training or a search for tickets came to, from the checkpoint and the log that it keeps; 80 columns wide."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from snnc.report.text import LABEL
from snnc.report.units import energy

if TYPE_CHECKING:
    from snnc.tickets.checkpoint import Checkpoint
    from snnc.tickets.search import Search

_PRICES = ("joules", "synops")


def summary(checkpoint: Checkpoint, search: Search | None = None) -> tuple[str, dict[str, Any]]:
    """Text for the console, and the same as plain data. search: that the checkpoint is the ticket of."""
    data = _data(checkpoint, search)
    rows = [f"{checkpoint.model} on {checkpoint.data}, seed {checkpoint.seed}"]
    prices = iter(data["choice"])
    for stage in data["stages"]:
        row = f"  {stage['stage']:18}{stage['sparsity']:>8.1%} sparse   validation {stage['validation']:.1%}"
        if stage["stage"].startswith("round ") and (price := next(prices, None)):
            row += f"   {_price(price):>14}{'  chosen' if price['chosen'] else ''}"
        rows.append(row)
    if search is not None:
        what = f"{search.control}, a control of {search.method}" if search.control else search.method
        kept = f"{data['weights']:,} weights" if checkpoint.masks else "all weights"
        rows.append(_row("ticket", what, f"{data['sparsity']:.1%} sparse", kept))
    right = [f"validation {data['accuracy']['validation']:.2%}", f"test {data['accuracy']['test']:.2%}"]
    right += [] if checkpoint.parent is None else [f"dense parent {checkpoint.parent.accuracy:.2%}"]
    rows.append(_row("accuracy", *right))
    if patches := data["patches"]:
        cost = _selection(patches)
        rows.append(
            _row("patches", f"{patches['kept']} of {patches['of']}", "of each sample" if cost else "of all samples")
        )
        rows += [_row("selector", cost)] if cost else []
    if balance := data["balance"]:
        rows.append(_row("mapping", f"{balance['cores']} cores", f"{balance['utilisation']:.1%} balanced"))
    return "\n".join(rows), data


def _data(checkpoint: Checkpoint, search: Search | None) -> dict[str, Any]:
    notes = {name: [e for e in checkpoint.log if e["stage"] == name] for name in ("choice", "patches", "balance")}
    stages = [e for e in checkpoint.log if "validation" in e and "sparsity" in e]
    kept = sum(int(mask.sum()) for mask in checkpoint.masks.values())
    total = sum(mask.size for mask in checkpoint.masks.values())
    sparsity = 1 - kept / total if total else 0.0
    # Of the rounds, the one that was chosen; else it is the last stage.
    own = next((stage for stage in reversed(stages) if stage["sparsity"] == sparsity), stages[-1])
    return {
        "model": checkpoint.model,
        "data": checkpoint.data,
        "seed": checkpoint.seed,
        "method": None if search is None else search.method,
        "control": None if search is None else search.control,
        "accuracy": checkpoint.accuracy,
        "sparsity": sparsity,
        "weights": kept if total else None,
        "parent_accuracy": None if checkpoint.parent is None else checkpoint.parent.accuracy,
        "rates": {key.removeprefix("rate "): value for key, value in own.items() if key.startswith("rate ")},
        "stages": stages,
        "choice": notes["choice"],
        "patches": notes["patches"][0] if notes["patches"] else None,
        "balance": notes["balance"][0] if notes["balance"] else None,
    }


def _price(note: dict[str, Any]) -> str:
    name = next(name for name in _PRICES if name in note)
    if name == "synops":
        return f"{note[name]:,.0f} SynOps"
    return "does not fit" if math.isinf(note[name]) else energy(1e12 * note[name])


def _selection(patches: dict[str, Any]) -> str:
    """What choosing patches costs per sample, where they are chosen anew for each."""
    spent = {name.removeprefix("selector "): cost for name, cost in patches.items() if name.startswith("selector ")}
    names = {"synops": "SynOps"}
    return "   ".join(f"{cost:,.0f} {names.get(name, name)}" for name, cost in spent.items() if cost)


def _row(label: str, *parts: str) -> str:
    return f"{label:{LABEL}}{'   '.join(filter(None, parts))}"
