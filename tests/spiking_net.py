"""A network of snntorch as people write it: a loop over time in plain Python."""

import snntorch as snn
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, hidden=8, beta=0.9):
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(6, hidden), snn.Leaky(beta, learn_beta=True)
        self.fc2, self.lif2 = nn.Linear(hidden, 3), snn.Leaky(beta)

    def forward(self, x):
        mem1, mem2, out = self.lif1.reset_mem(), self.lif2.reset_mem(), []
        for now in x:
            spk, mem1 = self.lif1(self.fc1(now), mem1)
            spk, mem2 = self.lif2(self.fc2(spk), mem2)
            out.append(spk)
        return torch.stack(out)
