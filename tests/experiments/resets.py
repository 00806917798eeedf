"""What a reset by subtraction is worth on a chip: ``python -m tests.experiments.resets``.

snntorch's neurons subtract their threshold unless told otherwise. Networks of such neurons are trained on scikit-learn
digits and compiled for a chip that can only reset to zero, which is then the nearest, and for one whose neurons are
programmable. Writes its part of docs/numbers.md.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import snntorch as snn
import torch
from snntorch import surrogate
from torch import Tensor, nn
from torch.nn import functional

import snnc
from snnc import datasets, pipeline
from snnc import target as chips
from snnc.compilation import Options
from snnc.samples import Samples, accuracy
from snnc.simulator import floating, simulate
from tests.experiments import page

SEEDS = (0, 1, 2)
CHIPS = ("loihi", "loihi2")
DATA, SIZES = "digits:steps=16", (64, 128, 128, 10)
EPOCHS, BATCH, RATE, SLOPE = 15, 64, 2e-3, 15
# As a table names them -> class and arguments.
NEURONS: dict[str, tuple[type[nn.Module], dict[str, Any]]] = {
    "`Leaky(beta=0.9)`": (snn.Leaky, {"beta": 0.9}),
    "`Leaky(beta=0.9, reset_delay=False)`": (snn.Leaky, {"beta": 0.9, "reset_delay": False}),
    "`Leaky(beta=0.5)`": (snn.Leaky, {"beta": 0.5}),
    "`Synaptic(alpha=0.5, beta=0.9)`": (snn.Synaptic, {"alpha": 0.5, "beta": 0.9}),
}


def main() -> None:
    """Run everything and write the part."""
    begin = time.perf_counter()
    sizes = "-".join(map(str, SIZES))
    rows = [
        f"scikit-learn digits, 16 steps, rate code; network {sizes} of snntorch's neurons, which reset by subtraction; "
        f"8 bits, test split, means of {len(SEEDS)} seeds. On loihi `--approximate` makes that a reset to zero, on "
        "loihi2 nothing is approximated. Differing: steps in which a neuron spikes in the float network and not on the "
        "chip, or the reverse, over the spikes of the float network.",
        "",
        "| neurons | accuracy of the float network | on loihi | on loihi2 | differing on loihi | on loihi2 |",
        "|---|---|---|---|---|---|",
    ]
    for label in NEURONS:
        found = [_figures(label, seed) for seed in SEEDS]
        cells = [f"{statistics.mean(f.floats for f in found):.1%}"]
        cells += [f"{statistics.mean(f.accuracy[chip] for f in found):.1%}" for chip in CHIPS]
        cells += [f"{statistics.mean(f.differing[chip] for f in found):.0%}" for chip in CHIPS]
        rows.append(f"| {label} | {' | '.join(cells)} |")
    page.put("resets", "Resets by subtraction", rows, time.perf_counter() - begin)


@dataclass(frozen=True)
class Figures:
    """Accuracy in floats, and on each chip; and the share of differing spikes there."""

    floats: float
    accuracy: dict[str, float]
    differing: dict[str, float]


def _figures(label: str, seed: int) -> Figures:
    module = _trained(label, seed)
    test, validation = (datasets.samples(DATA, split) for split in ("test", "validation"))
    network = snnc.load(module, torch.from_numpy(test.spikes[:2]).float())
    wanted = floating.simulate(network, test.spikes)
    labels = _labels(test)
    found = Figures(accuracy(wanted[network.outputs[0]].sum(axis=1), labels), {}, {})
    for chip in CHIPS:
        options = Options(approximate=True)
        state, _ = pipeline.compile_until("retrim", network, chips.load(chip), samples=validation, options=options)
        names = [p.name for p in network.layers]
        run = simulate(state.network, test, rasters=names)
        off = total = 0
        for name in names:
            kept = wanted[name][:, :, state.places(name, lowered=False)].astype(bool)
            off += int(np.count_nonzero(run.rasters[name].reshape(kept.shape) != kept))
            total += int(np.count_nonzero(kept))
        found.accuracy[chip] = accuracy(run.outputs, labels)
        found.differing[chip] = off / total
    return found


class _Net(nn.Module):
    """Fully connected layers with neurons behind each; spikes (samples, steps, *shape) in, (samples, outputs) out."""

    def __init__(self, label: str) -> None:
        super().__init__()
        kind, arguments = NEURONS[label]
        spike = surrogate.fast_sigmoid(slope=SLOPE)
        self.flatten = nn.Flatten()
        self.links = nn.ModuleList(nn.Linear(a, b, bias=False) for a, b in pairwise(SIZES))
        self.neurons = nn.ModuleList(kind(**arguments, spike_grad=spike) for _ in SIZES[1:])

    def forward(self, spikes: Tensor) -> Tensor:
        states: list[tuple[Tensor, ...]] = []
        for neuron in self.neurons:
            state = neuron.reset_mem()
            states.append(state if isinstance(state, tuple) else (state,))
        total = []
        for step in range(spikes.shape[1]):
            passed = self.flatten(spikes[:, step])
            for k, (link, neuron) in enumerate(zip(self.links, self.neurons, strict=True)):
                passed, *rest = neuron(link(passed), *states[k])
                states[k] = tuple(rest)
            total.append(passed)
        return torch.stack(total)


def _trained(label: str, seed: int) -> nn.Module:
    train = datasets.samples(DATA, "train")
    spikes, labels = torch.from_numpy(train.spikes).float(), torch.from_numpy(_labels(train)).long()
    torch.manual_seed(seed)
    net = _Net(label)
    optimizer = torch.optim.Adam(net.parameters(), lr=RATE)
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(spikes)).split(BATCH):
            loss = functional.cross_entropy(net(spikes[chosen]).sum(0), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return net.eval()


def _labels(samples: Samples) -> np.ndarray:
    assert samples.labels is not None
    return samples.labels


if __name__ == "__main__":
    main()
