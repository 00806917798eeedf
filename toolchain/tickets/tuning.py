"""Fine-tuning on the grid of a chip: the integers of a network are trained on, as integers.

In every forward pass the weights are rounded and cut to the grid, with the scale that quantisation found for their
layer, thresholds and biases are those of the registers, and decays have their 12 bits; backwards the rounding counts
as if it were not there (straight-through, Bengio et al., arXiv 1308.3432). So what is trained is the network that will
run, but for the rounding of the neurons' states. Weights that are pruned stay so, thresholds, biases and decays stay
what they are. Loss, optimizer, batches and data are those of the recipe, the learning rate a fraction of its peak.
The epoch that is best on the validation split is kept, which may be none; the test split is never seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from snntorch import surrogate
from torch import Tensor, nn
from torch.nn import functional

from snnc import models
from snnc.errors import UsageError
from snnc.models import data
from snnc.models.spiking import SLOPE
from snnc.network import Network
from snnc.ops import Conv2d
from snnc.quantization.grid import Gridded, grid, registers, values
from snnc.samples import Samples, accuracy
from snnc.tickets import Progress
from snnc.tickets.checkpoint import Checkpoint
from snnc.tickets.training import EVALUATION_BATCH, derive, one_thread, seeded

# Share of the recipe's peak learning rate from which the half cosine starts. On tickets of digits 0.05 hardly moves
# anything, 0.2 to 1 are alike.
RATE = 0.5
# Weights that a matrix may have, absent ones included.
LARGEST = 1 << 26


def tune(
    checkpoint: Checkpoint,
    network: Network,
    layers: Sequence[Gridded],
    *,
    epochs: int,
    seed: int,
    progress: Progress | None = None,
) -> tuple[list[list[np.ndarray]], dict[str, Any]]:
    """New mantissas of each layer's projections, and what happened, as plain data.

    network: the lowered one of the checkpoint. layers: all of its layers, as they were quantised. UsageError where a
    layer is too large to be trained here.
    """
    loaded = data.load(checkpoint.data)
    recipe = models.recipe(checkpoint.model)
    with one_thread(), seeded(derive(seed, 0)):
        module = _Integers(network, layers)
        log = [{"epoch": 0, **_judge(module, loaded.validation)}]
        best, kept = 0, module.mantissas()
        optimizer = torch.optim.Adam(module.parameters(), lr=RATE * recipe.lr)
        for epoch in range(1, epochs + 1):
            loss = _train(module, optimizer, loaded.train, recipe.batch, RATE * recipe.lr, epoch - 1, epochs, seed)
            log.append({"epoch": epoch, "loss": loss, **_judge(module, loaded.validation)})
            if _merit(log[-1]) > _merit(log[best]):
                best, kept = epoch, module.mantissas()
            if progress is not None:
                progress("finetune", epoch, epochs, f"validation {log[-1]['validation']:.1%}")
    return kept, {"epochs": epochs, "best": best, "data": loaded.spec, "log": log}


def _merit(entry: dict[str, Any]) -> tuple[float, float]:
    return entry["validation"], -entry["validation_loss"]


def _train(
    module: _Integers,
    optimizer: torch.optim.Optimizer,
    samples: Samples,
    batch: int,
    peak: float,
    epoch: int,
    epochs: int,
    seed: int,
) -> float:
    """One epoch; the mean loss."""
    spikes, labels = torch.from_numpy(samples.spikes), torch.from_numpy(_labels(samples))
    losses = []
    updates = -(-len(samples) // batch)
    with seeded(derive(seed, 1, epoch)):
        for update, chosen in enumerate(torch.randperm(len(samples)).split(batch)):
            for group in optimizer.param_groups:
                group["lr"] = peak * (1 + math.cos(math.pi * (epoch + update / updates) / epochs)) / 2
            loss = functional.cross_entropy(module(spikes[chosen]), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return float(np.mean(losses))


def _judge(module: _Integers, samples: Samples) -> dict[str, float]:
    with torch.no_grad():
        counts = torch.cat([module(part) for part in torch.from_numpy(samples.spikes).split(EVALUATION_BATCH)])
        loss = functional.cross_entropy(counts, torch.from_numpy(_labels(samples))).item()
    return {"validation": accuracy(counts.numpy(), _labels(samples)), "validation_loss": loss}


def _labels(samples: Samples) -> np.ndarray:
    if samples.labels is None:
        raise UsageError("tuning needs labels", where=samples.name)
    return samples.labels


class _Integers(nn.Module):
    """A lowered network with its weights on the grid, in volt; step by step, so that loops may be in it."""

    def __init__(self, network: Network, layers: Sequence[Gridded]) -> None:
        super().__init__()
        self.network = network
        self.parts = [_Layer(network, gridded) for gridded in layers]
        self.layers = nn.ModuleList(self.parts)  # registers their weights

    def forward(self, spikes: Tensor) -> Tensor:
        """Spike counts of the output, (samples, outputs), for spikes (samples, steps, *shape)."""
        (output,) = self.network.outputs
        feed = self.network.inputs[0].name
        past: dict[str, list[Tensor]] = {p.name: [] for p in self.network.populations}
        for layer in self.parts:
            layer.begin()
        for step in range(spikes.shape[1]):
            past[feed].append(spikes[:, step].flatten(1).float())
            for layer in self.parts:
                past[layer.name].append(layer(past, step))
        return torch.stack(past[output]).sum(0)

    def mantissas(self) -> list[list[np.ndarray]]:
        """Of each layer's projections, int16."""
        return [layer.mantissas() for layer in self.parts]


