"""A case of the differential suite: a network, what is fed to it, and what it is about.

Builders register themselves by :func:`case`; ``suite_networks.py`` gathers them.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from integer_chains import spikes
from suite_refusals import refused

from snnc.network import Network

Rng = np.random.Generator
Build = Callable[[Rng], "Network | tuple[Network, np.ndarray]"]


@dataclass(frozen=True, eq=False)
class Case:
    """One network of the suite.

    about: in words. spikes: integers (samples, steps, *shape of the input). shows: what it is there for, each a name
    that ``suite_features.py`` finds in the network or its run. refused: route -> words of the reason, for each of
    "net" and "program" that cannot hold the network. sparse: run a ``.net`` in Lava's Sparse process. quick: in the
    part that runs everywhere.
    """

    name: str
    about: str
    network: Network
    spikes: np.ndarray
    shows: frozenset[str]
    refused: dict[str, str]
    sparse: bool
    quick: bool


REGISTERED: dict[str, Callable[[], Case]] = {}
QUICK: list[str] = []


def case(
    *shows: str,
    rate: float = 0.2,
    samples: int = 3,
    steps: int = 10,
    net: str | None = "",
    program: str = "",
    sparse: bool = False,
    quick: bool = False,
    name: str = "",
) -> Callable[[Build], Build]:
    """Register a builder of a network, which may bring its own spikes.

    The builder gets a generator of its own, seeded by its name. rate: of spikes of the input. net, program: words with
    which that route refuses the network; where `net` is None, both are worked out. name: where it is not that of the
    builder.
    """

    def register(build: Build) -> Build:
        known = name or build.__name__.replace("_", "-")
        assert known not in REGISTERED, f"two cases are named {known}"

        @cache
        def make() -> Case:
            rng = np.random.default_rng(zlib.crc32(known.encode()))
            built = build(rng)
            network, data = built if isinstance(built, tuple) else (built, None)
            if data is None:
                data = spikes(rng, samples, steps, network.inputs[0].shape, rate)
            told = {route: words for route, words in (("net", net), ("program", program)) if words}
            about = (build.__doc__ or "").strip()
            return Case(
                known, about, network, data, frozenset(shows), refused(network) if net is None else told, sparse, quick
            )

        REGISTERED[known] = make
        if quick:
            QUICK.append(known)
        return build

    return register


def mixed(rng: Rng, *shape: int, limit: int = 127) -> np.ndarray:
    """Weights of both signs."""
    return rng.integers(-limit, limit + 1, shape)


def ticket(rng: Rng, *shape: int, density: float = 0.1) -> np.ndarray:
    """The few weights that pruning left."""
    return mixed(rng, *shape) * (rng.random(shape) < density)
