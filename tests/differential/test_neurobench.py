"""Workloads against NeuroBench 2.3.0 itself, on the same modules of snntorch and the same data.

All figures are equal, not close: counts are integers, and means are taken in the same order. The modules run in
float32, ours in float64; so no number here is round, for a sum of round numbers can be above a threshold, or what it
was a step before, in one of the two alone. Random modules have numbers of so few bits that nothing is rounded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import snntorch as snn
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from neurobench.benchmarks import Benchmark
from neurobench.metrics.static import ConnectionSparsity, Footprint
from neurobench.metrics.workload import ActivationSparsity, MembraneUpdates, SynapticOperations
from neurobench.models import SNNTorchModel
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import snnc
from snnc import target
from snnc.image import Image, Mapping
from snnc.network import USUAL, Network
from snnc.ops import Conv2d, Linear
from snnc.samples import Samples
from snnc.simulator import simulate, workload
from snnc.simulator.floating import batches

STEPS = 12
STATIC = (Footprint, ConnectionSparsity)
COUNTED = (SynapticOperations, ActivationSparsity, MembraneUpdates)


class Pair(nn.Module):
    """A module as NeuroBench calls it: (spikes, anything) of one step, and a reset of all neurons."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        out = self.module(x)
        return out[0], out[-1]

    def reset(self) -> None:
        for layer in self.modules():
            if isinstance(layer, snn.SpikingNeuron):
                layer.reset_mem()


def theirs(module: nn.Module, data: Tensor, batch: int) -> dict[str, Any]:
    """What NeuroBench says of a module on data (samples, steps, ...) in batches."""
    dataset = TensorDataset(data, torch.zeros(len(data), dtype=torch.long))
    benchmark = Benchmark(
        SNNTorchModel(Pair(module)), DataLoader(dataset, batch), [], [], [list(STATIC), list(COUNTED)]
    )
    with torch.no_grad():
        return benchmark.run(quiet=True)


def ours(network: Network, data: Tensor, batch: int) -> dict[str, Any]:
    """The same of a network, by the names of NeuroBench."""
    _, counted = batches.watched(network, {network.inputs[0].name: as_data(data)}, threads=2)
    return named(workload.neurobench(network, counted, batch))


def named(found: workload.NeuroBench) -> dict[str, Any]:
    return {
        "Footprint": found.footprint,
        "ConnectionSparsity": found.connection_sparsity,
        "SynapticOperations": {
            "Effective_MACs": found.effective_macs,
            "Effective_ACs": found.effective_acs,
            "Dense": found.dense,
        },
        "ActivationSparsity": found.activation_sparsity,
        "MembraneUpdates": found.membrane_updates,
    }


def as_data(data: Tensor) -> np.ndarray:
    array = data.numpy()
    return array.astype(np.uint8) if np.isin(array, (0, 1)).all() else array.astype(np.float64)


def prune(module: nn.Module, share: float) -> nn.Module:
    """Set a share of all weights to zero."""
    for layer in module.modules():
        if isinstance(layer, (nn.Linear, nn.Conv1d, nn.Conv2d)):
            with torch.no_grad():
                layer.weight[torch.rand_like(layer.weight) < share] = 0
    return module


def row(*layers: nn.Module) -> nn.Module:
    """Layers in a row, each neuron with hidden states; the last puts out (spikes, membrane) as NeuroBench wants."""
    for layer in layers:
        if isinstance(layer, snn.SpikingNeuron):
            layer.init_hidden = True
    layers[-1].output = True
    return nn.Sequential(*layers)


def dense() -> nn.Module:
    return row(nn.Linear(20, 30), snn.Leaky(0.9), nn.Linear(30, 6, bias=False), snn.Leaky(0.8, reset_mechanism="zero"))


def synaptic() -> nn.Module:
    beta = torch.linspace(0.5, 0.95, 30)
    return prune(
        row(
            nn.Linear(20, 30),
            snn.Synaptic(0.5, beta, threshold=0.8),
            nn.Linear(30, 6),
            snn.Synaptic(torch.linspace(0.2, 0.9, 6), 0.8, reset_mechanism="zero"),
        ),
        0.6,
    )


