"""Small boards, random mappings on them, and their traffic counted spike by spike, tile by tile."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from hypothesis import strategies as st
from scipy import sparse

from snnc.target import Grid

# A tile as (chip column, chip row, column in the chip, row in the chip).
Tile = tuple[int, int, int, int]
Link = tuple[Tile, Tile]


@dataclass(frozen=True, eq=False)
class Case:
    """A mapping. reached: (neurons, cores), non-zero where a neuron has a synapse. rates: spikes per step."""

    grid: Grid
    reached: np.ndarray
    core_of: np.ndarray
    rates: np.ndarray
    site_of: np.ndarray

    @property
    def matrix(self) -> sparse.csr_array:
        return sparse.csr_array(self.reached)


@dataclass
class Counted:
    """What one spike of each neuron does, and what all do together."""

    messages: list[int] = field(default_factory=list)
    hops_x: list[int] = field(default_factory=list)
    hops_y: list[int] = field(default_factory=list)
    crossings: list[int] = field(default_factory=list)
    loads: dict[Link, float] = field(default_factory=dict)
    routes: list[tuple[int, int]] = field(default_factory=list)


@st.composite
def grids(draw: st.DrawFn, multicast: bool | None = None) -> Grid:
    size = st.integers(1, 3)
    return Grid(
        draw(size),
        draw(size),
        draw(size),
        draw(size),
        draw(size),
        draw(st.sampled_from([0.0, 2.5, 30.0])),
        draw(st.booleans()) if multicast is None else multicast,
    )


@st.composite
def cases(draw: st.DrawFn, multicast: bool | None = None) -> Case:
    grid = draw(grids(multicast))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    cores = draw(st.integers(1, min(grid.cores, 12)))
    neurons = draw(st.integers(cores, 40))
    core_of = rng.integers(-1, cores, neurons).astype(np.int32)
    reached = (rng.random((neurons, cores)) < draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))).astype(np.int64)
    site_of = rng.permutation(grid.cores)[:cores].astype(np.int32)
    return Case(grid, reached, core_of, rng.integers(0, 8, neurons) / 8, site_of)  # eighths: sums are exact


def tile(site: int, grid: Grid) -> Tile:
    """Where a site is, by the numbering that the target documents."""
    chip, inside = divmod(int(site), grid.columns * grid.rows * grid.cores_per_tile)
    number = inside // grid.cores_per_tile
    chip_row, chip_column = divmod(chip, grid.chip_columns)
    row, column = divmod(number, grid.columns)
    return chip_column, chip_row, column, row


def route(start: Tile, stop: Tile, grid: Grid) -> Iterator[Link]:
    """The links from tile to tile, along x first, one step after the other."""
    at = start
    for axis, length in ((0, grid.columns), (1, grid.rows)):
        while (at[axis], at[axis + 2]) != (stop[axis], stop[axis + 2]):
            forward = (at[axis], at[axis + 2]) < (stop[axis], stop[axis + 2])
            place = at[axis + 2] + (1 if forward else -1)
            chip = at[axis] + (place == length) - (place < 0)
            moved = list(at)
            moved[axis], moved[axis + 2] = chip, place % length
            to: Tile = (moved[0], moved[1], moved[2], moved[3])
            yield at, to
            at = to


def count(case: Case) -> Counted:
    """All spikes, one after the other."""
    found = Counted()
    for neuron, core in enumerate(case.core_of):
        goals = [int(g) for g in np.flatnonzero(case.reached[neuron]) if g != core]
        found.messages.append(len(goals))
        ways = []
        if core >= 0:
            start = tile(case.site_of[core], case.grid)
            ways = [list(route(start, tile(case.site_of[g], case.grid), case.grid)) for g in goals]
        found.routes += [(sum(crosses(link) for link in way), len(way)) for way in ways]
        links = [link for way in ways for link in way]
        if case.grid.multicast:
            links = list(dict.fromkeys(links))
        found.hops_x.append(sum(along_x(link) for link in links))
        found.hops_y.append(sum(not along_x(link) for link in links))
        found.crossings.append(sum(crosses(link) for link in links))
        for link in links:
            found.loads[link] = found.loads.get(link, 0.0) + case.rates[neuron]
    return found


def along_x(link: Link) -> bool:
    return (link[0][0], link[0][2]) != (link[1][0], link[1][2])


def crosses(link: Link) -> bool:
    return link[0][:2] != link[1][:2]


def column_row(where: Tile, grid: Grid) -> tuple[int, int]:
    """Column and row on the whole board."""
    return where[0] * grid.columns + where[2], where[1] * grid.rows + where[3]
