"""All node types of NIR: what each computes, by torch or by its definition, and that it comes back unchanged.

The graphs are written by the `nir` package. Operations are held against torch, neurons against the
equations of NIR's documentation, stepped by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from snnc.errors import InputError
from snnc.frontends.nir import read, write
from snnc.frontends.nir_nodes import NODES
from snnc.frontends.reading import Reading
from snnc.network import Network, identical
from snnc.ops import output_shape
from snnc.simulator.floating import simulate

DT = 1e-3
STEPS = 30
B = 2

RNG = np.random.default_rng(3)
# Numbers of few bits: sums are exact in any order, so that spikes are, too.
COARSE = (RNG.integers(-16, 17, 4096) / 16).astype(np.float64)


def numbers(*shape: int) -> np.ndarray:
    """Multiples of 1/16 in -1..1."""
    return COARSE[: int(np.prod(shape))].reshape(shape).copy()


def lif(*shape: int) -> nir.LIF:
    one = np.ones(shape)
    return nir.LIF(one * 4 * DT, one * 4, one * 0, one / 4)


def graph(*nodes: nir.NIRNode, shape: tuple[int, ...], end: tuple[int, ...] | None = None) -> nir.NIRGraph:
    """Input, the nodes one after the other, Output."""
    names = ["input", *(f"n{k}" for k in range(len(nodes))), "output"]
    parts = [nir.Input(np.array(shape)), *nodes, nir.Output(np.array(shape if end is None else end))]
    edges = list(pairwise(names))
    return nir.NIRGraph(dict(zip(names, parts, strict=True)), edges, type_check=False)


def read_back(made: nir.NIRGraph, folder: Path, **reading: Any) -> Network:
    """The network of a graph, after it went through our writer, too, unchanged and byte-stable."""
    nir.write(folder / "theirs.nir", made)
    network = read(folder / "theirs.nir", Reading(dt=DT, **reading))
    write(network, folder / "ours.nir")
    again = read(folder / "ours.nir")
    assert identical(network, again)
    write(again, folder / "twice.nir")
    assert (folder / "ours.nir").read_bytes() == (folder / "twice.nir").read_bytes()
    return network


# --- operations, read out as they are --------------------------------------------------------------


def convolution(size: tuple[int, ...], weight: np.ndarray, bias: np.ndarray, **options: Any) -> nir.NIRNode:
    """A node of 1 or 2 dimensions; nir 1.0.8 fails to compute the output of some, and need not."""
    given: dict[str, Any] = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1} | options
    if len(size) == 1:
        node: Any = nir.Conv1d(None, weight, **{k: single(v) for k, v in given.items()}, bias=bias)
    else:
        node = nir.Conv2d(None, weight, **given, bias=bias)
    node.input_shape = size if len(size) > 1 else size[0]
    return node


def single(value: Any) -> Any:
    return value[0] if isinstance(value, tuple) else value


def conv(
    kernel: tuple[int, ...], size: tuple[int, ...], **options: Any
) -> tuple[nir.NIRNode, Callable[[Tensor], Tensor]]:
    """A convolution to four channels, and torch's."""
    weight, bias = numbers(4, *kernel), numbers(4)
    function = functional.conv1d if len(size) == 1 else functional.conv2d
    return (
        convolution(size, weight, bias, **options),
        lambda x: function(x, torch.from_numpy(weight), torch.from_numpy(bias), **options),
    )


OPS: dict[str, tuple[tuple[int, ...], tuple[nir.NIRNode, Callable[[Tensor], Tensor]]]] = {
    "Affine": (
        (5,),
        (
            nir.Affine(numbers(3, 5), numbers(3)),
            lambda x: x @ torch.from_numpy(numbers(3, 5)).T + torch.from_numpy(numbers(3)),
        ),
    ),
    "Affine of leading axes": (
        (2, 5),
        (
            nir.Affine(numbers(2, 3, 5), numbers(2, 3)),
            lambda x: (torch.from_numpy(numbers(2, 3, 5)) @ x[..., None])[..., 0] + torch.from_numpy(numbers(2, 3)),
        ),
    ),
    "Linear": ((5,), (nir.Linear(numbers(3, 5)), lambda x: x @ torch.from_numpy(numbers(3, 5)).T)),
    "Scale": ((2, 3), (nir.Scale(numbers(2, 3)), lambda x: x * torch.from_numpy(numbers(2, 3)))),
    "Conv1d": ((4, 9), conv((2, 3), (9,), stride=2, padding=1, groups=2)),
    "Conv1d same": ((4, 9), conv((4, 4), (9,), padding="same")),
    "Conv2d": ((4, 7, 8), conv((2, 3, 2), (7, 8), stride=(2, 1), padding=(0, 1), dilation=(1, 2), groups=2)),
    "Conv2d same": ((4, 7, 8), conv((4, 3, 5), (7, 8), padding="same", dilation=(2, 1))),
    "Conv2d valid": ((4, 7, 8), conv((4, 3, 5), (7, 8), padding="valid")),
    "SumPool2d": (
        (2, 7, 8),
        (
            nir.SumPool2d(np.array([2, 3]), np.array([2, 1]), np.array([1, 0])),
            lambda x: functional.avg_pool2d(x, (2, 3), (2, 1), (1, 0), divisor_override=1),
        ),
    ),
    "AvgPool2d": (
        (2, 8, 8),
        (nir.AvgPool2d(np.array([2, 4]), np.array([2, 2]), np.array([1, 0])), nn.AvgPool2d((2, 4), (2, 2), (1, 0))),
    ),
    "Flatten": ((2, 3, 4), (nir.Flatten({"input": np.array([2, 3, 4])}, 0, -1), nn.Flatten())),
    "Flatten of some": ((2, 3, 4), (nir.Flatten({"input": np.array([2, 3, 4])}, 1, 2), nn.Flatten(2, 3))),
}


