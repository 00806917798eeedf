"""Iterative magnitude pruning with late rewinding.

Train; prune the smallest weights; set everything that is left back to where it
was after a few epochs of the dense training; train again; prune further (Frankle and Carbin, ICLR
2019; late rewinding: Frankle et al., ICML 2020; in spiking networks: Kim et al., ECCV 2022).

"Everything" are weights, biases, and affine parameters and running statistics of batch normalisation.
Each round starts a fresh optimizer.

A penalty puts a price on synaptic operations: the loss has a second term, the share of all operations of the dense
network that take place, times the penalty, which rises from zero in the course of each training, for neurons that are
silenced before they have learned stay silent. So neurons learn to spike less, most of all those with many live
synapses behind them, and weights behind busy neurons become small (:func:`snnc.tickets.synops.metered`). Weights are
pruned by magnitude as ever: magnitude times rate as a score doubles the operations. It takes time: with the 15
epochs of the recipe little is won, with 40 a ticket of digits costs about half.

The objective ``accuracy@synops`` takes, of all rounds' tickets, the one that costs least among those as accurate as the
dense network.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from snnc.errors import UsageError
from snnc.tickets import cores, early, synops
from snnc.tickets.balance import Groups
from snnc.tickets.checkpoint import Checkpoint
from snnc.tickets.controls import control
from snnc.tickets.masks import by_magnitude, weights
from snnc.tickets.search import CHEAPEST, Search
from snnc.tickets.session import Session, Stage

# A few large steps, for speed. On digits, removing 25 % a round takes 14 rounds to 98 %, is no better up
# to 95 %, and is about 2 points better at 98 %.
STEPS = (0.36, 0.59, 0.8, 0.9, 0.95, 0.98)
# Of synaptic operations in the loss, and what a ticket may be less accurate than the dense network on validation.
PENALTY, MARGIN = 3.0, 0.005


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


@dataclass(frozen=True)
class Round:
    """A pruning and the training after it; before the first, the dense training.

    sparsity: that was aimed at. groups: of a balanced ticket, the cores it is balanced on.
    """

    sparsity: float
    stage: Stage
    groups: Groups | None = None


def rounds(session: Session, search: Search) -> Iterator[Round]:
    """The dense training, whose stage keeps the weights to rewind to, and then each round as it is done.

    A control differs from the ticket only in its last training: the masks of the last pruning are
    replaced ("random-mask") or trained from new weights for all epochs ("reinit").
    """
    plan = search.schedule or schedule(search.sparsity or 0.0, search.rounds, search.rate)
    epochs = session.recipe.epochs
    rewind = session.recipe.rewind if search.rewind is None else search.rewind
    if not 0 <= rewind < epochs:
        raise UsageError(
            f"weights are rewound to epoch {rewind}, so a training needs more epochs than that; got {epochs}",
            fix=f"--epochs {rewind + 1} or more",
        )
    compiler = _compiler(session, search.balance) if search.balance else None
    steps = early.time(session) if search.early_time else None
    penalty = search.penalty or (PENALTY if search.objective == CHEAPEST else 0.0)
    dense = session.train("dense", session.fresh(), epochs=epochs, keep=rewind, steps=steps)
    yield Round(0.0, dense)
    start = dense.kept or session.fresh().state_dict()
    trained, masks, groups = dense, None, None
    for number, target in enumerate(plan, 1):
        before = session.loaded(trained.state)
        masks = by_magnitude(weights(before), masks, target, search.scope or "global")
        if compiler:
            masks, groups = cores.rebalance(before, masks, compiler, seed=session.draw(number))
        last = number == len(plan)
        how: dict[str, Any] = {"steps": None if last else steps, "penalty": penalty}
        if last and search.control:
            trained = control(session, search.control, masks, start, epochs=epochs, rewind=rewind, **how)
        else:
            name = f"round {number} of {len(plan)}"
            trained = session.train(name, session.loaded(start), masks, epochs=epochs - rewind, **how)
        yield Round(target, trained, groups)


def find(session: Session, search: Search) -> Checkpoint:
    """See :func:`snnc.tickets.find`."""
    dense, *found = rounds(session, search)
    chosen = found[-1]
    notes: list[dict[str, Any]] = []
    if search.objective == CHEAPEST and not search.control:
        chosen, notes = cheapest(session, dense.stage, found)
    stage = chosen.stage
    if search.balance and chosen.groups:
        compiler, seed = _compiler(session, search.balance), session.draw(len(found) + 1)
        state = cores.level(session.loaded(stage.state), stage.masks, compiler, chosen.groups, seed=seed)
        stage = session.pruned("level", *state)
        made = compiler(session.loaded(stage.state), chosen.groups)
        notes.append({"stage": "balance", "cores": made.cores, "utilisation": made.utilisation})
    return session.finish(stage, dense.stage, alive=not search.control, groups=chosen.groups, notes=notes)


def cheapest(session: Session, dense: Stage, found: Sequence[Round]) -> tuple[Round, list[dict[str, Any]]]:
    """Of the tickets that are as accurate as the dense network, within a margin, the one that costs least.

    All is measured on the validation samples. Where none is as accurate, the most accurate one. Also what each costs:
    joules on the session's chip, or synaptic operations where there is none.
    """
    prices = [_price(session, each.stage) for each in found]
    accuracies = [each.stage.validation for each in found]
    good = [k for k, accuracy in enumerate(accuracies) if accuracy >= dense.validation - MARGIN]
    best = min(good, key=prices.__getitem__) if good else int(np.argmax(accuracies))
    unit = "joules" if session.chip else "synops"
    notes = [
        {"stage": "choice", "sparsity": each.sparsity, unit: price, "chosen": k == best}
        for k, (each, price) in enumerate(zip(found, prices, strict=True))
    ]
    return found[best], notes


def _price(session: Session, stage: Stage) -> float:
    model = session.loaded(stage.state)
    if session.chip:
        return session.chip.energy(session, model)
    return sum(synops.count(model, session.data.validation).values())


def _compiler(session: Session, count: int) -> cores.Compiler:
    if session.chip is None:
        raise UsageError("what is balanced on cores needs a chip", fix="find(..., chip=snnc.workflow.chip(name))")
    return session.chip.compiler(session, count)
