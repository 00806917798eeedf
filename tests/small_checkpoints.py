"""A dense network and a ticket of a few weights, as checkpoints."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from snnc import models
from snnc.tickets.checkpoint import Checkpoint, Parent
from snnc.tickets.masks import at_random, attach, plain_state, weights

ARGS = {"shape": [3, 5], "classes": 3, "hidden": [7]}
WEIGHT = "layers.1.weight"  # 7 x 15
# A core for each row of a weight.
GROUPS = {WEIGHT: np.array([0, 0, 0, 1, 1, 1, 1], np.int32), "layers.3.weight": np.zeros(3, np.int32)}


def dense(seed: int = 0) -> Checkpoint:
    torch.manual_seed(seed)
    return Checkpoint(
        model="mlp",
        args=ARGS,
        state_dict=plain_state(models.model("mlp")(**ARGS)),
        masks={},
        dt=1e-3,
        reset="zero",
        bits=8,
        data="digits:steps=8,encoding=rate,seed=0",
        seed=seed,
        log=[{"stage": "dense", "epoch": 1, "loss": 2.5, "validation": 0.25}],
        parent=None,
        accuracy={"validation": 0.25, "test": 0.125},
    )


def ticket() -> Checkpoint:
    parent = dense(1)
    model = parent.module()
    masks = at_random({name: np.arange(w.size).reshape(w.shape) % 3 == 0 for name, w in weights(model).items()}, 0)
    attach(model, masks)
    ancestor = Parent(parent.state_dict, ARGS, 0.75, parent.log)
    return replace(dense(), state_dict=plain_state(model), masks=masks, parent=ancestor)