def at_once() -> nn.Module:
    """Resets without delay."""
    return row(
        nn.Linear(20, 30),
        snn.Leaky(0.9, reset_delay=False, threshold=0.4),
        nn.Linear(30, 9),
        snn.Synaptic(0.4, 0.9, reset_mechanism="zero", reset_delay=False, threshold=0.3),
        nn.Linear(9, 4),
        snn.Leaky(1.0, reset_mechanism="none"),
    )


def convolutions() -> nn.Module:
    """Strides, padding, groups and dilation, all unlike along rows and columns, 60 % pruned."""
    return prune(
        row(
            nn.Conv2d(2, 6, (3, 5), stride=(2, 1), padding=(1, 2)),
            snn.Leaky(0.9, threshold=0.3),
            nn.Conv2d(6, 4, 3, padding=1, groups=2, dilation=(1, 2), bias=False),
            snn.Leaky(torch.linspace(0.4, 0.9, 4)[:, None, None], threshold=0.1),
            nn.Conv2d(4, 8, (2, 3), stride=(1, 3)),
            snn.Synaptic(0.3, 0.9, threshold=0.2),
            nn.Flatten(),
            nn.Linear(8 * 4 * 3, 5),
            snn.Leaky(0.9, threshold=0.1),
        ),
        0.6,
    )


def pooling() -> nn.Module:
    """Averages of spikes are no spikes: what follows multiplies. Neurons that pool make spikes of them again."""
    return prune(
        row(
            nn.Conv2d(2, 6, 3, padding=1),
            snn.Leaky(0.9, threshold=0.3),
            nn.AvgPool2d(2),
            nn.Conv2d(6, 8, 3),
            snn.Leaky(0.9, threshold=0.2),
            nn.AvgPool2d((1, 2)),
            snn.Leaky(0.57, threshold=0.43),
            nn.Flatten(),
            nn.Linear(8 * 3, 5),
            snn.Leaky(0.9, threshold=0.1),
        ),
        0.3,
    )


def line() -> nn.Module:
    return row(
        nn.Conv1d(3, 6, 5, stride=2, padding=2, groups=3),
        snn.Leaky(0.8, threshold=0.2),
        nn.Flatten(),
        nn.Linear(48, 4),
        snn.Leaky(0.9, threshold=0.2),
    )


def recurrent() -> nn.Module:
    torch.manual_seed(3)
    return prune(
        row(
            nn.Linear(20, 16),
            snn.RLeaky(0.9, linear_features=16, threshold=0.5),
            nn.Linear(16, 9),
            snn.RSynaptic(0.5, 0.9, linear_features=9, threshold=0.4),
            nn.Linear(9, 5),
            snn.RLeaky(0.7, all_to_all=False, V=0.5, threshold=0.3),
        ),
        0.5,
    )


