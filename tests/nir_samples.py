"""Files of NIR by snnc and by others, for tests."""

from __future__ import annotations

import itertools
from pathlib import Path

import nir
import numpy as np

from snnc.frontends.nir_writer import write
from snnc.network import Network, Population, Projection, Semantics
from snnc.ops import Conv2d, Flatten, Linear, canonical


def graph() -> nir.NIRGraph:
    """Conv2d, IF, SumPool2d, Flatten, Affine, LIF as a program other than snnc would write them."""
    nodes = {
        "input": nir.Input(np.array([2, 6, 6])),
        "conv": nir.Conv2d((6, 6), np.ones((3, 2, 3, 3)), 1, 1, 1, 1, np.zeros(3)),
        "if": nir.IF(np.ones((3, 6, 6)), np.ones((3, 6, 6))),
        "pool": nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        "flat": nir.Flatten({"input": np.array([3, 3, 3])}, 0),
        "fc": nir.Affine(np.ones((4, 27)), np.ones(4)),
        "lif": nir.LIF(np.full(4, 0.01), np.ones(4), np.zeros(4), np.ones(4)),
        "output": nir.Output(np.array([4])),
    }
    names = list(nodes)
    return nir.NIRGraph(nodes, list(itertools.pairwise(names)))


def ours(path: Path) -> Path:
    """A file by snnc with every kind of metadata."""
    rng = np.random.default_rng(3)
    first = {"r": np.ones((2, 4, 4)), "v_threshold": np.ones((2, 4, 4)), "v_reset": np.zeros((2, 4, 4))}
    second = {n: rng.uniform(0.01, 0.02, 5) for n in ("tau", "r", "v_leak")}
    second |= {"v_threshold": np.ones(5), "v_reset": np.zeros(5)}
    kernel = np.float32(rng.normal(size=(2, 1, 3, 3)) * (rng.random((2, 1, 3, 3)) < 0.5))
    weight = canonical(rng.normal(size=(5, 32)) * (rng.random((5, 32)) < 0.3))
    network = Network(
        (
            Population("in", (1, 4, 4), "input"),
            Population("hidden", (2, 4, 4), "if", first, Semantics("subtract")),
            Population("out", (5,), "lif", second, Semantics("zero", ">=")),
        ),
        (
            Projection("conv", "in", "hidden", (Conv2d(kernel, padding=(1, 1)),), bits=8),
            Projection("fc", "hidden", "out", (Flatten(), Linear(weight, np.zeros(5))), bits=4),
        ),
        ("out",),
        1e-3,
        "ours",
    )
    write(network, path, extra={"data": "digits"})
    return path
