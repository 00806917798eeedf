"""Integer network -> the HDF5 file that lava-dl's netx loads (``.net``).

A file holds groups ``layer/0 .. layer/n-1`` in the order of computation, each with its
``type`` (input, flatten, dense, dense_rec, conv), ``shape`` (C order: channels, rows, columns),
``weight``, ``bias`` and ``neuron``. An input with ``neuron`` is a layer of its own that values are fed into. A file
uses datasets only, no HDF5 attributes. Source:
lava-dl 0.6.0, ``lava/lib/dl/netx/hdf5.py``.

Equal networks give equal bytes.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from snnc.errors import InputError
from snnc.files import atomic
from snnc.network import Network
from snnc.ops import Conv2d, Linear, Shape
from snnc.targets.lava.chain import Layer, chain


def export(network: Network, path: Path, steps: int) -> None:
    """Write `network` as a netx ``.net`` file.

    network: after quantisation, a chain. steps: per sample, recorded as ``simulation/tSample``.
    Raises InputError, before anything is written, for whatever netx cannot express
    (:func:`snnc.targets.lava.chain.chain`); UsageError where `path` cannot be written.
    """
    if steps < 1:
        raise InputError(f"a sample must have at least one step, got {steps}", where=network.name)
    feed, layers = chain(network)
    # Creation times and creation order would make equal networks differ.
    with atomic(path) as temporary, h5py.File(temporary, "w", track_order=False) as file:
        blocks = _Blocks(file)
        entry = blocks.new("input", frame(feed.shape))
        for layer in layers:
            if layer.flatten:
                blocks.new("flatten", (layer.op.weight.shape[1],))
            _neurons(entry if layer.direct else _synapses(blocks, layer), layer)
        _scalars(file.create_group("simulation"), Ts=1, tSample=steps)


def frame(shape: Shape) -> Shape:
    """Shape of a layer in a file: what lies in a line is an image of one row."""
    return (shape[0], 1, shape[1]) if len(shape) == 2 else shape


class _Blocks:
    """The numbered groups of a file."""

    def __init__(self, file: h5py.File) -> None:
        self.groups = file.create_group("layer")

    def new(self, kind: str, shape: Shape) -> h5py.Group:
        group = self.groups.create_group(str(len(self.groups)))
        # One fixed-width string in an array of one: the only form that all readers of netx take.
        group.create_dataset("type", (1,), "S10", [kind.encode()])
        group["shape"] = np.array(shape)
        return group


def _synapses(blocks: _Blocks, layer: Layer) -> h5py.Group:
    """The group of a layer, with all but its neurons."""
    op = layer.op
    if isinstance(op, Conv2d):
        group = blocks.new("conv", layer.shape)
        weight = op.weight
        _scalars(group, inChannels=weight.shape[1] * op.groups, outChannels=weight.shape[0], groups=op.groups)
        for name, pair in (
            ("kernelSize", weight.shape[2:]),
            ("stride", op.stride),
            ("padding", op.padding),
            ("dilation", op.dilation),
        ):
            group[name] = np.array(pair)
    else:
        weight = op.weight.toarray()
        group = blocks.new("dense_rec" if layer.recurrent is not None else "dense", weight.shape[:1])
        _scalars(group, inFeatures=weight.shape[1], outFeatures=weight.shape[0])
    # netx stores pruned weights as zeros; compression gives their space back.
    group.create_dataset("weight", data=weight.astype(np.int16), compression="gzip", shuffle=True)
    if layer.recurrent is not None:
        loop = layer.recurrent.weight.toarray()
        group.create_dataset("weight_rec", data=loop.astype(np.int16), compression="gzip", shuffle=True)
    if layer.delay is not None:
        group.create_dataset("delay", data=layer.delay, compression="gzip", shuffle=True)
    if layer.bias is not None:
        group["bias"] = _bias(op, layer.bias).astype(np.int32)
    return group


def _neurons(group: h5py.Group, layer: Layer) -> None:
    neuron = group.create_group("neuron")
    neuron.create_dataset("type", (1,), "S10", [b"CUBA"])
    _scalars(neuron, iDecay=layer.u_decay, vDecay=layer.v_decay, vThMant=layer.threshold, refDelay=1)
    neuron["gradedSpike"] = False


def _bias(op: Linear | Conv2d, bias: np.ndarray) -> np.ndarray:
    """Bias in the layout of netx: flat for dense; for conv one per channel, or (columns, rows, channels)."""
    if isinstance(op, Linear):
        return bias.ravel()
    channels = bias[:, 0, 0]
    return channels if (bias == channels[:, None, None]).all() else bias.T


def _scalars(group: h5py.Group, **values: int) -> None:
    # Signed: netx computes iDecay - 1.
    for name, value in values.items():
        group[name] = np.int64(value)
