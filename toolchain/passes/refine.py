"""Refine: neurons move once more, now that it is known how far their cores are from each other.

The first search takes every other core to be equally far. With places, a spike between two cores costs its message and
its hops, and neurons move or swap under the same limits to lower the sum; then the cores are placed anew. What comes
of it is kept only if its traffic stays near what it was, and no worse than that of layer order.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from snnc import traffic
from snnc.compilation import Compilation
from snnc.passes import place
from snnc.resources import usage
from snnc.target import Grid

HOPS = (2.0, 1.0, 0.5)
"""Costs of a hop to try, where a message costs 1: a Loihi takes 3 to 4 pJ for the one, 1.7 for the other (Davies 2018).
With less a mapping gains less traffic."""
MORE = 1.02
"""How much of its traffic a mapping may gain in exchange for shorter ways."""
LARGEST = 20_000_000
"""Synapses up to which this is done: beyond, it would take minutes for a few per cent."""
# The first temperature, in mean rates: low, so that what the first search found is kept.
_HEAT = 0.5


def run(c: Compilation) -> Compilation:
    """Move neurons of `c` to nearer cores. Not where steps are to be short, or layers or given cores were asked for."""
    assert c.core_of is not None
    assert c.site_of is not None
    assert c.usage is not None
    before = _costs(c)
    synapses = int(c.usage.effective.sum())
    asked = c.groups is not None or c.options.map == "layers" or c.options.optimize == "latency"
    if asked or before[1] == 0 or synapses > LARGEST:
        return c.found(refine={"moved": 0})
    first = c.log["partition"]["tried"][0]  # layer order, which may break limits
    most = min(MORE * before[0], max(before[0], first["traffic"]) if first["overload"] <= 0 else np.inf)
    tried = []
    for hop in HOPS:
        core_of = _moved(c, hop)
        moved = int(np.sum(core_of != c.core_of))
        other = _placed(c, core_of)
        after = _costs(other)
        tried.append({"hop": hop, "traffic": after[0], "hops_per_step": after[1]})
        if after[0] <= most and after[0] + hop * after[1] < before[0] + hop * before[1]:
            return other.found(refine={"moved": moved, "tried": tried})
    return c.found(refine={"moved": 0, "tried": tried})


def _placed(c: Compilation, core_of: np.ndarray) -> Compilation:
    """The state with other cores, where those of before were or where a search puts them, whatever is nearer."""
    assert c.site_of is not None
    core_of, numbers = _without_gaps(core_of)
    here = replace(c, core_of=core_of, usage=usage(c.network, core_of, c.target), site_of=c.site_of[numbers])
    return min((here, place.run(here)), key=lambda each: _costs(each)[1])


def _costs(c: Compilation) -> tuple[float, float]:
    """Messages per step between cores, and hops, with crossings as the hops that they cost."""
    assert c.core_of is not None
    assert c.site_of is not None
    assert c.usage is not None
    cost, inner = traffic.routes(c.usage.stored, c.core_of, c.site_of, c.target.grid), c.core_of >= 0
    hops = cost.hops_x + cost.hops_y + c.target.grid.crossing * cost.crossings
    return float(c.rates[inner] @ cost.messages[inner]), float(c.rates @ hops)


def _moved(c: Compilation, hop: float) -> np.ndarray:
    """Core of each neuron after the search, int32 (neurons,); a core may have become empty."""
    from snnc.mapping import balance, portfolio, problem, refinement, tiles  # as in partition

    assert c.core_of is not None
    assert c.site_of is not None
    task = problem.build(c.network, c.rates, c.target, tiles.cut(c.network, c.target))
    if c.options.cores is not None:
        task = portfolio.spread_over(task, c.options.cores)
    core = c.core_of[task.graph.members[task.graph.member_ptr[:-1]]].astype(np.int64)
    if c.options.balance:
        task = balance.kept_even(task, core, task.synapses())
    return task.core_of(refinement.drawn(task, core, _prices(c.site_of, c.target.grid, hop), _HEAT, c.options.seed))


def _prices(site_of: np.ndarray, grid: Grid, hop: float) -> np.ndarray:
    """Cost of a spike from core to core, (cores, cores), with what a hop costs."""
    x, y = traffic.tile_of(site_of, grid)
    far = np.abs(x[:, None] - x) + np.abs(y[:, None] - y)
    chips_x, chips_y = x // grid.columns, y // grid.rows
    far = far + grid.crossing * (np.abs(chips_x[:, None] - chips_x) + np.abs(chips_y[:, None] - chips_y))
    return np.where(np.eye(len(x), dtype=bool), 0.0, 1.0 + hop * far)


def _without_gaps(core_of: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same cores numbered by their first neurons, and the old number of each."""
    from snnc.mapping import portfolio

    new = portfolio.canonical(core_of)
    numbers = np.zeros(int(new.max()) + 1, np.int64)
    numbers[new[new >= 0]] = core_of[new >= 0]
    return new, numbers
