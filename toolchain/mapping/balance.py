"""Balance: mappings whose cores have loads that are nearly alike.

What counts is the utilisation, the mean over the largest load of a core: the criterion of u-Ticket (Yin et al.,
arXiv:2302.06746). The largest load is one more limit of a core for the search.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from snnc.mapping.problem import Problem
from snnc.mapping.refinement import Found, placed, refine
from snnc.mapping.state import LOAD

# Utilisations to try for: mean over largest load of a core.
_EVEN = (0.995, 0.99, 0.98, 0.97, 0.95, 0.92, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5)


def balanced(problem: Problem, found: Found, load: np.ndarray, seed: int) -> Found:
    """The mapping with the loads of its cores evened out as far as moves and swaps can under all limits.

    load: (A,), of each atom.
    """
    mean = load.sum() / found.cores
    for even in _EVEN:
        if utilisation(found, load) >= even:
            return found
        tight = _loaded(problem, load, mean / even)
        s = placed(tight, found.core, found.cores)
        refine(tight, s, 0.5, seed)
        if s.over.sum() <= 0:
            return Found.of(s, f"{found.method}, balanced")
    return found


def kept_even(problem: Problem, core: np.ndarray, load: np.ndarray) -> Problem:
    """The problem with a limit on the loads of cores: the largest under `core`. load: (A,), of each atom."""
    return _loaded(problem, load, float(np.bincount(core, weights=load).max()))


def _loaded(problem: Problem, load: np.ndarray, largest: float) -> Problem:
    most = problem.limits.most.copy()
    most[LOAD] = largest
    return replace(problem, graph=problem.graph._replace(load=load), limits=problem.limits._replace(most=most))


def utilisation(found: Found, load: np.ndarray) -> float:
    """Mean over largest load of a core."""
    loads = np.bincount(found.core, weights=load, minlength=found.cores)
    return float(loads.mean() / loads.max()) if loads.max() > 0 else 1.0
