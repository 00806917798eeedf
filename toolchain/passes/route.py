"""Route: the XY routes that the placement implies, and what they carry.

On a mesh with dimension-ordered unicast there is nothing to choose; this pass measures:
spikes that leave a core, hops, and the load of the hottest link, all per step.
"""

from __future__ import annotations

from snnc import traffic
from snnc.compilation import Compilation


def run(c: Compilation) -> Compilation:
    """Measure the traffic of the placed network of `c`."""
    assert c.core_of is not None
    assert c.site_of is not None
    assert c.usage is not None
    reached, rates = c.usage.stored, c.rates
    cost = traffic.routes(reached, c.core_of, c.site_of, c.target.mesh)
    inner = c.core_of >= 0
    flows = traffic.flow(reached, c.core_of, rates)
    horizontal, vertical = traffic.link_loads(flows, c.site_of, c.target.mesh)
    return c.found(
        route={
            "messages_per_step": float(rates[inner] @ cost.messages[inner]),
            "hops_per_step": float(rates @ (cost.hops_x + cost.hops_y)),
            "hottest_link_per_step": float(max(horizontal.max(initial=0), vertical.max(initial=0))),
        }
    )
