"""Iterative magnitude pruning with late rewinding.

Train; prune the smallest weights; set everything that is left back to where it
was after a few epochs of the dense training; train again; prune further (Frankle and Carbin, ICLR
2019; late rewinding: Frankle et al., ICML 2020; in spiking networks: Kim et al., ECCV 2022).

"Everything" are weights, biases, and affine parameters and running statistics of batch normalisation.
Each round starts a fresh optimizer.

With the objective ``accuracy@synops`` the rounds are trained with a price on synaptic operations: the loss has a
second term, the share of all operations that the live synapses allow which take place, times a penalty. So neurons
learn to spike less, most of all those with many live synapses behind them. (Weights are still pruned by magnitude:
magnitude times rate as a score doubles the operations.)
"""

from __future__ import annotations

import math
from typing import Any

from snnc.errors import UsageError
from snnc.tickets import early
from snnc.tickets.checkpoint import Checkpoint
from snnc.tickets.controls import control
from snnc.tickets.masks import by_magnitude, weights
from snnc.tickets.search import Search
from snnc.tickets.session import Session

# A few large steps, for speed. On digits, removing 25 % a round takes 14 rounds to 98 %, is no better up
# to 95 %, and is about 2 points better at 98 %.
STEPS = (0.36, 0.59, 0.8, 0.9, 0.95, 0.98)
PENALTY = 1.0


def schedule(sparsity: float, rounds: int | None = None, rate: float | None = None) -> tuple[float, ...]:
    """The sparsity after each round, ending with `sparsity`.

    rounds: that many, each removing the same share of what is left; rate: that share; neither: through
    :data:`STEPS`.
    """
    if rounds is None and rate is None:
        return (*(s for s in STEPS if s < sparsity), sparsity)
    # The last round removes what is missing, which may be less; 1e-9 for a number of rounds that is whole but rounded.
    rounds = rounds or math.ceil(math.log(1 - sparsity) / math.log(1 - (rate or 0)) - 1e-9)
    each = rate or 1 - (1 - sparsity) ** (1 / rounds)
    return (*(1 - (1 - each) ** k for k in range(1, rounds)), sparsity)


def find(session: Session, search: Search) -> Checkpoint:
    """See :func:`snnc.tickets.find`.

    A control differs from the ticket only in its last training: the masks of the last pruning are
    replaced ("random-mask") or trained from new weights for all epochs ("reinit").
    """
    assert search.sparsity is not None
    plan = schedule(search.sparsity, search.rounds, search.rate)
    epochs = session.recipe.epochs
    rewind = session.recipe.rewind if search.rewind is None else search.rewind
    if not 0 <= rewind < epochs:
        raise UsageError(
            f"weights are rewound to epoch {rewind}, so a training needs more epochs than that; got {epochs}",
            fix=f"--epochs {rewind + 1} or more",
        )
    steps = early.time(session) if search.early_time else None
    penalty = (search.penalty or PENALTY) if search.objective == "accuracy@synops" else 0.0
    dense = session.train("dense", session.fresh(), epochs=epochs, keep=rewind, steps=steps)
    start = dense.kept or session.fresh().state_dict()
    trained, masks = dense, None
    for number, target in enumerate(plan, 1):
        masks = by_magnitude(weights(session.loaded(trained.state)), masks, target, search.scope or "global")
        last = number == len(plan)
        how: dict[str, Any] = {"steps": None if last else steps, "penalty": penalty}
        if last and search.control:
            trained = control(session, search.control, masks, start, epochs=epochs, rewind=rewind, **how)
        else:
            name = f"round {number} of {len(plan)}"
            trained = session.train(name, session.loaded(start), masks, epochs=epochs - rewind, **how)
    return session.finish(trained, dense, alive=not search.control)
