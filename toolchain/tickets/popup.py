"""Connection tickets: subnetworks of networks whose random weights are never trained.

Each weight has a score, and only scores are trained. A forward pass uses the weights of the largest scores; backwards,
a score gets the gradient of the weight it speaks for, as if all were there (straight-through): edge-popup (Ramanujan
et al., CVPR 2020), shown to find such tickets in spiking networks by Yao et al. (arXiv 2305.12148) and called
SNN-ConnS in arXiv 2311.12060. In binary tickets (BinW-SNN-ConnS) the weights are signs with one gain per layer, the
mean magnitude of the random weights that are kept (biprop, Diffenderfer and Kailkhura, ICLR 2021).

What the papers leave open is decided so: the mask is made anew of all scores of a layer in each step, and each layer
keeps the same share; of normalisation layers nothing is trained but their statistics, and biases stay as they are;
the initial scale of a weight is that of He et al. (ICCV 2015) for the inputs that are kept, fan-in times density, for
it is their sum that must reach the threshold.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from snnc.models.spiking import flatten
from snnc.tickets.checkpoint import Checkpoint
from snnc.tickets.masks import kept_of, prunable
from snnc.tickets.search import Search
from snnc.tickets.session import Session
from snnc.tickets.training import seeded

# Peak learning rate of the scores, for Adam; 5e-3 to 2e-2 do alike on digits.
LR = 2e-2
# Of the surrogate gradient while scores are trained. A flat one reaches neurons far from their threshold, as many are
# in a random network: with the 15 of other trainings the outputs of some stay silent for ever. Measured on digits.
SLOPE = 2


class Selected(nn.Module):
    """Parametrization of a frozen weight: the `count` entries with the largest scores act.

    shape: of the weight. binary: they act as signs with one gain.
    """

    def __init__(self, shape: torch.Size, count: int, binary: bool) -> None:
        super().__init__()
        self.count, self.binary = count, binary
        self.scores = nn.Parameter(torch.empty(shape))
        nn.init.kaiming_uniform_(self.scores, a=math.sqrt(5))

    @property
    def mask(self) -> Tensor:
        """The entries that act, bool."""
        return top(self.scores.detach().abs(), self.count)

    def forward(self, weight: Tensor) -> Tensor:
        mask = self.mask
        # Of a weight of zero, should one be drawn, the sign is positive.
        acting = torch.where(weight < 0, -1.0, 1.0) * weight[mask].abs().mean() if self.binary else weight
        chosen: Tensor = _StraightThrough.apply(self.scores.abs(), acting, mask)
        return chosen


class _StraightThrough(torch.autograd.Function):
    """The entries of `acting` in the mask; the gradient of a score is as if each acted in proportion to its score."""

    @staticmethod
    def forward(context: Any, scores: Tensor, acting: Tensor, mask: Tensor) -> Tensor:
        context.save_for_backward(acting)
        return torch.where(mask, acting, torch.zeros_like(acting))

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (acting,) = context.saved_tensors
        return gradient * acting, None, None


def top(scores: Tensor, count: int) -> Tensor:
    """Where the `count` largest scores are, bool of their shape; of equal ones the first are taken."""
    flat = scores.ravel()
    least = flat.kthvalue(flat.numel() - count + 1).values
    mask = flat > least
    equal = (flat == least).nonzero().ravel()
    mask[equal[: count - int(mask.sum())]] = True
    return mask.view(scores.shape)


def freeze(model: nn.Module) -> None:
    """Let nothing of the model be trained."""
    for parameter in model.parameters():
        parameter.requires_grad = False


def search_connections(model: nn.Module, names: list[str], sparsity: float, *, binary: bool, seed: int) -> None:
    """Give the weights `names` random values that stay, and scores that can be trained; nothing else of them can.

    sparsity: share of each weight's entries that do not act. UsageError where one would be empty.
    """
    layers = prunable(model)
    with seeded(seed):
        for name in names:
            weight = layers[name].weight
            count = kept_of(weight.numel(), sparsity, [name])
            inputs = weight[0].numel() * count / weight.numel()
            nn.init.normal_(weight, std=math.sqrt(2 / inputs))
            weight.requires_grad = False
            parametrize.register_parametrization(layers[name], "weight", Selected(weight.shape, count, binary))
    flatten(model, SLOPE)


def find(session: Session, search: Search) -> Checkpoint:
    """See :func:`snnc.tickets.find`. The ticket has no dense parent: the network it lies in was never trained."""
    assert search.sparsity is not None
    model = session.fresh()
    freeze(model)
    binary = search.method == "binw-conns"
    search_connections(model, list(prunable(model)), search.sparsity, binary=binary, seed=session.draw())
    stage = session.train(search.method, model, epochs=session.recipe.epochs, lr=LR)
    return session.finish(stage, None)
