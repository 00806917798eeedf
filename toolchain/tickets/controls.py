"""Controls: what a ticket must beat. They differ from it in the last training alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from snnc.tickets.masks import Masks, at_random
from snnc.tickets.session import Session, Stage


def control(
    session: Session,
    name: str,
    masks: Masks,
    start: Mapping[str, Tensor],
    *,
    epochs: int,
    rewind: int,
    stage: str = "",
    **how: Any,
) -> Stage:
    """The training of a control.

    name: "random-mask", as many weights of each layer as in `masks`, at random places, or "reinit", these places with
    new initial weights. start, rewind: the weights that the ticket starts with, and the epochs that they have had.
    epochs: of a whole training. stage: its name in the session, else that of the control. how: options of
    :meth:`Session.train`.
    """
    if name == "reinit":
        return session.train(stage or name, session.fresh(1), masks, epochs=epochs, **how)
    drawn = at_random(masks, session.draw())
    return session.train(stage or name, session.loaded(start), drawn, epochs=epochs - rewind, **how)
