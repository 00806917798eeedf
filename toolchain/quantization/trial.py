"""A layer alone: its integers, fed with given spikes of its sources, and where it spikes otherwise than wanted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import sparse

from snnc import ops
from snnc.network import Network, Population, Projection
from snnc.ops import Linear
from snnc.quantization.grid import Layer, Rounded
from snnc.samples import Samples
from snnc.simulator import simulate


@dataclass(frozen=True, eq=False)
class Trial:
    """What a layer is fed with, and what it should do.

    network: which it is of. layer: it, or a part of it. fed: what its sources put out, name -> (samples, steps,
    *shape). wanted: bool (samples, steps, neurons).
    """

    network: Network
    layer: Layer
    fed: Mapping[str, np.ndarray]
    wanted: np.ndarray

    @cached_property
    def starts(self) -> dict[str, int]:
        """Where each source begins when all are laid end to end."""
        names = list(dict.fromkeys(p.pre for p in self.layer.incoming))
        sizes = np.cumsum([0, *(self.network[n].size for n in names)])
        return {name: int(start) for name, start in zip(names, sizes, strict=False)}

    @cached_property
    def input(self) -> Samples:
        """All sources as one; a single one keeps its shape."""
        if len(self.starts) == 1:
            return Samples(_numbers(self.fed[next(iter(self.starts))]))
        size = self.wanted.shape[:2]
        return Samples(np.concatenate([_numbers(self.fed[name]).reshape(*size, -1) for name in self.starts], axis=2))

    def spikes(self, rounded: Rounded) -> np.ndarray:
        """Of the layer in integers, bool (samples, steps, neurons)."""
        name = rounded.population.name
        run = simulate(self._alone(rounded), self.input, rasters=[name])
        return run.rasters[name].reshape(self.wanted.shape)

    def cost(self, rounded: Rounded) -> np.ndarray:
        """How far the layer is from what is wanted, int64 (samples, neurons); see :func:`cost`."""
        return cost(self.spikes(rounded), self.wanted)

    def _alone(self, rounded: Rounded) -> Network:
        feed = f"into {rounded.population.name}"
        projections = tuple(self._from(feed, p) for p in rounded.incoming)
        populations = (Population(feed, self.input.shape, "input"), rounded.population)
        return Network(populations, projections, (rounded.population.name,), self.network.dt)

    def _from(self, feed: str, projection: Projection) -> Projection:
        """The projection as one from all sources together, with its lag as a delay."""
        late = replace(projection, pre=feed, delay=self.network.lag(projection))
        if len(self.starts) == 1:
            return late
        matrix = ops.matrix(projection.op, self.network[projection.pre].shape)
        columns = matrix.indices + self.starts[projection.pre]
        size = sum(self.network[name].size for name in self.starts)
        wide = sparse.csr_array((matrix.data, columns, matrix.indptr), shape=(matrix.shape[0], size))
        return replace(late, ops=(Linear(wide),))


def cost(spikes: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Steps in which a neuron spikes and should not or the reverse, and by how much its count is off.

    Both count one each: a spike that is a step late costs 2, one that is missing costs 2. spikes, wanted: bool
    (samples, steps, neurons). Returns int64 (samples, neurons).
    """
    misplaced = (spikes ^ wanted).sum(axis=1, dtype=np.int64)
    return misplaced + np.abs(spikes.sum(axis=1, dtype=np.int64) - wanted.sum(axis=1, dtype=np.int64))


def _numbers(fed: np.ndarray) -> np.ndarray:
    return fed.view(np.uint8) if fed.dtype == bool else fed
