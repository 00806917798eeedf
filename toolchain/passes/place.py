"""Place: which physical core each logical core becomes.

A quadratic assignment: traffic between cores times their distance on the mesh, where the step from chip to
chip counts as many hops. The starts are the cores in order and, on one chip, the FAQ heuristic of scipy; over
several chips :mod:`snnc.placement.chips` says first what shares a chip. From each start a search of our own
(:mod:`snnc.placement.search`) goes on, and the best of all that was seen is kept: by cost, then by the load of
the hottest link. To shorten a step (``optimize="latency"``) one more search weighs routes by their square, and
the longest route is compared first.

All is seeded, and nothing depends on the number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import sparse

from snnc import traffic
from snnc.compilation import Compilation, Optimize
from snnc.placement import PARTS
from snnc.target import Grid

# Proposals of one annealing: so many for each core, but no more than are enough for all unless they are many.
PROPOSALS, ENOUGH, LEAST = 50_000, 2_000_000, 5_000
# Temperatures, in the mean change of cost by a random proposal: the first from the order, from a good start; the last.
HOT, WARM, COLD = 0.3, 0.1, 0.005
# Annealings from the order, of one chip; cores on several chips that are searched twice.
RUNS, FEW = 3, 512
# Sites that FAQ may choose from, over the tiles that are needed: it is cubic.
ROOM = 1.5

Cost = Callable[[np.ndarray], float]


def run(c: Compilation) -> Compilation:
    """Place the cores of `c`; the capacity rule has seen that there are enough."""
    assert c.core_of is not None
    assert c.usage is not None
    reached, core_of, rates, grid = c.usage.stored, c.core_of, c.rates, c.target.grid
    flows = traffic.flow(reached, core_of, rates)

    def hops(site_of: np.ndarray) -> float:
        cost = traffic.routes(reached, core_of, site_of, grid)
        return float(rates @ (cost.hops_x + cost.hops_y + grid.crossing * cost.crossings))

    # What messages share where the mesh multicasts is not seen in flows.
    site_of, costs = place(flows, grid, c.options.seed, c.options.optimize, hops if grid.multicast else None)
    return replace(c, site_of=site_of).found(place={"hops_per_step": costs})


def place(
    flows: sparse.csr_array | np.ndarray,
    grid: Grid,
    seed: int,
    optimize: Optimize = "traffic",
    hops: Cost | None = None,
) -> tuple[np.ndarray, dict[str, float]]:
    """Sites for the cores of `flows` (cores, cores), int32 (cores,), and hops per step of each candidate.

    No more chips are used than hold the cores. hops: of a placement, if they are not flow times distance; they
    include what crossings cost.
    """
    flows = sparse.csr_array(flows)
    cores = flows.shape[0]
    in_order = np.arange(cores, dtype=np.int32)
    if cores > grid.cores:
        return in_order, {}
    problem = _Problem(flows, grid, seed)
    hops = hops or problem.hops
    tried = {"in order": in_order}
    if hops(in_order) > 0:
        if cores <= grid.chip_cores:
            tried["assignment"] = problem.assignment()
            tried["search"] = problem.improved(*RUNS * [(in_order, HOT)], (tried["assignment"], WARM))
        else:
            tried["by chip"] = problem.by_chip()
            more = [(tried["by chip"], HOT)] if cores <= FEW else []
            tried["search"] = problem.improved(*more, (tried["by chip"], WARM))
        if optimize == "latency":
            tried["short routes"] = problem.shortened(tried["search"])
    costs = {name: hops(site_of) for name, site_of in tried.items()}

    def rank(name: str) -> tuple[float, ...]:
        longest = problem.longest(tried[name]) if optimize == "latency" else 0.0
        return (longest, costs[name], problem.hottest(tried[name]))

    return tried[min(tried, key=rank)], costs


@dataclass(frozen=True, eq=False)
class _Problem:
    """Flows that are to be placed on a grid."""

    flows: sparse.csr_array
    grid: Grid
    seed: int

    @cached_property
    def pairs(self) -> sparse.coo_array:
        return self.flows.tocoo()

    def hops(self, site_of: np.ndarray) -> float:
        """Hops per step, and crossings as the hops that they cost."""
        x, y = _places(site_of, self.grid)
        row, column = self.pairs.row, self.pairs.col
        return float(self.pairs.data @ (np.abs(x[row] - x[column]) + np.abs(y[row] - y[column])))

    def longest(self, site_of: np.ndarray) -> float:
        """Hops of the longest route, and crossings as the hops that they cost."""
        x, y = _places(site_of, self.grid)
        row, column = self.pairs.row, self.pairs.col
        return float((np.abs(x[row] - x[column]) + np.abs(y[row] - y[column])).max(initial=0))

    def hottest(self, site_of: np.ndarray) -> float:
        """Load of the hottest link."""
        link = traffic.hottest(*traffic.link_loads(self.flows, site_of, self.grid))
        return 0.0 if link is None else link.load

    def assignment(self) -> np.ndarray:
        """Sites on the first chip by FAQ, on a patch of tiles with some room."""
        from scipy.optimize import quadratic_assignment  # slow to import, as the search is, and a check needs neither
        from threadpoolctl import threadpool_limits

        cores, sites = self.flows.shape[0], _patch(self.flows.shape[0], self.grid)
        x, y = traffic.distances(sites, self.grid)
        padded = np.zeros((len(sites), len(sites)))
        padded[:cores, :cores] = self.flows.toarray()
        options = {"rng": np.random.default_rng(self.seed)}
        with threadpool_limits(1):  # sums of several threads may round in another way
            result = quadratic_assignment(padded, (x + y).astype(float), method="faq", options=options)
        return sites[result.col_ind[:cores]].astype(np.int32)

    def by_chip(self) -> np.ndarray:
        """Sites on as few chips as hold the cores, in order on each chip."""
        from snnc.placement import chips

        chip = chips.chips_of(self.flows, self.grid, self.seed)
        order = np.argsort(chip, kind="stable")
        place = np.arange(len(chip)) - np.searchsorted(chip[order], chip[order])
        site_of = np.empty(len(chip), np.int32)
        site_of[order] = chip[order] * self.grid.chip_cores + place
        return site_of

    def improved(self, *starts: tuple[np.ndarray, float]) -> np.ndarray:
        """The best that the search finds from these starts, each with its first temperature."""
        ends = [self._annealed(self.flows, start, hot, k) for k, (start, hot) in enumerate(starts)]
        best = min(ends, key=self.hops)
        return min((best, self._annealed(self.flows, best, WARM, len(starts))), key=self.hops)

    def shortened(self, site_of: np.ndarray) -> np.ndarray:
        """A placement with short routes, whatever their traffic."""
        routes = sparse.csr_array((np.ones(self.flows.nnz), self.flows.indices, self.flows.indptr), self.flows.shape)
        return self._annealed(routes, site_of, WARM, 0, power=2)

    def _annealed(
        self, flows: sparse.csr_array, site_of: np.ndarray, hot: float, run: int, power: int = 1
    ) -> np.ndarray:
        """Descent, annealing, descent, on the chips that are in use; distances to a power along each axis."""
        from snnc.placement.search import Search

        size, cores = self.grid.chip_cores, len(site_of)
        proposals = max(min(PROPOSALS * cores, ENOUGH), LEAST * cores)
        used = np.unique(traffic.chip_of(site_of, self.grid))
        sites = (used[:, None] * size + np.arange(size)).ravel()
        x, y = traffic.tile_of(sites, self.grid)
        x, y = x - x.min(), y - y.min()
        along_x = _steps(int(x.max()) + 1, self.grid.columns, self.grid.crossing, power)
        along_y = _steps(int(y.max()) + 1, self.grid.rows, self.grid.crossing, power)
        search = Search(flows, (x, y), (along_x, along_y), np.searchsorted(sites, site_of))
        search.descend()
        settled, cost = search.slot_of, search.cost
        search.anneal(proposals, hot, COLD, (1000 * self.seed + run) % (1 << 63))
        search.descend()
        return sites[search.slot_of if search.cost < cost else settled].astype(np.int32)


def _steps(count: int, length: int, crossing: float, power: int) -> np.ndarray:
    """Cost of the way between any two of `count` columns or rows, of which a chip has `length`, in parts of a hop."""
    place = np.arange(count) + crossing * (np.arange(count) // length)
    return np.rint(PARTS * np.abs(place[:, None] - place[None, :]) ** power).astype(np.int64)


def _places(site_of: np.ndarray, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Columns and rows on the board, each chip moved away from the one before by what a crossing costs."""
    x, y = traffic.tile_of(site_of, grid)
    return x + grid.crossing * (x // grid.columns), y + grid.crossing * (y // grid.rows)


def _patch(cores: int, grid: Grid) -> np.ndarray:
    """Sites of a rectangle of tiles of the first chip, as round as possible, with room for more than `cores`."""
    every = grid.columns * grid.rows
    tiles = min(every, math.ceil(ROOM * cores / grid.cores_per_tile))
    sizes = [(w, h) for w in range(1, grid.columns + 1) for h in range(1, grid.rows + 1) if w * h >= tiles]
    width, height = min(sizes, key=lambda size: (sum(size), size))
    tile = (np.arange(height)[:, None] * grid.columns + np.arange(width)).ravel()
    return (tile[:, None] * grid.cores_per_tile + np.arange(grid.cores_per_tile)).ravel()
