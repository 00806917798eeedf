"""Training of a dense network."""

from __future__ import annotations

from snnc.tickets.checkpoint import Checkpoint
from snnc.tickets.session import Session


def find(session: Session) -> Checkpoint:
    """See :func:`snnc.tickets.train`."""
    stage = session.train("dense", session.fresh(), epochs=session.recipe.epochs)
    return session.finish(stage, None, alive=False)
