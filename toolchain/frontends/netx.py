"""lava-dl's ``.net`` (NetX HDF5) -> Network, integers kept exactly.

A file is a chain of layers ``layer/0 .. layer/n-1``; what each holds, and what netx makes of it, is read
from lava-dl 0.6.0, ``lava/lib/dl/netx/hdf5.py``. netx skips types that it does not know, truncates
fractions and ignores fields; here such files are refused by layer and field, and what netx ignores
is noted. A `pool` of SLAYER, which netx does not run, is read as the convolution of each channel that it is. The
result is a network of ``cuba_fixed`` neurons, ready for a chip without quantisation; of a last layer that can never
spike the membranes are read out.

An `input` layer with neurons is a population that values are fed into, one synapse of weight 1 each.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from snnc.errors import InputError
from snnc.frontends.assembly import LARGEST
from snnc.frontends.graph import NODES
from snnc.frontends.hdf5 import Tree
from snnc.frontends.nir_file import describe
from snnc.frontends.notes import Notes
from snnc.frontends.reading import Reading
from snnc.network import READ_OUT, Network, Population, Projection
from snnc.ops import Conv2d, Linear, Op, Pair, Shape, canonical

# Seconds per step, which the files do not say: they count steps.
DT = 1e-3
# The widest delay of netx; it clamps longer ones.
MAX_DELAY = 62
# No v reaches it, nor what SLAYER writes for neurons that shall not spike.
NEVER = 1 << 17
SLAYER_NEVER = (1 << 18) - 1
# A dense layer without neurons integrates: netx gives it these registers.
INTEGRATES = {"iDecay": 0, "vDecay": 4096, "vThMant": NEVER}
# Kinds that netx names and then raises NotImplementedError for, or computes with other neurons.
UNSUPPORTED = ("convT", "unpool", "average", "concat", "dense_comp")

_POOL = ("weight", "delay", "stride", "padding", "dilation")
_CONV = (*_POOL, "bias", "groups")
_DENSE = ("weight", "bias", "delay")
_FIELDS = {
    "input": ("weight", "bias"),
    "flatten": (),
    "dense": _DENSE,
    "dense_rec": (*_DENSE, "weight_rec"),
    "conv": _CONV,
    "pool": _POOL,
}
# Written by SLAYER, read by nobody.
_DECORATION = ("type", "shape", "neuron", "inFeatures", "outFeatures", "inChannels", "outChannels", "kernelSize")
_NEURON = ("type", "iDecay", "vDecay", "vThMant")
_IGNORED = ("refDelay", "gradedSpike", "wgtExp", "scaleRho", "tauRho", "theta", "weight_exp")


def network(tree: Tree, path: Path, reading: Reading, notes: Notes) -> Network:
    """The network in the tree of a ``.net`` file; InputError naming layer and field for whatever is not exact."""
    layers = _layers(tree, str(path))
    return _Builder(reading, notes, str(path)).network(layers, path.stem)


@dataclass(frozen=True, eq=False)
class _Layer:
    """One layer of a file. where: file and layer, for messages."""

    where: str
    index: int
    kind: str
    fields: Mapping[str, Any]

    @property
    def name(self) -> str:
        return f"{self.kind}{self.index}"

    def error(self, message: str, field: str = "", fix: str = "") -> InputError:
        return InputError(message, where=f"{self.where}, field '{field}'" if field else self.where, fix=fix)

    def integers(self, field: str, low: int, high: int) -> np.ndarray:
        """Whole numbers within low..high, int64, of any shape. A field within a group is named with a slash."""
        value: Any = self.fields
        for part in field.split("/"):
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is None:
            raise self.error(f"the field '{field}' of this {self.kind} layer is missing", field)
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "iuf" or not value.size:
            raise self.error(f"must be numbers, got {describe(value)}", field)
        if not np.all(np.isfinite(value)):
            raise self.error("holds NaN or infinity", field)
        value = value.astype(np.float64) if value.dtype.kind == "f" else value  # half precision ends at 65,504
        if np.any(value != np.rint(value)):
            first = float(value[value != np.rint(value)].flat[0])
            raise self.error(
                f"holds {first:g}, which netx would cut to {int(first)}", field, fix="export quantised integers"
            )
        if value.min() < low or value.max() > high:
            raise self.error(f"must lie within {low:,} and {high:,}, got {value.min():,g} .. {value.max():,g}", field)
        return value.astype(np.int64)

    def integer(self, field: str, low: int, high: int) -> int:
        value = self.integers(field, low, high)
        if value.size != 1:
            raise self.error(f"must be one integer, got {value.size}", field)
        return int(value.flat[0])

    def pair(self, field: str, least: int) -> Pair:
        """(rows, columns); one number stands for both."""
        value = self.integers(field, least, 1 << 20).ravel()
        if value.size > 2:
            raise self.error(f"must be one or two integers, got {value.size}", field)
        return int(value[0]), int(value[-1])

    def shape(self) -> Shape:
        """As the file states it: (channels, rows, columns), or one axis."""
        value = self.integers("shape", 1, LARGEST)
        if value.ndim > 1 or value.size > 3:
            raise self.error(f"must be one to three integers, got {describe(value)}", "shape")
        shape = tuple(int(n) for n in value.flat)
        if math.prod(shape) > LARGEST:
            raise self.error(f"the network has more than {LARGEST:,} neurons here", "shape")
        return shape


def _read_out(last: Population) -> Population:
    """The last layer; without its threshold if that is out of reach for all of its neurons."""
    if last.neuron == "input" or np.any(last.params["threshold"] < NEVER):
        return last
    return replace(last, neuron=READ_OUT, params={k: v for k, v in last.params.items() if k != "threshold"})


def _layers(tree: Tree, where: str) -> list[_Layer]:
    for key in tree:
        if key not in ("layer", "simulation"):
            raise InputError(f"there is an unknown entry '{key}'", where=where)
    groups = tree["layer"]
    if not isinstance(groups, dict) or sorted(groups) != sorted(map(str, range(len(groups)))) or not groups:
        raise InputError("its layers are not numbered 0, 1, 2, ...", where=where, fix="export the network again")
    if len(groups) > NODES:
        raise InputError(f"the file has {len(groups):,} layers; at most {NODES:,} are read", where=where)
    return [_layer(groups[str(k)], k, f"{where}: layer {k}") for k in range(len(groups))]


def _layer(group: Any, index: int, where: str) -> _Layer:
    kind = group.get("type") if isinstance(group, dict) else None
    if isinstance(kind, np.ndarray) and kind.size == 1:
        kind = kind.flat[0]
    if not isinstance(kind, str):
        raise InputError("a layer must be a group with a text 'type'", where=where)
    if kind not in _FIELDS:
        known = ", ".join(_FIELDS)
        if kind in UNSUPPORTED:
            raise InputError(f"layers of type '{kind}' do not run in netx", where=where, fix=f"use {known}")
        raise InputError(
            f"unknown layer type '{kind[:40]}', which netx skips in silence", where=where, fix=f"use {known}"
        )
    for name in group:
        if name not in (*_FIELDS[kind], *_DECORATION):
            raise InputError(f"a {kind} layer has no field '{name}'", where=f"{where}, field '{name}'")
    return _Layer(f"{where} ({kind})", index, kind, group)


class _Builder:
    """Populations and projections, layer by layer."""

    def __init__(self, reading: Reading, notes: Notes, where: str) -> None:
        self.reading, self.notes, self.where = reading, notes, where
        self.populations: list[Population] = []
        self.projections: list[Projection] = []
        self.flat = False  # a flatten came after the last population

    def network(self, layers: list[_Layer], name: str) -> Network:
        if layers[0].kind != "input":
            self._feed(self._open_shape(layers[0]))
        for layer in layers:
            if layer.kind == "input":
                self._input(layer)
            elif layer.kind == "flatten":
                self.flat = True
            elif layer.kind in ("conv", "pool"):
                self._conv(layer)
            else:
                self._dense(layer)
        dt = self.reading.dt or DT
        self.populations[-1] = _read_out(self.populations[-1])
        return Network(tuple(self.populations), tuple(self.projections), (self.populations[-1].name,), dt, name)

    def _open_shape(self, layer: _Layer) -> Shape:
        """The input of a network whose file does not begin with it."""
        if layer.kind in ("dense", "dense_rec"):
            return (self._matrix(layer, "weight").shape[1],)
        if self.reading.shape is None:
            raise layer.error(
                "the file does not state the shape of its input", fix="give it: --shape CHANNELS,ROWS,COLUMNS"
            )
        return self.reading.shape

    def _feed(self, shape: Shape) -> None:
        self.populations.append(Population("input", shape, "input"))

    def _input(self, layer: _Layer) -> None:
        if self.populations:
            raise layer.error("an input layer must be the first")
        shape = layer.shape()
        self._feed(shape)
        if "neuron" not in layer.fields:
            return
        for field, neutral in (("weight", 64), ("bias", 0)):
            if field in layer.fields and layer.integer(field, -(1 << 20), 1 << 20) != neutral:
                self.notes.tell(
                    f"the file scales its input by weight {layer.integer('weight', -(1 << 20), 1 << 20)} and bias "
                    f"{layer.integer('bias', -(1 << 20), 1 << 20) if 'bias' in layer.fields else 0}, which netx leaves "
                    "to the user; feed the scaled values"
                )
                break
        identity = Linear(sparse.eye_array(math.prod(shape), format="csr", dtype=np.int16))
        self._populate(layer, shape, [(identity, 0)], None)

    def _conv(self, layer: _Layer) -> None:
        weight = layer.integers("weight", -(1 << 15), (1 << 15) - 1)
        if weight.ndim == 5 and weight.shape[4] == 1:
            weight = weight[..., 0]
        if weight.ndim != 4:
            raise layer.error(f"must have 4 axes, got shape {weight.shape}", "weight")
        before = self.populations[-1].shape
        if layer.kind == "pool":
            if weight.shape[:2] != (1, 1):
                raise layer.error(f"must be one kernel for all channels, got shape {weight.shape}", "weight")
            self.notes.tell(f"layer {layer.index} pools, which netx cannot; it is a convolution of each channel")
            weight, groups = np.repeat(weight, before[0], axis=0), before[0]
        else:
            groups = layer.integer("groups", 1, 1 << 20)
        if len(weight) % groups:
            raise layer.error(f"{groups} groups do not divide {len(weight)} output channels", "groups")
        stride, padding, dilation = layer.pair("stride", 1), layer.pair("padding", 0), layer.pair("dilation", 1)
        op = Conv2d(weight.astype(np.int16), None, stride, padding, dilation, groups)
        if self.flat:
            raise layer.error("a convolution cannot follow a flatten")
        if "delay" in layer.fields and layer.integers("delay", 0, 1 << 20).any():
            raise layer.error("netx ignores delays of a convolution", "delay", fix="train it without delays")
        try:
            shape = op.output_shape(before)
        except InputError as error:
            raise layer.error(error.message) from None
        if layer.shape() != shape:
            raise layer.error(f"is {layer.shape()}, but the convolution gives {shape}", "shape")
        self._populate(layer, shape, [(op, 0)], self._bias(layer, shape))

    def _dense(self, layer: _Layer) -> None:
        weight = self._matrix(layer, "weight")
        shape = (len(weight),)
        before = self.populations[-1]
        if len(before.shape) != 1 and not self.flat:
            raise layer.error(f"it follows the shape {before.shape}", fix="put a flatten layer before it")
        if weight.shape[1] != before.size:
            raise layer.error(f"it has {weight.shape[1]:,} inputs, but '{before.name}' has {before.size:,}", "weight")
        recurrent = self._matrix(layer, "weight_rec") if layer.kind == "dense_rec" else None
        if recurrent is not None and recurrent.shape != (len(weight), len(weight)):
            raise layer.error(f"must have shape {(len(weight),) * 2}, got {recurrent.shape}", "weight_rec")
        self._warn_of_clipping(layer, weight)
        ops: list[tuple[Op, int]] = [(Linear(canonical(weight)), 0)]
        if "delay" in layer.fields:
            if recurrent is not None:
                raise layer.error("netx computes a recurrent layer with delays wrongly", "delay", fix="leave one out")
            ops = list(self._delayed(layer, weight))
        self._populate(layer, shape, ops, self._bias(layer, shape))
        if recurrent is not None:
            name = f"{layer.name}_rec"
            self.projections.append(Projection(name, layer.name, layer.name, (Linear(canonical(recurrent)),)))

    def _matrix(self, layer: _Layer, field: str) -> np.ndarray:
        """The weights of a dense layer, int16 (outputs, inputs)."""
        if isinstance(layer.fields.get(field), dict):
            raise layer.error("complex weights are not read", field, fix="use CUBA neurons")
        weight = layer.integers(field, -(1 << 15), (1 << 15) - 1)
        outputs = math.prod(layer.shape())
        if weight.ndim == 1 and not weight.size % outputs:
            weight = weight.reshape(outputs, -1)
        if weight.ndim != 2 or len(weight) != outputs:
            raise layer.error(f"must have {outputs:,} rows, got shape {weight.shape}", field)
        return weight.astype(np.int16)

    def _warn_of_clipping(self, layer: _Layer, weight: np.ndarray) -> None:
        low, high = int(weight.min()), int(weight.max())
        if low < -256 or high > 255:
            self.notes.tell(
                f"weights of layer {layer.index} span {low} .. {high}; netx clips or zeroes what is beyond -256 .. 254",
                kind="warning",
            )

    def _delayed(self, layer: _Layer, weight: np.ndarray) -> Iterator[tuple[Op, int]]:
        """The weights by delay: a delay belongs to an output or, where that fits instead, to an input or a synapse."""
        delay = layer.integers("delay", 0, 1 << 20)
        if delay.max() > MAX_DELAY:
            self.notes.assume(
                f"delays of layer {layer.index} reach {delay.max()} steps and are cut to {MAX_DELAY}, as netx does",
                layer.where,
                fix=f"train with delays of at most {MAX_DELAY}",
            )
            delay = np.minimum(delay, MAX_DELAY)
        outputs, inputs = weight.shape
        if delay.size == 1:
            delay = np.full(weight.shape, delay.flat[0])
        elif delay.shape == (outputs,):
            delay = np.broadcast_to(delay[:, None], weight.shape)
        elif delay.shape == (inputs,):
            delay = np.broadcast_to(delay[None, :], weight.shape)
        elif delay.shape != weight.shape:
            raise layer.error(f"has shape {delay.shape}, the weights {weight.shape}", "delay")
        for steps in np.unique(delay):
            yield Linear(canonical(np.where(delay == steps, weight, 0).astype(np.int16))), int(steps)

    def _bias(self, layer: _Layer, shape: Shape) -> np.ndarray | None:
        if "bias" not in layer.fields:
            return None
        bias = layer.integers("bias", -(1 << 15), (1 << 15) - 1)
        if bias.size == 1 or bias.shape == shape:
            return np.broadcast_to(bias.reshape(-1)[0] if bias.size == 1 else bias, shape)
        if len(shape) == 3 and bias.shape == shape[:1]:
            return np.broadcast_to(bias[:, None, None], shape)
        if len(shape) == 3 and bias.shape == shape[::-1]:  # (columns, rows, channels)
            return bias.T
        raise layer.error(f"has shape {bias.shape}, the layer {shape}", "bias")

    def _populate(
        self, layer: _Layer, shape: Shape, synapses: Sequence[tuple[Op, int]], bias: np.ndarray | None
    ) -> None:
        """Add the layer's neurons, and its synapses from the population before: operations, each with its delay."""
        params = self._registers(layer, shape)
        params["bias"] = np.broadcast_to(np.int32(0), shape) if bias is None else np.array(bias, np.int32)
        before = self.populations[-1].name
        self.populations.append(Population(layer.name, shape, "cuba_fixed", params))
        for op, delay in synapses:
            name = f"{before}-{layer.name}" + (f"@{delay}" if len(synapses) > 1 else "")
            self.projections.append(Projection(name, before, layer.name, (op,), delay))
        self.flat = False

    def _registers(self, layer: _Layer, shape: Shape) -> dict[str, np.ndarray]:
        neuron = layer.fields.get("neuron")
        values: dict[str, np.ndarray] = {}
        if neuron is None:
            if layer.kind in ("conv", "pool"):
                raise layer.error(f"the field 'neuron' of this {layer.kind} layer is missing", "neuron")
            values = {name: np.array(value) for name, value in INTEGRATES.items()}
            self.notes.tell(
                f"layer {layer.index} has no neurons: as netx does, it sums up what arrives and never spikes"
            )
        elif not isinstance(neuron, dict):
            raise layer.error(f"must be a group, got {describe(neuron)}", "neuron")
        else:
            self._check_neuron(layer, neuron)
            values["iDecay"] = layer.integers("neuron/iDecay", 0, 4096)
            values["vDecay"] = layer.integers("neuron/vDecay", 0, 4096)
            values["vThMant"] = np.minimum(layer.integers("neuron/vThMant", 0, SLAYER_NEVER), NEVER)
        registers = {}
        for name, register in (("iDecay", "u_decay"), ("vDecay", "v_decay"), ("vThMant", "threshold")):
            value = values[name]
            if value.size not in (1, math.prod(shape)):
                raise layer.error(f"has {value.size} values for {math.prod(shape)} neurons", f"neuron/{name}")
            full = np.int32(value.flat[0]) if value.size == 1 else value.reshape(shape).astype(np.int32)
            registers[register] = np.broadcast_to(full, shape)
        return registers

    def _check_neuron(self, layer: _Layer, neuron: Mapping[str, Any]) -> None:
        kind = neuron.get("type")
        if isinstance(kind, np.ndarray) and kind.size == 1:
            kind = kind.flat[0]
        if not isinstance(kind, str) or kind not in ("CUBA", "LOIHI"):
            raise layer.error(
                f"neurons of type '{kind if isinstance(kind, str) else describe(kind)}' are not read",
                "neuron/type",
                fix="use CUBA neurons",
            )
        for name in neuron:
            if name not in (*_NEURON, *_IGNORED):
                raise layer.error(f"a neuron has no field '{name}'", f"neuron/{name}")
        graded = neuron.get("gradedSpike")
        if isinstance(graded, np.ndarray) and np.any(graded):
            raise layer.error("graded spikes do not run in netx", "neuron/gradedSpike", fix="train with binary spikes")
        exponent = neuron.get("weight_exp")
        if isinstance(exponent, np.ndarray) and np.any(exponent != 0):
            self.notes.assume(
                "an exponent of the weights other than 0 is ignored, as netx does",
                layer.where,
                fix="train without a normalisation that scales the weights",
                kind="warning",
            )
        delay = neuron.get("refDelay")
        if isinstance(delay, np.ndarray) and np.any(delay != 1):
            self.notes.assume(
                "a refractory delay other than 1 is ignored, as netx does",
                layer.where,
                fix="train with refDelay 1",
                kind="warning",
            )
