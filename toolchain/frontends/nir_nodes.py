"""Every kind of NIR node, in both directions.

To add a kind of operation, write its reader, put it into :data:`NODES` and give
:func:`write_op` a case; a neuron model needs one line in :data:`NEURON_TYPES`.
Equations and field names are those of nir 1.0 (https://neuroir.org/docs/primitives.html).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import nir
import numpy as np
from scipy import sparse

from snnc.errors import InputError
from snnc.frontends.graph import Input, Neuron, Output, Part, Wire
from snnc.frontends.nir_file import Node
from snnc.frontends.notes import Notes
from snnc.network import NEURONS, Population
from snnc.ops import Conv1d, Conv2d, Delay, Flatten, Linear, Op, Pair, Pool2d, Scale, Shape, canonical, same_padding

# NIR's name of a neuron model -> ours.
NEURON_TYPES = {
    "Threshold": "threshold",
    "I": "i",
    "LI": "li",
    "CubaLI": "cuba_li",
    "IF": "if",
    "LIF": "lif",
    "CubaLIF": "cuba_lif",
}
# Fields that files of older schemas lack, and what then holds.
DEFAULTS = {"v_reset": 0.0, "w_in": 1.0}
# Steps of a delay beyond this are damage, and would cost memory.
LONGEST = 1 << 20


@dataclass(frozen=True)
class Context:
    """What a node is read in: the step in seconds, and where assumptions go."""

    dt: float
    notes: Notes


@dataclass(frozen=True)
class NodeType:
    """How one kind of node is read: required and optional fields, and our hints on it."""

    read: Callable[[Node, Context], Part]
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    hints: tuple[str, ...] = field(default=())


def read_node(node: Node, context: Context) -> Part:
    """What a node means, checked as far as possible without its neighbours."""
    if node.type not in NODES:
        raise node.error(f"unknown node type '{node.type}'", fix=f"known are {', '.join(NODES)} and NIRGraph")
    kind = NODES[node.type]
    for name in kind.required:
        if name not in node.fields:
            raise node.error(f"the field '{name}' of this {node.type} is missing", name)
    for name in node.fields:
        if name not in kind.required + kind.optional:
            raise node.error(f"a {node.type} has no field '{name}'", name)
    for name in node.hints:
        if name not in kind.hints:
            raise node.error(f"unknown metadata '{name}' on a {node.type}", "metadata")
    return kind.read(node, context)


def check_declared(node: Node, shape: Shape) -> None:
    """InputError where a node states an input shape other than what it receives."""
    for name, received in (("input_shape", shape[1:]), ("input_type", shape)):
        if name in node.fields and node.integers(name, 1) != received:
            raise node.error(f"is {node.integers(name, 1)}, but the node receives values of shape {shape}", name)


def write_op(op: Op, shape: Shape, dt: float) -> nir.NIRNode:
    """The NIR node of `op` on values of `shape`; a convolution without bias gets one of zeros."""
    match op:
        case Linear(_, bias):
            weight = _dense(op)
            if bias is None:
                return nir.Linear(weight)
            return nir.Affine(weight, bias.reshape(weight.shape[:-1]))
        case Conv1d(weight, bias):
            bias = np.zeros(len(weight), weight.dtype) if bias is None else bias
            return nir.Conv1d(shape[1], weight, op.stride, op.padding, op.dilation, op.groups, bias)
        case Conv2d(weight, bias):
            bias = np.zeros(len(weight), weight.dtype) if bias is None else bias
            return nir.Conv2d(shape[1:], weight, op.stride, op.padding, op.dilation, op.groups, bias)
        case Pool2d(kind, kernel, stride, padding):
            pool = {"sum": nir.SumPool2d, "average": nir.AvgPool2d}[kind]
            return pool(np.array(kernel), np.array(stride), np.array(padding))
        case Flatten(start, end):
            return nir.Flatten({"input": np.array(shape)}, start, end)
        case Scale(scale):
            return nir.Scale(scale)
        case Delay(steps):
            return nir.Delay(steps * dt)


def write_neuron(population: Population) -> nir.NIRNode:
    """The NIR node of a population, parameters in float64; InputError for models that NIR lacks.

    A sum is written as a scale of ones.
    """
    if population.neuron == "input":
        return nir.Input(np.array(population.shape))
    if population.neuron == "sum":
        return nir.Scale(np.ones(population.shape))
    for name, neuron in NEURON_TYPES.items():
        if neuron == population.neuron:
            return getattr(nir, name)(**{k: np.asarray(v, float) for k, v in population.params.items()})
    raise InputError(
        f"NIR has no neuron '{population.neuron}'",
        where=f"layer '{population.name}'",
        fix="write the float network, before it is quantised",
    )


def op_hints(op: Op) -> dict[str, Any]:
    """What NIR cannot say about an operation: which weights are absent, and that there is no bias."""
    if not isinstance(op, Linear | Conv1d | Conv2d):
        return {}
    hints: dict[str, Any] = {"bias": False} if not isinstance(op, Linear) and op.bias is None else {}
    weight = _dense(op) if isinstance(op, Linear) else op.weight
    if not np.all(weight):
        hints |= {"mask": np.packbits(weight != 0), "mask_shape": np.array(weight.shape)}
    return hints


def _dense(op: Linear) -> np.ndarray:
    """The weight as NIR stores it: (*lead, outputs, inputs), zeros where there is no synapse."""
    places = math.prod(op.lead)
    rows, columns = op.weight.shape[0] // places, op.weight.shape[1] // places
    weight = np.zeros((places, rows, columns), op.weight.dtype)
    entries = op.weight.tocoo()
    weight[entries.row // rows, entries.row % rows, entries.col % columns] = entries.data
    return weight.reshape(*op.lead, rows, columns)


def _neuron(node: Node, context: Context) -> Neuron:
    neuron = NEURON_TYPES[node.type]
    params: dict[str, np.ndarray] = {}
    for name in NEURONS[neuron]:
        if name not in node.fields:
            context.notes.assume(
                f"{name} is missing, as in older schemas, and taken as {DEFAULTS[name]:g}",
                node.where,
                fix="export the network with a recent nir",
            )
        value = node.array(name) if name in node.fields else np.array(DEFAULTS[name])
        if name.startswith("tau") and not np.all(value > 0):
            raise node.error(f"must be positive (seconds), got {value.min():g}", name)
        params[name] = value.astype(float)
    shapes = {v.shape: k for k, v in params.items() if v.ndim}
    if len(shapes) > 1:
        raise node.error("its parameters differ in shape: " + ", ".join(f"{k} {s}" for s, k in shapes.items()))
    if not shapes:
        context.notes.assume(
            "the parameters have no shape and are taken for all neurons alike",
            node.where,
            fix="give every parameter the shape of the layer",
        )
    return Neuron(neuron, params)


def _weight(node: Node, least: int, most: int) -> np.ndarray:
    """The weights, which must be zero wherever the mask in our metadata says that no synapse is."""
    weight = node.array("weight")
    if not least <= weight.ndim <= most or not weight.size:
        raise node.error(f"must have {least} axes, got shape {weight.shape}", "weight")
    if "mask" not in node.hints:
        return weight
    mask, shape = node.hints["mask"], node.hints.get("mask_shape")
    if not isinstance(shape, np.ndarray) or not np.array_equal(shape, weight.shape):
        raise node.error(f"the mask is not of the weight's shape {weight.shape}", "metadata mask_shape")
    if not isinstance(mask, np.ndarray) or mask.dtype != np.uint8 or mask.shape != (math.ceil(weight.size / 8),):
        raise node.error("the mask is not one bit per weight", "metadata mask")
    outside = weight.ravel()[~np.unpackbits(mask, count=weight.size).astype(bool)]
    if np.any(outside):
        raise node.error(
            f"{np.count_nonzero(outside):,} weights are not zero outside the mask",
            "weight",
            fix="apply the mask to the weights, or remove it from the metadata",
        )
    return weight


def _bias(node: Node, shape: Shape, context: Context) -> np.ndarray | None:
    if "bias" not in node.fields:
        context.notes.assume("there is no bias in the file, and none is taken", node.where, fix="write a bias of zeros")
        return None
    bias = node.array("bias")
    if bias.shape != shape:
        raise node.error(f"must have shape {shape} as the weight has so many outputs, got {bias.shape}", "bias")
    if "bias" not in node.hints:
        return bias
    if np.any(bias):
        raise node.error("the metadata says that there is no bias, but it is not zero", "bias")
    return None


def _linear(node: Node, context: Context) -> Linear:
    weight = _weight(node, 2, 8)
    bias = _bias(node, weight.shape[:-1], context) if node.type == "Affine" else None
    lead = weight.shape[:-2]
    if not lead:
        return Linear(canonical(weight), bias)
    blocks = sparse.block_diag(list(weight.reshape(-1, *weight.shape[-2:])), format="csr")
    return Linear(canonical(blocks), None if bias is None else bias.ravel(), lead)


def _conv1d(node: Node, context: Context) -> Conv1d:
    weight = _weight(node, 3, 3)
    stride, dilation, groups = node.integer("stride", 1), node.integer("dilation", 1), _groups(node, weight)
    if isinstance(node.fields["padding"], str):
        weight, (padding,), (dilation,) = _named_padding(node, weight, (stride,), (dilation,))
    else:
        padding = node.integer("padding", 0)
    return Conv1d(weight, _bias(node, weight.shape[:1], context), stride, padding, dilation, groups)


def _conv2d(node: Node, context: Context) -> Conv2d:
    weight = _weight(node, 4, 4)
    stride, dilation, groups = node.pair("stride", 1), node.pair("dilation", 1), _groups(node, weight)
    padding: Pair
    if isinstance(node.fields["padding"], str):
        weight, (rows, columns), apart = _named_padding(node, weight, stride, dilation)
        padding, dilation = (rows, columns), (apart[0], apart[1])
    else:
        padding = node.pair("padding", 0)
    return Conv2d(weight, _bias(node, weight.shape[:1], context), stride, padding, dilation, groups)


def _groups(node: Node, weight: np.ndarray) -> int:
    groups = node.integer("groups", 1)
    if len(weight) % groups:
        raise node.error(f"{groups} groups do not divide {len(weight)} output channels", "groups")
    return groups


def _named_padding(
    node: Node, weight: np.ndarray, stride: tuple[int, ...], dilation: tuple[int, ...]
) -> tuple[np.ndarray, list[int], list[int]]:
    """Weight, padding and dilation per axis."""
    value = node.fields["padding"]
    if value == "valid":
        return weight, [0] * len(stride), list(dilation)
    if value != "same":
        raise node.error(f"unknown padding '{value[:40]}'", "padding", fix="give the padding as numbers")
    try:
        return same_padding(weight, stride, dilation)
    except InputError as error:
        raise node.error(error.message, "padding", fix=error.fix) from None


def _pool(kind: str) -> Callable[[Node, Context], Pool2d]:
    def read(node: Node, context: Context) -> Pool2d:
        return Pool2d(kind, node.pair("kernel_size", 1), node.pair("stride", 1), node.pair("padding", 0))

    return read


def _flatten(node: Node, context: Context) -> Flatten:
    return Flatten(node.integer("start_dim", -32), node.integer("end_dim", -32))


def _scale(node: Node, context: Context) -> Scale | Neuron:
    scale = node.array("scale")
    if "sum" not in node.hints:
        return Scale(scale)
    if not np.all(scale == 1):
        raise node.error("the metadata say that it only adds, but it scales", "scale")
    return Neuron("sum", {})


def _delay(node: Node, context: Context) -> Delay:
    seconds = node.array("delay").astype(float)
    if not np.all(seconds >= 0):
        raise node.error(f"must not be negative (seconds), got {seconds.min():g}", "delay")
    steps = seconds / context.dt
    if not np.all(steps <= LONGEST):
        raise node.error(f"spans up to {steps.max():g} steps of {context.dt:g} s", "delay", fix="check --dt")
    whole = np.rint(steps)
    # float32 keeps seven digits.
    if not np.allclose(steps, whole, rtol=1e-6, atol=1e-6):
        context.notes.assume(
            f"delays are no whole steps of {context.dt:g} s and are rounded",
            node.where,
            fix="choose a step that divides them: --dt",
        )
    return Delay(whole.astype(np.int64))


def _ends(kind: type[Input] | type[Output]) -> Callable[[Node, Context], Part]:
    def read(node: Node, context: Context) -> Part:
        shape = node.integers("shape", 1) if "shape" in node.fields else None
        if node.inner:
            return Wire(shape)
        if shape is None and kind is Input:
            raise node.error("the field 'shape' of this Input is missing", "shape")
        return kind(shape)  # type: ignore[arg-type]

    return read


_WEIGHT_HINTS = ("mask", "mask_shape")
_POOL_FIELDS = ("kernel_size", "stride", "padding")
_CONV_FIELDS = ("weight", "stride", "padding", "dilation", "groups")
_NEURON_HINTS = ("reset", "compare", "when", "spikes", "floor", "start", "decay", "gain", "output", "arithmetic")

NODES: dict[str, NodeType] = {
    "Input": NodeType(_ends(Input), (), ("shape",)),
    "Output": NodeType(_ends(Output), (), ("shape",)),
    "Affine": NodeType(_linear, ("weight",), ("bias",), _WEIGHT_HINTS),
    "Linear": NodeType(_linear, ("weight",), (), _WEIGHT_HINTS),
    "Scale": NodeType(_scale, ("scale",), (), ("sum",)),
    "Conv1d": NodeType(_conv1d, _CONV_FIELDS, ("bias", "input_shape"), (*_WEIGHT_HINTS, "bias")),
    "Conv2d": NodeType(_conv2d, _CONV_FIELDS, ("bias", "input_shape"), (*_WEIGHT_HINTS, "bias")),
    "SumPool2d": NodeType(_pool("sum"), _POOL_FIELDS),
    "AvgPool2d": NodeType(_pool("average"), _POOL_FIELDS),
    "Flatten": NodeType(_flatten, ("start_dim", "end_dim"), ("input_type",), ("inserted",)),
    "Delay": NodeType(_delay, ("delay",)),
    **{
        name: NodeType(
            _neuron,
            tuple(p for p in NEURONS[neuron] if p not in DEFAULTS),
            tuple(p for p in NEURONS[neuron] if p in DEFAULTS),
            _NEURON_HINTS,
        )
        for name, neuron in NEURON_TYPES.items()
    },
}
