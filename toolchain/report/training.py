"""What a training or a ticket search came to, from the log that the checkpoint keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from snnc.tickets.checkpoint import Checkpoint


def summary(checkpoint: Checkpoint) -> tuple[str, dict[str, Any]]:
    """Text for the console, and the same as plain data."""
    last = checkpoint.log[-1]
    rates = {key.removeprefix("rate "): value for key, value in last.items() if key.startswith("rate ")}
    stages = [e for e in checkpoint.log if "sparsity" in e]
    data = {
        "model": checkpoint.model,
        "data": checkpoint.data,
        "seed": checkpoint.seed,
        "accuracy": checkpoint.accuracy,
        "sparsity": last["sparsity"],
        "parent_accuracy": None if checkpoint.parent is None else checkpoint.parent.accuracy,
        "rates": rates,
        "stages": stages,
    }
    rows = [f"{checkpoint.model} on {checkpoint.data}, seed {checkpoint.seed}"]
    rows += [f"  {s['stage']:18}{s['sparsity']:>8.1%} sparse   validation {s['validation']:.1%}" for s in stages]
    rows.append(f"{'test':13}{checkpoint.accuracy['test']:.2%}")
    if checkpoint.parent is not None:
        rows[-1] += f"   dense parent {checkpoint.parent.accuracy:.2%}"
    return "\n".join(rows), data
