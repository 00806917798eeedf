"""Spiking modules as people write them, for tests; each with an example of its input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import snntorch as snn
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize, prune

STEPS = 100
B = 3


class Tutorial(nn.Module):
    """The loop of snntorch's tutorials: states by hand, time first."""

    def __init__(self, make: Callable[[int], Any], inputs: int = 12, hidden: int = 20, outputs: int = 6) -> None:
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(inputs, hidden), make(hidden)
        self.fc2, self.lif2 = nn.Linear(hidden, outputs), make(outputs)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        one, two = self.lif1.reset_mem(), self.lif2.reset_mem()
        one, two = (s if isinstance(s, tuple) else (s,) for s in (one, two))
        spikes, membranes = [], []
        for step in range(x.size(0)):
            out = self.lif1(self.fc1(x[step]), *one)
            one = out if isinstance(self.lif1, RECURRENT) else out[1:]
            out = self.lif2(self.fc2(out[0]), *two)
            two = out if isinstance(self.lif2, RECURRENT) else out[1:]
            spikes.append(out[0])
            membranes.append(out[-1])
        return torch.stack(spikes), torch.stack(membranes)


RECURRENT = (snn.RLeaky, snn.RSynaptic)


class Residual(nn.Module):
    """One step per call, hidden states, batch norm, a functional pool and flatten, skips around neurons."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(2, 4, (3, 5), padding=(1, 2)), nn.BatchNorm2d(4)
        self.lif1 = snn.Leaky(0.8, init_hidden=True)
        self.conv2, self.norm2 = nn.Conv2d(4, 4, 3, padding=1, groups=2, bias=False), nn.BatchNorm2d(4)
        self.lif2 = snn.Leaky(0.7, init_hidden=True, threshold=0.5, reset_delay=False)
        self.drop, self.fc = nn.Dropout(), nn.Linear(4 * 3 * 4, 6)
        self.lif3 = snn.Synaptic(0.4, 0.9, init_hidden=True)
        for norm in (self.norm1, self.norm2):
            norm.running_mean.copy_(torch.linspace(-0.1, 0.2, 4))
            norm.running_var.copy_(torch.linspace(0.3, 1.5, 4))

    def forward(self, x: Tensor) -> Tensor:
        a = self.lif1(self.norm1(self.conv1(x)))
        b = self.lif2(self.norm2(self.conv2(a)) + a)
        pooled = functional.avg_pool2d(a + b, 2)
        return self.lif3(self.fc(self.drop(torch.flatten(pooled, 1))))


class ByHand(nn.Module):
    """Recurrence through ordinary layers, between two populations and with a skip; time second."""

    def __init__(self, *, first_bias: bool) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(12, 20), nn.Linear(20, 6, bias=False)
        self.own, self.back = nn.Linear(20, 20), nn.Linear(6, 20, bias=False)
        self.lif1, self.lif2 = snn.Leaky(0.9, reset_mechanism="zero"), snn.Leaky(0.8)
        self.first_bias = first_bias

    def forward(self, x: Tensor) -> list[Tensor]:
        mem1, mem2 = self.lif1.reset_mem(), self.lif2.reset_mem()
        spk1 = spk2 = None
        if self.first_bias:
            spk1, spk2 = torch.zeros(len(x), 20), torch.zeros(len(x), 6)
        spikes = []
        for now in x.unbind(1):
            current = self.fc1(now)
            if spk1 is not None:
                current = current + self.own(spk1) - self.back(spk2) * 0.5
            spk1, mem1 = self.lif1(current, mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spikes.append(spk2)
        return spikes


class Static(nn.Module):
    """The same image in every step, through a Sequential with hidden states; the result is a rate."""

    def __init__(self) -> None:
        super().__init__()
        beta = torch.linspace(0.3, 1.0, 30)
        self.net = nn.Sequential(
            nn.Flatten(),
            nn.Linear(64, 30),
            snn.Leaky(beta, init_hidden=True, threshold=torch.linspace(0.5, 1.5, 30)),
            nn.Linear(30, 10),
            snn.Leaky(0.9, init_hidden=True, output=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        total = torch.zeros(len(x), 10)
        for _ in range(STEPS):
            spikes, _mem = self.net(x)
            total = total + spikes
        return total


class Whole(nn.Module):
    """A linear layer on all time steps at once, results stored in place, graded spikes, a read-out."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.read = nn.Linear(12, 9), nn.Linear(9, 4)
        self.lif = snn.Leaky(0.5, threshold=0.8, graded_spikes_factor=0.5, reset_mechanism="none")

    def forward(self, x: Tensor) -> Tensor:
        mem, current = self.lif.reset_mem(), self.fc(x)
        out = torch.zeros(len(x), x.size(1), 4)
        for step in range(len(x)):
            spk, mem = self.lif(current[step], mem)
            out[step] = self.read(spk)
        return out


