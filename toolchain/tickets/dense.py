"""Training of a dense network."""

from __future__ import annotations

from pathlib import Path

from snnc.models.recipe import Recipe
from snnc.tickets import Progress
from snnc.tickets.checkpoint import Checkpoint
from snnc.tickets.session import Session
from snnc.tickets.training import one_thread


def train(
    recipe: Recipe,
    *,
    data: str | None,
    epochs: int | None,
    seed: int,
    out: Path,
    resume: bool,
    progress: Progress | None,
) -> Checkpoint:
    """See :func:`snnc.tickets.train`."""
    request = {"method": "dense"}
    with one_thread():
        session = Session(
            recipe, request, data_spec=data, epochs=epochs, seed=seed, out=out, resume=resume, progress=progress
        )
        stage = session.train("dense", session.fresh(), epochs=session.recipe.epochs)
        return session.finish(stage, {}, None, out)
