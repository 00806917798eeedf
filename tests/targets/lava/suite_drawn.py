"""Networks that hypothesis draws, always the same ones: chains for a ``.net``, and any wiring."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
from hypothesis import HealthCheck, Phase, assume, given, seed, settings
from hypothesis import strategies as st
from integer_chains import chain
from integer_networks import networks, operations, recordings
from suite_case import REGISTERED, Case
from suite_refusals import refused

from snnc.network import READ_OUT, Network, Population
from snnc.simulator import reference

Drawn = tuple[Network, np.ndarray]
LIMITS = (1, 20, 127)
ENOUGH = 8
"""Spikes of each layer, or values of its membranes."""

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
    spiking = [found[p.name] for p in network.layers if p.neuron != READ_OUT]
    assume(all(spikes.sum() >= ENOUGH for spikes in spiking) and not all(spikes.all() for spikes in spiking))
    read = [found[p.name] for p in network.layers if p.neuron == READ_OUT]
    assume(all(len(np.unique(membranes)) > ENOUGH for membranes in read))
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


KINDS = {"chain": chains, "graph": graphs}

for _kind, _count in COUNTS.items():
    for _k in range(_count):
        _register(_kind, _k)
