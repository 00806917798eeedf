"""Training, and lottery tickets: sparse subnetworks that train as well as the dense network they lie in.

The functions here import torch when they are called, not before.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snnc.errors import UsageError
from snnc.tickets.search import CONTROLS, METHODS, Search

if TYPE_CHECKING:
    import numpy as np

    from snnc.models.recipe import Recipe
    from snnc.quantization.grid import Tune
    from snnc.tickets.checkpoint import Checkpoint
    from snnc.tickets.session import Chip, Session

__all__ = ["CONTROLS", "EPOCHS", "METHODS", "Progress", "Search", "find", "groups", "train", "tuner"]

# Called as progress(stage, epochs done, epochs in all, note for the user).
Progress = Callable[[str, int, int, str], None]

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
    **compute: Any,
) -> Checkpoint:
    """Train the dense network of `recipe` and save it at `out`.

    data, epochs: instead of the recipe's. seed: of initial weights and order of the samples; the same
    seed gives the same file. resume: go on from ``<out>.partial``, which an interrupted run leaves
    behind, to the same result as without the interruption. compute: device, precision, compiled, threads
    (:class:`snnc.tickets.training.Compute`). Raises UsageError for impossible requests and
    where `resume` finds another request, InputError for unreadable data.
    """
    from snnc.tickets import dense

    settings = {"data": data, "epochs": epochs, "seed": seed, "out": out, "resume": resume, "progress": progress}
    return _run(recipe, {"method": "dense"}, dense.find, settings, compute)


def find(
    recipe: Recipe,
    search: Search | None = None,
    *,
    data: str | None = None,
    epochs: int | None = None,
    seed: int = 0,
    out: Path,
    resume: bool = False,
    progress: Progress | None = None,
    device: str = "auto",
    precision: str = "float32",
    compiled: bool = False,
    threads: int = 1,
    chip: Chip | None = None,
    **options: Any,
) -> Checkpoint:
    """Find a ticket in the network of `recipe` and save it, with its dense parent, at `out`.

    search, or its fields as options: what to look for (:class:`Search`). chip: the target
    (``snnc.workflow.chip(name)``), for what is balanced on its cores or chosen by its energy. Everything else as in
    :func:`train`. Raises VerificationError for a ticket of which a layer is silent, and what the chip raises for
    networks that it is not for.
    """
    if search is not None and options:
        raise UsageError(f"give a search or its fields, not both: {', '.join(options)}")
    asked = (search or Search(**options)).checked()
    algorithm = importlib.import_module(METHODS[asked.method].module)
    settings: dict[str, Any] = {"data": data, "epochs": epochs, "seed": seed, "out": out, "resume": resume}
    settings |= {"progress": progress, "chip": chip}
    compute = {"device": device, "precision": precision, "compiled": compiled, "threads": threads}

    def searched(session: Session) -> Checkpoint:
        if chip is not None:
            chip.check(session)
        found: Checkpoint = algorithm.find(session, asked)
        return found

    return _run(recipe, {**asdict(asked), "chip": chip and chip.name}, searched, settings, compute)


def _run(
    recipe: Recipe,
    request: dict[str, Any],
    algorithm: Callable[[Session], Checkpoint],
    settings: dict[str, Any],
    compute: dict[str, Any],
) -> Checkpoint:
    from snnc.tickets.session import Session
    from snnc.tickets.training import Compute

    chosen = Compute(**compute)
    with chosen.settled():
        return algorithm(Session(recipe, request, **{**settings, "out": Path(settings["out"])}, compute=chosen))


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
