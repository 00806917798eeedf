"""One instance: map it, cut it by METIS, place everything, count everything. Each step in a process of its own."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from snnc import ops, traffic
from snnc import target as chips
from snnc.compilation import Compilation, Map, Options
from snnc.errors import SnncError
from snnc.network import Network
from snnc.passes import partition, place, refine, route
from snnc.simulator import Run
from snnc.target import Grid, Target
from tests import core_counts
from tests.instances import baselines, bound, families, npz
from tests.instances.child import GIB, Failed, call, metered
from tests.instances.families import Instance

OURS, LAYERS = "snnc", "layer order"
METIS = tuple(baselines.OBJECTIVES)
METHODS = (LAYERS, *METIS, OURS)

SLACK = 1.03
"""By how much a core may be fuller than the mean one; METIS's own tolerance."""
SECONDS, MEMORY = 20 * 60, 20
"""Limits of each mapping, in s and GiB; the memory is that of METIS."""


@dataclass(frozen=True)
class Source:
    """What is mapped. whole: name of a bundled instance, or a file. tickets: folder of those that were found before.

    cores: how many; "auto": as many as it needs; None: as the instance says.
    """

    whole: str | Path
    tickets: Path = families.TICKETS
    cores: int | Literal["auto"] | None = None
    target: str = "loihi"

    @property
    def name(self) -> str:
        return self.whole.stem if isinstance(self.whole, Path) else self.whole

    def load(self, say: Callable[[str], None] = lambda text: None) -> tuple[Instance, Target]:
        """The instance, and the chip it is mapped to."""
        made = npz.read(self.whole, say) if isinstance(self.whole, Path) else families.build(self.whole, self.tickets)
        if self.cores is not None:
            made = replace(made, cores=None if self.cores == "auto" else self.cores)
        return made, chip(self.target, made)


def chip(name: str, instance: Instance) -> Target:
    """The chip of that name, its cores no larger than the instance asks for."""
    target = chips.load(name)
    if instance.cores is None:
        return target
    fair = math.ceil(SLACK * instance.network.size / instance.cores)
    neurons = msgspec.structs.replace(target.core.neurons, value=min(fair, target.core.neurons.value))
    return msgspec.structs.replace(target, core=msgspec.structs.replace(target.core, neurons=neurons))


@dataclass(frozen=True, eq=False)
class Mapped:
    """A mapping. core_of, site_of: as in snnc.image.Mapping; site_of None where the chip has too few cores.

    seconds: that it took. peak: bytes it needed beyond the network, whole: all in all.
    """

    core_of: np.ndarray
    site_of: np.ndarray | None = None
    seconds: float = math.nan
    peak: int = 0
    whole: int = 0


@dataclass(frozen=True)
class Cost:
    """What a mapping costs per step: spikes that leave a core, hops, load of the hottest link (nan: not placed).

    broken: limits of a core that are exceeded.
    """

    traffic: float
    hops: float
    hottest: float
    cores: int
    broken: tuple[str, ...]
    seconds: float
    peak: int
    whole: int


@dataclass(frozen=True)
class Score:
    """All mappings of one instance. bound: the fewest cores that could do, resource: that says so."""

    name: str
    neurons: int
    synapses: int
    bound: int
    resource: str
    costs: Mapping[str, Cost | Failed]


def score(source: Source) -> Score:
    """Everything about one instance; what came to nothing says why."""
    found: dict[str, Mapped | Failed] = {OURS: call(_ours, source, "auto", seconds=SECONDS)}
    found[LAYERS] = call(_ours, source, "layers", seconds=SECONDS)
    mine = found[OURS]
    if isinstance(mine, Mapped):
        for objective in METIS:
            used = int(mine.core_of.max()) + 1
            found[objective] = call(_metis, source, objective, used, seconds=SECONDS, gib=MEMORY)
    else:
        found |= {objective: Failed("no number of cores") for objective in METIS}
    return call(_measure, source, {name: found[name] for name in METHODS}, seconds=None)


def _ours(source: Source, method: Map) -> Mapped | Failed:
    warm = families.join("warm", [(8,), (8,)], [ops.Linear(ops.canonical(np.eye(8, dtype=np.int16)))])
    # Imports and compiles what is needed.
    run_passes(warm, np.ones(16), chips.load(source.target), Options(map=method, cores=2))
    instance, target = source.load(partial(print, file=sys.stderr))
    with metered() as meter:
        try:
            options = Options(map=method, cores=instance.cores)
            state = run_passes(instance.network, instance.rates, target, options)
        except SnncError as error:
            return Failed(f"{error.where}: {error.message}")
    assert state.core_of is not None
    return Mapped(state.core_of, state.site_of, meter.seconds, meter.peak, meter.whole)


def run_passes(network: Network, rates: np.ndarray, target: Target, options: Options) -> Compilation:
    """What the compiler does with an integer network whose rates are known."""
    counted = Run(network.name, 1, rates[None], *[np.zeros((1, 0))] * 8, rasters={}, traces={})
    state = Compilation(network, network, target, options, run=counted)
    state = partition.run(state)
    assert state.core_of is not None
    if state.core_of.max() >= target.grid.cores:
        return state
    return route.run(refine.run(place.run(state)))


def _metis(source: Source, objective: str, cores: int) -> Mapped | Failed:
    instance, _ = source.load()
    with metered() as meter:
        used = cores if instance.cores is None else min(instance.cores, instance.network.size)
        try:
            core_of = baselines.metis(instance.network, instance.rates, used, objective)
        except RuntimeError:  # all that pymetis says, whatever it is; METIS itself has printed why
            return Failed(f"gave up (of {MEMORY} GiB)")
    return Mapped(core_of, None, meter.seconds, meter.peak, meter.whole)


def _measure(source: Source, mappings: dict[str, Mapped | Failed]) -> Score:
    instance, target = source.load()
    network = instance.network
    costs = {
        name: m if isinstance(m, Failed) else _cost(instance, target, m, ours=name == OURS)
        for name, m in mappings.items()
    }
    synapses = sum(ops.matrix(p.op, network[p.pre].shape).nnz for p in network.projections)
    fewest, resource = bound.cores(network, target)
    return Score(instance.name, network.size, synapses, fewest, resource, costs)


def _cost(instance: Instance, target: Target, mapped: Mapped, *, ours: bool) -> Cost:
    counts = core_counts.count(instance.network, mapped.core_of, target)
    flows = counts.flows(mapped.core_of, instance.rates)
    site_of = mapped.site_of if ours else _placed(flows, target.grid)
    hops = hottest = math.nan
    if site_of is not None:
        x, y = traffic.distances(site_of, target.grid)
        hops = float((flows * (x + y)).sum())
        hottest = max(float(links.max(initial=0)) for links in traffic.link_loads(flows, site_of, target.grid))
    broken = tuple(counts.broken(target))
    return Cost(float(flows.sum()), hops, hottest, len(flows), broken, mapped.seconds, mapped.peak, mapped.whole)


def _placed(flows: np.ndarray, grid: Grid) -> np.ndarray | None:
    if len(flows) > grid.chip_cores:
        return None
    x, y = traffic.distances(np.arange(grid.chip_cores), grid)
    return baselines.faq(flows, (x + y).astype(np.float64))


def gib(size: float) -> float:
    """Bytes in GiB."""
    return size / GIB
