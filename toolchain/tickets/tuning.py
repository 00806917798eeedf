"""Fine-tuning on the grid of a chip: the integers of a network are trained on, as integers.

In every forward pass the weights are rounded and cut to the grid, with the scale that quantisation found for their
layer, and neurons compute as the chip does, bit by bit; backwards the rounding counts as if it were not there
(straight-through, Bengio et al., arXiv 1308.3432). So what is trained is what will run. A factor on the scale of each
layer is trained, too, which thresholds and biases follow (as learned step sizes do, Esser et al., arXiv 1902.08153).
Weights that are pruned stay so, and all of a layer that is exact; decays stay what they are. Loss, optimizer,
learning rate, batches and data are those of the recipe (a tenth to a half of its rate leaves more of the loss, on
tickets of digits at 1 to 4 bits). Of the epochs that are right on the validation split as often as the integers were
at the start, the one with the smallest loss there is kept, which may be none; the test split is never seen.
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
from snnc.models.recipe import Recipe
from snnc.models.spiking import SLOPE
from snnc.network import Network, Projection
from snnc.ops import Conv2d, Shape, Weighted
from snnc.quantization.grid import Gridded, Placed, Scale, grid, registers, values
from snnc.samples import Samples, accuracy
from snnc.simulator.reference import DECAY, RANGE, UNIT
from snnc.tickets import Progress
from snnc.tickets.checkpoint import Checkpoint
from snnc.tickets.training import EVALUATION_BATCH, derive, one_thread, seeded

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
) -> tuple[list[Placed], dict[str, Any]]:
    """A new scale of each layer, new mantissas of its projections, and what happened, as plain data.

    network: the lowered one of the checkpoint. layers: all of its layers, as they were quantised. UsageError where a
    layer is too large to be trained here.
    """
    loaded = data.load(checkpoint.data)
    recipe = models.recipe(checkpoint.model)
    with one_thread():
        module = _Integers(network, layers)
        log = [{"epoch": 0, **_judge(module, loaded.validation)}]
        best, kept = 0, module.placed()
        optimizer = torch.optim.Adam(module.parameters(), lr=recipe.lr)
        for epoch in range(1, epochs + 1):
            loss = _train(module, optimizer, loaded.train, recipe, epoch - 1, epochs, seed)
            log.append({"epoch": epoch, "loss": loss, **_judge(module, loaded.validation)})
            # The loss says more than the accuracy, which a few samples of a small split decide.
            if (
                log[-1]["validation"] >= log[0]["validation"]
                and log[-1]["validation_loss"] < log[best]["validation_loss"]
            ):
                best, kept = epoch, module.placed()
            if progress is not None:
                progress("finetune", epoch, epochs, f"validation {log[-1]['validation']:.1%}")
    return kept, {"epochs": epochs, "best": best, "data": loaded.spec, "log": log}


def _train(
    module: _Integers,
    optimizer: torch.optim.Optimizer,
    samples: Samples,
    recipe: Recipe,
    epoch: int,
    epochs: int,
    seed: int,
) -> float:
    """One epoch; the mean loss."""
    spikes, labels = torch.from_numpy(samples.spikes), torch.from_numpy(_labels(samples))
    losses = []
    updates = -(-len(samples) // recipe.batch)
    with seeded(derive(seed, epoch)):
        for update, chosen in enumerate(torch.randperm(len(samples)).split(recipe.batch)):
            for group in optimizer.param_groups:
                group["lr"] = recipe.lr * (1 + math.cos(math.pi * (epoch + update / updates) / epochs)) / 2
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
    """A lowered network in the integers of :mod:`snnc.simulator.reference`; step by step, so that it may have loops."""

    def __init__(self, network: Network, layers: Sequence[Gridded]) -> None:
        super().__init__()
        self.network = network
        self.parts = [_Layer(network, gridded) for gridded in layers]
        self.layers = nn.ModuleList(self.parts)  # registers their weights

    def forward(self, spikes: Tensor) -> Tensor:
        """Spike counts of the output, of a read-out its summed membranes in volt; (samples, outputs).

        spikes: (samples, steps, *shape).
        """
        (output,) = self.network.outputs
        feed = self.network.inputs[0].name
        past: dict[str, list[Tensor]] = {p.name: [] for p in self.network.populations}
        for layer in self.parts:
            layer.begin(len(spikes))
        for step in range(spikes.shape[1]):
            past[feed].append(spikes[:, step].flatten(1).float())
            for layer in self.parts:
                past[layer.name].append(layer(past, step))
        return torch.stack(past[output]).sum(0)

    def placed(self) -> list[Placed]:
        """The scale of each layer and the mantissas (int16) of its projections."""
        return [layer.placed() for layer in self.parts]


class _Straight(torch.autograd.Function):
    """`whole` forwards, backwards the gradient of `exact`."""

    @staticmethod
    def forward(ctx: Any, exact: Tensor, whole: Tensor) -> Tensor:
        return whole.view_as(whole)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def _rounded(exact: Tensor, largest: float) -> Tensor:
    found: Tensor = _Straight.apply(exact, exact.detach().round().clamp(-largest, largest))
    return found


def _truncated(exact: Tensor) -> Tensor:
    found: Tensor = _Straight.apply(exact, exact.detach().trunc())
    return found


class _Layer(nn.Module):
    """One layer: its projections, then its neurons.

    Weights are trained in volt, so that the recipe's learning rate means what it did. All else is whole numbers: in
    float64 the states, in float32, which is fast, the sums of mantissas, exact up to 2**24 or 132,000 of 8 bits.
    """

    def __init__(self, network: Network, gridded: Gridded) -> None:
        super().__init__()
        self.gridded, self.name = gridded, gridded.layer.name
        layer, scale = gridded.layer, gridded.scale
        self.projections = [(p, network.lag(p), network[p.pre].shape) for p in layer.incoming]
        self.weights = nn.ParameterList()
        self.factors = []
        for projection, mantissa in zip(layer.incoming, gridded.integers.mantissas, strict=True):
            op = projection.op
            if not isinstance(op, Conv2d) and math.prod(op.weight.shape) > LARGEST:
                raise UsageError(
                    f"its matrix of {' x '.join(f'{n:,}' for n in op.weight.shape)} is too large to be trained here",
                    where=f"layer '{layer.name}'",
                    fix="leave out --finetune",
                )
            factor = scale.factor[layer.neurons(projection)]
            exact = values(projection)
            # A weight that was moved on the grid begins where it was moved to.
            start = np.where(grid(exact * factor, gridded.limits) == mantissa, exact, mantissa / factor)
            self.weights.append(nn.Parameter(torch.from_numpy(start), requires_grad=not gridded.exact))
            self.factors.append(torch.from_numpy(factor))
        # Logarithm of the factor on the scale. What is read out has no threshold, and is compared by itself.
        fixed = gridded.exact or layer.reads
        self.growth = nn.Parameter(torch.zeros((), dtype=torch.float64), requires_grad=not fixed)
        params = gridded.integers.population.params
        self.lift = 2.0 ** (scale.exponent + UNIT)  # of a mantissa
        self.volt = 1 / (float(scale.unit[0]) * 2.0**UNIT)  # of a read-out, which has one scale
        # What registers are rounded from.
        self.real = {"threshold": _tensor(layer.threshold * scale.unit), "bias": _tensor(layer.bias * scale.unit)}
        self.keep_u = _tensor(1 - params["u_decay"] / 2**DECAY)
        self.keep_v = _tensor(1 - params["v_decay"] / 2**DECAY)
        self.spike = surrogate.fast_sigmoid(slope=SLOPE)
        self.rows = [_rows(p) for p in layer.incoming]

    def begin(self, samples: int) -> None:
        """Back to rest, with weights and registers as they are now."""
        self.current = self.membrane = torch.zeros(samples, self.gridded.layer.size, dtype=torch.float64)
        params = registers(self.gridded.layer, self._scale(), self.gridded.limits, "cuba_fixed").params
        growth = self.growth.exp()
        self.registers = {
            name: _Straight.apply(self.real[name] * growth, _tensor(params[name])) * 2**UNIT
            for name in self.real
            if name in params
        }
        self.acting = [self._acting(k) for k in range(len(self.projections))]

    def _acting(self, k: int) -> Tensor:
        """The weights of a projection as they act, in mantissas."""
        op = self.projections[k][0].op
        if isinstance(op, Conv2d):
            return self._mantissa(k).reshape(op.weight.shape).float()
        return torch.zeros(op.weight.shape).index_put(self.rows[k], self._mantissa(k).float())

    def _mantissa(self, k: int) -> Tensor:
        found = _rounded(self.weights[k] * self.factors[k], self.gridded.limits.weight)
        projection = self.projections[k][0]
        if isinstance(projection.op, Conv2d):  # pruned taps are stored as zeros
            found = found * torch.from_numpy(values(projection) != 0)
        return found

    def forward(self, past: dict[str, list[Tensor]], step: int) -> Tensor:
        """What the layer puts out in a step, from what all did so far."""
        arrives = torch.zeros_like(self.membrane, dtype=torch.float32)
        for k, (projection, lag, shape) in enumerate(self.projections):
            if step >= lag:
                arrives = arrives + _deliver(projection.op, self.acting[k], past[projection.pre][step - lag], shape)
        current = _truncated(self.current * self.keep_u) + arrives.double() * self.lift
        if current.detach().abs().max() >= RANGE:  # it wraps, which is rare
            current = torch.where(current > RANGE, current - 2 * RANGE, current)
            current = torch.where(current <= -RANGE, current + 2 * RANGE, current)
        self.current = current
        membrane = _truncated(self.membrane * self.keep_v) + self.current + self.registers["bias"]
        self.membrane = membrane.clamp(1 - RANGE, RANGE - 1)
        if self.gridded.layer.reads:
            return self.membrane * self.volt
        # In thresholds, for which the slope of the surrogate is meant.
        spikes: Tensor = self.spike(self.membrane / self.registers["threshold"] - 1)
        self.membrane = self.membrane * (1 - spikes.detach())
        return spikes

    def placed(self) -> Placed:
        """The scale, and the mantissas (int16) of each projection."""
        with torch.no_grad():
            return self._scale(), [self._mantissa(k).numpy().astype(np.int16) for k in range(len(self.projections))]

    def _scale(self) -> Scale:
        scale = self.gridded.scale
        return Scale(scale.factor * math.exp(self.growth.item()), scale.exponent)


def _deliver(op: Weighted, weight: Tensor, spikes: Tensor, shape: Shape) -> Tensor:
    """What arrives from spikes (samples, neurons) of a population of that shape; the same form."""
    if not isinstance(op, Conv2d):
        return functional.linear(spikes, weight)
    image = spikes.reshape(-1, *op.images(shape)[0])
    return functional.conv2d(image, weight, None, op.stride, op.padding, op.dilation, op.groups).flatten(1)


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(array, np.float64).ravel())


def _rows(projection: Projection) -> tuple[Tensor, Tensor]:
    """Row and column of each weight of a matrix; of a kernel nothing."""
    op = projection.op
    if isinstance(op, Conv2d):
        return torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64)
    rows = np.repeat(np.arange(op.weight.shape[0]), np.diff(op.weight.indptr))
    return torch.from_numpy(rows), torch.from_numpy(op.weight.indices.astype(np.int64))
