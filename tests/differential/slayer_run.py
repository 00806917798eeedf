"""Run networks in SLAYER, the trainer of lava-dl: python slayer_run.py FOLDER IN.npz OUT.npz

A program of its own, because lava-dl and torch live apart: FOLDER, the packages of the environment that has lava-dl,
comes behind those of this interpreter, which has torch.

IN, by network and layer: NETWORK/spikes (samples, steps, inputs); NETWORK/LAYER/neuron (threshold, current decay,
voltage decay), /weight, /bias, and /recurrent, /recurrent_bias where it has a loop. OUT: NETWORK/LAYER, the spikes.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn


def blocks() -> ModuleType:
    """lava.lib.dl.slayer.block.cuba, without the plots and pictures that its packages import."""
    for name in ("matplotlib", "matplotlib.pyplot"):
        sys.modules.setdefault(name, ModuleType(name))
    import lava.lib.dl

    slayer = ModuleType("lava.lib.dl.slayer")
    slayer.__path__ = [f"{folder}/slayer" for folder in lava.lib.dl.__path__]
    slayer.__spec__ = ModuleSpec(slayer.__name__, None, is_package=True)
    sys.modules[slayer.__name__] = slayer
    import lava.lib.dl.slayer.block.cuba as cuba

    return cuba


def fill(synapse: Any, weight: np.ndarray, bias: np.ndarray) -> None:
    """Weights and biases as they are: a block would round the weights to 8 bits and has no bias of its own."""
    synapse.pre_hook_fx = None
    synapse.weight.data = torch.from_numpy(weight).reshape(synapse.weight.shape)
    synapse.bias = nn.Parameter(torch.from_numpy(bias))


def main(folder: str, source: str, target: str) -> None:
    sys.path.append(folder)
    cuba = blocks()
    given = dict(np.load(source))
    found = {}
    for network in sorted({key.split("/")[0] for key in given}):
        x = torch.from_numpy(given[f"{network}/spikes"]).float().movedim(1, -1)
        for part in sorted({key.rpartition("/")[0] for key in given if key.startswith(f"{network}/")} - {network}):
            threshold, current, voltage = given[f"{part}/neuron"].tolist()
            neuron = {"threshold": threshold, "current_decay": current, "voltage_decay": voltage}
            weight, bias = given[f"{part}/weight"], given[f"{part}/bias"]
            recurrent = given.get(f"{part}/recurrent")
            if recurrent is None:
                block = cuba.Dense(neuron, *weight.shape[::-1], delay_shift=False)
                fill(block.synapse, weight, bias)
            else:
                block = cuba.Recurrent(neuron, *weight.shape[::-1], delay_shift=False)
                fill(block.input_synapse, weight, bias)
                fill(block.recurrent_synapse, recurrent, given[f"{part}/recurrent_bias"])
            with torch.no_grad():
                x = block(x)
            found[part] = x.movedim(-1, 1).numpy()
    np.savez(target, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
