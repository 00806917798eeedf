"""Route: the routes that the placement implies, and what they carry.

With dimension-ordered routes there is nothing to choose; this pass measures: spikes that leave a core and a
chip, hops, the longest route, and the link that carries most, all per step.
"""

from __future__ import annotations

import numpy as np

from snnc import traffic
from snnc.compilation import Compilation


def run(c: Compilation) -> Compilation:
    """Measure the traffic of the placed network of `c`."""
    assert c.core_of is not None
    assert c.site_of is not None
    assert c.usage is not None
    reached, rates, grid = c.usage.stored, c.rates, c.target.grid
    cost = traffic.routes(reached, c.core_of, c.site_of, grid)
    inner = c.core_of >= 0
    flows = traffic.flow(reached, c.core_of, rates)
    if grid.multicast:
        loads = traffic.multicast_loads(reached, c.core_of, rates, c.site_of, grid)
    else:
        loads = traffic.link_loads(flows, c.site_of, grid)
    link = traffic.hottest(*loads)
    chip = traffic.chip_of(c.site_of, grid)
    pairs = flows.tocoo()
    x, y, crossings = cost.longest
    return c.found(
        route={
            "messages_per_step": float(rates[inner] @ cost.messages[inner]),
            "hops_per_step": float(rates @ (cost.hops_x + cost.hops_y)),
            "hottest_link_per_step": 0.0 if link is None else link.load,
            "hottest_link": None if link is None else {"from": list(link.start), "to": list(link.stop)},
            "longest_route": {"hops": x + y, "crossings": crossings},
            "chips": len(np.unique(chip)),
            "chip_messages_per_step": float(pairs.data[chip[pairs.row] != chip[pairs.col]].sum()),
            "crossings_per_step": float(rates @ cost.crossings),
        }
    )
