"""When the layers of a network work on a grid: every synapse takes a tick.

A layer at offset k works off step t in tick t + k, the host's spikes of step t arriving for tick t. So a layer begins k
ticks after the first, and shows its last step k ticks after the last.
"""

from __future__ import annotations

from snnc.network import Network, Projection


def offsets(network: Network) -> dict[str, int]:
    """Ticks by which each population is late: -1 for inputs; for layers, one more than all that lead forward to it."""
    late: dict[str, int] = {}
    for population in network.populations:
        forward = (p for p in network.into(population.name) if not network.backward(p) and p.op.taps)
        first = -1 if population.neuron == "input" else 0
        late[population.name] = max((1 + late[p.pre] for p in forward), default=first)
    return late


def hold(network: Network, projection: Projection, late: dict[str, int]) -> int:
    """Ticks that a scheduler holds a spike of a projection back; below 0 where it would have to be there sooner."""
    return late[projection.post] - late[projection.pre] - 1 + network.lag(projection)