# Torch tells that it will do what padding="same" asks for.
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
@pytest.mark.parametrize("case", OPS)
def test_an_operation_computes_what_torch_does(case: str, tmp_path: Path) -> None:
    shape, (node, function) = OPS[case]
    values = np.random.default_rng(0).integers(-8, 9, (B, STEPS, *shape)) / 8
    expected = function(torch.from_numpy(values).flatten(0, 1)).unflatten(0, (B, STEPS)).numpy()
    network = read_back(graph(node, shape=shape, end=expected.shape[2:]), tmp_path)
    (entry,) = network.outputs
    assert network[entry].neuron == "sum"
    np.testing.assert_array_equal(simulate(network, values)[entry], expected)
    # The same in front of neurons.
    spiking = read_back(graph(node, lif(*expected.shape[2:]), shape=shape, end=expected.shape[2:]), tmp_path)
    v = np.zeros((B, *expected.shape[2:]))
    found = simulate(spiking, values)["n1"]
    for t in range(STEPS):
        v = 0.75 * v + expected[:, t]
        np.testing.assert_array_equal(found[:, t], v > 0.25)
        v = np.where(v > 0.25, 0, v)
    assert found.any()


def test_a_delay_looks_back_by_element(tmp_path: Path) -> None:
    steps = np.array([0, 1, 5])
    network = read_back(graph(nir.Delay(steps * DT), shape=(3,)), tmp_path)
    values = np.random.default_rng(0).integers(0, 9, (B, STEPS, 3)).astype(float)
    found = simulate(network, values)[network.outputs[0]]
    for k, late in enumerate(steps):
        assert not found[:, :late, k].any()
        np.testing.assert_array_equal(found[:, late:, k], values[:, : STEPS - late, k])


# --- neurons ---------------------------------------------------------------------------------------

# Time constants of powers of two, in steps: decays are exact.
TAU, SYN = np.array([2.0, 4.0, 8.0]) * DT, np.array([4.0, 2.0, 1.0]) * DT
R, W = np.array([2.0, 4.0, 2.0]), np.array([4.0, 2.0, 3.0])
LEAK, THRESHOLD, RESET = np.array([0.0, 0.25, -0.5]), np.array([1.0, 1.5, 0.75]), np.array([0.0, -0.5, 0.25])


class Stepped:
    """The equations of https://neuroir.org/docs/primitives.html by forward Euler."""

    def __init__(self) -> None:
        self.v, self.i = np.zeros((B, 3)), np.zeros((B, 3))

    def threshold(self, x: np.ndarray) -> np.ndarray:
        return x > THRESHOLD

    def fire(self) -> np.ndarray:
        spikes = self.v > THRESHOLD
        self.v = np.where(spikes, RESET, self.v)
        return spikes

    def integrate(self, x: np.ndarray) -> np.ndarray:  # dv/dt = R I
        self.v = self.v + DT * (R / DT) * x
        return self.v

    def leak(self, x: np.ndarray) -> np.ndarray:  # tau dv/dt = (v_leak - v) + R I
        self.v = self.v + DT / TAU * ((LEAK - self.v) + R * x)
        return self.v

    def current(self, x: np.ndarray) -> np.ndarray:  # tau_syn dI/dt = -I + w_in S
        self.i = self.i + DT / SYN * (-self.i + W * x)
        return self.i


NEURONS: dict[str, tuple[nir.NIRNode, Callable[[Stepped, np.ndarray], np.ndarray]]] = {
    "Threshold": (nir.Threshold(THRESHOLD), lambda s, x: s.threshold(x)),
    "I": (nir.I(R / DT), lambda s, x: s.integrate(x)),
    "IF": (nir.IF(R / DT, THRESHOLD, RESET), lambda s, x: s.integrate(x) is not None and s.fire()),
    "LI": (nir.LI(TAU, R, LEAK), lambda s, x: s.leak(x)),
    "LIF": (nir.LIF(TAU, R, LEAK, THRESHOLD, RESET), lambda s, x: s.leak(x) is not None and s.fire()),
    "CubaLI": (nir.CubaLI(SYN, TAU, R, LEAK, W), lambda s, x: s.leak(s.current(x))),
    "CubaLIF": (
        nir.CubaLIF(SYN, TAU, R, LEAK, THRESHOLD, RESET, W),
        lambda s, x: s.leak(s.current(x)) is not None and s.fire(),
    ),
}


