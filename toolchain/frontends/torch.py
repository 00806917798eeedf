"""From torch to a Network: checkpoints of snnc, and modules made of snntorch neurons.

The walk is ours: scalars are broadcast to the shape of the population, batch normalisation is
folded into the layer before it, dropout disappears, and whatever a chip could not be told is
refused by name instead of lost. No file is ever executed (snnc.tickets.archive).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import snntorch as snn
from torch import Tensor, nn

from snnc.errors import InputError
from snnc.models.spiking import population_names
from snnc.network import Network, Population, Projection, Semantics
from snnc.ops import Conv2d, Flatten, Linear, Op, Pair, Pool2d, Shape, canonical, output_shape
from snnc.tickets.checkpoint import Checkpoint, read

SUPPORTED = "Linear, Conv2d, BatchNorm1d, BatchNorm2d, Dropout, AvgPool2d, Flatten, Leaky, Synaptic"


def read_checkpoint(path: Path) -> Checkpoint:
    """A checkpoint of snnc; InputError naming file and field for anything else, see snnc.tickets.checkpoint."""
    return read(path)


def network(checkpoint: Checkpoint, *, parent: bool = False) -> Network:
    """The network of a checkpoint, or the dense one that a ticket was found in (InputError if there is none)."""
    module = checkpoint.module(parent=parent)
    return from_module(module, dt=checkpoint.dt, bits=checkpoint.bits, name=checkpoint.model)


def from_module(
    module: nn.Module, *, dt: float, shape: Sequence[int] | None = None, bits: int | None = None, name: str = "network"
) -> Network:
    """The network that `module` computes in evaluation mode.

    module: an nn.Sequential, or a module that holds one as ``layers``; its layers run in a row and end in
    neurons. shape: of the input without batch and time; None: ``module.shape``. dt: seconds per step.
    bits: signed width the weights are meant for.
    Leaky(beta) becomes lif neurons of gain 1 (beta = 1: if), Synaptic(alpha, beta) cuba_lif. Weights keep their
    dtype unless batch normalisation is folded into them, which is computed, and kept, in float64.
    Raises InputError naming the layer for what is not supported.
    """
    layers = list(_layers(_row(module)))
    shape = getattr(module, "shape", None) if shape is None else shape
    if shape is None:
        raise InputError("the shape of the input is not known", fix="give from_module(..., shape=...)")
    names = population_names([layer for _, layer in layers])
    populations = [Population("input", tuple(shape), "input")]
    projections = []
    ops: tuple[Op, ...] = ()
    for index, (path, layer) in enumerate(layers):
        where = f"{path} ({type(layer).__name__})"
        before = output_shape(ops, populations[-1].shape)
        if index not in names:
            ops = _append(ops, before, layer, where)
            continue
        population = _population(names[index], layer, before, dt, where)
        link = f"{populations[-1].name}-{population.name}"
        projections.append(Projection(link, populations[-1].name, population.name, ops, bits=bits))
        populations.append(population)
        ops = ()
    if ops or not projections:
        raise InputError("the network must end in a layer of neurons", fix="add a Leaky or Synaptic layer")
    return Network(tuple(populations), tuple(projections), (populations[-1].name,), dt, name)


def _row(module: nn.Module) -> nn.Sequential:
    row = module if isinstance(module, nn.Sequential) else getattr(module, "layers", None)
    if not isinstance(row, nn.Sequential):
        raise InputError(
            f"{type(module).__name__} is neither an nn.Sequential nor does it hold one named 'layers'",
            fix="put the layers into an nn.Sequential in the order in which they run",
        )
    return row


def _layers(row: nn.Sequential, path: str = "layers") -> Iterator[tuple[str, nn.Module]]:
    """Each layer with its path, in order; nested Sequentials are opened."""
    for index, layer in enumerate(row):
        if isinstance(layer, nn.Sequential):
            yield from _layers(layer, f"{path}.{index}")
        else:
            yield f"{path}.{index}", layer


def _append(ops: tuple[Op, ...], shape: Shape, layer: nn.Module, where: str) -> tuple[Op, ...]:
    """The chain `ops`, whose output has `shape`, with one more stateless layer of torch."""
    if isinstance(layer, (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Identity)):
        return ops
    if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
        if not ops or not isinstance(ops[-1], Linear | Conv2d):
            raise InputError("batch normalisation must follow a linear or convolutional layer", where=where)
        return (*ops[:-1], _folded(ops[-1], layer, where))
    op = _op(layer, shape, where)
    try:
        op.output_shape(shape)
    except InputError as error:
        raise InputError(error.message, where=where) from None
    return (*ops, op)


def _op(layer: nn.Module, shape: Shape, where: str) -> Op:
    if isinstance(layer, nn.Linear):
        if len(shape) != 1:
            raise InputError(f"it receives the shape {shape}", where=where, fix="put nn.Flatten() in front of it")
        return Linear(canonical(_array(layer.weight)), _bias(layer.bias))
    if isinstance(layer, nn.Conv2d):
        return _convolution(layer, where)
    if isinstance(layer, nn.AvgPool2d):
        kernel, stride, padding = _pair(layer.kernel_size), _pair(layer.stride), _pair(layer.padding)
        if layer.ceil_mode or layer.divisor_override or (not layer.count_include_pad and padding != (0, 0)):
            raise InputError("only plain average pooling is supported", where=where, fix="leave the options at default")
        return Pool2d("average", kernel, stride, padding)
    if isinstance(layer, nn.Flatten):
        # Torch counts the batch as axis 0, which a network does not have.
        start, end = (axis % (len(shape) + 1) - 1 for axis in (layer.start_dim, layer.end_dim))
        if not 0 <= start <= end:
            raise InputError("it would flatten the batch", where=where, fix="use start_dim=1 or more")
        return Flatten(start, end)
    raise InputError(f"layers of type {type(layer).__name__} are not supported", where=where, fix=f"use {SUPPORTED}")


def _convolution(layer: nn.Conv2d, where: str) -> Conv2d:
    if layer.padding_mode != "zeros":
        raise InputError(f"padding by '{layer.padding_mode}' is not supported", where=where, fix="pad with zeros")
    weight, stride, dilation = _array(layer.weight).copy(), _pair(layer.stride), _pair(layer.dilation)
    if layer.padding == "same":
        spans = [dilation[a] * (weight.shape[2 + a] - 1) for a in (0, 1)]
        odd = [span % 2 for span in spans]
        if any(odd[a] and dilation[a] > 1 for a in (0, 1)):
            raise InputError(
                "padding 'same' of an even, dilated kernel is uneven", where=where, fix="use an odd kernel"
            )
        # Torch pads an odd remainder at the end. A tap of zero in front makes that symmetric.
        weight = np.pad(weight, ((0, 0), (0, 0), (odd[0], 0), (odd[1], 0)))
        padding = ((spans[0] + odd[0]) // 2, (spans[1] + odd[1]) // 2)
    else:
        padding = (0, 0) if layer.padding == "valid" else _pair(layer.padding)
    return Conv2d(weight, _bias(layer.bias), stride, padding, dilation, layer.groups)


def _folded(op: Linear | Conv2d, norm: nn.BatchNorm1d | nn.BatchNorm2d, where: str) -> Linear | Conv2d:
    """`op` followed by `norm` in evaluation mode: y = gamma (W x + b - mean) / sqrt(var + eps) + beta."""
    if norm.running_mean is None or norm.running_var is None:
        raise InputError("it keeps no running statistics to fold", where=where, fix="use track_running_stats=True")
    mean, var = (_array(t).astype(np.float64) for t in (norm.running_mean, norm.running_var))
    if len(mean) != op.weight.shape[0]:
        raise InputError(f"it normalises {len(mean)} channels of {op.weight.shape[0]}", where=where)
    scale = (1.0 if norm.weight is None else _array(norm.weight).astype(np.float64)) / np.sqrt(var + norm.eps)
    shift = 0.0 if norm.bias is None else _array(norm.bias).astype(np.float64)
    bias = (0.0 if op.bias is None else op.bias.astype(np.float64)) - mean
    if isinstance(op, Conv2d):
        return replace(op, weight=op.weight * scale[:, None, None, None], bias=bias * scale + shift)
    weight = op.weight.astype(np.float64)
    weight.data *= np.repeat(scale, np.diff(weight.indptr))
    return Linear(canonical(weight), bias * scale + shift)


def _population(name: str, neuron: Any, shape: Shape, dt: float, where: str) -> Population:
    """The neurons of a Leaky or Synaptic layer; the equations of both are in snntorch's documentation."""
    _check_neuron(neuron, where)
    beta = _per_neuron(neuron.beta.clamp(0, 1), shape, where, "beta")
    threshold = _per_neuron(neuron.threshold, shape, where, "threshold")
    if np.any(threshold < 0):
        raise InputError(f"the threshold {threshold.min():g} is negative", where=where)
    zero, one = np.zeros(shape), np.ones(shape)
    common = {"v_threshold": threshold, "v_reset": zero}
    if np.any(beta == 1) and not np.all(beta == 1):
        raise InputError("beta is 1 for some neurons only", where=where, fix="put them into a layer of their own")
    semantics = _semantics(neuron, bool(np.all(beta == 1)), where)
    if isinstance(neuron, snn.Synaptic):
        alpha = _per_neuron(neuron.alpha.clamp(0, 1), shape, where, "alpha")
        for label, value in (("alpha", alpha), ("beta", beta)):
            if np.any(value == 1):
                raise InputError(f"{label} = 1 never decays: its time constant is infinite", where=where)
        tau_syn, tau_mem = dt / (1 - alpha), dt / (1 - beta)
        params = {"tau_syn": tau_syn, "tau_mem": tau_mem, "r": tau_mem / dt, "v_leak": zero, "w_in": tau_syn / dt}
        return Population(name, shape, "cuba_lif", params | common, semantics)
    if np.all(beta == 1):
        return Population(name, shape, "if", {"r": one} | common, semantics)
    tau = dt / (1 - beta)
    return Population(name, shape, "lif", {"tau": tau, "r": tau / dt, "v_leak": zero} | common, semantics)


