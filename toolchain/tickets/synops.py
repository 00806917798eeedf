"""Synaptic operations of a network in torch: each spike visits the live synapses behind its neuron.

What enters a weighted layer counts with its live fan-out, the number of weights (of a convolution: of places where
its kernel lies) that are not zero. The sum is differentiable through the surrogate gradient of the spikes, so that
a training can be made to spend less.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from snnc.models.spiking import SpikingNetwork
from snnc.samples import Samples
from snnc.tickets.masks import prunable

_BATCH = 256
# Of the weights' gradient beside that of the spikes; on digits 0.1 to 0.3 do alike, and 0 costs a third more.
PULL = 0.2


class Meter:
    """What was counted of one forward pass.

    layers: name of the weight -> synaptic operations, summed over samples and steps (a tensor with gradient).
    most: what they would be if each element that enters were one in every step, and no weight were pruned, in all
    layers together.
    """

    def __init__(self) -> None:
        self.layers: dict[str, Tensor] = {}
        self.most = 0.0

    def share(self) -> Tensor:
        """Of all the operations of the dense network those that took place, 0..1 for spikes."""
        return torch.stack(list(self.layers.values())).sum() / self.most


@contextmanager
def metered(model: nn.Module) -> Iterator[Meter]:
    """Count the synaptic operations of all weighted layers inside; a layer that runs several times adds up.

    The gradient goes two ways: to the spikes, each of which costs its fan-out, and to the weights, which have no
    gradient of being there. Theirs is that of their magnitude, in units of the layer's mean, times PULL; what many
    spikes enter becomes small so, and is pruned. The value is the count alone.
    """
    meter = Meter()
    hooks = []
    for name, layer in prunable(model).items():

        def before(module: nn.Module, inputs: Any, name: str = name) -> None:
            entering: Tensor = inputs[0]
            weight: Tensor = module.weight  # type: ignore[assignment]
            live = (weight != 0).float()
            fan = fan_out(module, entering.shape, live)
            spent = (entering * fan).sum(dtype=torch.float32)
            if torch.is_grad_enabled() and weight.requires_grad:
                size = weight.abs() / (weight.detach().abs().sum() / live.sum())
                arrived = entering.detach().float().mean(0) * len(entering)
                pull = PULL * (arrived * fan_out(module, entering.shape, size)).sum()
                spent = spent + pull - pull.detach()
            meter.layers[name] = meter.layers[name] + spent if name in meter.layers else spent
            most = fan_out(module, entering.shape, torch.ones_like(live))
            meter.most += float(most.sum()) * entering.numel() / most.numel()

        hooks.append(layer.register_forward_pre_hook(before))
    try:
        yield meter
    finally:
        for hook in hooks:
            hook.remove()


def fan_out(layer: Any, shape: torch.Size, weight: Tensor) -> Tensor:
    """What is behind each element that enters `layer`, (in,) or (channels, rows, columns): the sum of its `weight`.

    shape: of what enters, batch included. weight: of the shape of the layer's; ones where a synapse is, to count them.
    """
    if isinstance(layer, nn.Linear):
        return weight.sum(0)
    # Each output place reaches back to where its kernel lies; the sum over output channels goes first, per group.
    shared = weight.unflatten(0, (layer.groups, -1)).sum(1)  # (groups, in / groups, rows, columns)
    geometry = {"stride": layer.stride, "dilation": layer.dilation}
    kernel = weight.new_zeros(1, 1, *layer.kernel_size)
    places = functional.conv2d(weight.new_zeros(1, 1, *shape[-2:]), kernel, padding=layer.padding, **geometry)
    everywhere = torch.ones_like(places).expand(1, layer.groups, -1, -1)
    reached = functional.conv_transpose2d(everywhere, shared, groups=layer.groups, **geometry)[0]
    # Of the padded image; at its far sides there may be places that no kernel reaches.
    (top, left), (rows, columns) = layer.padding, shape[-2:]
    sides = (-left, columns + left - reached.shape[-1], -top, rows + top - reached.shape[-2])
    return functional.pad(reached, sides)


@torch.no_grad()
def count(model: SpikingNetwork, samples: Samples) -> dict[str, float]:
    """Name of the weight -> synaptic operations per sample, in the mean over `samples`, in evaluation mode."""
    model.eval()
    totals: dict[str, float] = {}
    for batch in torch.from_numpy(samples.spikes).split(_BATCH):
        with metered(model) as meter:
            model(batch.transpose(0, 1).float())
        for name, spent in meter.layers.items():
            totals[name] = totals.get(name, 0.0) + float(spent)
    return {name: total / len(samples) for name, total in totals.items()}
