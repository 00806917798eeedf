"""Every kind of NIR node that snnc knows, in both directions.

To add a kind of operation, write its reader, put it into :data:`NODES` and give
:func:`write_op` a case; a neuron model needs one line in :data:`NEURON_TYPES`.
Equations and field names are those of nir 1.0 (https://neuroir.org/docs/primitives.html).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import nir
import numpy as np
from scipy import sparse

from snnc.errors import InputError
from snnc.frontends.nir_file import Node
from snnc.network import NEURONS, Population
from snnc.ops import Conv2d, Flatten, Linear, Op, Pair, Pool2d, Shape, canonical

# NIR's name of a neuron model -> ours.
NEURON_TYPES = {"IF": "if", "LIF": "lif", "CubaLIF": "cuba_lif"}
# Fields that NIR lets a file omit, and what then holds.
DEFAULTS = {"v_reset": 0.0, "w_in": 1.0}
# Kinds that NIR has and snnc does not take yet.
UNSUPPORTED = ("Conv1d", "CubaLI", "Delay", "I", "LI", "NIRGraph", "Threshold")


@dataclass(frozen=True)
class Input:
    """Spikes come in here."""

    shape: Shape


@dataclass(frozen=True)
class Output:
    """Spikes are read out here; shape None where the file leaves it open."""

    shape: Shape | None


@dataclass(frozen=True, eq=False)
class Neuron:
    """neuron: a key of NEURONS. params: float64, all of one shape, or 0-d for all neurons alike."""

    neuron: str
    params: Mapping[str, np.ndarray]


Part = Input | Output | Neuron | Op


@dataclass(frozen=True)
class NodeType:
    """How one kind of node is read: required and optional fields, and our hints on it."""

    read: Callable[[Node], Part]
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    hints: tuple[str, ...] = field(default=())


def read_node(node: Node) -> Part:
    """What a node means, checked as far as possible without its neighbours."""
    if node.type not in NODES:
        known = node.type in UNSUPPORTED
        raise node.error(
            f"nodes of type '{node.type}' are not supported yet" if known else f"unknown node type '{node.type}'",
            fix=f"supported are {', '.join(NODES)}",
        )
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
    return kind.read(node)


def fit(op: Op, shape: Shape) -> Shape:
    """Shape after `op` on values of `shape` by the rules of NIR, or InputError.

    Stricter than :func:`snnc.ops.output_shape`: NIR flattens only where a Flatten says so.
    """
    if isinstance(op, Linear) and len(shape) != 1:
        raise InputError(f"a linear node takes a vector but receives shape {shape}", fix="put a Flatten before it")
    if isinstance(op, Flatten):
        rank = len(shape)
        if not (-rank <= op.start < rank and -rank <= op.end < rank) or op.start % rank > op.end % rank:
            raise InputError(f"axes {op.start} to {op.end} do not exist in shape {shape}")
    if isinstance(op, Pool2d) and len(shape) == 3:
        for size, kernel, padding in zip(shape[1:], op.kernel, op.padding, strict=True):
            if padding > min(kernel // 2, size) or kernel > size + 2 * padding:
                raise InputError(f"a window of {kernel} with padding {padding} does not suit {size} rows or columns")
    return op.output_shape(shape)


def check_declared(node: Node, shape: Shape) -> None:
    """InputError where a node states an input shape other than what it receives."""
    for name, received in (("input_shape", shape[1:]), ("input_type", shape)):
        if name in node.fields and node.integers(name, 1) != received:
            raise node.error(f"is {node.integers(name, 1)}, but the node receives values of shape {shape}", name)


def check_neuron(population: Population) -> None:
    """InputError where a reset cannot be what it is called, or leaves the membrane above the threshold."""
    if population.neuron == "input":
        return
    where = f"layer '{population.name}'"
    v_reset, threshold = population.params["v_reset"], population.params["v_threshold"]
    reset = population.semantics.reset
    if reset == "zero" and np.any(v_reset):
        raise InputError("reset 'zero' contradicts its v_reset", where=where, fix="use reset 'value'")
    if not np.all(threshold > (v_reset if reset == "value" else 0)):
        raise InputError("v_threshold is not above the reset: such a neuron never stops spiking", where=where)


def write_op(op: Op, shape: Shape) -> nir.NIRNode:
    """The NIR node of `op` on values of `shape`; a convolution without bias gets one of zeros."""
    match op:
        case Linear(weight, None):
            return nir.Linear(weight.toarray())
        case Linear(weight, bias):
            return nir.Affine(weight.toarray(), bias)
        case Conv2d(weight, bias):
            bias = np.zeros(len(weight), weight.dtype) if bias is None else bias
            return nir.Conv2d(shape[1:], weight, op.stride, op.padding, op.dilation, op.groups, bias)
        case Pool2d(kind, kernel, stride, padding):
            pool = {"sum": nir.SumPool2d, "average": nir.AvgPool2d}[kind]
            return pool(np.array(kernel), np.array(stride), np.array(padding))
        case Flatten(start, end):
            return nir.Flatten({"input": np.array(shape)}, start, end)


def write_neuron(population: Population) -> nir.NIRNode:
    """The NIR node of a population, parameters in float64; InputError for models that NIR lacks."""
    if population.neuron == "input":
        return nir.Input(np.array(population.shape))
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
    if not isinstance(op, Linear | Conv2d):
        return {}
    hints: dict[str, Any] = {"bias": False} if isinstance(op, Conv2d) and op.bias is None else {}
    weight = op.weight.toarray() if isinstance(op, Linear) else op.weight
    if not np.all(weight):
        hints |= {"mask": np.packbits(weight != 0), "mask_shape": np.array(weight.shape)}
    return hints


def _neuron(node: Node) -> Neuron:
    neuron = NEURON_TYPES[node.type]
    params: dict[str, np.ndarray] = {}
    for name in NEURONS[neuron]:
        value = node.array(name) if name in node.fields else np.array(DEFAULTS[name])
        if name.startswith("tau") and not np.all(value > 0):
            raise node.error(f"must be positive (seconds), got {value.min():g}", name)
        params[name] = value.astype(float)
    shapes = {v.shape: k for k, v in params.items() if v.ndim}
    if len(shapes) > 1:
        raise node.error("its parameters differ in shape: " + ", ".join(f"{k} {s}" for s, k in shapes.items()))
    return Neuron(neuron, params)


def _weight(node: Node, rank: int) -> np.ndarray:
    """The weights, which must be zero wherever the mask in our metadata says that no synapse is."""
    weight = node.array("weight")
    if weight.ndim != rank or not weight.size:
        raise node.error(f"must have {rank} axes, got shape {weight.shape}", "weight")
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


def _bias(node: Node, count: int) -> np.ndarray | None:
    bias = node.array("bias")
    if bias.shape != (count,):
        raise node.error(f"must have shape ({count},) as the weight has {count} outputs, got {bias.shape}", "bias")
    if "bias" not in node.hints:
        return bias
    if np.any(bias):
        raise node.error("the metadata says that there is no bias, but it is not zero", "bias")
    return None


def _linear(node: Node) -> Linear:
    return Linear(canonical(_weight(node, 2)))


def _affine(node: Node) -> Linear:
    weight = _weight(node, 2)
    return Linear(canonical(weight), _bias(node, len(weight)))


def _scale(node: Node) -> Linear:
    scale = node.array("scale")
    if scale.ndim != 1:
        raise node.error(f"only a vector can be scaled, got shape {scale.shape}", "scale")
    return Linear(canonical(sparse.diags_array(scale)))


def _conv2d(node: Node) -> Conv2d:
    weight = _weight(node, 4)
    stride, dilation, groups = node.pair("stride", 1), node.pair("dilation", 1), node.integer("groups", 1)
    if len(weight) % groups:
        raise node.error(f"{groups} groups do not divide {len(weight)} output channels", "groups")
    return Conv2d(
        weight, _bias(node, len(weight)), stride, _padding(node, weight.shape[2:], stride, dilation), dilation, groups
    )


def _padding(node: Node, kernel: Shape, stride: Pair, dilation: Pair) -> Pair:
    value = node.fields["padding"]
    if not isinstance(value, str):
        return node.pair("padding", 0)
    rows, columns = (dilation[a] * (kernel[a] - 1) for a in (0, 1))
    if value == "valid":
        return 0, 0
    if value != "same" or stride != (1, 1) or rows % 2 or columns % 2:
        raise node.error(
            f"'{value}' padding of a {kernel[0]}x{kernel[1]} kernel with stride {stride} is not supported",
            "padding",
            fix="give the padding as numbers",
        )
    return rows // 2, columns // 2


def _pool(kind: str) -> Callable[[Node], Pool2d]:
    def read(node: Node) -> Pool2d:
        return Pool2d(kind, node.pair("kernel_size", 1), node.pair("stride", 1), node.pair("padding", 0))

    return read


def _flatten(node: Node) -> Flatten:
    return Flatten(node.integer("start_dim", -32), node.integer("end_dim", -32))


_WEIGHT_HINTS = ("mask", "mask_shape")
_POOL_FIELDS = ("kernel_size", "stride", "padding")
_CONV_FIELDS = ("weight", "stride", "padding", "dilation", "groups", "bias")

NODES: dict[str, NodeType] = {
    "Input": NodeType(lambda node: Input(node.integers("shape", 1)), ("shape",)),
    "Output": NodeType(lambda n: Output(n.integers("shape", 1) if "shape" in n.fields else None), (), ("shape",)),
    "Affine": NodeType(_affine, ("weight", "bias"), (), _WEIGHT_HINTS),
    "Linear": NodeType(_linear, ("weight",), (), _WEIGHT_HINTS),
    "Scale": NodeType(_scale, ("scale",)),
    "Conv2d": NodeType(_conv2d, _CONV_FIELDS, ("input_shape",), (*_WEIGHT_HINTS, "bias")),
    "SumPool2d": NodeType(_pool("sum"), _POOL_FIELDS),
    "AvgPool2d": NodeType(_pool("average"), _POOL_FIELDS),
    "Flatten": NodeType(_flatten, ("start_dim", "end_dim"), ("input_type",), ("inserted",)),
    **{
        name: NodeType(
            _neuron,
            tuple(p for p in NEURONS[neuron] if p not in DEFAULTS),
            tuple(p for p in NEURONS[neuron] if p in DEFAULTS),
            ("reset", "compare"),
        )
        for name, neuron in NEURON_TYPES.items()
    },
}
