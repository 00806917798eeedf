"""Rounding that knows the data: weights move to a neighbour on the grid where the layer then spikes more as it should.

Rounding each weight to its nearest neighbour ignores that the errors of a neuron's weights add up, which is what
costs accuracy below 5 bits. Starting from there, each weight that exists is moved by one step of the grid, up or down,
if that lowers the cost of its layer: that of :func:`snnc.quantization.trial.cost` and, for a spike that is misplaced,
how far its membrane is from the threshold besides, for else most single moves would change nothing. What moves away
from its exact value pays for the distance, since few samples would else be learnt by heart. The layer is fed with what
the integer layers in front of it put out, so that it makes up for their errors.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from snnc import ops
from snnc.network import Population, Projection
from snnc.ops import Conv2d
from snnc.processors import processors
from snnc.quantization.grid import Limits, Rounded, Scale, grid, held, values
from snnc.quantization.trial import Trial
from snnc.simulator.common import integer_params
from snnc.simulator.reference import DECAY, UNIT
from snnc.simulator.tables import reset_of

# The distance from the threshold, in thresholds, costs this.
NEAR = 0.5
# The square of the distance of a weight from its exact value, in steps of the grid, costs this. On digits, tickets of
# 90 to 98 %, 2 bits: without it 90 % from 20 samples and 94 % from 600, with it 92 % and 94 %; 5 to 10 are alike.
PULL = 5.0
# All weights are gone through so often at most.
SWEEPS = 4
# Updates of neurons for one way through a layer, about half a second: samples are left out to stay below.
WORK = 1 << 26
# Fewer steps of all samples together tell nothing.
LEAST = 128
# Of a convolution at least so many places are looked at, and fewer places before fewer samples than this.
PLACES, SAMPLES = 8, 8


def adjusted(trial: Trial, scale: Scale, limits: Limits, model: str, now: Rounded) -> tuple[Rounded, int]:
    """The layer of `trial`, which is `now`, with some weights moved, and how many moves that took.

    It stays as it is where that makes nothing better, where its inputs are no spikes, or where it has too many
    weights to go through.
    """
    layer, (total, steps, _) = trial.layer, trial.wanted.shape
    neurons = _seen(trial)
    samples = min(total, WORK // max(1, 2 * steps * _pairs(trial, len(neurons))))
    if trial.input.spikes.dtype != np.uint8 or samples * steps < min(LEAST, total * steps):
        return now, 0
    exact = [values(p) * scale.factor[layer.neurons(p)] for p in layer.incoming]
    mantissas = grid(np.concatenate(exact), limits).astype(np.int16)
    synapses = _Synapses.of(trial, neurons, samples)
    moves = _descend(synapses, mantissas, np.concatenate(exact), scale, limits, now, trial.wanted[:samples])
    if not moves:
        return now, 0
    ends = np.cumsum([len(e) for e in exact])[:-1]
    better = held(layer, np.split(mantissas, ends), scale, limits, model)
    return (better, moves) if trial.cost(better).sum() < trial.cost(now).sum() else (now, 0)


def _pairs(trial: Trial, neurons: int) -> int:
    """Synapses into so many of the neurons of a layer."""
    total = 0
    for projection in trial.layer.incoming:
        op = projection.op
        shape = trial.network[projection.pre].shape
        total += ops.synapses(op, shape) if isinstance(op, Conv2d) else op.taps
    return total * neurons // trial.layer.size


def _seen(trial: Trial) -> np.ndarray:
    """The neurons that are looked at: all, or of convolutions so many places, evenly spaced, that samples are left."""
    layer, (samples, steps, size) = trial.layer, trial.wanted.shape
    everything = np.arange(size)
    work = 2 * _pairs(trial, size) * steps * min(samples, SAMPLES)
    if work <= WORK or not all(isinstance(p.op, Conv2d) for p in layer.incoming):
        return everything
    places = size // (int(layer.channels[-1]) + 1)
    chosen = np.unique(np.linspace(0, places - 1, max(PLACES, places * WORK // work)).astype(int))
    return everything[np.isin(everything % places, chosen)]


@dataclass(frozen=True, eq=False)
class _Synapses:
    """All synapses into a layer, ordered by the weight that they share or have.

    weights: for each channel the numbers of its weights, which count through all projections. pairs: int64
    (weights + 1,), where the synapses of each weight begin. neuron, source: int32, their ends. spikes: uint8 (sources,
    samples, steps); a source is a neuron in front of the layer, as late as the projection makes it.
    """

    weights: list[np.ndarray]
    pairs: np.ndarray
    neuron: np.ndarray
    source: np.ndarray
    spikes: np.ndarray

    @classmethod
    def of(cls, trial: Trial, neurons: np.ndarray, samples: int) -> _Synapses:
        """Those into some neurons of a layer, with the spikes of some samples."""
        layer, network = trial.layer, trial.network
        seen = np.zeros(layer.size, bool)
        seen[neurons] = True
        spikes: dict[tuple[str, int], np.ndarray] = {}
        start: dict[tuple[str, int], int] = {}
        weight, neuron, source = [], [], []
        first = 0
        for projection in layer.incoming:
            key = (projection.pre, network.lag(projection))
            if key not in spikes:
                start[key] = sum(map(len, spikes.values()))
                spikes[key] = _late(trial.fed[key[0]][:samples], key[1])
            where = _numbered(projection, network[projection.pre].shape)
            row = np.repeat(np.arange(where.shape[0]), np.diff(where.indptr))
            kept = seen[row]
            weight.append(first + where.data[kept] - 1)
            neuron.append(row[kept])
            source.append(start[key] + where.indices[kept])
            first += len(values(projection))
        number = np.concatenate(weight)
        order = np.argsort(number, kind="stable")
        ends = np.concatenate(neuron)[order].astype(np.int32)
        pairs = np.searchsorted(number[order], np.arange(first + 1))
        used = np.flatnonzero(np.diff(pairs))
        channel = layer.channels[ends[pairs[used]]]
        by_channel = used[np.argsort(channel, kind="stable")]
        cuts = np.flatnonzero(np.diff(np.sort(channel))) + 1
        return cls(
            np.split(by_channel, cuts),
            pairs,
            ends,
            np.concatenate(source)[order].astype(np.int32),
            np.concatenate(list(spikes.values())),
        )


def _late(raster: np.ndarray, lag: int) -> np.ndarray:
    """(samples, steps, *shape) -> uint8 (neurons, samples, steps), each spike `lag` steps later."""
    flat = raster.reshape(*raster.shape[:2], -1).astype(np.uint8)
    late = np.concatenate([np.zeros_like(flat[:, :lag]), flat[:, : flat.shape[1] - lag]], axis=1)
    return np.ascontiguousarray(late.transpose(2, 0, 1))


def _numbered(projection: Projection, shape: tuple[int, ...]) -> sparse.csr_array:
    """The matrix of a projection with the number of each weight, from 1 on, in its place."""
    op = projection.op
    numbers = np.where(values(projection) != 0, np.arange(1, len(values(projection)) + 1), 0)
    if isinstance(op, Conv2d):
        return ops.matrix(replace(op, weight=numbers.reshape(op.weight.shape), bias=None), shape)
    return ops.canonical(sparse.csr_array((numbers, op.weight.indices, op.weight.indptr), shape=op.weight.shape))


def _descend(
    synapses: _Synapses,
    mantissas: np.ndarray,
    exact: np.ndarray,
    scale: Scale,
    limits: Limits,
    now: Rounded,
    wanted: np.ndarray,
) -> int:
    """Move `mantissas`; channels do not depend on each other, so that threads share them."""
    from snnc.quantization import kernels  # numba: seconds to import, and no one else needs it

    spikes = synapses.spikes
    number = np.repeat(np.arange(len(mantissas)), np.diff(synapses.pairs))
    weight = mantissas[number].astype(np.float64) * 2.0**scale.exponent
    matrix = sparse.csr_array((weight, (synapses.neuron, synapses.source)), shape=(now.population.size, len(spikes)))
    drive = (
        (matrix @ spikes.reshape(len(spikes), -1).astype(np.float64)).astype(np.int32).reshape(-1, *spikes.shape[1:])
    )
    heard = np.asarray(spikes.any(axis=2))
    goal = np.ascontiguousarray(wanted.transpose(2, 0, 1)).view(np.uint8)
    table = neuron_table(now.population)

    def share(weights: np.ndarray) -> int:
        return kernels.descend(
            mantissas,
            weights,
            exact,
            synapses.pairs,
            synapses.neuron,
            synapses.source,
            spikes,
            heard,
            goal,
            drive,
            table,
            limits.weight,
            scale.exponent,
            NEAR,
            PULL,
            SWEEPS,
        )

    workers = processors()
    parts = [np.concatenate(synapses.weights[k::workers]) for k in range(min(workers, len(synapses.weights)))]
    with ThreadPoolExecutor(workers) as pool:
        return sum(pool.map(share, parts))


def neuron_table(population: Population) -> np.ndarray:
    """The parameters of the neurons as the kernel takes them, int64 (neurons, 5)."""
    params = integer_params(population)
    keep = [(1 << DECAY) - params[name] for name in ("u_decay", "v_decay")]
    reset = np.full(population.size, reset_of(population))
    columns = [*keep, params["bias"] << UNIT, params["threshold"] << UNIT, reset]
    return np.ascontiguousarray(np.stack(columns, axis=1))
