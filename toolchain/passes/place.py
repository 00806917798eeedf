"""Place: which physical core each logical core becomes.

A quadratic assignment: traffic between cores times mesh distance. The candidates are the
cores in order and the FAQ heuristic of scipy, seeded; the one with fewer hops is kept.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from snnc import traffic
from snnc.compilation import Compilation
from snnc.target import Mesh


def run(c: Compilation) -> Compilation:
    """Place the cores of `c` on the mesh; more cores than sites are left to the capacity rule."""
    assert c.core_of is not None
    assert c.usage is not None
    flows = traffic.flow(c.usage.stored, c.core_of, c.rates)
    site_of, costs = place(flows, c.target.mesh, c.options.seed)
    return replace(c, site_of=site_of).found(place={"hops_per_step": costs})


def place(flows: np.ndarray, mesh: Mesh, seed: int) -> tuple[np.ndarray, dict[str, float]]:
    """Sites for the cores of `flows` (cores, cores), int32 (cores,), and hops per step of each candidate."""
    cores = len(flows)
    in_order = np.arange(cores, dtype=np.int32)
    if cores > mesh.cores:
        return in_order, {}
    x, y = traffic.distances(np.arange(mesh.cores), mesh)
    distance = (x + y).astype(np.float64)

    def hops(sites: np.ndarray) -> float:
        return float((flows * distance[np.ix_(sites, sites)]).sum())

    costs = {"in order": hops(in_order)}
    if costs["in order"] == 0:
        return in_order, costs
    from scipy.optimize import quadratic_assignment  # slow to import, and a check does not need it

    padded = np.zeros((mesh.cores, mesh.cores))
    padded[:cores, :cores] = flows
    result = quadratic_assignment(padded, distance, method="faq", options={"rng": np.random.default_rng(seed)})
    assigned = result.col_ind[:cores].astype(np.int32)
    costs["assignment"] = hops(assigned)
    return (assigned if costs["assignment"] < costs["in order"] else in_order), costs
