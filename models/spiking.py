"""What all models share: how they are run over time; and the checks of their arguments.

In a feed-forward network each layer may take all time steps at once before the next
layer begins: the spikes are the same as step by step, the stateless layers are a single large
call, and batch normalisation sees one set of statistics for all steps, which is what allows it
to be folded into the weights.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import snntorch as snn
import torch
from torch import Tensor, nn

from snnc.errors import UsageError
from snnc.models import fused

NEURONS = ("leaky", "synaptic")
# Of the fast sigmoid that stands for the spike's derivative. Flat ones (5) let networks train from any
# sparse mask given time, steep ones (25) cost accuracy at 95 % sparsity; measured on digits.
SLOPE = 15
# Far above any model here; a damaged or hostile checkpoint must not build networks without end.
MAX_LAYERS = 64
MAX_WIDTH = 8


class SpikingNetwork(nn.Module, ABC):
    """A spiking network whose initial states are zero.

    shape: of the input without batch and time.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)

    def forward(self, spikes: Tensor) -> Tensor:
        """Output spikes, (steps, batch, classes), for spikes of shape (steps, batch, *shape)."""
        *_, (_, outputs) = self.trace(spikes)
        return outputs

    @abstractmethod
    def trace(self, spikes: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Each population's name with its spikes of all steps, (steps, batch, ...), in forward order.

        The last one is the outputs; of a read-out without neurons they are values, under the name "output".
        """

    def obstacles(self) -> list[tuple[str, str]]:
        """(layer, what it does) for all that no network of snnc can express, and no chip therefore be given."""
        return []


class Row(SpikingNetwork):
    """A feed-forward network whose layers stand in a row.

    layers: in order; the last one is a population of neurons, one per class, or a read-out without neurons.
    """

    def __init__(self, layers: Sequence[nn.Module], shape: Sequence[int]) -> None:
        super().__init__(shape)
        self.layers = nn.Sequential(*layers)

    def trace(self, spikes: Tensor) -> Iterator[tuple[str, Tensor]]:
        names = population_names(list(self.layers))
        x = spikes
        for index, layer in enumerate(self.layers):
            if isinstance(layer, (snn.Leaky, snn.Synaptic)):
                x = run(layer, x)
                yield names[index], x
            else:
                x = at_once(layer, x)
        if index not in names:
            yield "output", x


def at_once(layer: nn.Module, x: Tensor) -> Tensor:
    """What a layer without state makes of all steps and samples of `x`, (steps, batch, ...), in one call."""
    y: Tensor = layer(x.flatten(0, 1)).unflatten(0, x.shape[:2])
    return y


def run(neuron: snn.Leaky | snn.Synaptic, current: Tensor) -> Tensor:
    """Spikes of a population from rest, for input current of the same shape (steps, batch, ...).

    All steps are one operation (:mod:`snnc.models.fused`) where the neurons are those of :func:`population`;
    any others of the two classes are called step by step.
    """
    slope = _fusible(neuron)
    if slope is None:
        return step_by_step(neuron, current)
    beta, threshold = neuron.beta.clamp(0, 1), neuron.threshold
    if isinstance(neuron, snn.Synaptic):
        spikes = fused.synaptic(current, neuron.alpha.clamp(0, 1), beta, threshold, slope)
    else:
        spikes = fused.leaky(current, beta, threshold, slope)
    return spikes * neuron.graded_spikes_factor


def step_by_step(neuron: snn.Leaky | snn.Synaptic, current: Tensor, back: nn.Module | None = None) -> Tensor:
    """The same by calling the neurons once per step. back: a layer from their spikes to their current a step later."""
    state: tuple[Tensor, ...] = (torch.zeros_like(current[0]),) * (2 if isinstance(neuron, snn.Synaptic) else 1)
    spikes: list[Tensor] = []
    for step in current:
        if back is not None and spikes:
            step = step + back(spikes[-1].to(current.dtype))
        spike, *state = neuron(step, *state)
        spikes.append(spike)
    # The surrogate gradients of snntorch answer in float32, whatever they are asked in.
    return torch.stack(spikes).to(current.dtype)


def _fusible(neuron: snn.Leaky | snn.Synaptic) -> float | None:
    """The slope of the surrogate of neurons that :mod:`snnc.models.fused` computes, or None for others."""
    at_once = neuron.reset_delay if isinstance(neuron, snn.Leaky) else not neuron.reset_delay
    learns = any(True for _ in neuron.parameters(recurse=False))
    extras = neuron.init_hidden or neuron.output or neuron.inhibition or neuron.state_quant
    plain = neuron.reset_mechanism == "zero" and at_once and not learns and not extras
    return neuron.spike_grad.slope if plain and isinstance(neuron.spike_grad, fused.FastSigmoid) else None


def population(kind: str, beta: float, alpha: float) -> nn.Module:
    """A population that resets to zero; beta and alpha are what membrane and synapse keep per step.

    kind: "leaky" (LIF) or "synaptic" (CUBA LIF). The synaptic one resets in the step of its spike:
    with snntorch's default of a delayed reset it would also lose the input of the next step.
    """
    spike = fused.FastSigmoid(SLOPE)
    if kind == "leaky":
        return snn.Leaky(beta=beta, reset_mechanism="zero", spike_grad=spike)
    return snn.Synaptic(alpha=alpha, beta=beta, reset_mechanism="zero", reset_delay=False, spike_grad=spike)


def flatten(model: nn.Module, slope: float) -> None:
    """Give all neurons of a model another slope of the surrogate gradient; what they compute stays the same."""
    for neuron in model.modules():
        if isinstance(neuron, snn.SpikingNeuron):
            neuron.spike_grad = fused.FastSigmoid(slope)


def population_names(layers: Sequence[nn.Module]) -> dict[int, str]:
    """Index of each population of neurons in `layers` -> its name: fc1, fc2, conv1, pool1 ...

    The word is that of the last weighted layer in front, or of the pooling where there is none.
    """
    names: dict[int, str] = {}
    counts: dict[str, int] = {}
    kind = "neurons"
    for index, layer in enumerate(layers):
        if isinstance(layer, nn.Linear):
            kind = "fc"
        elif isinstance(layer, (nn.Conv1d, nn.Conv2d)):
            kind = "conv"
        elif isinstance(layer, nn.AvgPool2d) and kind == "neurons":
            kind = "pool"
        elif isinstance(layer, snn.SpikingNeuron):
            counts[kind] = counts.get(kind, 0) + 1
            names[index] = f"{kind}{counts[kind]}"
            kind = "neurons"
    return names


def check_whole(name: str, values: Any, ranks: range) -> tuple[int, ...]:
    """`values` as a tuple of positive whole numbers, as many as `ranks` allows; UsageError if it is not that."""
    good = isinstance(values, (list, tuple)) and len(values) in ranks
    if not good or not all(type(v) is int and v > 0 for v in values):
        amount = str(ranks[0]) if len(ranks) == 1 else f"{ranks[0]} to {ranks[-1]}"
        raise UsageError(f"{name} must be a list of {amount} positive whole numbers, got {values!r}")
    return tuple(values)


def check_count(name: str, value: Any) -> int:
    """`value`, or UsageError if it is not a positive whole number."""
    if type(value) is not int or value < 1:
        raise UsageError(f"{name} must be a positive whole number, got {value!r}")
    return value


def scaled(size: int, width: Any) -> int:
    """`size` times the factor `width`, at least 1; UsageError if that is no number above 0 and up to MAX_WIDTH."""
    if type(width) not in (int, float) or not 0 < width <= MAX_WIDTH:  # NaN is not
        raise UsageError(f"width must be a factor above 0 and up to {MAX_WIDTH}, got {width!r}")
    return max(1, round(size * width))


def check_neuron(kind: Any, beta: Any, alpha: Any) -> None:
    """Raise UsageError unless the arguments describe a population for :func:`population`."""
    if kind not in NEURONS:
        raise UsageError(f"neuron must be one of {', '.join(NEURONS)}; got {kind!r}")
    for name, value in (("beta", beta), ("alpha", alpha)):
        if type(value) not in (int, float) or not 0 <= value <= 1:  # NaN is not
            raise UsageError(f"{name} is what the neuron keeps from step to step, a number in 0..1; got {value!r}")
