"""Training, and lottery tickets: sparse subnetworks that train as well as the dense network they lie in.

The functions here import torch when they are called, not before.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from snnc.errors import UsageError
from snnc.quantization.grid import Tune

if TYPE_CHECKING:
    import numpy as np

    from snnc.models.recipe import Recipe
    from snnc.tickets.checkpoint import Checkpoint

# Called as progress(stage, epochs done, epochs in all, note for the user).
Progress = Callable[[str, int, int, str], None]

METHODS = ("imp",)
CONTROLS = ("random-mask", "reinit")
# Of fine-tuning; half as many leave more of the loss.
EPOCHS = 20


def train(
    recipe: Recipe,
    *,
    data: str | None = None,
    epochs: int | None = None,
    seed: int = 0,
    out: Path,
    resume: bool = False,
    progress: Progress | None = None,
) -> Checkpoint:
    """Train the dense network of `recipe` and save it at `out`.

    data, epochs: instead of the recipe's. seed: of initial weights and order of the samples; the same
    seed gives the same file. resume: go on from ``<out>.partial``, which an interrupted run leaves
    behind, to the same result as without the interruption. Raises UsageError for impossible requests and
    where `resume` finds another request, InputError for unreadable data.
    """
    from snnc.tickets import dense

    return dense.train(recipe, data=data, epochs=epochs, seed=seed, out=Path(out), resume=resume, progress=progress)


def find(
    recipe: Recipe,
    *,
    method: str = "imp",
    sparsity: float = 0.95,
    control: str | None = None,
    rounds: int | None = None,
    data: str | None = None,
    epochs: int | None = None,
    seed: int = 0,
    out: Path,
    resume: bool = False,
    progress: Progress | None = None,
) -> Checkpoint:
    """Find a ticket in the network of `recipe` and save it, with its dense parent, at `out`.

    method: "imp", iterative magnitude pruning with late rewinding (:mod:`snnc.tickets.imp`).
    sparsity: share of the weights to remove, between 0 and 1. rounds: prunings on the way, each removing
    the same share of what is left; None: as many as :func:`snnc.tickets.imp.schedule` holds right.
    control: what the ticket must beat at the same density: "random-mask" draws the places of each
    layer's weights at random, "reinit" keeps the places and draws new initial weights.
    Everything else as in :func:`train`.
    """
    if method not in METHODS:
        raise _unknown("method", method, METHODS)
    if control is not None and control not in CONTROLS:
        raise _unknown("control", control, CONTROLS)
    from snnc.tickets import imp

    return imp.find(
        recipe,
        sparsity=sparsity,
        control=control,
        rounds=rounds,
        data=data,
        epochs=epochs,
        seed=seed,
        out=Path(out),
        resume=resume,
        progress=progress,
    )


def tuner(path: str | Path, *, epochs: int | None = None, seed: int = 0, progress: Progress | None = None) -> Tune:
    """What fine-tunes the integers of a checkpoint while it is compiled: ``snnc.compile(..., tune=tuner(path))``.

    It trains on the checkpoint's own data by its own recipe (:mod:`snnc.tickets.tuning`). epochs: None = EPOCHS. The
    same seed gives the same integers. Raises UsageError for impossible requests, InputError for other files.
    """
    chosen = EPOCHS if epochs is None else epochs
    if chosen < 1:
        raise UsageError(f"epochs must be at least 1, got {chosen}")
    if seed < 0:
        raise UsageError(f"the seed must not be negative, got {seed}")
    from snnc.tickets import checkpoint, tuning

    found = checkpoint.read(Path(path))
    return lambda network, layers: tuning.tune(found, network, layers, epochs=chosen, seed=seed, progress=progress)


def groups(path: str | Path) -> dict[str, np.ndarray] | None:
    """The cores that a balanced ticket was made for: ``snnc.compile(..., groups=groups(path))``.

    Layer -> core of each neuron, int32 (size,); None for any other checkpoint. Raises InputError for other files.
    """
    from snnc.tickets import checkpoint, cores

    found = checkpoint.read(Path(path))
    return (
        {layer: found.groups[name] for layer, name in cores.layers_of(found.module()).items()} if found.groups else None
    )


def _unknown(what: str, name: str, names: tuple[str, ...]) -> UsageError:
    close = difflib.get_close_matches(name, names, n=1)
    fix = f"did you mean '{close[0]}'?" if close else f"{what}s: {', '.join(names)}"
    return UsageError(f"there is no {what} '{name}'", fix=fix)
