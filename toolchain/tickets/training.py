"""Training of spiking networks: surrogate gradients, Adam, cross entropy on the spike counts of the outputs.

Everything follows from the seed: initial weights, the order of the samples in each epoch, augmentation, and
whatever the layers draw. Each epoch draws from a stream of its own, so that a training can go on
after any epoch as if it had never stopped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from snnc.errors import InputError, UsageError
from snnc.models.data.augment import Augmentation
from snnc.models.spiking import SpikingNetwork
from snnc.samples import Samples, accuracy
from snnc.tickets.synops import metered

# Samples per forward pass where no gradient is needed; bounds memory, does not change results.
EVALUATION_BATCH = 256
PRECISIONS = ("float32", "bfloat16")
DEVICES = ("auto", "cpu", "cuda")

# (model, what it returned after the epoch before) -> (plain values to remember, whether to stop).
Watch = Callable[[SpikingNetwork, Any], tuple[Any, bool]]


@dataclass(frozen=True)
class Plan:
    """One training: epochs, samples per update, and peak learning rate (a half cosine from there to zero).

    seed: of this training's random streams. steps: only the first so many of each sample; None: all. penalty: weight
    in the loss, at the end of the training, of the share of possible synaptic operations that take place
    (:meth:`snnc.tickets.synops.Meter.share`); it rises from zero in proportion to what has been trained.
    """

    epochs: int
    batch: int
    lr: float
    seed: int
    steps: int | None = None
    penalty: float = 0.0


@dataclass(frozen=True)
class Compute:
    """Where and how a training computes. UsageError for what there is not.

    device: "cpu", "cuda", or "auto", CUDA where there is one. precision: "float32", or "bfloat16" for the products of
    matrices and convolutions (torch's autocast; weights, membranes and loss stay float32). compiled: through
    torch.compile, which takes a minute at first and needs a C++ compiler. threads: of torch on a CPU; one is the
    fastest for small networks, and sums have one order on any machine.
    """

    device: str = "auto"
    precision: str = "float32"
    compiled: bool = False
    threads: int = 1

    def __post_init__(self) -> None:
        for name, value, known in (("device", self.device, DEVICES), ("precision", self.precision, PRECISIONS)):
            if value not in known:
                raise UsageError(f"there is no {name} '{value}'", fix=f"{name}: {', '.join(known)}")
        if self.threads < 1:
            raise UsageError(f"there must be at least one thread, got {self.threads}")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise UsageError("this machine, or this build of torch, has no CUDA device", fix="--device cpu")

    @property
    def place(self) -> torch.device:
        """The device itself."""
        found = self.device if self.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
        return torch.device(found)

    def cast(self) -> AbstractContextManager[Any]:
        """Products inside are computed in the precision."""
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(self.place.type, torch.bfloat16)

    def forward(self, model: SpikingNetwork) -> Callable[[Tensor], Tensor]:
        """What computes the outputs of `model`."""
        return torch.compile(model) if self.compiled else model

    @contextmanager
    def settled(self) -> Iterator[None]:
        """Inside, torch has the threads, and on CUDA only algorithms that always give the same bits."""
        before, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
        torch.set_num_threads(self.threads)
        torch.use_deterministic_algorithms(self.place.type == "cuda" or strict)
        try:
            yield
        finally:
            torch.set_num_threads(before)
            torch.use_deterministic_algorithms(strict)


@dataclass(frozen=True)
class Snapshot:
    """A training after `epoch` epochs: all that is needed to go on.

    state: the model's own state dict, masks and scores of a search included. log: one plain dict per epoch. memory:
    what the training's watch remembers. stopped: whether it ended the training here.
    """

    epoch: int
    state: dict[str, Tensor]
    optimizer: dict[str, Any]
    log: list[dict[str, Any]]
    memory: Any = None
    stopped: bool = False


def derive(seed: int, *stream: int) -> int:
    """A seed for an independent random stream, named by whole numbers."""
    return int(np.random.SeedSequence([seed, *stream]).generate_state(1, np.uint64)[0])


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Torch draws from `seed` inside; the caller's stream is untouched."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread: for networks this small the fastest, and sums have one order on any machine."""
    with Compute(device="cpu").settled():
        yield


def fit(
    model: SpikingNetwork,
    train: Samples,
    validation: Samples,
    plan: Plan,
    *,
    start: Snapshot | None,
    after: Callable[[Snapshot], None],
    compute: Compute | None = None,
    augment: Augmentation | None = None,
    watch: Watch | None = None,
) -> None:
    """Train what of `model` requires a gradient, in place, on labelled samples; it stays where it was computed.

    start: a snapshot of the same training, from which to go on. after: called with a snapshot after each epoch.
    augment: applied to each batch (batch, steps, *shape). watch: see :data:`Watch`.
    Raises InputError where the loss or a weight is no number any more.
    """
    compute = compute or Compute(device="cpu")
    model.to(compute.place)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=plan.lr)
    log: list[dict[str, Any]] = []
    memory, stopped = None, False
    if plan.penalty and compute.compiled:
        raise UsageError("synaptic operations cannot be counted in a compiled network", fix="leave out --compiled")
    if start:
        optimizer.load_state_dict(start.optimizer)
        log, memory, stopped = list(start.log), start.memory, start.stopped
    forward = compute.forward(model)
    spikes, labels = torch.from_numpy(train.spikes), torch.from_numpy(_labels(train))
    updates = -(-len(train) // plan.batch)
    for epoch in range(start.epoch if start else 0, plan.epochs):
        if stopped:
            break
        model.train()
        losses = []
        drawn = torch.Generator().manual_seed(derive(plan.seed, epoch, 1))
        with seeded(derive(plan.seed, epoch)):
            for update, chosen in enumerate(torch.randperm(len(train)).split(plan.batch)):
                progress = (epoch + update / updates) / plan.epochs
                for group in optimizer.param_groups:
                    group["lr"] = plan.lr * (1 + math.cos(math.pi * progress)) / 2
                batch = spikes[chosen, : plan.steps].to(compute.place)
                batch = augment(batch, drawn) if augment else batch
                loss = _loss(model, forward, batch, labels[chosen].to(compute.place), plan.penalty * progress, compute)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(loss.detach())
        mean = float(torch.stack(losses).double().mean())
        # Weights that are no numbers make neurons silent, of which the loss is finite.
        lost = [name for name, value in model.state_dict().items() if not bool(value.isfinite().all())]
        if lost or not math.isfinite(mean):
            what = f"'{lost[0]}' holds NaN or infinity" if math.isfinite(mean) else f"the loss is {mean}"
            raise InputError(
                f"the training has diverged: in epoch {epoch + 1} {what}",
                where=train.name,
                fix="train with a smaller learning rate (Recipe.lr)",
            )
        right, _ = evaluate(model, validation, steps=plan.steps, compute=compute)
        log.append({"epoch": epoch + 1, "loss": mean, "validation": right})
        if watch:
            memory, stopped = watch(model, memory)
        after(Snapshot(epoch + 1, _state(model), optimizer.state_dict(), list(log), memory, stopped))


def _loss(
    model: SpikingNetwork,
    forward: Callable[[Tensor], Tensor],
    batch: Tensor,
    labels: Tensor,
    penalty: float,
    compute: Compute,
) -> Tensor:
    with compute.cast(), metered(model) if penalty else nullcontext() as meter:
        outputs = forward(_time_first(batch))
    loss = functional.cross_entropy(outputs.float().sum(0), labels)
    return loss + penalty * meter.share() if meter else loss


def _state(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.cpu().clone() for name, value in model.state_dict().items()}


@torch.no_grad()
def evaluate(
    model: SpikingNetwork, samples: Samples, *, steps: int | None = None, compute: Compute | None = None
) -> tuple[float, dict[str, float]]:
    """Accuracy on labelled samples, and each population's mean rate in spikes per neuron and step.

    Of a read-out without spikes the rate is the share of values that are not zero. steps: of each sample only the
    first so many.
    """
    compute = compute or Compute(device="cpu")
    model.to(compute.place).eval()
    totals: dict[str, float] = {}
    counts = []
    for batch in torch.from_numpy(samples.spikes).split(EVALUATION_BATCH):
        with compute.cast():
            for name, spikes in model.trace(_time_first(batch[:, :steps].to(compute.place))):
                totals[name] = totals.get(name, 0.0) + float((spikes != 0).double().mean()) * len(batch)
        counts.append(spikes.float().sum(0).cpu())
    rates = {name: total / len(samples) for name, total in totals.items()}
    return accuracy(torch.cat(counts).numpy(), _labels(samples)), rates


def _labels(samples: Samples) -> np.ndarray:
    if samples.labels is None:
        raise InputError("training needs labels", where=samples.name)
    return samples.labels


def _time_first(spikes: Tensor) -> Tensor:
    return spikes.transpose(0, 1).float()
