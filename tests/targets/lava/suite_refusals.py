"""Which networks a route cannot hold, and in which words it must say so: worked out from what Lava is like."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from suite_features import of

from snnc.network import Network, Population
from snnc.ops import Linear

NETX = {
    "own thresholds": "threshold differs",
    "own decays": "decay differs",
    "feedback": "back to '.*'; in netx",
    "adaptive": "its neurons adapt",
    "graded": "its spikes carry values",
    "refractory": "its neurons rest",
    "subtract": "subtracts the threshold",
    "delayed conv": "delays of convolutions",
    **dict.fromkeys(("join", "branch", "short cut"), "netx runs chains"),
}
"""What of :data:`suite_features.FEATURES` a ``.net`` cannot hold, and in which words the refusal says so."""


def refused(network: Network) -> dict[str, str]:
    """Route -> words of all reasons for which it cannot hold a network, of those that are drawn here."""
    found = of(network)
    net = [words for feature, words in NETX.items() if feature in found]
    for population in network.layers:
        net += _crowded(network, population)
    depths = depths_of(network)
    program = [
        "back to .* within"
        for p in network.projections
        if p.op.taps and depths[p.post] - depths[p.pre] + network.lag(p) < 1
    ]
    return {route: "|".join(words) for route, words in (("net", net), ("program", program)) if words}


def depths_of(network: Network) -> dict[str, int]:
    """Synapses on the longest forward path to each population, from the input or from what nothing drives."""
    depths = dict.fromkeys((p.name for p in network.populations), 0)
    for _ in network.populations:  # paths are no longer than that
        for p in network.projections:
            if p.op.taps and not network.backward(p):
                depths[p.post] = max(depths[p.post], depths[p.pre] + 1)
    return depths


def _crowded(network: Network, population: Population) -> Iterator[str]:
    """What netx cannot hold of the synapses that lead to one population."""
    if not network.into(population.name):
        yield "netx runs chains"
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
    kernels = [p.op.weight.ravel() for p in forward if not isinstance(p.op, Linear)]
    if any(len(w) and (w.min() < -256 or w.max() > 255) for w in (values, *kernels)):
        yield "weight spans"
    if joined and not len(values):
        yield "zero everywhere"
    elif joined and values.max() < 0 and np.log2(-float(values.min())).is_integer():
        yield "is a power of two"