class Pair(nn.Module):
    """Two inputs, one of them an image, and two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(5, 8), nn.Conv2d(1, 2, 2)
        self.lif, self.one, self.two = snn.Leaky(0.9), snn.Leaky(0.8), snn.Leaky(0.7)
        self.fc1, self.fc2 = nn.Linear(8, 3), nn.Linear(8, 2)

    def forward(self, sound: Tensor, image: Tensor) -> dict[str, Tensor]:
        mem, mem1, mem2 = (n.reset_mem() for n in (self.lif, self.one, self.two))
        out1, out2 = [], []
        for a, b in zip(sound, image, strict=True):
            spk, mem = self.lif(self.left(a) + self.right(b).flatten(1), mem)
            s1, mem1 = self.one(self.fc1(spk), mem1)
            s2, mem2 = self.two(self.fc2(spk), mem2)
            out1.append(s1)
            out2.append(s2)
        return {"one": torch.stack(out1), "two": torch.stack(out2)}


class Late(nn.Module):
    """A delay line of two steps in plain Python."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(12, 10), nn.Linear(10, 5)
        self.lif1, self.lif2 = snn.Leaky(0.9, init_hidden=True), snn.Leaky(0.9, init_hidden=True)

    def forward(self, x: Tensor) -> Tensor:
        line = [torch.zeros(x.size(1), 10)] * 2
        out = []
        for now in x:
            line.append(self.lif1(self.fc1(now)))
            out.append(self.lif2(self.fc2(line.pop(0))))
        return torch.stack(out)


def pruned(module: nn.Module) -> nn.Module:
    """Masks by torch.nn.utils.prune on one layer and a parametrization on another, after a step of training."""
    layers = [m for m in module.modules() if isinstance(m, nn.Linear)]
    prune.random_unstructured(layers[0], "weight", 0.6)
    parametrize.register_parametrization(layers[1], "weight", Half())
    for layer in layers[:2]:
        layer(torch.ones(1, layer.in_features)).sum().backward()
    with torch.no_grad():
        layers[0].weight_orig.add_(0.01)
    return module


class Half(nn.Module):
    """Keeps every other weight."""

    def forward(self, weight: Tensor) -> Tensor:
        return weight * (torch.arange(weight.numel()).reshape(weight.shape) % 2)


def line(make: Callable[[int], Any]) -> Callable[[], tuple[nn.Module, list[Tensor]]]:
    return lambda: (Tutorial(make), [torch.rand(STEPS, B, 12)])


def learned(module: Any) -> Any:
    """A neuron whose decay and threshold were learned."""
    with torch.no_grad():
        module.beta.fill_(0.77)
        module.threshold.fill_(0.6)
    return module


MODULES: dict[str, Callable[[], tuple[nn.Module, list[Tensor]]]] = {
    "leaky subtract": line(lambda n: snn.Leaky(0.9)),
    "leaky subtract at once": line(lambda n: snn.Leaky(0.9, reset_delay=False)),
    "leaky zero": line(lambda n: snn.Leaky(0.9, reset_mechanism="zero")),
    "leaky none": line(lambda n: snn.Leaky(0.5, reset_mechanism="none")),
    "leaky integrates": line(lambda n: snn.Leaky(1.0)),
    "leaky learned": line(lambda n: learned(snn.Leaky(0.5, learn_beta=True, learn_threshold=True))),
    "synaptic subtract": line(lambda n: snn.Synaptic(0.5, 0.8)),
    "synaptic subtract at once": line(lambda n: snn.Synaptic(0.5, 0.8, reset_delay=False)),
    "synaptic zero": line(lambda n: snn.Synaptic(0.5, 0.8, reset_mechanism="zero")),
    "synaptic zero at once": line(lambda n: snn.Synaptic(0.5, 0.8, reset_mechanism="zero", reset_delay=False)),
    "synaptic keeps all": line(lambda n: snn.Synaptic(1.0, 1.0, threshold=20.0)),
    "rleaky subtract": line(lambda n: snn.RLeaky(0.9, linear_features=n)),
    "rleaky subtract at once": line(lambda n: snn.RLeaky(0.9, linear_features=n, reset_delay=False)),
    "rleaky zero": line(lambda n: snn.RLeaky(0.9, linear_features=n, reset_mechanism="zero")),
    "rleaky one to one": line(lambda n: snn.RLeaky(0.9, V=torch.linspace(-0.5, 0.5, n), all_to_all=False)),
    "rsynaptic subtract": line(lambda n: snn.RSynaptic(0.5, 0.8, linear_features=n)),
    "rsynaptic zero": line(lambda n: snn.RSynaptic(0.5, 0.8, linear_features=n, reset_mechanism="zero")),
    "rsynaptic one to one": line(lambda n: snn.RSynaptic(0.3, 0.5, V=0.3, all_to_all=False)),
    "lapicque": line(lambda n: snn.Lapicque(R=1.5, C=3.0, time_step=1, threshold=0.4)),
    "lapicque zero": line(lambda n: snn.Lapicque(R=2.0, C=1.0, time_step=0.5, reset_mechanism="zero")),
    "lapicque of beta": line(lambda n: snn.Lapicque(beta=0.7, threshold=0.4)),
    "pruned": lambda: (pruned(Tutorial(lambda n: snn.Leaky(0.9))), [torch.rand(STEPS, B, 12)]),
    "residual": lambda: (Residual(), [torch.rand(B, 2, 6, 8)]),
    "by hand": lambda: (ByHand(first_bias=True), [torch.rand(B, STEPS, 12)]),
    "by hand, first step without": lambda: (ByHand(first_bias=False), [torch.rand(B, STEPS, 12)]),
    "static": lambda: (Static(), [torch.rand(B, 1, 8, 8)]),
    "whole": lambda: (Whole(), [torch.rand(STEPS, B, 12)]),
    "pair": lambda: (Pair(), [torch.rand(STEPS, B, 5), torch.rand(STEPS, B, 1, 3, 3)]),
    "late": lambda: (Late(), [torch.rand(STEPS, B, 12)]),
}