class _Round(torch.autograd.Function):
    """Rounded and cut forwards, untouched backwards."""

    @staticmethod
    def forward(ctx: Any, exact: Tensor, largest: float) -> Tensor:
        return exact.round().clamp(-largest, largest)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


class _Layer(nn.Module):
    """One layer: its projections, then its neurons, which reset to zero."""

    def __init__(self, network: Network, gridded: Gridded) -> None:
        super().__init__()
        layer, scale = gridded.layer, gridded.scale
        self.name, self.limits = layer.name, gridded.limits
        self.projections = [(p, network.lag(p)) for p in layer.incoming]
        self.shapes = [network[p.pre].shape for p in layer.incoming]
        self.weights = nn.ParameterList()
        self.factors = []
        for projection, mantissa in zip(layer.incoming, gridded.mantissas, strict=True):
            op = projection.op
            if not isinstance(op, Conv2d) and math.prod(op.weight.shape) > LARGEST:
                raise UsageError("this layer is too large to be tuned", where=f"layer '{layer.name}'")
            factor = scale.factor[layer.neurons(projection)]
            exact = values(projection)
            # A weight that was moved on the grid begins where it was moved to.
            start = np.where(grid(exact * factor, gridded.limits) == mantissa, exact, mantissa / factor)
            self.weights.append(nn.Parameter(torch.from_numpy(start).float()))
            self.factors.append(torch.from_numpy(factor).float())
        params = registers(layer, scale, gridded.limits, "cuba_fixed").params
        volt = 1 / scale.unit
        one = gridded.limits.one
        self.threshold = _tensor(params["threshold"].ravel() * volt)
        self.bias = _tensor(params["bias"].ravel() * volt)
        self.keep_u = _tensor(1 - params["u_decay"].ravel() / one)
        self.keep_v = _tensor(1 - params["v_decay"].ravel() / one)
        self.spike = surrogate.fast_sigmoid(slope=SLOPE)
        self.rows = [_rows(p) for p in layer.incoming]

    def begin(self) -> None:
        """Back to rest, with the weights as they are now."""
        self.current: Tensor | None = None
        self.acting = [self._acting(k) for k in range(len(self.projections))]

    def _acting(self, k: int) -> Tensor:
        """The weights of a projection as they act, in volt."""
        projection, _ = self.projections[k]
        weight = self._mantissa(k) / self.factors[k]
        op = projection.op
        if isinstance(op, Conv2d):
            return weight.reshape(op.weight.shape)
        rows, columns = self.rows[k]
        return torch.zeros(op.weight.shape).index_put((rows, columns), weight)

    def _mantissa(self, k: int) -> Tensor:
        exact = self.weights[k] * self.factors[k]
        found: Tensor = _Round.apply(exact, float(self.limits.weight))
        projection, _ = self.projections[k]
        if isinstance(projection.op, Conv2d):  # pruned taps are stored as zeros
            found = found * torch.from_numpy(values(projection) != 0)
        return found

    def forward(self, past: dict[str, list[Tensor]], step: int) -> Tensor:
        """Spikes of one step, from the spikes of all steps so far."""
        samples = next(len(p[0]) for p in past.values() if p)
        arrives = torch.zeros(samples, len(self.threshold))
        for k, (projection, lag) in enumerate(self.projections):
            if step >= lag:
                arrives = arrives + self._deliver(k, past[projection.pre][step - lag])
        if self.current is None:
            self.current = torch.zeros_like(arrives)
            self.membrane = torch.zeros_like(arrives)
        self.current = self.keep_u * self.current + arrives
        membrane = self.keep_v * self.membrane + self.current + self.bias
        # In thresholds, for which the slope of the surrogate is meant.
        spikes: Tensor = self.spike(membrane / self.threshold - 1)
        self.membrane = membrane * (1 - spikes.detach())
        return spikes

    def _deliver(self, k: int, spikes: Tensor) -> Tensor:
        op = self.projections[k][0].op
        if not isinstance(op, Conv2d):
            return functional.linear(spikes, self.acting[k])
        image = spikes.reshape(-1, *self.shapes[k])
        return functional.conv2d(image, self.acting[k], None, op.stride, op.padding, op.dilation, op.groups).flatten(1)

    def mantissas(self) -> list[np.ndarray]:
        """Of each projection, int16."""
        with torch.no_grad():
            return [self._mantissa(k).numpy().astype(np.int16) for k in range(len(self.projections))]


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(array, np.float32))


def _rows(projection: Any) -> tuple[Tensor, Tensor]:
    """Row and column of each weight of a matrix; of a kernel nothing."""
    op = projection.op
    if isinstance(op, Conv2d):
        return torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64)
    rows = np.repeat(np.arange(op.weight.shape[0]), np.diff(op.weight.indptr))
    return torch.from_numpy(rows), torch.from_numpy(op.weight.indices.astype(np.int64))
