"""Bias: what is added in front of a synaptic current comes from a neuron that spikes in every step.

A chip adds a bias to the membrane. In a layer with a synaptic current (``cuba_lif``, ``cuba_li``) that is another
thing: there the bias is filtered as a spike is. So it becomes the weights of one more neuron, which spikes in every
step from the first. The function of the network does not change; that neuron costs a core's axon, a synapse for each
neuron of the layer, and their operations in every step.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from snnc import ops
from snnc.compilation import Compilation
from snnc.euler import discretise
from snnc.network import Network, Population, Projection
from snnc.ops import Linear
from snnc.passes.dissolve import bias_alone

# Of the neuron, whose threshold is 1: any membrane bias above that makes it spike in every step.
DRIVE = 2.0


def run(c: Compilation) -> Compilation:
    """Add such neurons to the network of `c`, where it needs them."""
    network, layers = sourced(c.network)
    return replace(c, network=network).found(bias={"layers": layers})


def sourced(network: Network) -> tuple[Network, list[str]]:
    """The same network without biases in front of currents, and the names of the layers that had them.

    A bias that begins later than in step 0 is left where it is: a rule of the target speaks of it.
    """
    taken = {p.name for p in network.populations} | {p.name for p in network.projections}
    populations: list[Population] = []
    added: list[Projection] = []
    layers = []
    for population in network.populations:
        if _filters_a_bias(network, population):
            name = f"{population.name}.bias"
            while taken & {name, *_names(network, population, name)}:
                name += "'"
            one = np.ones(1)
            populations.append(Population(name, (1,), "if", {"r": one, "v_threshold": one, "v_reset": 0 * one}))
            added += _links(network, population, name)
            layers.append(population.name)
        populations.append(population)
    projections = (
        replace(p, ops=tuple(map(ops.unbiased, p.ops))) if p.post in layers else p for p in network.projections
    )
    return replace(network, populations=tuple(populations), projections=(*projections, *added)), layers


def _filters_a_bias(network: Network, population: Population) -> bool:
    if population.neuron not in ("cuba_lif", "cuba_li") or not np.any(discretise(population, network.dt).alpha):
        return False
    biased = [p for p in network.into(population.name) if p.op.bias is not None and np.any(p.op.bias)]
    return bool(biased) and not any(p.bias_start for p in biased)


def _links(network: Network, population: Population, name: str) -> tuple[Projection, Projection]:
    """What drives the neuron `name`, and what it puts into the population: the sum of all biases there."""
    into = network.into(population.name)
    total = np.zeros(population.size)
    for projection in into:
        bias = ops.bias_of(projection.op, network[projection.pre].shape)
        total += 0 if bias is None else bias
    start = network.inputs[0]
    first, second = _names(network, population, name)
    drive = Projection(first, start.name, name, ())
    synapses = Linear(ops.canonical(total[:, None]))
    return (
        bias_alone(start.name, start.size, drive, np.array([DRIVE])),
        Projection(second, name, population.name, (synapses,), bits=into[0].bits),
    )


def _names(network: Network, population: Population, name: str) -> tuple[str, str]:
    """Of the projections into and out of the neuron `name`."""
    return f"{network.inputs[0].name}-{name}", f"{name}-{population.name}"
