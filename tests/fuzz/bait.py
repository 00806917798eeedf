"""What lies beside a hostile file: things it may try to reach, and the code of the model it may hold."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np

NETS = """
import snntorch as snn
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(6, 8), snn.Leaky(0.9, learn_beta=True)
        self.fc2, self.lif2 = nn.Linear(8, 3), snn.Leaky(0.9)

    def forward(self, x):
        mem1, mem2, out = self.lif1.reset_mem(), self.lif2.reset_mem(), []
        for now in x:
            spk, mem1 = self.lif1(self.fc1(now), mem1)
            spk, mem2 = self.lif2(self.fc2(spk), mem2)
            out.append(spk)
        return torch.stack(out)
"""
# What links point at. HDF5 opens files without telling Python, but whoever opens a pipe waits forever.
BAITS = ("pipe", "foreign.h5", "secret", "/dev/zero", ".", "case.nir", "no/such")


def furnish(folder: Path) -> None:
    """Fill the folder in which cases are read."""
    (folder / "fuzz_nets.py").write_text(NETS)
    (folder / "secret").write_bytes(np.ones(1 << 12).tobytes())
    with h5py.File(folder / "foreign.h5", "w") as file:
        file["x"] = np.ones(64)
    os.mkfifo(folder / "pipe")