@pytest.mark.parametrize("case", NEURONS)
def test_a_neuron_follows_its_equation(case: str, tmp_path: Path) -> None:
    node, step = NEURONS[case]
    network = read_back(graph(node, shape=(3,)), tmp_path, reset="value")
    values = np.random.default_rng(0).integers(-8, 17, (B, STEPS, 3)) / 8
    found, by_hand = simulate(network, values)["n0"], Stepped()
    assert found.any()
    for t in range(STEPS):
        # Membranes agree but for the order of three sums and products; spikes exactly.
        np.testing.assert_allclose(found[:, t], step(by_hand, values[:, t]), rtol=0, atol=1e-14)


def test_no_type_is_forgotten() -> None:
    """NIR 1.0.8 has 19; graphs in graphs are read before nodes are."""
    types = {name for name, kind in vars(nir).items() if isinstance(kind, type) and issubclass(kind, nir.NIRNode)}
    assert types - {"NIRNode"} == {*NODES, "NIRGraph"}
    assert len(NODES) == 18
    tested = {case.split()[0] for case in (*OPS, *NEURONS)}
    assert tested | {"Delay", "Input", "Output"} == set(NODES)


# --- shapes ----------------------------------------------------------------------------------------

RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)


def shape_by_us(node: nir.NIRNode, shape: tuple[int, ...], folder: Path) -> tuple[int, ...] | None:
    """The shape after a node, by our reader; None where it refuses the node."""
    made = graph(node, shape=shape)
    del made.nodes["output"]
    nir.write(folder / "shape.nir", made)
    with h5py.File(folder / "shape.nir", "r+") as file:  # an Output that leaves its shape open
        file.create_dataset("node/nodes/output/type", data="Output")
    try:
        network = read(folder / "shape.nir", Reading(dt=DT))
    except InputError as error:
        if "node 'n0'" not in error.where:
            raise
        return None
    (projection,) = network.projections
    assert output_shape(projection.ops, shape) == network["output"].shape
    return network["output"].shape


def shape_by_torch(function: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> tuple[int, ...] | None:
    try:
        return tuple(function(torch.zeros(1, *shape)).shape[1:])
    except (RuntimeError, ValueError, IndexError):
        return None


PAIRS = st.tuples(st.integers(1, 4), st.integers(1, 4))


# Torch tells that it will do what padding="same" asks for.
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
@RELAXED
@given(data=st.data(), axes=st.sampled_from([1, 2]))
def test_shapes_after_convolutions_are_those_of_torch(tmp_path: Path, data: st.DataObject, axes: int) -> None:
    draw = data.draw
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    channels, outputs = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    size = draw(st.tuples(*[st.integers(1, 9)] * axes))
    kernel, stride, dilation = (draw(st.tuples(*[st.integers(1, 4)] * axes)) for _ in range(3))
    padding = draw(st.one_of(st.tuples(*[st.integers(0, 3)] * axes), st.sampled_from(["same", "valid"])))
    if padding == "same":
        assume(all(s == 1 for s in stride))
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    node = convolution(size, np.ones((outputs, channels // groups, *kernel)), np.zeros(outputs), **options)
    layer = (nn.Conv1d if axes == 1 else nn.Conv2d)(channels, outputs, kernel, **options)
    assert shape_by_us(node, (channels, *size), tmp_path) == shape_by_torch(layer, (channels, *size))


@RELAXED
@given(size=st.tuples(st.integers(1, 9), st.integers(1, 9)), kernel=PAIRS, stride=PAIRS, data=st.data())
def test_shapes_after_pooling_are_those_of_torch(
    tmp_path: Path, size: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int], data: st.DataObject
) -> None:
    padding = data.draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
    node = data.draw(st.sampled_from([nir.SumPool2d, nir.AvgPool2d]))(*map(np.array, (kernel, stride, padding)))
    expected = shape_by_torch(nn.AvgPool2d(kernel, stride, padding), (2, *size))
    assert shape_by_us(node, (2, *size), tmp_path) == expected


@RELAXED
@given(shape=st.lists(st.integers(2, 3), min_size=1, max_size=4), start=st.integers(-5, 5), end=st.integers(-5, 5))
def test_shapes_after_flatten_are_those_of_torch(tmp_path: Path, shape: list[int], start: int, end: int) -> None:
    """NIR counts axes without the batch, torch with it."""
    node: Any = nir.Flatten({"input": np.array(shape)})
    node.start_dim, node.end_dim = start, end  # nir checks itself, and less
    after_batch = [d + 1 if d >= 0 else d for d in (start, end)]
    assume(all(-len(shape) <= d for d in (start, end)))  # further back lies torch's batch
    expected = shape_by_torch(nn.Flatten(*after_batch), tuple(shape))
    assert shape_by_us(node, tuple(shape), tmp_path) == expected
