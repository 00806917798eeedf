"""The frameworks that snnc is held against: how to get at them, and small random networks for all.

They are no dependencies of snnc: `pip install --no-deps -r tests/differential/peers.txt` installs them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import nir
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from snnc.network import Network
from snnc.simulator.floating import simulate

Rng = np.random.Generator
Neurons = Callable[[Rng, int], nir.NIRNode]
Spikes = dict[str, np.ndarray]

# A power of two: products of the step and of rates are exact in float32, in which norse keeps them.
DT = 2.0**-10
STEPS = 100
SIZES = (12, 16, 10, 6)
LAYERS = ("lif1", "lif2", "lif3")

# nirtorch's word on functions that every framework still uses.
DEPRECATED = "ignore:nirtorch.*being deprecated:DeprecationWarning"


def peer(module: str) -> Any:
    """A module of a framework; where it is not installed, fails in CI and skips elsewhere."""
    require(module.partition(".")[0])
    require("nirtorch")  # behind all of them
    with _stand_ins("pylab"):
        return import_module(module)


def require(package: str) -> None:
    """Fail (in CI) or skip (elsewhere) where a framework is not installed."""
    if find_spec(package) is None:
        reason = f"needs {package}: pip install --no-deps -r tests/differential/peers.txt"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


@contextmanager
def _stand_ins(*names: str) -> Iterator[None]:
    """Empty modules in place of libraries of plots that a framework imports and no test uses."""
    missing = [name for name in names if find_spec(name) is None]
    sys.modules.update({name: ModuleType(name) for name in missing})
    try:
        yield
    finally:
        for name in missing:
            del sys.modules[name]


# Networks


def single(values: np.ndarray | float) -> np.ndarray:
    """Numbers of float32: frameworks that keep them in it lose nothing."""
    return np.asarray(values, np.float32).astype(float)


def uniform(rng: Rng, low: float, high: float, count: int) -> np.ndarray:
    return single(rng.uniform(low, high, count))


def graph(
    rng: Rng, neurons: Neurons, *, recurrent: bool = False, plain: Collection[str] = ("fc2",), scale: float = 1.0
) -> nir.NIRGraph:
    """Three layers of neurons one after the other; in a recurrent graph the first feeds itself back.

    plain: the connections without bias. The names of the ends are those that spyx looks for.
    """
    nodes: dict[str, nir.NIRNode] = {"input": nir.Input(np.array(SIZES[:1]))}
    edges, last = [], "input"
    for k, (into, out) in enumerate(pairwise(SIZES), 1):
        nodes[f"fc{k}"] = dense(rng, out, into, bias=f"fc{k}" not in plain, scale=scale)
        nodes[f"lif{k}"] = neurons(rng, out)
        edges += [(last, f"fc{k}"), (f"fc{k}", f"lif{k}")]
        last = f"lif{k}"
    if recurrent:
        nodes["rec"] = dense(rng, SIZES[1], SIZES[1], bias="rec" not in plain, scale=0.5 * scale)
        edges += [("lif1", "rec"), ("rec", "lif1")]
    nodes["output"] = nir.Output(np.array(SIZES[-1:]))
    return nir.NIRGraph(nodes, [*edges, (last, "output")])


def dense(rng: Rng, out: int, into: int, *, bias: bool, scale: float = 1.0) -> nir.NIRNode:
    weight = (scale * rng.normal(0.1, 0.5, (out, into))).astype(np.float32)
    if not bias:
        return nir.Linear(weight)
    return nir.Affine(weight, (scale * rng.normal(0, 0.1, out)).astype(np.float32))


def linear(node: nir.Affine | nir.Linear) -> nn.Linear:
    layer = nn.Linear(*node.weight.shape[::-1], bias=isinstance(node, nir.Affine))
    layer.weight.data = torch.from_numpy(node.weight)
    if isinstance(node, nir.Affine):
        layer.bias.data = torch.from_numpy(node.bias)
    return layer


def rounded(graph: nir.NIRGraph, unit: float) -> nir.NIRGraph:
    """The graph, its weights and biases rounded to multiples of `unit`."""
    for node in graph.nodes.values():
        for name in {"weight", "bias"} & set(vars(node)):
            setattr(node, name, (np.round(getattr(node, name) / unit) * unit).astype(np.float32))
    return graph


def stored(folder: Path, graph: nir.NIRGraph) -> Path:
    path = folder / "network.nir"
    nir.write(path, graph)
    return path


def spikes(seed: int, shape: Sequence[int] = SIZES[:1], *, samples: int = 3, steps: int = STEPS) -> np.ndarray:
    return (np.random.default_rng(seed).random((samples, steps, *shape)) < 0.3).astype(np.uint8)


# Runs


def recorder(model: nn.Module, names: Collection[str]) -> dict[str, list[np.ndarray]]:
    """What modules of `model` put out, call by call from now on."""
    found: dict[str, list[np.ndarray]] = {name: [] for name in names}

    def keep(record: list[np.ndarray], module: nn.Module, inputs: Any, output: Any) -> None:
        record.append((output[0] if isinstance(output, tuple) else output).detach().numpy().copy())

    for name, record in found.items():
        model.get_submodule(name).register_forward_hook(partial(keep, record))
    return found


def doubled(model: nn.Module) -> nn.Module:
    """The module in float64, even where its neurons put out spikes in float32."""
    for module in model.double().modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            module.register_forward_pre_hook(lambda _, inputs: (inputs[0].double(),))
    return model


def stepped(call: Callable[..., Any], model: nn.Module, x: np.ndarray, names: Collection[str] = LAYERS) -> Spikes:
    """The spikes of layers of a module that is called step by step, (samples, steps, ...).

    call: of one step, (values, state) -> (output, state).
    """
    found = recorder(doubled(model), names)
    state = None
    with torch.no_grad():
        for t in range(x.shape[1]):
            _, state = call(torch.from_numpy(x[:, t].astype(np.float64)), state)
    return {name: np.stack(record, axis=1) for name, record in found.items()}


def stateless(model: nn.Module) -> Callable[[Tensor, Any], tuple[Tensor, None]]:
    """The call of a module that keeps its state itself."""
    return lambda x, state: (model(x), None)


def assert_agree(theirs: Mapping[str, np.ndarray], network: Network, x: np.ndarray) -> None:
    """Every spike of every layer, in layers that are neither silent nor saturated."""
    ours = simulate(network, x)
    assert {p.name for p in network.layers} == set(theirs)
    for name, found in theirs.items():
        rate = np.mean(ours[name] > 0)
        assert 0.01 < rate < 0.95, f"{name} spikes in {rate:.1%} of the steps"
        differ = np.argwhere(found != ours[name])
        assert not len(differ), f"{name}: {len(differ)} of {found.size} spikes differ, the first at {differ[0]}"
