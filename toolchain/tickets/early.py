"""Early tickets: less training before a mask is drawn, fewer time steps while one is searched.

Early-Bird (You et al., ICLR 2020; in spiking networks: Kim et al., ECCV 2022): the mask that pruning by magnitude
would draw settles long before the training ends. Once it stands still, the network is pruned, once, and its weights
are trained on from there, for the epochs of a whole training.

Early-Time (Kim et al.): most of what a network says after all T steps it says after fewer. The search is done with the
smallest number of steps after which the prediction is near that of all steps, the last training with all.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from snnc.models.spiking import SpikingNetwork
from snnc.tickets.checkpoint import Checkpoint
from snnc.tickets.controls import control
from snnc.tickets.masks import Masks, by_magnitude, weights
from snnc.tickets.search import Search
from snnc.tickets.session import Session

# Kim et al. compare each mask with those of the four epochs before it.
WINDOW = 5
# Largest share of places in which masks of one window differ; times the density, because the masks of a sparse
# network differ in few places even if they have little in common.
STILL = 0.02
# Of the divergence left by two steps, what may be left by the steps that are taken. Kim et al.
NEAR = 0.6
# Epochs of the training that Early-Time looks at.
LOOK = 2


def find(session: Session, search: Search) -> Checkpoint:
    """See :func:`snnc.tickets.find`. Where the mask never stands still, the last one is taken."""
    assert search.sparsity is not None
    target, scope = search.sparsity, search.scope or "global"
    steps = time(session) if search.early_time else None

    def watch(model: SpikingNetwork, memory: Any) -> tuple[Any, bool]:
        drawn = by_magnitude(weights(model), None, target, scope)
        window = [*(memory or []), _bits(drawn)][-WINDOW:]
        return window, len(window) == WINDOW and distance(window) < STILL * (1 - target)

    epochs = session.recipe.epochs
    dense = session.train("dense", session.fresh(), epochs=epochs, steps=steps, watch=watch)
    masks: Masks = by_magnitude(weights(session.loaded(dense.state)), None, target, scope)
    if search.control:
        found = control(session, search.control, masks, dense.state, epochs=epochs, rewind=0)
    else:
        found = session.train("early-bird", session.loaded(dense.state), masks, epochs=epochs)
    return session.finish(found, dense, alive=not search.control)


def distance(window: list[Tensor]) -> float:
    """Largest share of places in which the last mask and another of the window differ; masks as packed bits."""
    last = np.unpackbits(window[-1].numpy())
    return max(float(np.mean(last != np.unpackbits(other.numpy()))) for other in window[:-1])


def time(session: Session) -> int:
    """The number of steps with which to search: see :func:`enough`, on the validation samples after two epochs."""
    look = session.train("early-time", session.fresh(), epochs=min(LOOK, session.recipe.epochs))
    samples = session.data.validation
    model = session.loaded(look.state).eval()
    with torch.no_grad():
        outputs = torch.cat(
            [model(batch.transpose(0, 1).float()) for batch in torch.from_numpy(samples.spikes).split(256)], dim=1
        )
    return enough(outputs)


def enough(outputs: Tensor) -> int:
    """The smallest number of steps after which the prediction is near that of all steps.

    outputs: (steps, samples, classes). P_t is the softmax of what was put out up to step t, D_t the mean over the
    samples of the Kullback-Leibler divergence of P_t from the last; t is near if D_t < 0.6 D_2. All steps, if there
    are not more than two or two are as good as all.
    """
    predicted = outputs.double().cumsum(0).log_softmax(-1)
    last = predicted[-1]
    left = (predicted.exp() * (predicted - last)).sum(-1).mean(-1)
    if len(outputs) <= 2 or left[1] <= 0:
        return min(len(outputs), 2)
    return next(t for t in range(2, len(outputs) + 1) if left[t - 1] < NEAR * left[1])


def _bits(masks: Masks) -> Tensor:
    return torch.from_numpy(np.packbits(np.concatenate([mask.ravel() for mask in masks.values()])))
