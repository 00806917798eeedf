"""Small integer networks for the tests of the bridge to Lava."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from integer_networks import population

from snnc.network import Network, Population, Projection
from snnc.ops import Conv2d, Linear, Shape, canonical

# Without memory of u, with a slow leak of v.
LIF = {"u_decay": 4096, "v_decay": 128, "threshold": 200, "bias": 0}


def dense(weight: np.ndarray) -> Linear:
    return Linear(canonical(np.asarray(weight).astype(np.int16)))


def conv(weight: np.ndarray, **options: object) -> Conv2d:
    return Conv2d(np.asarray(weight).astype(np.int16), **options)  # type: ignore[arg-type]


def layer(name: str, shape: Shape, **params: object) -> Population:
    """A ``cuba_fixed`` population; params are scalars, or arrays that broadcast to `shape`."""
    return population(name, shape, **(LIF | params))


def chain(shape: Shape, *layers: tuple[Linear | Conv2d, Mapping[str, object]]) -> Network:
    """in -> l1 -> l2 ... with the given operations and neuron parameters."""
    populations = [Population("in", shape, "input")]
    projections = []
    for k, (op, params) in enumerate(layers, start=1):
        pre = populations[-1]
        populations.append(layer(f"l{k}", op.output_shape(pre.shape), **params))
        projections.append(Projection(f"p{k}", pre.name, f"l{k}", (op,)))
    return Network(tuple(populations), tuple(projections), (populations[-1].name,), 1e-3, "test")


def cuba(rng: np.random.Generator) -> Network:
    """Currents that decay, and round towards zero on both sides of it."""
    params = {"u_decay": 1024, "v_decay": 400}
    return chain(
        (60,),
        (dense(rng.integers(-100, 110, (40, 60))), {**params, "threshold": 900}),
        (dense(rng.integers(-100, 110, (10, 40))), {**params, "threshold": 500}),
    )


def spikes(rng: np.random.Generator, samples: int, steps: int, shape: Sequence[int], rate: float) -> np.ndarray:
    return (rng.random((samples, steps, *shape)) < rate).astype(np.uint8)
