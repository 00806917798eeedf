"""The engine and the reference against another implementation of Lava's arithmetic, written on its own.

That one steps layer by layer with a delay of one step per synapse, as Lava does, and was held
against Lava in spikes, u and v; here it runs random networks with values at the edge of every range.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from snnc.network import Network, Population, Projection
from snnc.ops import Conv2d, Linear, canonical
from snnc.samples import Samples
from snnc.simulator import reference, simulate


@pytest.fixture(scope="module")
def refsim(shared: Path) -> Iterator[ModuleType]:
    folder = str(shared / "reference")
    sys.path.insert(0, folder)
    try:
        yield importlib.import_module("refsim")  # it imports its neighbours when it is used
    finally:
        sys.path.remove(folder)


def layer(rng: np.random.Generator, name: str, shape: tuple[int, ...], fan_in: int, extreme: bool) -> Population:
    """Parameters that are the same for the whole layer, as the other implementation wants them."""
    top = 100_000 if extreme else 20 * max(1, int(np.sqrt(fan_in)))
    values = {
        "u_decay": rng.choice([4096, 0, int(rng.integers(1, 4096))]),
        "v_decay": rng.choice([0, 4096, int(rng.integers(1, 4096))]),
        "threshold": rng.integers(1, top),
        "bias": rng.integers(-4096, 4096) if extreme else rng.integers(-20, 40),
    }
    return Population(name, shape, "cuba_fixed", {k: np.full(shape, v, np.int32) for k, v in values.items()})


def network(seed: int, extreme: bool) -> Network:
    """input (2, 6, 7) -> conv -> dense -> dense, all parameters drawn from `seed`."""
    rng = np.random.default_rng(seed)
    stride, padding, groups = int(rng.integers(1, 3)), int(rng.integers(0, 2)), int(rng.integers(1, 3))
    kernel = rng.integers(-254, 255, (4, 2 // groups, 3, 2)).astype(np.int16)
    conv = Conv2d(kernel, None, (stride, 1), (padding, padding), (1, 1), groups)
    shape = conv.output_shape((2, 6, 7))
    size = int(np.prod(shape))
    dense = [rng.integers(-254, 255, s) * (rng.random(s) < rng.choice([0.1, 0.5, 1.0])) for s in ((12, size), (5, 12))]
    populations = (
        Population("input", (2, 6, 7), "input"),
        layer(rng, "conv", shape, 12, extreme),
        layer(rng, "fc1", (12,), size, extreme),
        layer(rng, "fc2", (5,), 12, extreme),
    )
    ops = (conv, *(Linear(canonical(w.astype(np.int16))) for w in dense))
    links = tuple(Projection(f"p{k}", populations[k].name, populations[k + 1].name, (op,)) for k, op in enumerate(ops))
    return Network(populations, links, ("fc2",), 1e-3)


def stepped(refsim: ModuleType, net: Network, spikes: np.ndarray) -> dict[str, np.ndarray]:
    """One sample by the other implementation, each layer's delay of one step per synapse taken back."""
    stages = []
    for projection in net.projections:
        op, post = projection.op, net[projection.post]
        values = {k: int(v.flat[0]) for k, v in post.params.items()}
        neurons = refsim.Lif(post.shape, values["threshold"], values["u_decay"], values["v_decay"], values["bias"])
        if isinstance(op, Conv2d):
            synapses = refsim.Conv(op.weight, net[projection.pre].shape, op.stride, op.padding, op.dilation, op.groups)
        else:
            synapses = refsim.Dense(op.weight.toarray())
        stages.append((post.name, synapses, neurons))
    steps, depth = len(spikes), len(stages)
    found = {name: np.zeros((steps, *net[name].shape), bool) for name, _, _ in stages}
    for t in range(steps + depth):
        x = spikes[t] if t < steps else np.zeros_like(spikes[0])
        for k, (name, synapses, neurons) in enumerate(stages, 1):
            current = synapses.step(x.ravel() if isinstance(synapses, refsim.Dense) else x)
            if t < k:  # the layer's first input arrives at step k; nothing of it may run before
                x = np.zeros(net[name].shape, bool)
                continue
            x = neurons.step(current)
            if t - k < steps:
                found[name][t - k] = x
    return found


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10_000), extreme=st.booleans(), steps=st.integers(1, 20))
def test_random_networks_agree_in_every_spike(refsim: ModuleType, seed: int, extreme: bool, steps: int) -> None:
    net = network(seed, extreme)
    spikes = (np.random.default_rng(seed).random((2, steps, 2, 6, 7)) < 0.4).astype(np.uint8)
    names = [p.name for p in net.layers]
    slow = reference.simulate(net, spikes)
    fast = simulate(net, Samples(spikes), rasters=names).rasters
    for sample in range(2):
        theirs = stepped(refsim, net, spikes[sample])
        for name in names:
            assert np.array_equal(theirs[name], slow[name][sample]), name
            assert np.array_equal(theirs[name], fast[name][sample]), name


def test_the_networks_of_this_test_do_spike() -> None:
    """Agreement of silence would prove nothing."""
    counts = {"conv": 0, "fc1": 0, "fc2": 0}
    for seed in range(30):
        net = network(seed, extreme=False)
        spikes = (np.random.default_rng(seed).random((2, 20, 2, 6, 7)) < 0.4).astype(np.uint8)
        rasters = reference.simulate(net, spikes)
        for name in counts:
            share = rasters[name].mean()
            counts[name] += 0.01 < share < 0.99
    assert min(counts.values()) >= 8
