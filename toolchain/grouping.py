"""Which core each neuron of a ticket lies in, and which of its weights a chip stores.

A ticket is balanced on what the compiler makes of it (:mod:`snnc.tickets.cores`); this is the compiler in the form in
which the search for tickets takes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from snnc import ops, pipeline, rules
from snnc.compilation import Compilation, Options
from snnc.frontends.torch import from_module
from snnc.models.spiking import SpikingNetwork
from snnc.passes import partition
from snnc.resources import usage
from snnc.samples import Samples
from snnc.target import Target
from snnc.tickets.balance import Groups, settled
from snnc.tickets.cores import Compiler, Made, layers_of


def compiler(
    target: Target,
    *,
    dt: float,
    bits: int | None = None,
    samples: Samples | None = None,
    options: Options | None = None,
) -> Compiler:
    """What compiles a network of fully connected layers for `target`, as ``snnc compile`` does.

    dt: seconds per step. bits: signed width the weights are meant for. samples: calibration data. options: `cores`,
    `bits` and all else. What it returns raises DoesNotFit where a chip cannot do what the network does, and UsageError
    for networks with other layers.
    """
    chosen = options or Options()

    def compiled(model: SpikingNetwork, groups: Groups | None) -> Made:
        layers = layers_of(model)
        network = from_module(model, dt=dt, bits=bits)
        # Where the cores are known, what is stored does not depend on the rest of the compilation.
        last = "partition" if groups is None else "retrim"
        state, _ = pipeline.compile_until(last, network, target, samples=samples, options=chosen)
        stored = {name: _stored(state, layer) for layer, name in layers.items()}
        return Made(
            _groups(state, layers) if groups is None else groups,
            {name: mantissas for name, (mantissas, _) in stored.items()},
            {name: alive for name, (_, alive) in stored.items()},
        )

    return compiled


def _stored(c: Compilation, layer: str) -> tuple[np.ndarray, np.ndarray]:
    """Mantissas of the weights into a layer of the source, int32 (rows, columns), and which neurons are alive there."""
    (before,) = c.source.into(layer)
    shape = c.source[layer].size, c.source[before.pre].size
    mantissas, alive = np.zeros(shape, np.int32), np.zeros(shape, bool)
    if layer in c.network.rank and before.pre in c.network.rank:
        here = np.ix_(c.places(layer), c.places(before.pre))
        alive[here] = True
        for projection in c.network.into(layer):
            if projection.name == before.name:
                integers = ops.matrix(projection.op, c.network[before.pre].shape).toarray().astype(np.int32)
                mantissas[here] = integers // max(1, int(np.gcd.reduce(integers, axis=None)))
    return mantissas, alive


def _groups(c: Compilation, layers: Mapping[str, str]) -> Groups:
    """The core of each output row; where the limits of cores allow it, without splinters."""
    assert c.core_of is not None
    found = {}
    for layer in layers:
        found[layer] = np.full(c.source[layer].size, -1, np.int32)
        if layer in c.network.rank:
            start = c.network.offsets[layer]
            found[layer][c.places(layer)] = c.core_of[start : start + c.network[layer].size]
    even = settled(found)
    core_of = partition.pinned(replace(c, groups=even))
    if rules.check_capacity(c.network, usage(c.network, core_of, c.target), core_of, c.target, c.options.chips):
        even = settled(found, splinters=True)
    return {name: even[layer] for layer, name in layers.items()}
