"""Small float networks for tests, made from seeds."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from snnc.network import Network, Population, Projection
from snnc.ops import Conv2d, Flatten, Linear, Op, Pool2d, canonical

DT = 1e-3


def lif(name: str, shape: tuple[int, ...], beta: float = 0.9, threshold: float = 1.0) -> Population:
    """A layer of snntorch's Leaky: gain 1, reset to zero."""
    one = np.ones(shape)
    params = {
        "tau": one * DT / (1 - beta),
        "r": one / (1 - beta),
        "v_leak": one * 0,
        "v_threshold": one * threshold,
        "v_reset": one * 0,
    }
    return Population(name, shape, "lif", params)


def cuba(name: str, shape: tuple[int, ...], alpha: float = 0.5, beta: float = 0.9) -> Population:
    """A layer of snntorch's Synaptic: gain 1, reset to zero."""
    one = np.ones(shape)
    params = {
        "tau_syn": one * DT / (1 - alpha),
        "tau_mem": one * DT / (1 - beta),
        "r": one / (1 - beta),
        "v_leak": one * 0,
        "v_threshold": one,
        "v_reset": one * 0,
        "w_in": one / (1 - alpha),
    }
    return Population(name, shape, "cuba_lif", params)


def chain(populations: list[Population], links: list[tuple[Op, ...]], name: str = "chain") -> Network:
    """Populations one after the other, each fed by the operations of its link."""
    projections = tuple(
        Projection(f"{a.name}-{b.name}", a.name, b.name, ops)
        for (a, b), ops in zip(pairwise(populations), links, strict=True)
    )
    return Network(tuple(populations), projections, (populations[-1].name,), DT, name)


def linear(rng: np.random.Generator, out: int, into: int, density: float = 1.0, bias: bool = False) -> Linear:
    weight = rng.normal(0.1, 0.4, (out, into)) * (rng.random((out, into)) < density)
    return Linear(canonical(weight), rng.normal(0, 0.05, out) if bias else None)


def mlp(sizes: tuple[int, ...] = (12, 20, 5), density: float = 1.0, seed: int = 0, bias: bool = False) -> Network:
    rng = np.random.default_rng(seed)
    populations = [Population("input", (sizes[0],), "input")]
    populations += [lif(f"fc{k}", (n,)) for k, n in enumerate(sizes[1:], 1)]
    return chain(populations, [(linear(rng, b, a, density, bias),) for a, b in pairwise(sizes)])


def conv(seed: int = 0) -> Network:
    """conv, average pool + conv, average pool + flatten + linear: all that lowering has to fuse."""
    rng = np.random.default_rng(seed)
    populations = [
        Population("input", (2, 12, 12), "input"),
        lif("conv1", (4, 12, 12)),
        lif("conv2", (6, 6, 6)),
        lif("fc", (5,)),
    ]
    links: list[tuple[Op, ...]] = [
        (Conv2d(rng.normal(0.1, 0.3, (4, 2, 3, 3)), rng.normal(0, 0.1, 4), padding=(1, 1)),),
        (Pool2d("average", (2, 2), (2, 2)), Conv2d(rng.normal(0.1, 0.5, (6, 4, 3, 3)), padding=(1, 1))),
        (Pool2d("average", (2, 2), (2, 2)), Flatten(), linear(rng, 5, 54)),
    ]
    return chain(populations, links, "conv")


def spikes(network: Network, samples: int = 4, steps: int = 12, rate: float = 0.3, seed: int = 0) -> np.ndarray:
    """Random input, uint8 (samples, steps, *shape)."""
    rng = np.random.default_rng(seed)
    return (rng.random((samples, steps, *network.inputs[0].shape)) < rate).astype(np.uint8)