class Branches(nn.Module):
    """A skip with pooling and a factor, and a convolution that comes back to itself."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.lif1 = nn.Conv2d(2, 4, 3, padding=1), snn.Leaky(0.8, init_hidden=True, threshold=0.3)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1, groups=2, bias=False)
        self.lif2 = snn.RLeaky(0.7, conv2d_channels=4, kernel_size=3, init_hidden=True, threshold=0.4)
        self.fc, self.lif3 = nn.Linear(4 * 4 * 5, 6), snn.Synaptic(0.4, 0.9, init_hidden=True, output=True)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        a = self.lif1(self.conv1(x))
        b = self.lif2(self.conv2(a) + 0.25 * a)
        out = self.lif3(self.fc(torch.flatten(functional.avg_pool2d(a + b, 2), 1)))
        return out[0], out[-1]


@dataclass(frozen=True)
class Case:
    """analog: share of the data that is other than 0 and 1."""

    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    analog: float = 0.0
    rate: float = 0.3


CASES = {
    "dense": Case(dense, (20,)),
    "dense, analog": Case(dense, (20,), 1.0),
    "dense, some analog": Case(dense, (20,), 0.02),
    "synaptic, pruned": Case(synaptic, (20,)),
    "resets at once": Case(at_once, (20,)),
    "convolutions, pruned": Case(convolutions, (2, 10, 11)),
    "convolutions, analog": Case(convolutions, (2, 10, 11), 1.0),
    "pooling": Case(pooling, (2, 10, 11)),
    "one dimension": Case(line, (3, 16)),
    "recurrent": Case(recurrent, (20,)),
    "branches": Case(Branches, (2, 8, 10)),
    "silence": Case(dense, (20,), rate=0.0),
}


def recorded(case: Case, seed: int = 0, samples: int = 7) -> Tensor:
    rng = np.random.default_rng(seed)
    size = (samples, STEPS, *case.shape)
    spikes = (rng.random(size) < case.rate).astype(np.float32)
    values = rng.normal(0, 1, size).astype(np.float32)
    return torch.from_numpy(np.where(rng.random(size) < case.analog, values, spikes))


def load(module: nn.Module, shape: tuple[int, ...]) -> Network:
    if isinstance(module, nn.Sequential):
        return snnc.load(module, shape=shape)
    return snnc.load(module, torch.zeros(1, *shape))


@pytest.mark.parametrize("batch", [1, 3, 7])
@pytest.mark.parametrize("name", CASES)
def test_equal_to_neurobench(name: str, batch: int) -> None:
    case = CASES[name]
    torch.manual_seed(1)
    module = case.make()
    data = recorded(case)
    expected = theirs(module, data, batch)
    found = ours(load(module, case.shape), data, batch)
    assert found == expected
    operations = expected["SynapticOperations"]
    assert operations["Dense"] > operations["Effective_ACs"] + operations["Effective_MACs"] > 0 or not case.rate
    assert (operations["Effective_MACs"] > 0) == (case.analog > 0 or name in ("pooling", "branches"))
    assert 0 < expected["ActivationSparsity"] < 1 or not case.rate


@st.composite
def modules(draw: st.DrawFn) -> tuple[nn.Module, tuple[int, ...]]:
    """A row of one to three layers of neurons behind linear layers, convolutions or pools, some pruned."""
    torch.manual_seed(draw(st.integers(0, 2**31)))
    shape: tuple[int, ...] = draw(st.sampled_from([(9,), (2, 6, 7), (4, 5, 5), (3, 9)]))
    start, layers = shape, []
    for _ in range(draw(st.integers(1, 3))):
        stage: list[nn.Module] = []
        if len(shape) == 3 and min(shape[1:]) > 3 and draw(st.booleans()):
            stage.append(nn.AvgPool2d(2, padding=draw(st.integers(0, 1))))
        if len(shape) > 1 and draw(st.booleans()):
            stage.append(nn.Flatten())
        inner = tuple(nn.Sequential(*stage)(torch.zeros(1, *shape)).shape[1:])
        stage.append(draw(_weighted(inner)))
        shape = tuple(stage[-1](torch.zeros(1, *inner)).shape[1:])
        layers += [*stage, draw(_neurons(shape))]
    module = prune(row(*layers), draw(st.sampled_from([0.0, 0.5, 0.95])))
    for value in module.parameters():
        nn.init.uniform_(value.data, -1, 1) if value.dim() < 2 else value.data.mul_(value[0].numel() ** 0.5)
        value.data.mul_(8).round_().div_(8)
    return module, start


@st.composite
def _weighted(draw: st.DrawFn, shape: tuple[int, ...]) -> nn.Module:
    bias = draw(st.booleans())
    if len(shape) == 1:
        return nn.Linear(shape[0], draw(st.integers(1, 12)), bias=bias)
    groups = draw(st.sampled_from([g for g in (1, 2) if shape[0] % g == 0]))
    how = {"padding": draw(st.integers(1, 2)), "stride": draw(st.integers(1, 3)), "groups": groups, "bias": bias}
    kind = nn.Conv1d if len(shape) == 2 else nn.Conv2d
    return kind(shape[0], groups * draw(st.integers(1, 3)), draw(st.integers(1, 3)), **how)


@st.composite
def _neurons(draw: st.DrawFn, shape: tuple[int, ...]) -> nn.Module:
    how: dict[str, Any] = {"threshold": 0.375, "reset_mechanism": draw(st.sampled_from(["subtract", "zero", "none"]))}
    beta = draw(st.sampled_from([0.5, 1.0]))
    kind = draw(st.sampled_from(["leaky", "synaptic", "rleaky", "rsynaptic"]))
    if kind == "leaky":
        return snn.Leaky(beta, **how)
    if kind == "synaptic":
        return snn.Synaptic(0.5, beta, **how)
    if how["reset_mechanism"] == "zero" or len(shape) == 2:
        return snn.Leaky(beta, threshold=0.375)  # see below; and of recurrent neurons in one dimension there are none
    loop = {"linear_features": shape[0]} if len(shape) == 1 else {"conv2d_channels": shape[0], "kernel_size": 3}
    return snn.RLeaky(beta, **loop, **how) if kind == "rleaky" else snn.RSynaptic(0.5, beta, **loop, **how)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_random_modules(data: st.DataObject) -> None:
    """Eighths, quarters and halves: over 8 steps sums fit into the 24 bits of float32."""
    module, shape = data.draw(modules())
    case = Case(lambda: module, shape, data.draw(st.sampled_from([0.0, 0.03, 1.0])), data.draw(st.floats(0, 1)))
    inputs = recorded(case, data.draw(st.integers(0, 2**32)), data.draw(st.integers(1, 5)))[:, :8].mul(4).round().div(4)
    batch = data.draw(st.integers(1, 5))
    expected = theirs(module, inputs, batch)  # first, as a module that has run holds its states
    assert ours(load(module, shape), inputs, batch) == expected


def test_the_split_depends_on_the_batches_alone() -> None:
    """One sample with one value that is no spike: its call is multiplied, and with it all others of the batch."""
    torch.manual_seed(1)
    module = dense()
    data = recorded(CASES["dense"])
    data[2, 5, 0] = 0.5
    network = load(module, (20,))
    split = {batch: ours(network, data, batch)["SynapticOperations"] for batch in (1, 2, 7)}
    assert split == {batch: theirs(module, data, batch)["SynapticOperations"] for batch in split}
    macs = [split[batch]["Effective_MACs"] for batch in (1, 2, 7)]
    assert 0 < macs[0] < macs[1] < macs[2]
    assert len({sum(s.values()) for s in split.values()}) == 1


@pytest.mark.parametrize("kind", ["leaky", "synaptic"])
def test_recurrent_neurons_that_reset_to_zero_call_their_layer_twice(kind: str) -> None:
    """snntorch 1.0.0 works its state out twice then, and NeuroBench counts both; a network has one such projection."""
    torch.manual_seed(1)
    how: dict[str, Any] = {"linear_features": 9, "reset_mechanism": "zero", "threshold": 0.3}
    neurons = snn.RLeaky(0.9, **how) if kind == "leaky" else snn.RSynaptic(0.5, 0.9, **how)
    module, data = row(nn.Linear(20, 9), neurons), recorded(CASES["dense"])
    network = load(module, (20,))
    _, counted = batches.watched(network, {"input": as_data(data)})
    (_, back) = counted.calls
    expected, found = theirs(module, data, 7), named(workload.neurobench(network, counted, 7))
    operations = found["SynapticOperations"]
    operations["Effective_ACs"] += back.effective.sum() / len(data)
    operations["Dense"] += back.dense
    # An empty buffer is left after a run, so that the footprint is that of a module which has not run.
    assert found == expected
    assert back.effective.sum() > 0


def test_beyond_24_bits_neurobench_rounds_and_we_do_not() -> None:
    """One call of 4,611 x 4,099 weights for all inputs: more than float32 counts one by one."""
    torch.manual_seed(1)
    module = row(nn.Linear(4099, 4611, bias=False), snn.Leaky(0.9))
    data = torch.ones(1, 1, 4099)
    with torch.no_grad():
        module[0].weight.fill_(0.5)[0, 0] = 0
    network = snnc.load(module, shape=(4099,))
    exact = 4099 * 4611
    found = ours(network, data, 1)["SynapticOperations"]
    assert (found["Dense"], found["Effective_ACs"]) == (exact, exact - 1)
    assert exact > 1 << 24
    rounded = theirs(module, data, 1)["SynapticOperations"]
    assert rounded["Dense"] == pytest.approx(exact, rel=2**-20)
    assert rounded["Effective_ACs"] == rounded["Dense"] != exact


def integers() -> nn.Module:
    """Whole weights and thresholds; no leak, reset to zero: what the integer engine computes is what float32 does."""
    module = row(
        nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2, bias=False),
        snn.Leaky(1.0, threshold=40.0, reset_mechanism="zero"),
        nn.Conv2d(4, 6, 3, padding=1, bias=False),
        snn.Leaky(1.0, threshold=60.0, reset_mechanism="zero"),
        nn.Flatten(),
        nn.Linear(6 * 5 * 6, 5, bias=False),
        snn.Leaky(1.0, threshold=90.0, reset_mechanism="zero"),
    )
    for value in module.parameters():
        nn.init.uniform_(value, -30, 40).data.round_()
    return prune(module, 0.6)


def as_integers(network: Network) -> Network:
    """The same in the neurons of the engine: thresholds and weights kept, no decay of membranes, none of currents."""
    populations = [network.populations[0]]
    for population in network.layers:
        values = {"u_decay": 4096, "v_decay": 0, "threshold": population.params["v_threshold"], "bias": 0}
        params = {name: np.broadcast_to(v, population.shape).astype(np.int32) for name, v in values.items()}
        populations.append(replace(population, neuron="cuba_fixed", params=params, semantics=USUAL))
    projections = []
    for projection in network.projections:
        op = projection.ops[-1]  # behind a flatten, if anything
        assert isinstance(op, Linear | Conv2d)
        projections.append(replace(projection, ops=(replace(op, weight=op.weight.astype(np.int16)),)))
    return replace(network, populations=tuple(populations), projections=tuple(projections))


@pytest.mark.parametrize("analog", [0.0, 0.02, 1.0])
@pytest.mark.parametrize("mapped", [False, True])
def test_a_run_of_integers_is_equal_to_neurobench(analog: float, mapped: bool) -> None:
    """From counts of spikes per neuron alone; membranes are not followed, and int16 takes less than float32."""
    torch.manual_seed(1)
    module = integers()
    data = recorded(Case(integers, (2, 10, 11), analog)).mul(3 if analog else 1).round()
    network = as_integers(load(module, (2, 10, 11)))
    expected = theirs(module, data, 3)
    inputs = np.ascontiguousarray(data.numpy())
    samples = Samples(inputs)
    run = simulate(place(network) if mapped else network, samples)
    found = named(workload.neurobench(network, workload.of_run(network, run, samples.spikes), 3))
    own = ("Footprint", "MembraneUpdates")
    assert {k: v for k, v in found.items() if k not in own} == {k: v for k, v in expected.items() if k not in own}
    assert (expected["SynapticOperations"]["Effective_MACs"] > 0) == (analog > 0)
    assert found["MembraneUpdates"] is None
    weights = sum(value.numel() for value in module.parameters())
    assert found["Footprint"] == 2 * weights + 3 * 4 * 4  # four registers of 4 bytes for each layer


def place(network: Network) -> Image:
    """The network on five cores, neuron by neuron in turn."""
    core_of = np.full(network.size, -1, np.int32)
    inside = np.arange(network.inputs[0].size, network.size)
    core_of[inside] = inside % 5
    return Image(network, Mapping(core_of, np.arange(0, 20, 4, dtype=np.int32)), target.load("loihi"))
