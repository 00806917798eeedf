"""Networks that hypothesis draws, always the same ones: chains for a ``.net``, and any wiring."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import numpy as np
from hypothesis import HealthCheck, Phase, assume, given, seed, settings
from hypothesis import strategies as st
from integer_chains import chain
from integer_networks import networks, operations, recordings
from suite_case import REGISTERED, Case
from suite_features import of

from snnc.network import READ_OUT, Network, Population
from snnc.ops import Linear
from snnc.simulator import reference

Drawn = tuple[Network, np.ndarray]
LIMITS = (1, 20, 127)
ENOUGH = 8
"""Spikes of each layer."""

COUNTS = {"chain": 8, "graph": 16}
"""How many there are of each kind."""


@st.composite
def chains(draw: st.DrawFn) -> Drawn:
    """One to three layers, matrices and convolutions, with one set of registers each."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    limit = draw(st.sampled_from(LIMITS))
    shape = first = draw(st.sampled_from([(7,), (2, 6, 5), (4, 4, 7), (2, 9)]))
    layers = []
    for _ in range(draw(st.integers(1, 3))):
        op = draw(operations(shape, rng, limit))
        shape = op.output_shape(shape)
        decay = st.sampled_from([0, 1, 300, 4095, 4096])
        params = {
            "u_decay": draw(decay),
            "v_decay": draw(decay),
            "threshold": draw(st.sampled_from([0, limit, 2 * limit])),
            "bias": rng.integers(-limit, limit + 1, shape) if draw(st.booleans()) else 0,
        }
        layers.append((op, params))
    return _spiking(draw, chain(first, *layers))


@st.composite
def graphs(draw: st.DrawFn) -> Drawn:
    """Any wiring of any neurons."""
    network = draw(networks(limits=LIMITS))
    assume(len(network.projections) > 1)
    return _spiking(draw, replace(network, populations=tuple(map(_narrow, network.populations))))


def _narrow(population: Population) -> Population:
    """The population with biases that Lava's register holds."""
    if "bias" not in population.params:
        return population
    return replace(population, params={**population.params, "bias": population.params["bias"].clip(-4096, 4095)})


def _spiking(draw: st.DrawFn, network: Network) -> Drawn:
    """The network and spikes by which each of its layers spikes, too."""
    data = draw(recordings(network.inputs[0].shape))
    assume(data.shape[1] > 3)
    found = reference.simulate(network, data[:3])
    assume(all(np.count_nonzero(found[p.name]) >= ENOUGH for p in network.layers))
    assume(any(not found[p.name].all() for p in network.layers if p.neuron != READ_OUT))
    return network, data[:3]


@cache
def drawn(kind: str, number: int) -> Drawn:
    """One network of a kind; each number is a seed of its own."""
    found: list[Drawn] = []

    # What hypothesis tries first is the smallest of all networks, which all seeds share, where it passes.
    @seed(number)
    @settings(
        max_examples=2,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(KINDS[kind]())
    def collect(one: Drawn) -> None:
        found.append(one)

    collect()
    return found[-1]


def _register(kind: str, number: int) -> None:
    name = f"drawn-{kind}-{number}"

    @cache
    def make() -> Case:
        network, data = drawn(kind, number)
        about = f"The {kind} that hypothesis draws from seed {number}."
        return Case(name, about, network, data, frozenset(), refused(network), False, False)

    REGISTERED[name] = make


NETX = {
    "own thresholds": "threshold differs",
    "own decays": "decay differs",
    "feedback": "back to '.*'; in netx",
    "adaptive": "its neurons adapt",
    "graded": "its spikes carry values",
    "refractory": "its neurons rest",
    "delayed conv": "delays of convolutions",
    **dict.fromkeys(("join", "branch", "short cut", "unfed"), "netx runs chains"),
}
"""What of :data:`suite_features.FEATURES` a ``.net`` cannot hold, and in which words the refusal says so."""


def refused(network: Network) -> dict[str, str]:
    """Route -> words of all reasons for which it cannot hold a network, of those that are drawn here."""
    found = of(network)
    net = [words for feature, words in NETX.items() if feature in found]
    for population in network.layers:
        net += _crowded(network, population)
    program = [
        "pipeline"
        for p in network.projections
        if p.op.taps and max(network.depths[p.post], 0) - max(network.depths[p.pre], 0) + network.lag(p) < 1
    ]
    return {route: "|".join(words) for route, words in (("net", net), ("program", program)) if words}


def _crowded(network: Network, population: Population) -> Iterator[str]:
    """What netx cannot hold of the synapses that lead to one population."""
    loops = [p for p in network.into(population.name) if p.pre == population.name]
    forward = [p for p in network.into(population.name) if p.pre != population.name]
    joined = []
    for group in (forward, loops):
        if len({p.pre for p in group}) > 1:
            return  # a join, which is reason enough
        weights = [p.op.weight for p in group if isinstance(p.op, Linear)]
        if len(weights) < len(group) > 1:
            yield "side by side"
        elif weights:
            joined.append(sum(weights))
            if joined[-1].nnz < sum(w.nnz for w in weights):
                yield "two synapses join"
    if loops and not all(isinstance(p.op, Linear) for p in (*forward, *loops)):
        yield "which in netx dense layers do"
    if loops and any(p.delay for p in (*forward, *loops)):
        yield "feeds back to itself and has delays"
    values = np.concatenate([w.data for w in joined]) if joined else np.zeros(0)
    if joined and not len(values):
        yield "zero everywhere"
    elif joined and values.max() < 0 and np.log2(-float(values.min())).is_integer():
        yield "is a power of two"


KINDS = {"chain": chains, "graph": graphs}

for _kind, _count in COUNTS.items():
    for _k in range(_count):
        _register(_kind, _k)
