"""Masks: which weights of a network exist.

Only the weights of linear and convolutional layers can be pruned; never biases, batch
normalisation, thresholds or decays. A mask is a bool array of the weight's shape, and masks are
kept under the weight's name in the state dict (``layers.1.weight``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from snnc.errors import UsageError

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


def attached(model: nn.Module) -> Masks:
    """The masks that act on a model: what :func:`attach` was given, or what a search holds at this moment."""
    return {
        name: layer.parametrizations["weight"][0].mask.cpu().numpy()  # type: ignore[index,union-attr]
        for name, layer in prunable(model).items()
        if parametrize.is_parametrized(layer, "weight")
    }


def plain_state(model: nn.Module) -> dict[str, Tensor]:
    """A copy of the state dict, on the CPU, as if there were no masks, with zeros where weights are pruned."""
    state = {
        name: value.cpu().clone() for name, value in model.state_dict().items() if ".parametrizations." not in name
    }
    return state | {name: layer.weight.detach().cpu().clone() for name, layer in prunable(model).items()}


def weights(model: nn.Module) -> dict[str, np.ndarray]:
    """The prunable weights as they act."""
    return {name: layer.weight.detach().cpu().numpy() for name, layer in prunable(model).items()}


def by_magnitude(
    weights: Mapping[str, np.ndarray],
    alive: Mapping[str, np.ndarray] | None,
    sparsity: float,
    scope: str = "global",
) -> Masks:
    """Keep the largest weights, so that the share `sparsity` of all weights is pruned.

    alive: earlier masks; what they pruned stays pruned. scope: "global", the largest of the whole network, or
    "layer", those of each layer. The count is exact to half a weight (in each layer). Each layer keeps its largest
    weight, for without it nothing would pass; UsageError where fewer weights than layers are to be left. Ties go to
    the first in order.
    """
    if scope == "layer":
        parts = [by_magnitude({n: w}, alive and {n: alive[n]}, sparsity) for n, w in weights.items()]
        return {name: mask for part in parts for name, mask in part.items()}
    magnitudes = []
    for name, weight in weights.items():
        magnitude = np.abs(weight).ravel().astype(np.float64)
        if alive is not None:
            magnitude[~alive[name].ravel()] = -np.inf
        magnitude[np.argmax(magnitude)] = np.inf
        magnitudes.append(magnitude)
    everything = np.concatenate(magnitudes)
    count = kept_of(everything.size, sparsity, weights)
    kept = np.zeros(everything.size, bool)
    kept[np.argsort(-everything, kind="stable")[:count]] = True
    if alive is not None:
        kept &= everything > -np.inf
    ends = np.cumsum([m.size for m in magnitudes])[:-1]
    return {name: part.reshape(weights[name].shape) for name, part in zip(weights, np.split(kept, ends), strict=True)}


def kept_of(size: int, sparsity: float, layers: Iterable[str]) -> int:
    """How many of `size` weights the share `sparsity` leaves; UsageError where that empties one of `layers`."""
    count, names = round((1 - sparsity) * size), list(layers)
    if count < len(names):
        raise UsageError(
            f"a sparsity of {sparsity:g} leaves {count} of {size:,} weights, and a layer would be empty",
            where=", ".join(names),
            # Rounded down, never to 1.
            fix=f"at most {math.floor(1e6 * (1 - len(names) / size)) / 1e6:g} leaves each layer a weight",
        )
    return count


def at_random(like: Mapping[str, np.ndarray], seed: int) -> Masks:
    """Masks that keep as many weights of each layer as `like` does, at random places."""
    generator = np.random.default_rng(seed)
    return {name: generator.permuted(mask.ravel()).reshape(mask.shape) for name, mask in like.items()}


def sparsity(masks: Mapping[str, np.ndarray]) -> float:
    """Share of all prunable weights that the masks remove."""
    return 1 - sum(int(m.sum()) for m in masks.values()) / sum(m.size for m in masks.values())
