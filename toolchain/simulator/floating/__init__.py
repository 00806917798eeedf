"""The float network in float64: what the compiled network is held against.

A population's input x is the sum of what its projections deliver (:mod:`.chain`), its neurons are
those of :mod:`snnc.euler` with the semantics of the population (:mod:`.neurons`). All state is as
`Semantics.start` says before each sample.

The form matters for rounding: snntorch computes ``beta * mem + x``, not ``v + dt/tau (...)``. A
network read from it has tau = dt/(1-beta) and r = tau/dt, whence gain is exactly 1 and beta comes
back to within one unit in the last place; what remains is the order in which sums are taken, here
that of the sources, for any number of samples at once.

Populations that are in no loop take all time steps at once, which is a few long calls; those of a
loop go step by step.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from graphlib import TopologicalSorter

import numpy as np
from scipy import sparse

from snnc.errors import InputError, UsageError
from snnc.network import SPIKING, Network, Projection
from snnc.simulator.floating.chain import Chain
from snnc.simulator.floating.neurons import Neurons, neurons
from snnc.simulator.floating.watch import Watch


def simulate(
    network: Network,
    inputs: np.ndarray | Mapping[str, np.ndarray],
    keep: Collection[str] | None = None,
    watch: Watch | None = None,
) -> dict[str, np.ndarray]:
    """What every population of a float network puts out, the inputs included.

    inputs: what is fed in, (samples, steps, *shape of the input), spikes or values; of a network with several
    inputs one array for each by name, equal in samples and steps. keep: names of the populations that are
    wanted; None = all. watch: looks on.

    Returns name -> (samples, steps, *shape): bool for spikes, int32 for several per step, float64 for values
    that are passed on. InputError where shapes do not match or a neuron has no float equation; UsageError for an
    unknown name.
    """
    values = _fed(network, inputs)
    samples, steps = next(iter(values.values())).shape[1::-1]
    if unknown := sorted(set(keep or ()) - set(network.rank)):
        raise UsageError(
            f"there is no layer '{unknown[0]}'", where=network.name, fix=f"known: {', '.join(network.rank)}"
        )
    wanted = set(network.rank) if keep is None else set(keep)
    models = {p.name: neurons(p, network.dt, samples) for p in network.layers}
    result: dict[str, np.ndarray] = {}
    groups = list(_groups(network))
    for number, group in enumerate(groups):
        if group[0] not in values:
            values |= _Group(network, group, models, values, samples, steps, watch).run()
        later = {p.pre for g in groups[number + 1 :] for name in g for p in network.into(name)}
        for name in [n for n in values if n not in later]:
            value = values.pop(name)
            if name in wanted:
                result[name] = _outward(network, name, value)
    return {name: result[name] for name in network.rank if name in result}


def _fed(network: Network, inputs: np.ndarray | Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Each input as (steps, samples, size), uint8 for spikes and float64 for values."""
    names = [p.name for p in network.inputs]
    if not isinstance(inputs, Mapping):
        if len(names) != 1:
            raise InputError(
                f"the network has {len(names)} inputs ({', '.join(names) or 'none'}); give one array for each by name",
                where=network.name,
            )
        inputs = {names[0]: inputs}
    if set(inputs) != set(names):
        raise InputError(
            f"data are given for {', '.join(inputs)}; the inputs are {', '.join(names)}", where=network.name
        )
    arrays = {}
    for name in names:
        array, shape = np.asarray(inputs[name]), network[name].shape
        if array.shape[2:] != shape:
            raise InputError(f"the data have shape {array.shape[2:]} per step, the input '{name}' {shape}")
        flat = array.reshape(*array.shape[:2], -1).swapaxes(0, 1)
        binary = array.dtype.kind in "bu" and (array.dtype == bool or array.max(initial=0) <= 1)
        arrays[name] = np.ascontiguousarray(flat, np.uint8 if binary else np.float64)
    if len({a.shape[:2] for a in arrays.values()}) != 1:
        raise InputError("the inputs differ in their number of samples or steps", where=network.name)
    return arrays


def _groups(network: Network) -> Iterator[list[str]]:
    """Populations that depend on each other through loops, each set in network order, the sets in forward order."""
    rank = network.rank
    size = len(rank)
    ends = np.array([(rank[p.pre], rank[p.post]) for p in network.projections], np.int64).reshape(-1, 2)
    links = sparse.coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(size, size))
    count, member = sparse.csgraph.connected_components(links, connection="strong")
    order: TopologicalSorter[int] = TopologicalSorter({int(k): () for k in range(count)})
    for a, b in member[ends]:
        if a != b:
            order.add(int(b), int(a))
    names = list(rank)
    for component in order.static_order():
        yield [names[k] for k in np.flatnonzero(member == component)]


def _outward(network: Network, name: str, value: np.ndarray) -> np.ndarray:
    """A record (steps, samples, size) as it is seen from outside: (samples, steps, *shape)."""
    population = network[name]
    if population.semantics.output == "next":
        value = np.concatenate([np.zeros_like(value[:1]), value[:-1]])
    if value.dtype == np.uint8:
        value = value.view(bool)
    return np.ascontiguousarray(value.swapaxes(0, 1)).reshape(value.shape[1], value.shape[0], *population.shape)


class _Group:
    """Populations that are simulated together; one population in no loop takes all steps at once."""

    def __init__(
        self,
        network: Network,
        names: list[str],
        models: Mapping[str, Neurons],
        values: Mapping[str, np.ndarray],
        samples: int,
        steps: int,
        watch: Watch | None,
    ) -> None:
        self.watch = watch
        self.network, self.names, self.models = network, names, models
        self.samples, self.steps = samples, steps
        self.values = dict(values)
        self.inner: dict[str, list[tuple[Projection, Chain]]] = {}
        self.outer: dict[str, list[tuple[Projection, Chain]]] = {}
        for name in names:
            chains = [(p, Chain(p, network[p.pre].shape, watch)) for p in network.into(name)]
            self.inner[name] = [c for c in chains if c[0].pre in names]
            self.outer[name] = [c for c in chains if c[0].pre not in names]

    def run(self) -> dict[str, np.ndarray]:
        """Output of each population, (steps, samples, size)."""
        drive = {name: self._from_outside(name) for name in self.names}
        record = {
            name: np.zeros((self.steps, self.samples, self.network[name].size), self.models[name].output)
            for name in self.names
        }
        self.values |= record
        for t in range(self.steps):
            for name in self.names:
                x = drive[name][t]
                for projection, chain in self.inner[name]:
                    lag = self.network.lag(projection)
                    source = self.values[projection.pre]
                    x = x + chain.step(source[t - lag] if t >= lag else np.zeros_like(source[0]), t)
                record[name][t] = self.models[name].step(x)
                if self.watch is not None and self.network[name].neuron in SPIKING:
                    self.watch.membranes(name, self.models[name].membrane)
        return record

    def _from_outside(self, name: str) -> np.ndarray:
        """What other groups deliver in all steps, (steps, samples, size)."""
        total: np.ndarray | None = None
        for projection, chain in self.outer[name]:
            lag, source = self.network.lag(projection), self.values[projection.pre]
            if lag:
                source = np.concatenate([np.zeros_like(source[:lag]), source[:-lag]])
            delivered = chain.run(source).astype(np.float64, copy=False)
            total = delivered if total is None else total + delivered
        if total is None:
            total = np.zeros((self.steps, self.samples, self.network[name].size))
        return total
