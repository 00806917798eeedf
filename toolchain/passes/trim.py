"""Trim: dead neurons disappear, to a fixed point, and no spike of any other neuron changes.

A neuron is *silent* if no data can make it spike: nothing that may spike leads into it, or too little to lift its
membrane over the threshold, from 0. It is *unread* if nothing that it reaches can change what is read out. Pruning
leaves both: neurons that lost their last input, or all but their inhibiting ones, or their last output; then those
that were only fed by these, and so on, also around loops. A neuron is taken to be able to spike until the opposite
is proven: values may be fed into the inputs, of any size and sign, so that one synapse from there is enough.

Before quantisation signs alone are looked at: sums of floats would depend on their order. What this pass removes
there has no say in the scale of its layer. After quantisation it runs again, on weights that rounded to zero and
with exact bounds of the registers (:func:`_integers_may_spike`).

What stays: the inputs keep their places, since the data have their shape; so does what is read out, where the place
is the prediction, but synapses of its silent neurons go. Populations that a convolution leads into or out of lose
whole channels, of a grouped convolution whole groups: a kernel is stored once for all places, and a synapse for each
of them would cost many times what a few silent neurons do. Any other population that loses neurons becomes flat.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from snnc import ops
from snnc.compilation import Compilation
from snnc.euler import discretise
from snnc.network import GRADED, SPIKING, Network, Population, Projection
from snnc.ops import Conv2d, Linear, Shape
from snnc.passes.dissolve import bias_alone
from snnc.simulator.common import integer_params
from snnc.simulator.reference import DECAY, RANGE, UNIT

_logger = logging.getLogger(__name__)

# Synapses that are looked at before the search ends, if it takes more than a few rounds: through loops, what is alive
# may spread by one neuron a round. Whatever is undecided then stays.
WORK = 1 << 28
ROUNDS = 8

Flags = dict[str, np.ndarray]
"""Population -> bool (size,)."""


@dataclass(frozen=True, eq=False)
class Trimmed:
    """A network without its dead neurons.

    kept: population that lost neurons -> where those that are left were, int64, ascending; empty where the
    population is gone. silent, unread: how many were removed for which reason. synapses: removed with them.
    """

    network: Network
    kept: Mapping[str, np.ndarray]
    silent: Mapping[str, int]
    unread: Mapping[str, int]
    synapses: int


def before(c: Compilation) -> Compilation:
    """Trim the float network of `c`."""
    return _run(c, "trim")


def after(c: Compilation) -> Compilation:
    """Trim the integer network of `c`."""
    return _run(c, "retrim")


def _run(c: Compilation, name: str) -> Compilation:
    found = trim(c.network)
    for output in found.network.outputs:
        if c.network.into(output) and not found.network.into(output):
            _logger.warning("no spike reaches layer '%s', which is read out", output)
    kept = {layer: c.kept[layer][at] if layer in c.kept else at for layer, at in found.kept.items()}
    log = {
        "neurons": sum(found.silent.values()) + sum(found.unread.values()),
        "synapses": found.synapses,
        "layers": [
            {"layer": layer, "silent": found.silent[layer], "unread": found.unread[layer], "kept": runs(places)}
            for layer, places in kept.items()
        ],
    }
    return replace(c, network=found.network, kept={**c.kept, **kept}).found(**{name: log})


def runs(places: np.ndarray) -> list[list[int]]:
    """Ascending numbers as [first, one past the last] of each run of neighbours."""
    if not len(places):
        return []
    breaks = np.flatnonzero(np.diff(places) != 1)
    first, last = places[np.append(0, breaks + 1)], places[np.append(breaks, len(places) - 1)]
    return [[int(a), int(b) + 1] for a, b in zip(first, last, strict=True)]


def trim(network: Network) -> Trimmed:
    """The same network without dead neurons; `network` is lowered, of floats or of integers."""
    found = more = _trimmed(network)
    while more.kept or more.synapses:  # a convolution that is gone may free single neurons of what it led from
        more = _trimmed(found.network)
        found = _both(found, more)
    return found


def _both(first: Trimmed, then: Trimmed) -> Trimmed:
    """What two looks, one after the other, have found."""
    kept = dict(first.kept)
    for name, places in then.kept.items():
        kept[name] = first.kept[name][places] if name in first.kept else places
    return Trimmed(
        then.network,
        kept,
        {name: first.silent.get(name, 0) + then.silent.get(name, 0) for name in kept},
        {name: first.unread.get(name, 0) + then.unread.get(name, 0) for name in kept},
        first.synapses + then.synapses,
    )


def _trimmed(network: Network) -> Trimmed:
    """What one look finds."""
    alive = _alive(network)
    keep = _needed(network, alive)
    trimmed = _cut(network, alive, keep)
    lost = [p.name for p in network.layers if not keep[p.name].all()]
    return Trimmed(
        trimmed,
        {name: np.flatnonzero(keep[name]) for name in lost},
        {name: int(np.sum(~alive[name] & ~keep[name])) for name in lost},
        {name: int(np.sum(alive[name] & ~keep[name])) for name in lost},
        _synapses(network) - _synapses(trimmed),
    )


def _synapses(network: Network) -> int:
    return sum(ops.count(p.op, network[p.pre].shape) for p in network.projections)


class _Budget:
    """Counts the synapses that a search looks at."""

    def __init__(self, network: Network) -> None:
        # A projection costs something even if it is empty.
        self._cost = {p.name: ops.count(p.op, network[p.pre].shape) + (1 << 12) for p in network.projections}
        self._left = max(WORK, ROUNDS * sum(self._cost.values()))

    def spent(self, projections: Iterable[Projection]) -> bool:
        """Whether a look at these, too, is too much."""
        self._left -= sum(self._cost[p.name] for p in projections)
        return self._left < 0


def _alive(network: Network) -> Flags:
    """Neurons that may spike: the least set that is closed under "what feeds it may make it spike"."""
    alive = {p.name: np.full(p.size, p.neuron == "input") for p in network.populations}
    budget, changed = _Budget(network), True
    while changed:
        changed = False
        for population in network.layers:
            known = alive[population.name]
            if known.all():
                continue
            if budget.spent(network.into(population.name)):
                return {p.name: np.ones(p.size, bool) for p in network.populations}
            found = known | _may_spike(network, population, alive)
            changed |= bool(np.any(found != known))
            alive[population.name] = found
    return alive


def _may_spike(network: Network, population: Population, alive: Flags) -> np.ndarray:
    """Whether neurons may spike if those that are alive may, (size,)."""
    fed = np.zeros(population.size, bool)
    up, down = np.zeros(population.size), np.zeros(population.size)
    for projection in network.into(population.name):
        op, shape = projection.op, network[projection.pre].shape
        sources = alive[projection.pre].astype(np.float64)
        if network[projection.pre].neuron in ("input", GRADED):  # of which no bound on values is known
            fed |= ops.apply(_magnitude(op), sources, shape) > 0
        else:
            up += ops.apply(_part(op, 1), sources, shape)
            down += ops.apply(_part(op, -1), sources, shape)
    if population.neuron == "cuba_fixed":
        # Sums of 16-bit weights are exact in float64.
        return fed | _integers_may_spike(population, up.astype(np.int64), down.astype(np.int64))
    return fed | _floats_may_spike(network, population, up, down)


def _integers_may_spike(population: Population, up: np.ndarray, down: np.ndarray) -> np.ndarray:
    """Whether neurons may spike if their input lies within -down .. up in every step.

    With d the decay of u, A = up << 6 and E = down << 6, the current obeys -L(E) <= u <= L(A) with
    L(x) = floor((x - 1) 4096 / d) + 1: it is the least number at which the decay takes off x. If no current
    wraps, the membrane is below that of a constant drive D = L(A) + bias. That one is 0 for D <= 0; else it grows
    until a step of the decay takes off D, and passes the threshold T if and only if D > ceil(T dv / 4096).
    """
    p = integer_params(population)
    upper, lower = _largest(up << UNIT, p["u_decay"]), _largest(down << UNIT, p["u_decay"])
    threshold = p["threshold"] << UNIT
    drive = upper + (p["bias"] << UNIT)
    taken = -((-threshold * p["v_decay"]) >> DECAY)
    rises = (drive > 0) & (drive > taken) & (threshold < RANGE - 1)  # v stays below RANGE
    return (upper > RANGE) | (lower >= RANGE) | (threshold < 0) | rises


def _largest(total: np.ndarray, decay: np.ndarray) -> np.ndarray:
    """L of above; without decay currents grow without end, here beyond RANGE."""
    bound = np.where(decay > 0, ((total - 1) << DECAY) // np.maximum(decay, 1) + 1, RANGE + 1)
    return np.where(total > 0, bound, 0)


def _floats_may_spike(network: Network, population: Population, up: np.ndarray, down: np.ndarray) -> np.ndarray:
    """Whether float neurons may spike: those that are driven up by anything, and all whose rest is not silence."""
    if population.neuron not in SPIKING or population.semantics.start != "zero":
        return np.ones(population.size, bool)
    form = discretise(population, network.dt)
    gain, level = form.gain.ravel(), form.drive.ravel()
    for projection in network.into(population.name):
        bias = ops.bias_of(projection.op, network[projection.pre].shape)
        level = level if bias is None else level + gain * bias
    rests = (form.alpha >= 0) & (form.beta >= 0) & (population.params["v_threshold"] > 0)
    return ~rests.ravel() | (level > 0) | (np.where(gain > 0, up, down) > 0)


def _part(op: Linear | Conv2d, sign: int) -> Linear | Conv2d:
    """The magnitudes of the weights of one sign."""

    def of(values: np.ndarray) -> np.ndarray:
        return np.maximum(sign * values.astype(np.float64), 0)

    return replace(op, weight=of(op.weight)) if isinstance(op, Conv2d) else _with_data(op, of(op.weight.data))


def _magnitude(op: Linear | Conv2d) -> Linear | Conv2d:
    if isinstance(op, Conv2d):
        return replace(op, weight=(op.weight != 0).astype(np.float64))
    return _with_data(op, np.ones(op.weight.nnz))


def _with_data(op: Linear, data: np.ndarray) -> Linear:
    w = op.weight
    return Linear(type(w)((data, w.indices, w.indptr), shape=w.shape))


def _needed(network: Network, alive: Flags) -> Flags:
    """Neurons that stay: what is read out, and whatever may spike and leads to what stays and may spike."""
    channels = _channels(network)
    whole = {*(p.name for p in network.inputs), *network.outputs, *(n for n, c in channels.items() if len(c) > 1)}
    kernels = [(p, p.op) for p in network.projections if isinstance(p.op, Conv2d)]
    keep = {p.name: np.full(p.size, p.name in whole) for p in network.populations}
    out: dict[str, list[Projection]] = {p.name: [] for p in network.populations}
    for projection in network.projections:
        out[projection.pre].append(projection)
    budget, changed = _Budget(network), True
    while changed:
        changed = False
        for population in reversed(network.layers):
            name = population.name
            if keep[name].all():
                continue
            if budget.spent(out[name]):
                return {p.name: np.ones(p.size, bool) for p in network.populations}
            found = keep[name].copy()
            for projection in out[name]:
                found |= _read(network, projection, keep[projection.post] & alive[projection.post])
            found &= alive[name] | keep[name]
            if name in channels:
                (count,) = channels[name]
                found = np.repeat(_any(found, count), population.size // count)
            changed |= bool(np.any(found != keep[name]))
            keep[name] = found
        for projection, op in kernels:
            changed |= _keep_groups(network, projection, op, keep)
    return keep


def _channels(network: Network) -> dict[str, set[int]]:
    """Populations that convolutions lead into or out of -> how many channels these see there, one number or several."""
    found: dict[str, set[int]] = {}
    for projection in network.projections:
        if isinstance(op := projection.op, Conv2d):
            found.setdefault(projection.pre, set()).add(op.weight.shape[1] * op.groups)
            found.setdefault(projection.post, set()).add(op.weight.shape[0])
    return found


def _any(flags: np.ndarray, channels: int) -> np.ndarray:
    """Whether one of each channel is set."""
    return np.asarray(flags.reshape(channels, -1).any(axis=1))


def _read(network: Network, projection: Projection, readers: np.ndarray) -> np.ndarray:
    """Sources with a synapse on one of the `readers`; of a convolution all of a channel."""
    op, pre = projection.op, network[projection.pre]
    found = np.zeros(pre.size, bool)
    if isinstance(op, Linear):
        found[op.weight.indices[np.repeat(readers, np.diff(op.weight.indptr))]] = True
        return found
    chosen = _any(readers, len(op.weight))
    read = ops.input_channels(op)[chosen][op.weight[chosen].any(axis=(2, 3))]
    found.reshape(pre.shape[0], -1)[read] = True
    return found


def _keep_groups(network: Network, projection: Projection, op: Conv2d, keep: Flags) -> bool:
    """Keep all of a group, sources and targets, of which anything stays; whether that changed anything."""
    if op.groups == 1:
        return False
    ends = [keep[name].reshape(op.groups, -1) for name in (projection.pre, projection.post)]
    stays = ends[0].any(axis=1) | ends[1].any(axis=1)
    changed = False
    for name, end in zip((projection.pre, projection.post), ends, strict=True):
        changed |= not np.all(end[stays])
        keep[name] = np.repeat(stays, end.shape[1])
    return changed


def _cut(network: Network, alive: Flags, keep: Flags) -> Network:
    channels = _channels(network)
    populations = {
        p.name: _cut_population(p, keep[p.name], channels.get(p.name, {0}))
        for p in network.populations
        if keep[p.name].any()
    }
    projections = []
    for projection in network.projections:
        if projection.post in populations:
            op = _cut_op(projection.op, *((keep[n], alive[n]) for n in (projection.pre, projection.post)))
            if projection.pre in populations:
                projections.append(replace(projection, ops=(op,)))
            elif op.bias is not None:  # which the sources that are gone had nothing to do with
                size = populations[projection.post].size
                bias = op.bias if isinstance(op, Linear) else np.repeat(op.bias, size // len(op.bias))
                start = network.inputs[0]
                projections.append(bias_alone(start.name, start.size, projection, bias))
    return replace(network, populations=tuple(populations.values()), projections=tuple(projections))


def _cut_population(population: Population, keep: np.ndarray, channels: set[int]) -> Population:
    if keep.all():
        return population
    shape: Shape = (int(keep.sum()),)
    if len(population.shape) > 1 and channels == {population.shape[0]}:
        places = math.prod(population.shape[1:])
        shape = (shape[0] // places, *population.shape[1:])
    params = {name: value.ravel()[keep].reshape(shape) for name, value in population.params.items()}
    return replace(population, shape=shape, params=params)


def _cut_op(
    op: Linear | Conv2d, pre: tuple[np.ndarray, np.ndarray], post: tuple[np.ndarray, np.ndarray]
) -> Linear | Conv2d:
    """The operation between what stays. pre, post: which neurons stay, and which may spike."""
    (sources, firing), (targets, driven) = pre, post
    if all(flags.all() for flags in (*pre, *post)):
        return op
    if isinstance(op, Linear):
        weight = op.weight.copy()
        weight.data[~np.repeat(driven, np.diff(weight.indptr)) | ~firing[weight.indices]] = 0
        bias = None if op.bias is None else op.bias[targets]
        return Linear(ops.canonical(weight[targets][:, sources]), bias)
    out = len(op.weight)
    channel, speaks = _any(targets, out), _any(driven, out)
    heard = _any(firing, op.groups * op.weight.shape[1])[ops.input_channels(op)] & speaks[:, None]
    weight = op.weight * heard[:, :, None, None]
    bias = None if op.bias is None else op.bias[channel]
    if op.groups > 1:
        return replace(op, weight=weight[channel], bias=bias, groups=int(channel.reshape(op.groups, -1)[:, 0].sum()))
    stays = _any(sources, op.weight.shape[1])
    return replace(op, weight=np.ascontiguousarray(weight[channel][:, stays]), bias=bias)