def _semantics(neuron: Any, integrates: bool, where: str) -> Semantics:
    """How the neuron resets, if that is one of ours exactly. integrates: beta is 1."""
    delayed = bool(neuron.reset_delay)
    if neuron.reset_mechanism == "zero":
        if isinstance(neuron, snn.Synaptic) and delayed:
            # snntorch then loses the input of the step after a spike, which no chip does.
            raise InputError("its reset is delayed by a step", where=where, fix="train with reset_delay=False")
        return Semantics("zero")
    if neuron.reset_mechanism == "subtract" and integrates and delayed:
        return Semantics("subtract")
    reason = {
        # snntorch subtracts after the leak of the next step (reset_delay), or tests the spike after subtracting.
        "subtract": "snntorch subtracts the threshold at another moment than NIR or a chip does, unless beta is 1",
        "none": "neurons without reset are not supported",
    }[neuron.reset_mechanism]
    raise InputError(reason, where=where, fix='train with reset_mechanism="zero"')


def _check_neuron(neuron: Any, where: str) -> None:
    if int(neuron.reset_mechanism_val) != neuron.reset_dict[neuron.reset_mechanism]:
        raise InputError("its state dict is of a neuron with another reset mechanism", where=where)
    if neuron.inhibition or neuron.state_quant or not bool((neuron.graded_spikes_factor == 1).all()):
        raise InputError(
            "inhibition, state_quant and graded spikes are not supported", where=where, fix="train without them"
        )


def _per_neuron(value: Tensor, shape: Shape, where: str, name: str) -> np.ndarray:
    array = _array(value).astype(np.float64)
    if not np.all(np.isfinite(array)):
        raise InputError(f"{name} holds NaN or infinity", where=where)
    try:
        return np.broadcast_to(array, shape).copy()
    except ValueError:
        raise InputError(f"{name} has shape {array.shape}, the layer {shape}", where=where) from None


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()


def _bias(bias: Tensor | None) -> np.ndarray | None:
    return None if bias is None else _array(bias).copy()


def _pair(value: Any) -> Pair:
    both: Sequence[int] = (value, value) if isinstance(value, int) else value
    return int(both[0]), int(both[1])
