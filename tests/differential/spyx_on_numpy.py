"""spyx with numpy in the place of jax.

spyx.nn and spyx.nir, as installed, run on stand-ins for what they use of jax and flax. These two weigh 450 MB, forty
times the rest of the peers together, and add nothing to the meaning of a neuron: no test takes a gradient or compiles
anything. In numpy the equations also run in float64.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from peers import require


class Param:
    """flax.nnx.Param: an array in a box."""

    def __init__(self, value: Any) -> None:
        self.value = np.asarray(value, float)

    def __getitem__(self, index: Any) -> np.ndarray:
        return self.value[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        self.value = np.asarray(value, float)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape


class Sequential:
    """flax.nnx.Sequential, as far as spyx.nn.Sequential builds on it."""

    def __init__(self, *layers: Any) -> None:
        self.layers = list(layers)


class Linear:
    """flax.nnx.Linear: x K + b."""

    def __init__(self, into: int, out: int, *, use_bias: bool = True, rngs: Any) -> None:
        self.kernel, self.bias = Param(np.zeros((into, out))), Param(np.zeros(out)) if use_bias else None

    def __call__(self, x: np.ndarray) -> np.ndarray:
        y = x @ self.kernel[...]
        return y if self.bias is None else y + self.bias[...]


class Rngs:
    """flax.nnx.Rngs: keys for initial weights, which spyx.nir overwrites."""

    def __init__(self, seed: int) -> None:
        self.params = lambda: None


def _scan(step: Callable[..., tuple[Any, Any]], state: Any, inputs: np.ndarray) -> tuple[Any, np.ndarray]:
    """jax.lax.scan."""
    outputs = []
    for x in inputs:
        state, y = step(state, x)
        outputs.append(y)
    return state, np.stack(outputs)


def _zeros(stddev: float = 1.0) -> Callable[..., np.ndarray]:
    """An initializer of weights."""
    return lambda key, shape: np.zeros(shape)


def _jax() -> dict[str, Any]:
    nnx = SimpleNamespace(
        Module=object,
        Sequential=Sequential,
        Linear=Linear,
        Conv=type("Conv", (), {}),
        Param=Param,
        Rngs=Rngs,
        initializers=SimpleNamespace(truncated_normal=_zeros),
    )
    jax, flax = ModuleType("jax"), ModuleType("flax")
    vars(jax).update(
        numpy=np,
        Array=np.ndarray,
        jit=lambda function: function,
        custom_gradient=lambda function: lambda x: function(x)[0],
        lax=SimpleNamespace(scan=_scan),
    )
    vars(flax).update(nnx=nnx)
    return {"jax": jax, "jax.numpy": np, "flax": flax, "flax.nnx": nnx}


@cache
def spyx() -> Any:
    """spyx.nir, which has the neurons of spyx.nn, too; fails or skips like :func:`peers.peer`."""
    require("spyx")
    found = find_spec("spyx")
    assert found is not None
    # The package itself imports its loaders of data and much else.
    bare = ModuleType("spyx")
    bare.__path__ = list(found.submodule_search_locations or ())
    stand_ins = _jax() | {"spyx": bare}
    hidden = {name: sys.modules.pop(name) for name in stand_ins if name in sys.modules}
    sys.modules.update(stand_ins)
    try:
        return import_module("spyx.nir")
    finally:
        for name in [n for n in sys.modules if n in stand_ins or n.startswith("spyx.")]:
            del sys.modules[name]
        sys.modules.update(hidden)
