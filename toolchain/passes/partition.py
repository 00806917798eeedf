"""Partition: which neurons share a core, under all limits of a core and with little traffic between them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from snnc.compilation import Compilation, Options
from snnc.network import Network
from snnc.resources import usage
from snnc.target import Target

if TYPE_CHECKING:
    from snnc.mapping import portfolio


def run(c: Compilation) -> Compilation:
    """Assign every neuron of `c` to a core; the limits themselves are checked by a later pass."""
    core_of, found, tried = partition(c.network, c.target, c.rates, c.options)
    log = {
        "method": found.method,
        "cores": found.cores,
        "traffic": found.traffic,
        "tried": [{"method": f.method, "cores": f.cores, "traffic": f.traffic, "overload": f.over} for f in tried],
    }
    return replace(c, core_of=core_of, usage=usage(c.network, core_of, c.target)).found(partition=log)


def partition(
    network: Network, target: Target, rates: np.ndarray, options: Options
) -> tuple[np.ndarray, portfolio.Found, list[portfolio.Found]]:
    """Core of each neuron, int32 (neurons,), -1 for inputs; how it was found, and all mappings that were tried.

    rates: float64 (neurons,), spikes per step.
    """
    from snnc.mapping import portfolio, problem, tiles  # numba: seconds to import, and a check does not need it

    task = problem.build(network, rates, target, tiles.cut(network, target))
    found, tried = portfolio.best_mapping(
        task, target.mesh.cores, how=options.map, cores=options.cores, seed=options.seed
    )
    return portfolio.canonical(task.core_of(found.core)), found, tried
