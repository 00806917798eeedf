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


class Meter:
    """What was counted of one forward pass.

    layers: name of the weight -> synaptic operations, summed over samples and steps (a tensor with gradient).
    most: what they would be if each element that enters were one in every step, in all layers together.
    """

    def __init__(self) -> None:
        self.layers: dict[str, Tensor] = {}
        self.most = 0.0

    def share(self) -> Tensor:
        """Of all the operations that the live synapses allow, those that took place: 0..1 for spikes."""
        return torch.stack(list(self.layers.values())).sum() / self.most


@contextmanager
def metered(model: nn.Module) -> Iterator[Meter]:
    """Count the synaptic operations of all weighted layers inside; a layer that runs several times adds up."""
    meter = Meter()
    hooks = []
    for name, layer in prunable(model).items():

        def before(module: nn.Module, inputs: Any, name: str = name) -> None:
            entering: Tensor = inputs[0]
            fan = fan_out(module, entering.shape)
            spent = (entering * fan).sum(dtype=torch.float32)
            meter.layers[name] = meter.layers[name] + spent if name in meter.layers else spent
            meter.most += float(fan_out(module, entering.shape, dense=True).sum()) * entering.numel() / fan.numel()

        hooks.append(layer.register_forward_pre_hook(before))
    try:
        yield meter
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def fan_out(layer: Any, shape: torch.Size, dense: bool = False) -> Tensor:
    """Live synapses behind each element that enters `layer`, (in,) or (channels, rows, columns).

    shape: of what enters, batch included.
    """
    live = torch.ones_like(layer.weight) if dense else (layer.weight != 0).float()
    if isinstance(layer, nn.Linear):
        return live.sum(0)
    # Each output place reaches back to where its kernel lies; the sum over output channels goes first, per group.
    groups = layer.groups
    shared = live.unflatten(0, (groups, -1)).sum(1)  # (groups, in / groups, rows, columns)
    places = functional.conv2d(
        torch.zeros(1, 1, *shape[-2:], device=live.device),
        torch.zeros(1, 1, *layer.kernel_size, device=live.device),
        stride=layer.stride,
        padding=layer.padding,
        dilation=layer.dilation,
    )
    reached = functional.conv_transpose2d(
        torch.ones_like(places).expand(1, groups, -1, -1),
        shared,
        stride=layer.stride,
        dilation=layer.dilation,
        groups=groups,
    )[0]
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
