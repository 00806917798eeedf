"""Iterative magnitude pruning with late rewinding.

Train; prune the smallest weights; set everything that is left back to where it
was after a few epochs of the dense training; train again; prune further (Frankle and Carbin, ICLR
2019; late rewinding: Frankle et al., ICML 2020; in spiking networks: Kim et al., ECCV 2022).

"Everything" are weights, biases, and affine parameters and running statistics of batch normalisation.
Each round starts a fresh optimizer.

With the objective ``accuracy@synops`` the rounds are trained with a price on synaptic operations: the loss has a
second term, the share of all operations that the live synapses allow which take place, times a penalty. So neurons
learn to spike less, most of all those with many live synapses behind them. (Weights are still pruned by magnitude:
magnitude times rate as a score doubles the operations.) Of all rounds' tickets the one is taken that costs least
among those as accurate as the dense network.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from snnc.errors import UsageError
from snnc.tickets import cores, early, synops
from snnc.tickets.checkpoint import Checkpoint
from snnc.tickets.controls import control
from snnc.tickets.masks import by_magnitude, weights
from snnc.tickets.search import Search
from snnc.tickets.session import Session, Stage

# A few large steps, for speed. On digits, removing 25 % a round takes 14 rounds to 98 %, is no better up
# to 95 %, and is about 2 points better at 98 %.
STEPS = (0.36, 0.59, 0.8, 0.9, 0.95, 0.98)
# Of synaptic operations in the loss, and what a ticket may be less accurate than the dense network on validation.
PENALTY, MARGIN = 1.0, 0.005


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
    compiler = _compiler(session, search.balance) if search.balance else None
    dense = session.train("dense", session.fresh(), epochs=epochs, keep=rewind, steps=steps)
    start = dense.kept or session.fresh().state_dict()
    trained, masks, groups = dense, None, None
    rounds: list[Stage] = []
    for number, target in enumerate(plan, 1):
        masks = by_magnitude(weights(session.loaded(trained.state)), masks, target, search.scope or "global")
        if compiler:
            seed = session.draw(number)
            masks, groups = cores.rebalance(session.loaded(trained.state), masks, compiler, seed=seed)
        last = number == len(plan)
        how: dict[str, Any] = {"steps": None if last else steps, "penalty": penalty}
        if last and search.control:
            trained = control(session, search.control, masks, start, epochs=epochs, rewind=rewind, **how)
        else:
            name = f"round {number} of {len(plan)}"
            trained = session.train(name, session.loaded(start), masks, epochs=epochs - rewind, **how)
            rounds.append(trained)
    notes: list[dict[str, Any]] = []
    if penalty and not search.control:
        trained, notes = _cheapest(session, dense, rounds)
    if compiler and groups:
        model, seed = session.loaded(trained.state), session.draw(len(plan) + 1)
        trained = session.pruned("level", *cores.level(model, trained.masks, compiler, groups, seed=seed))
    return session.finish(trained, dense, alive=not search.control, groups=groups, notes=notes)


def _cheapest(session: Session, dense: Stage, rounds: Sequence[Stage]) -> tuple[Stage, list[dict[str, Any]]]:
    """Of the tickets that are as accurate as the dense network, within a margin, the one that costs least.

    All is measured on the validation samples. Where none is as accurate, the most accurate one. Also what each costs:
    joules on the session's chip, or synaptic operations where there is none.
    """
    prices = [_price(session, stage) for stage in rounds]
    good = [k for k, stage in enumerate(rounds) if stage.validation >= dense.validation - MARGIN]
    best = min(good, key=prices.__getitem__) if good else max(range(len(rounds)), key=lambda k: rounds[k].validation)
    unit = "joules" if session.chip else "synops"
    notes = [
        {"stage": "choice", "of": stage.log[-1]["stage"], unit: price, "chosen": k == best}
        for k, (stage, price) in enumerate(zip(rounds, prices, strict=True))
    ]
    return rounds[best], notes


def _price(session: Session, stage: Stage) -> float:
    model = session.loaded(stage.state)
    if session.chip:
        return session.chip.energy(session, model)
    return sum(synops.count(model, session.data.validation).values())


def _compiler(session: Session, count: int) -> cores.Compiler:
    if session.chip is None:
        raise UsageError("what is balanced on cores needs a chip", fix="find(..., chip=snnc.workflow.chip(name))")
    return session.chip.compiler(session, count)
