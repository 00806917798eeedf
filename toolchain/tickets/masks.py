"""Masks: which weights of a network exist.

Only the weights of linear and convolutional layers can be pruned; never biases, batch
normalisation, thresholds or decays. A mask is a bool array of the weight's shape, and masks are
kept under the weight's name in the state dict (``layers.1.weight``).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

Masks = dict[str, np.ndarray]


class Masked(nn.Module):
    """Parametrization of a weight: pruned entries are zero in every forward pass and get no gradient."""

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, weight: Tensor) -> Tensor:
        # A product would turn negative pruned weights into -0.0.
        return torch.where(self.mask, weight, torch.zeros_like(weight))


def prunable(model: nn.Module) -> dict[str, nn.Linear | nn.Conv2d]:
    """The layers whose weights can be pruned, under the names of those weights, in forward order."""
    return {f"{name}.weight": m for name, m in model.named_modules() if isinstance(m, (nn.Linear, nn.Conv2d))}


def attach(model: nn.Module, masks: Mapping[str, np.ndarray]) -> None:
    """Make `masks` act on a model that has none yet."""
    layers = prunable(model)
    for name, mask in masks.items():
        parametrize.register_parametrization(layers[name], "weight", Masked(torch.from_numpy(mask)))


def plain_state(model: nn.Module) -> dict[str, Tensor]:
    """A copy of the state dict as if there were no masks, with zeros where weights are pruned."""
    state = {name: value.clone() for name, value in model.state_dict().items() if ".parametrizations." not in name}
    return state | {name: layer.weight.detach().clone() for name, layer in prunable(model).items()}


def weights(model: nn.Module) -> dict[str, np.ndarray]:
    """The prunable weights as they act."""
    return {name: layer.weight.detach().numpy() for name, layer in prunable(model).items()}


def by_magnitude(weights: Mapping[str, np.ndarray], alive: Mapping[str, np.ndarray] | None, sparsity: float) -> Masks:
    """Keep the largest weights of the whole network, so that the share `sparsity` of all weights is pruned.

    alive: earlier masks; what they pruned stays pruned. The count is exact to half a weight, except that
    each layer keeps its largest weight, for without it nothing would pass. Ties go to the first in order.
    """
    magnitudes = []
    for name, weight in weights.items():
        magnitude = np.abs(weight).ravel().astype(np.float64)
        if alive is not None:
            magnitude[~alive[name].ravel()] = -np.inf
        magnitude[np.argmax(magnitude)] = np.inf
        magnitudes.append(magnitude)
    everything = np.concatenate(magnitudes)
    count = max(round((1 - sparsity) * everything.size), len(magnitudes))
    kept = np.zeros(everything.size, bool)
    kept[np.argsort(-everything, kind="stable")[:count]] = True
    if alive is not None:
        kept &= everything > -np.inf
    ends = np.cumsum([m.size for m in magnitudes])[:-1]
    return {name: part.reshape(weights[name].shape) for name, part in zip(weights, np.split(kept, ends), strict=True)}


def at_random(like: Mapping[str, np.ndarray], seed: int) -> Masks:
    """Masks that keep as many weights of each layer as `like` does, at random places."""
    generator = np.random.default_rng(seed)
    return {name: generator.permuted(mask.ravel()).reshape(mask.shape) for name, mask in like.items()}


def sparsity(masks: Mapping[str, np.ndarray]) -> float:
    """Share of all prunable weights that the masks remove."""
    return 1 - sum(int(m.sum()) for m in masks.values()) / sum(m.size for m in masks.values())
