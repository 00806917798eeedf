"""The state of a compilation as it flows through the passes.

A pass takes a :class:`Compilation` and returns a new one. What it found out goes into
`log` under its own name, as plain data that the image keeps and the report shows.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np

from snnc.errors import UsageError
from snnc.network import Network
from snnc.quantization.grid import Tune
from snnc.resources import Usage
from snnc.samples import Samples
from snnc.simulator import Run
from snnc.target import Target

Map = Literal["auto", "layers", "hypergraph"]
Optimize = Literal["cores", "traffic", "latency"]
Scales = Literal["auto", "layer"]


@dataclass(frozen=True)
class Options:
    """What the user chooses for one compilation.

    bits: signed width of the weights, 1..8; of 1 bit the sign alone. scales: one for each layer, or more where
    they help. seed: of everything random. max_drop: accuracy that may be
    lost against the float network, in points (0.5 = half a percent); None = report only. approximate: replace
    what neurons do that the target cannot, such as a reset by subtraction, by what comes nearest.
    map: how neurons are put on cores: in layer order, by hypergraph partitioning, or by the better of both.
    optimize: what for. cores: how many of them to use, at least; None = by `optimize`. chips: how many may be
    used at most; None = all of the board. balance: even out the synapses of the cores.
    """

    bits: int = 8
    scales: Scales = "auto"
    seed: int = 0
    max_drop: float | None = None
    approximate: bool = False
    map: Map = "auto"
    optimize: Optimize = "traffic"
    cores: int | None = None
    chips: int | None = None
    balance: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 8:
            raise UsageError(f"weights of {self.bits} bits are not possible", fix="choose --bits 1 to 8")
        if self.max_drop is not None and not self.max_drop >= 0:
            raise UsageError(f"a drop of {self.max_drop} points makes no sense", fix="choose --max-drop 0 or more")
        for name, choices in (("map", get_args(Map)), ("optimize", get_args(Optimize)), ("scales", get_args(Scales))):
            if getattr(self, name) not in choices:
                raise UsageError(f"unknown {name} '{getattr(self, name)}'", fix=f"choose --{name} {', '.join(choices)}")
        for name in ("cores", "chips"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{value} {name} are none", fix=f"choose --{name} 1 or more")

    @property
    def maps(self) -> bool:
        """Whether anything is asked of the mapping that a search has to find."""
        usual = Options()
        return any(getattr(self, name) != getattr(usual, name) for name in ("map", "optimize", "cores", "balance"))


@dataclass(frozen=True, eq=False)
class Compilation:
    """Everything known so far.

    source: the network as it was read. network: the current form of it. lowered: the float network that was
    quantised, None before.
    kept: of layers of `network` that lost neurons, where those that are left were in the layer as it was read, flat
    and ascending; lowered_kept: the same of `lowered`.
    samples: calibration data, or None. tune: trains the integers, None where nobody asked for it. groups: the core of
    each neuron of a layer of `source`, int32 (size,), that the network was made for; None: a search finds them. run:
    the quantised network on the samples (on random spikes without), None before profile. core_of, site_of: as in
    :class:`snnc.image.Mapping`, None before partition and place; usage: of the cores under `core_of`.
    """

    source: Network
    network: Network
    target: Target
    options: Options = Options()
    samples: Samples | None = None
    tune: Tune | None = None
    groups: Mapping[str, np.ndarray] | None = None
    lowered: Network | None = None
    kept: Mapping[str, np.ndarray] = field(default_factory=dict)
    lowered_kept: Mapping[str, np.ndarray] = field(default_factory=dict)
    run: Run | None = None
    core_of: np.ndarray | None = None
    usage: Usage | None = None
    site_of: np.ndarray | None = None
    log: Mapping[str, Any] = field(default_factory=dict)

    @property
    def rates(self) -> np.ndarray:
        """Spikes per step of each neuron, float64 (neurons,); after profile."""
        assert self.run is not None
        return self.run.spikes.mean(axis=0) / self.run.steps

    def places(self, name: str, *, lowered: bool = False) -> np.ndarray:
        """Where the neurons of a layer of `network` were in that layer of `source`, or of `lowered`; flat, ascending.

        With these places a float network and the integer one, which may have lost neurons, are compared.
        """
        kept = self.kept.get(name, np.arange(self.network[name].size))
        before = self.lowered_kept.get(name)
        return np.searchsorted(before, kept) if lowered and before is not None else kept

    def found(self, **entries: Any) -> Compilation:
        """The same state with more in the log."""
        return replace(self, log={**self.log, **entries})


@dataclass(frozen=True, eq=False)
class Stopped:
    """Where a compilation ended early: the pass that failed, the state before it, and what each pass so far took."""

    name: str
    state: Compilation
    spent: Mapping[str, Spent]


@dataclass(frozen=True)
class Spent:
    """What a pass or another stage took: wall time, and the most memory of this process until it ended."""

    seconds: float
    peak_mib: float

    @classmethod
    def since(cls, begin: float) -> Spent:
        """Of what began at `begin` by time.perf_counter() and ends now."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        scale = 1 << 20 if sys.platform == "darwin" else 1 << 10  # bytes there, KiB on Linux
        return cls(time.perf_counter() - begin, peak / scale)
