"""Training of spiking networks: surrogate gradients, Adam, cross entropy on the spike counts of the outputs.

Everything follows from the seed: initial weights, the order of the samples in each epoch, and
whatever the layers draw. Each epoch draws from a stream of its own, so that a training can go on
after any epoch as if it had never stopped.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from snnc.errors import InputError
from snnc.models.spiking import SpikingNetwork
from snnc.samples import Samples, accuracy
from snnc.tickets.masks import plain_state

# Samples per forward pass where no gradient is needed; bounds memory, does not change results.
EVALUATION_BATCH = 256


@dataclass(frozen=True)
class Plan:
    """One training: epochs, samples per update, and peak learning rate (a half cosine from there to zero).

    seed: of this training's random streams.
    """

    epochs: int
    batch: int
    lr: float
    seed: int


@dataclass(frozen=True)
class Snapshot:
    """A training after `epoch` epochs: all that is needed to go on. log: one plain dict per epoch."""

    epoch: int
    state: dict[str, Tensor]
    optimizer: dict[str, Any]
    log: list[dict[str, Any]]


def derive(seed: int, *stream: int) -> int:
    """A seed for an independent random stream, named by whole numbers."""
    return int(np.random.SeedSequence([seed, *stream]).generate_state(1, np.uint64)[0])


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Torch draws from `seed` inside; the caller's stream is untouched."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread: for networks this small the fastest, and sums have one order on any machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def fit(
    model: SpikingNetwork,
    train: Samples,
    validation: Samples,
    plan: Plan,
    *,
    start: Snapshot | None,
    after: Callable[[Snapshot], None],
) -> None:
    """Train `model` in place on labelled samples.

    start: a snapshot of the same training, from which to go on. after: called with a snapshot after each epoch.
    """
    optimizer = torch.optim.Adam(model.parameters(), lr=plan.lr)
    log: list[dict[str, Any]] = []
    if start:
        optimizer.load_state_dict(start.optimizer)
        log = list(start.log)
    spikes, labels = torch.from_numpy(train.spikes), torch.from_numpy(_labels(train))
    updates = -(-len(train) // plan.batch)
    for epoch in range(start.epoch if start else 0, plan.epochs):
        model.train()
        losses = []
        with seeded(derive(plan.seed, epoch)):
            for update, chosen in enumerate(torch.randperm(len(train)).split(plan.batch)):
                progress = (epoch + update / updates) / plan.epochs
                for group in optimizer.param_groups:
                    group["lr"] = plan.lr * (1 + math.cos(math.pi * progress)) / 2
                counts = model(_time_first(spikes[chosen])).sum(0)
                loss = functional.cross_entropy(counts, labels[chosen])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
        right, _ = evaluate(model, validation)
        log.append({"epoch": epoch + 1, "loss": float(np.mean(losses)), "validation": right})
        after(Snapshot(epoch + 1, plain_state(model), optimizer.state_dict(), list(log)))


def evaluate(model: SpikingNetwork, samples: Samples) -> tuple[float, dict[str, float]]:
    """Accuracy on labelled samples, and each population's mean rate in spikes per neuron and step."""
    totals: defaultdict[str, float] = defaultdict(float)
    counts = []
    model.eval()
    with torch.no_grad():
        for batch in torch.from_numpy(samples.spikes).split(EVALUATION_BATCH):
            for name, spikes in model.trace(_time_first(batch)):
                totals[name] += float((spikes != 0).double().mean()) * len(batch)  # read-outs put out values
            counts.append(spikes.sum(0))
    rates = {name: total / len(samples) for name, total in totals.items()}
    return accuracy(torch.cat(counts).numpy(), _labels(samples)), rates


def _labels(samples: Samples) -> np.ndarray:
    if samples.labels is None:
        raise InputError("training needs labels", where=samples.name)
    return samples.labels


def _time_first(spikes: Tensor) -> Tensor:
    return spikes.transpose(0, 1).float()
