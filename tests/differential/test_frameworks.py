"""The profiles of frameworks mean what the frameworks do: equal spikes for one NIR file.

Where a framework's import takes the file, it is given the file. Where it does not (snntorch: loops, IF, resets other
than to zero; sinabs: loops), its modules are built by hand from the same numbers.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import torch
from frameworks import CASES, FRAMEWORKS, SNNTORCH_DT, if_, snntorch_cuba, snntorch_lif
from peers import (
    DEPRECATED,
    DT,
    LAYERS,
    SIZES,
    Spikes,
    assert_agree,
    doubled,
    graph,
    linear,
    peer,
    recorder,
    rounded,
    spikes,
    stateless,
    stepped,
    stored,
)
from torch import Tensor, nn

from snnc.frontends.nir import read
from snnc.frontends.reading import Reading
from snnc.network import Network
from snnc.simulator.floating import simulate

pytestmark = pytest.mark.filterwarnings(DEPRECATED)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("name", "kind", "recurrent"), CASES)
def test_every_spike_of_an_imported_network(tmp_path: Path, name: str, kind: str, recurrent: bool, seed: int) -> None:
    framework = FRAMEWORKS[name]
    path = stored(tmp_path, framework.graph(np.random.default_rng(seed), kind, recurrent=recurrent))
    x = spikes(seed)
    assert_agree(framework.run(path, x), read(path, framework.reading), x)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_at_the_threshold(tmp_path: Path, name: str) -> None:
    """Numbers in quarters, so that membranes meet their thresholds exactly."""

    def neurons(rng: np.random.Generator, n: int) -> nir.NIRNode:
        every = np.ones(n)
        if name == "snntorch":  # imports no IF
            return nir.LIF(2 * SNNTORCH_DT * every, 2 * every, 0 * every, every, 0 * every)
        return nir.IF(every / DT if name == "spikingjelly" else every, every, 0 * every)

    framework = FRAMEWORKS[name]
    path = stored(tmp_path, rounded(graph(np.random.default_rng(0), neurons, plain=framework.plain), 0.25))
    x = spikes(0)
    network = read(path, framework.reading)
    assert_agree(framework.run(path, x), network, x)
    # If they did not meet, a little more or less would change nothing.
    ours, moved = simulate(network, x), [simulate(_moved(network, by), x) for by in (1 - 2.0**-30, 1 + 2.0**-30)]
    assert any(np.any(ours["lif1"] != other["lif1"]) for other in moved)


def _moved(network: Network, factor: float) -> Network:
    """The network with all thresholds times `factor`."""
    layers = {
        p.name: replace(p, params={**p.params, "v_threshold": p.params["v_threshold"] * factor}) for p in network.layers
    }
    return replace(network, populations=tuple(layers.get(p.name, p) for p in network.populations))


# Convolutions


def convolutions(pool: type[nir.SumPool2d] | type[nir.AvgPool2d], r: float) -> nir.NIRGraph:
    rng = np.random.default_rng(5)

    def weight(*shape: int) -> np.ndarray:
        return rng.normal(0.1, 0.3, shape).astype(np.float32)

    def neurons(*shape: int) -> nir.IF:
        return nir.IF(np.full(shape, r), np.ones(shape), np.zeros(shape))

    two = np.array([2, 2])
    nodes = {
        "input": nir.Input(np.array([2, 8, 8])),
        "conv1": nir.Conv2d((8, 8), weight(4, 2, 3, 3), 1, 1, 1, 1, weight(4)),
        "lif1": neurons(4, 8, 8),
        "pool": pool(two, two, 0 * two),
        "conv2": nir.Conv2d((4, 4), weight(3, 4, 3, 3), 1, 0, 1, 1, weight(3)),
        "lif2": neurons(3, 2, 2),
        "flat": nir.Flatten({"input": np.array([3, 2, 2])}, 0, -1),
        "fc": nir.Affine(weight(5, 12), weight(5)),
        "lif3": neurons(5),
        "output": nir.Output(np.array([5])),
    }
    return nir.NIRGraph(nodes, list(pairwise(nodes)))


def test_convolutions_of_norse(tmp_path: Path) -> None:
    """Its Flatten would take in the axis of samples: one sample without that axis."""
    path = stored(tmp_path, convolutions(nir.SumPool2d, 1.0))
    x = spikes(0, (2, 8, 8), samples=1, steps=40)
    model = peer("norse.torch").from_nir(nir.read(path), dt=DT)
    theirs = stepped(lambda value, state: model(value[0], state), model, x)
    assert_agree({n: s[None] for n, s in _joined(theirs).items()}, read(path, FRAMEWORKS["norse"].reading), x)


def _joined(found: Spikes) -> Spikes:
    """Of a single sample without its axis: (channels, steps, ...) as recorded -> (steps, channels, ...)."""
    return {name: record.swapaxes(0, 1) for name, record in found.items()}


def test_convolutions_of_sinabs(tmp_path: Path) -> None:
    path = stored(tmp_path, convolutions(nir.SumPool2d, 1.0))
    x = spikes(0, (2, 8, 8), steps=40)
    model = doubled(peer("sinabs.nir").from_nir(nir.read(path), batch_size=len(x)))
    found = recorder(model, LAYERS)
    with torch.no_grad():
        model(torch.from_numpy(x.astype(np.float64)).flatten(0, 1))
    theirs = {name: record.reshape(*x.shape[:2], *record.shape[1:]) for name, (record,) in found.items()}
    assert_agree(theirs, read(path, FRAMEWORKS["sinabs"].reading), x)


def test_convolutions_of_spikingjelly(tmp_path: Path) -> None:
    framework = FRAMEWORKS["spikingjelly"]
    path = stored(tmp_path, convolutions(nir.AvgPool2d, 1 / DT))
    x = spikes(0, (2, 8, 8), steps=40)
    assert_agree(framework.run(path, x), read(path, framework.reading), x)


# Modules by hand


def in_snntorch(nodes: dict[str, Any], reset: str, delay: bool) -> nn.Sequential:
    import snntorch as snn

    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for k, name in enumerate(LAYERS, 1):
        node = nodes[name]
        how: dict[str, Any] = {"reset_mechanism": reset, "reset_delay": delay, "init_hidden": True}
        how["threshold"] = torch.from_numpy(node.v_threshold)
        recurrent = name == "lif1" and "rec" in nodes
        if recurrent:
            how["linear_features"] = SIZES[1]
        if isinstance(node, nir.CubaLIF):
            how["alpha"] = torch.from_numpy(1 - SNNTORCH_DT / node.tau_syn)
            how["beta"] = torch.from_numpy(1 - SNNTORCH_DT / node.tau_mem)
            layer = snn.RSynaptic(**how) if recurrent else snn.Synaptic(**how)
        else:
            how["beta"] = torch.ones(len(node.r)) if isinstance(node, nir.IF) else 1 - SNNTORCH_DT / node.tau
            layer = snn.RLeaky(**how) if recurrent else snn.Leaky(**how)
        if recurrent:
            layer.recurrent = linear(nodes["rec"])
        layers[f"fc{k}"], layers[name] = linear(nodes[f"fc{k}"]), layer
    return nn.Sequential(layers)


# RSynaptic of snntorch 1.0.0 fails without reset_delay, see test_framework_habits.py.
SNNTORCH_CASES = [
    (kind, recurrent, reset, delay)
    for kind, recurrent, reset, delay in product(
        ("lif", "if", "cuba"), (False, True), ("subtract", "zero"), (False, True)
    )
    if delay or (kind, recurrent) != ("cuba", True)
]


@pytest.mark.parametrize(("kind", "recurrent", "reset", "delay"), SNNTORCH_CASES)
def test_modules_of_snntorch(tmp_path: Path, kind: str, recurrent: bool, reset: str, delay: bool) -> None:
    neurons = {"lif": snntorch_lif, "if": if_, "cuba": snntorch_cuba}[kind]
    path = stored(tmp_path, graph(np.random.default_rng(1), neurons, recurrent=recurrent))
    x = spikes(1)
    model = in_snntorch(nir.read(path).nodes, reset, delay)
    reading = Reading(semantics="snntorch", reset=reset, late_reset=delay, dt=SNNTORCH_DT)
    assert_agree(stepped(stateless(model), model, x), read(path, reading), x)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kind", ["lif", "if"])
def test_recurrent_modules_of_sinabs(tmp_path: Path, kind: str, seed: int) -> None:
    """One recurrent layer, with a bias in its loop, as its import would build it if it took loops."""
    layers = peer("sinabs.layers")
    whole = FRAMEWORKS["sinabs"].graph(np.random.default_rng(seed), kind, recurrent=True).nodes
    nodes = {name: whole[name] for name in ("input", "fc1", "lif1", "rec")}
    nodes["output"] = nir.Output(np.array(SIZES[1:2]))
    edges = [("input", "fc1"), ("fc1", "lif1"), ("lif1", "rec"), ("rec", "lif1"), ("lif1", "output")]
    path = stored(tmp_path, nir.NIRGraph(nodes, edges))
    node = nodes["lif1"]
    how = {"rec_connect": linear(nodes["rec"]), "spike_threshold": torch.from_numpy(node.v_threshold)}
    if kind == "if":
        neurons = layers.IAFRecurrent(min_v_mem=torch.from_numpy(-node.v_threshold), **how)
    else:
        neurons = layers.LIFRecurrent(tau_mem=torch.from_numpy(node.tau), norm_input=False, **how)
    model = doubled(nn.Sequential(OrderedDict(fc1=linear(nodes["fc1"]), lif1=neurons)))
    x = spikes(seed)
    with torch.no_grad():
        found: Tensor = model(torch.from_numpy(x.astype(np.float64)))
    assert_agree({"lif1": found.numpy()}, read(path, FRAMEWORKS["sinabs"].reading), x)


def test_recurrent_if_of_spyx(tmp_path: Path) -> None:
    """spyx imports it in a graph of its own only."""
    framework = FRAMEWORKS["spyx"]
    flat = framework.graph(np.random.default_rng(0), "if", recurrent=True).nodes
    size = np.array(SIZES[1:2])
    inner = {"in": nir.Input(size), "lif": flat["lif1"], "w": flat["rec"], "out": nir.Output(size)}
    loop = nir.NIRGraph(inner, [("in", "lif"), ("lif", "w"), ("w", "lif"), ("lif", "out")])
    nodes = {name: loop if name == "lif1" else node for name, node in flat.items() if name != "rec"}
    order = ["input", "fc1", "lif1", "fc2", "lif2", "fc3", "lif3", "output"]
    path = stored(tmp_path, nir.NIRGraph(nodes, list(pairwise(order))))
    x = spikes(0)
    network = read(path, framework.reading)
    theirs = dict(zip((p.name for p in network.layers), framework.run(path, x).values(), strict=True))
    assert_agree(theirs, network, x)
