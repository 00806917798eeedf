"""Make networks in SLAYER, the trainer of lava-dl, and let it export them: python slayer_export.py PACKAGES FOLDER

PACKAGES: as for slayer_run.py, beside which it lies. FOLDER gets NAME.net, and NAME.npz with `spikes` (samples, steps,
*shape), what the last block made of them, `out` (samples, steps, *shape), and how many blocks are a step `late`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from slayer_run import blocks
from torch import nn


def neuron(**other: object) -> dict[str, object]:
    """Parameters, new for each block: some write to theirs."""
    return {"threshold": 0.6, "current_decay": 0.4, "voltage_decay": 0.15, **other}


STEPS = 30

Build = Callable[[Any, Callable[..., nn.Module]], tuple[tuple[int, ...], list[nn.Module]]]
"""Of the blocks, and the class that normalises means, the shape of the input and the layers."""


def dense(cuba: Any, norm: Any) -> tuple[tuple[int, ...], list[nn.Module]]:
    """Biases come from a normalisation of means."""
    return (30,), [
        cuba.Dense(neuron(norm=norm), 30, 24, weight_norm=True),
        cuba.Dense(neuron(current_decay=1.0), 24, 8),
    ]


def affine(cuba: Any, norm: Any) -> tuple[tuple[int, ...], list[nn.Module]]:
    """The last layer never spikes."""
    return (30,), [cuba.Dense(neuron(), 30, 24), cuba.Affine(neuron(), 24, 5)]


def integrates(cuba: Any, norm: Any) -> tuple[tuple[int, ...], list[nn.Module]]:
    """The last layer has no neurons."""
    return (30,), [cuba.Dense(neuron(), 30, 24), cuba.Affine(neuron(), 24, 5, dynamics=False)]


def delayed(cuba: Any, norm: Any) -> tuple[tuple[int, ...], list[nn.Module]]:
    """A delay for each neuron."""
    return (30,), [cuba.Dense(neuron(), 30, 24, delay=True), cuba.Dense(neuron(), 24, 8, delay=True)]


def recurrent(cuba: Any, norm: Any) -> tuple[tuple[int, ...], list[nn.Module]]:
    return (30,), [cuba.Recurrent(neuron(), 30, 20), cuba.Dense(neuron(), 20, 8)]


def convolutional(cuba: Any, norm: Any) -> tuple[tuple[int, ...], list[nn.Module]]:
    options = {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 2)}
    return (2, 12, 11), [
        cuba.Input(neuron(), weight=1.0, bias=0.0),
        cuba.Conv(neuron(norm=norm), 2, 6, (3, 2), weight_scale=2, **options),
        cuba.Conv(neuron(voltage_decay=0.9), 6, 4, 3, groups=2, weight_scale=2),
        cuba.Flatten(),
        cuba.Dense(neuron(norm=norm), 4 * 4 * 7, 8),
    ]


def pooled(cuba: Any, norm: Any) -> tuple[tuple[int, ...], list[nn.Module]]:
    return (2, 12, 12), [
        cuba.Input(delay_shift=False),
        cuba.Pool(neuron(), 2),
        cuba.Conv(neuron(), 2, 4, 3, weight_scale=2),
        cuba.Flatten(),
        cuba.Dense(neuron(), 64, 8),
    ]


def dead(cuba: Any, norm: Any) -> tuple[tuple[int, ...], list[nn.Module]]:
    """Half of the neurons of the second layer have no synapses, some of the third are read by none."""
    layers = [
        cuba.Dense(neuron(), 30, 24),
        cuba.Dense(neuron(), 24, 20),
        cuba.Dense(neuron(), 20, 16),
        cuba.Dense(neuron(), 16, 8),
    ]
    with torch.no_grad():
        layers[1].synapse.weight[::2] = 0
        layers[3].synapse.weight[:, 3:9] = 0
    return (30,), layers


NETWORKS: tuple[Build, ...] = (dense, affine, integrates, delayed, recurrent, convolutional, pooled, dead)


def main(packages: str, folder: str) -> None:
    sys.path.append(packages)
    cuba = blocks()
    from lava.lib.dl.slayer.neuron.norm import MeanOnlyBatchNorm

    for number, build in enumerate(NETWORKS):
        torch.manual_seed(number)
        shape, layers = build(cuba, MeanOnlyBatchNorm)
        spikes = (torch.rand(4, *shape, STEPS) < 0.4).float()
        for _ in range(3):  # the first shapes all layers, and each moves the means
            _run(layers, spikes)
        for layer in layers:
            layer.eval()
            if getattr(layer, "delay", None) is not None:
                layer.delay.delay.data = torch.randint(0, 9, layer.delay.delay.shape).float()
            _forget(layer)
        out = _run(layers, spikes)
        with h5py.File(Path(folder, f"{build.__name__}.net"), "w") as file:
            for k, layer in enumerate(layers):
                layer.export_hdf5(file.create_group(f"layer/{k}"))
        late = sum(bool(getattr(layer, "delay_shift", False)) for layer in layers)
        both = {"spikes": spikes.movedim(-1, 1).numpy(), "out": out.movedim(-1, 1).numpy()}
        np.savez(Path(folder, f"{build.__name__}.npz"), late=late, **both)


def _forget(layer: nn.Module) -> None:
    """Recurrent blocks carry their state on from run to run."""
    for part in (layer, getattr(layer, "neuron", None)):
        for name in ("current_state", "voltage_state", "spike_state"):
            if hasattr(part, name):
                getattr(part, name).zero_()


def _run(layers: list[nn.Module], spikes: torch.Tensor) -> torch.Tensor:
    x = spikes
    with torch.no_grad():
        for layer in layers:
            x = layer(x)
    return x


if __name__ == "__main__":
    main(*sys.argv[1:])
