"""NIR out and in again: identical networks, equal bytes, files that the nir package reads, files by others."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from snnc.errors import InputError, UsageError
from snnc.frontends.nir import DEFAULT_DT, open_file, read, write
from snnc.frontends.nir_writer import to_nir
from snnc.frontends.notes import Notes
from snnc.frontends.reading import Reading
from snnc.network import NEURONS, Network, Population, Projection, Semantics, identical
from snnc.ops import Conv2d, Flatten, Linear, Op, Pool2d, canonical, output_shape

Generator = np.random.Generator
# The file system is shared by the examples on purpose: each writes anew.
RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)


def weights(rng: Generator, shape: tuple[int, ...], density: float, dtype: Any) -> np.ndarray:
    return ((rng.random(shape) < density) * rng.normal(size=shape)).astype(dtype)


def population(rng: Generator, name: str, shape: tuple[int, ...], neuron: str, reset: str, compare: str) -> Population:
    params = {p: rng.uniform(0.001, 0.02, shape) for p in NEURONS[neuron]}
    params["v_threshold"] = rng.uniform(1, 2, shape)
    params["v_reset"] = rng.uniform(-1, 0.5, shape) if reset == "value" else np.zeros(shape)
    return Population(name, shape, neuron, params, Semantics(reset, compare))


@st.composite
def chains(draw: st.DrawFn, exotic: bool = True) -> Network:
    """A feed-forward chain of 1 to 3 layers. exotic: convolutions that nir 1.0.8 cannot type."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    density = draw(st.sampled_from([0.2, 1.0]))
    if draw(st.booleans()):
        shape = (2 * draw(st.integers(1, 2)), draw(st.integers(3, 8)), draw(st.integers(3, 8)))
    else:
        shape = (draw(st.integers(1, 12)),)
    name = st.text("ab.0/ é", min_size=1, max_size=4)
    names = draw(st.lists(name, min_size=8, max_size=8, unique=True))
    populations = [Population(names.pop(), shape, "input")]
    projections = []
    for _ in range(draw(st.integers(1, 3))):
        ops: list[Op] = []
        if len(shape) == 3 and min(shape[1:]) >= 3 and draw(st.booleans()):
            kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
            stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
            ops.append(Pool2d(draw(st.sampled_from(["sum", "average"])), kernel, stride, (kernel[0] // 2, 0)))
            shape = output_shape((ops[-1],), shape)
        if len(shape) == 3 and draw(st.booleans()):
            rows, columns = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
            rows, columns = (rows, columns) if exotic else (rows, rows)
            groups = draw(st.sampled_from([1, 2])) if exotic and shape[0] % 2 == 0 else 1
            kernel = weights(rng, (2 * draw(st.integers(1, 2)), shape[0] // groups, rows, columns), density, dtype)
            dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
            # Enough padding for the widest window to fit.
            padding = draw(st.tuples(st.integers(2, 3), st.integers(2, 3)))
            bias = rng.normal(size=len(kernel)).astype(dtype) if draw(st.booleans()) else None
            ops.append(
                Conv2d(kernel, bias, draw(st.tuples(st.integers(1, 2), st.integers(1, 2))), padding, dilation, groups)
            )
            shape = output_shape((ops[-1],), shape)
        if not ops or draw(st.booleans()):
            if len(shape) == 3 and draw(st.booleans()):
                ops.append(draw(st.sampled_from([Flatten(), Flatten(0, 2), Flatten(-3, -1)])))
            count = draw(st.integers(1, 9))
            bias = rng.normal(size=count).astype(dtype) if draw(st.booleans()) else None
            ops.append(Linear(canonical(weights(rng, (count, math.prod(shape)), density, dtype)), bias))
            shape = (count,)
        elif draw(st.booleans()):
            shape = (math.prod(shape),)  # neurons in a row behind a convolution or pool
        reset, compare = draw(st.sampled_from(["zero", "value", "subtract"])), draw(st.sampled_from([">", ">="]))
        neuron = draw(st.sampled_from(["if", "lif", "cuba_lif"]))
        populations.append(population(rng, names.pop(), shape, neuron, reset, compare))
        pre, post = populations[-2].name, populations[-1].name
        projections.append(Projection(names.pop(), pre, post, tuple(ops), bits=draw(st.sampled_from([None, 4, 8]))))
    dt = draw(st.sampled_from([1e-4, 1e-3, 0.1]))
    return Network(tuple(populations), tuple(projections), (populations[-1].name,), dt, draw(name))


def branches() -> Network:
    """Two inputs, a shared layer, a sum at a neuron, a direct projection, two outputs."""
    rng = np.random.default_rng(5)

    def linear(outputs: int, inputs: int) -> tuple[Op, ...]:
        return (Linear(canonical(rng.normal(size=(outputs, inputs)))),)

    layers = [population(rng, n, (4,), "lif", "subtract", ">") for n in "zyx"]
    populations = (Population("in", (3,), "input"), Population("alone", (2, 1), "input"), *layers)
    projections = (
        Projection("last", "z", "x", linear(4, 4)),
        Projection("first", "in", "z", linear(4, 3)),
        Projection("second", "alone", "y", linear(4, 2)),
        Projection("third", "in", "y", linear(4, 3)),
        Projection("same", "y", "x", (), bits=8),
    )
    return Network(populations, projections, ("x", "y"), 1e-3, "branches")


@RELAXED
@given(chains())
def test_round_trip_is_identical_and_byte_stable(tmp_path: Path, network: Network) -> None:
    first, second = tmp_path / "first.nir", tmp_path / "second.nir"
    write(network, first)
    notes = Notes("file")
    again = read(first, notes=notes)
    assert identical(network, again)
    assert notes.entries == []
    write(again, second)
    assert first.read_bytes() == second.read_bytes()


def test_branches_sums_and_several_outputs(tmp_path: Path) -> None:
    path = tmp_path / "branches.nir"
    write(branches(), path)
    assert identical(branches(), read(path))
    assert len(nir.read(path).nodes) == 5 + 2 + 5  # populations, outputs, linear nodes and one Flatten


def test_leading_axis_of_one_is_no_batch_axis_in_our_files(tmp_path: Path) -> None:
    layer = population(np.random.default_rng(1), "lif", (1, 4), "lif", "zero", ">")
    populations = (Population("in", (1, 4), "input"), layer)
    network = Network(populations, (Projection("direct", "in", "lif", ()),), ("lif",), 1e-3, "row")
    write(network, tmp_path / "net.nir")
    assert identical(network, read(tmp_path / "net.nir"))


@RELAXED
@given(chains(exotic=False))
def test_nir_reads_and_types_what_we_write(tmp_path: Path, network: Network) -> None:
    path = tmp_path / "net.nir"
    write(network, path)
    graph = nir.read(path)
    # Nothing was invented to repair the graph.
    assert set(graph.nodes) == set(to_nir(network).nodes)
    neurons = [n for n in graph.nodes.values() if hasattr(n, "v_threshold")]
    layers = sorted(network.layers, key=lambda p: p.params["v_threshold"].flat[0])
    neurons.sort(key=lambda n: n.v_threshold.flat[0])
    for layer, node in zip(layers, neurons, strict=True):
        assert type(node).__name__.lower() == layer.neuron.replace("_", "")
        assert node.metadata["snnc"]["reset"] == layer.semantics.reset
        for name, value in layer.params.items():
            stored = getattr(node, name)
            assert stored.dtype == np.float64
            assert np.array_equal(stored, value)
    ours = [op for p in network.projections for op in p.ops if isinstance(op, Linear | Conv2d)]
    theirs = [n for n in graph.nodes.values() if hasattr(n, "weight")]
    dense = {op.weight.toarray().tobytes() if isinstance(op, Linear) else op.weight.tobytes() for op in ours}
    assert {n.weight.tobytes() for n in theirs} == dense
    assert sum(n.bias.sum() for n in theirs if hasattr(n, "bias")) == pytest.approx(
        sum(op.bias.sum() for op in ours if op.bias is not None)
    )


@settings(RELAXED, max_examples=20)
@given(chains())
def test_nir_opens_exotic_convolutions_without_type_check(tmp_path: Path, network: Network) -> None:
    path = tmp_path / "net.nir"
    write(network, path)
    assert set(nir.read(path, type_check=False).nodes) == set(to_nir(network).nodes)


def small(reset: str = "zero", **changes: Any) -> Network:
    rng = np.random.default_rng(0)
    layer = population(rng, "lif", (4,), "lif", reset, ">")
    weight = canonical(np.float32([[1, 0, 2], [0, 0, 0], [3, 4, 5], [0, 0, 6]]))
    network = Network(
        (Population("in", (3,), "input"), layer),
        (Projection("fc", "in", "lif", (Linear(weight, np.arange(4, dtype=np.float32)),), bits=8),),
        ("lif",),
        1e-3,
        "small",
    )
    return dataclasses.replace(network, **changes)


def test_mask_is_stored_and_checked(tmp_path: Path) -> None:
    path = tmp_path / "net.nir"
    write(small(), path)
    hints = nir.read(path).nodes["fc"].metadata["snnc"]
    mask = np.unpackbits(hints["mask"], count=12).reshape(hints["mask_shape"])
    assert mask.tolist() == [[1, 0, 1], [0, 0, 0], [1, 1, 1], [0, 0, 1]]
    with h5py.File(path, "r+") as file:
        file["node/nodes/fc/weight"][1, 1] = 0.5
    with pytest.raises(InputError, match="1 weights are not zero outside the mask") as caught:
        read(path)
    assert caught.value.where == f"{path}: node 'fc', field 'weight'"


def test_dense_weights_have_no_mask(tmp_path: Path) -> None:
    op = Linear(canonical(np.ones((4, 3))))
    write(small(projections=(Projection("fc", "in", "lif", (op,)),)), tmp_path / "net.nir")
    assert nir.read(tmp_path / "net.nir").nodes["fc"].metadata == {}


def test_dt_and_reset_can_be_overridden(tmp_path: Path) -> None:
    path = tmp_path / "net.nir"
    write(small("subtract"), path)
    assert read(path).dt == 1e-3
    assert read(path, Reading(dt=0.25)).dt == 0.25
    assert read(path)["lif"].semantics.reset == "subtract"
    assert read(path, Reading(reset="zero"))["lif"].semantics.reset == "zero"
    for wrong in ({"reset": "never"}, {"semantics": "brian"}, {"dt": 0.0}):
        with pytest.raises(UsageError):
            Reading(**wrong)


def test_extra_information(tmp_path: Path) -> None:
    path = tmp_path / "net.nir"
    write(small(), path, extra={"data": "digits:rate:8:0", "accuracy": 0.97})
    assert open_file(path)[1] == {"accuracy": 0.97, "data": "digits:rate:8:0"}
    assert identical(read(path), small())
    other = tmp_path / "other.nir"
    write(read(path), other, extra=open_file(path)[1])
    assert path.read_bytes() == other.read_bytes()
    write(small(), path)
    assert open_file(path)[1] == {}


@pytest.mark.parametrize("extra", [{"a/b": 1.0}, {"": 1.0}, {"a": math.nan}, {"a": [1]}, {"a": True}])
def test_extra_that_cannot_be_stored(tmp_path: Path, extra: Any) -> None:
    with pytest.raises(UsageError):
        write(small(), tmp_path / "net.nir", extra=extra)
    assert list(tmp_path.iterdir()) == []


def fixed() -> Network:
    params = {p: np.zeros(4, np.int32) for p in NEURONS["cuba_fixed"]}
    return small(populations=(small().populations[0], Population("lif", (4,), "cuba_fixed", params)))


def square() -> dict[str, np.ndarray]:
    return {k: v.reshape(2, 2) for k, v in small()["lif"].params.items()}


def one() -> tuple[Op, ...]:
    return (Linear(canonical(np.ones((4, 1)))),)


def lif(**changes: Any) -> tuple[Population, ...]:
    return (small().populations[0], dataclasses.replace(small().populations[1], **changes))


def fc(**changes: Any) -> tuple[Projection, ...]:
    return (dataclasses.replace(small().projections[0], **changes),)


@pytest.mark.parametrize(
    ("network", "says"),
    [
        (fixed, "no neuron 'cuba_fixed'"),
        (lambda: small(projections=()), "nothing leads to it|leads nowhere"),
        (lambda: small(outputs=()), "leads nowhere"),
        (lambda: small(name="a\0b"), "cannot be stored"),
        (lambda: small(populations=lif(params=lif()[1].params | {"v_threshold": np.zeros(4)})), "never stops"),
        (lambda: small(populations=lif(params=lif()[1].params | {"v_reset": np.ones(4)})), "contradicts"),
        (lambda: small(projections=fc(ops=(Linear(canonical(np.eye(4, 3, dtype=np.int16))),))), "type int16"),
        (lambda: small(populations=lif(shape=(2, 2), params=square())), "cannot turn"),
        (lambda: small(populations=(Population("in", (), "input"), lif()[1]), projections=fc(ops=one())), "scalar"),
    ],
)
def test_networks_that_nir_cannot_express(tmp_path: Path, network: Any, says: str) -> None:
    path = tmp_path / "net.nir"
    with pytest.raises(InputError, match=says):
        write(network(), path)
    assert list(tmp_path.iterdir()) == []


class TestFilesOfOthers:
    """Acceptance cases written by other frameworks; what is in them is stated in their README."""

    def test_lif_of_norse(self, shared: Path) -> None:
        notes = Notes("A01")
        network = read(shared / "nir/A01_lif_norse.nir", notes=notes)
        assert [p.name for p in network.populations] == ["input", "1"]
        params = network["1"].params
        assert params["tau"] == np.float32(0.0025)  # stored in single precision
        assert params["r"] == 1
        assert params["v_threshold"] == np.float32(0.1)
        assert params["v_reset"] == 0
        assert network.dt == DEFAULT_DT
        assert [note["kind"] for note in notes.entries] == ["warning", "note", "warning"]

    def test_leak_above_threshold(self, shared: Path) -> None:
        network = read(shared / "nir/A03_two_lif.nir")
        assert network["lif1"].params["v_leak"] == 1.2
        assert [(p.name, p.pre, p.post) for p in network.projections] == [
            ("linear1", "in", "lif1"),
            ("linear2", "lif1", "lif2"),
        ]

    def test_cnn_of_sinabs(self, shared: Path) -> None:
        network = read(shared / "nir/A04_cnn_sinabs.nir", Reading(dt=1e-3, reset="subtract"))
        assert network.inputs[0].shape == (2, 34, 34)
        assert network[network.outputs[0]].shape == (10,)
        assert sum(p.size for p in network.layers) == 8970
        weights = [op.weight for p in network.projections for op in p.ops if isinstance(op, Linear | Conv2d)]
        assert sum(math.prod(w.shape) for w in weights) == 39_584
        assert [[type(op).__name__ for op in p.ops] for p in network.projections] == [
            ["Conv2d"],
            ["Conv2d"],
            ["Pool2d", "Conv2d"],
            ["Pool2d", "Flatten", "Linear"],
            ["Linear"],
        ]
        assert {p.semantics.reset for p in network.layers} == {"subtract"}

    def test_schema_with_batch_axis(self, shared: Path) -> None:
        notes = Notes("A06")
        old = read(shared / "nir/A06_scnn_batchdim.nir", notes=notes)
        new = read(shared / "nir/A04_cnn_sinabs.nir")
        assert "batch axis" in notes.entries[0]["text"]
        assert identical(dataclasses.replace(old, name=new.name), new)

    @pytest.mark.parametrize("name", ["A01_lif_norse", "A03_two_lif", "A04_cnn_sinabs", "A07_braille_bias_zero"])
    def test_round_trip(self, shared: Path, tmp_path: Path, name: str) -> None:
        network = read(shared / f"nir/{name}.nir")
        write(network, tmp_path / "again.nir")
        assert identical(network, read(tmp_path / "again.nir"))
        nir.read(tmp_path / "again.nir")

    @pytest.mark.parametrize(
        ("name", "where", "says"),
        [
            ("A10_braille_subgraph_dangling.nir", "node 'lif1'", "'lif' that does not exist"),
            ("A18_nirviz_srnn.nir", "node 'affine1', field 'bias'", "must be an array of numbers, got bool"),
            ("A20_broken_no_edges.nir", "", "no 'edges'"),
            ("A23_lfs_pointer.nir", "", "git-LFS pointer"),
            ("A24_lava_dl_oxford_net.net", "", "not a NIR file"),
        ],
    )
    def test_refused(self, shared: Path, name: str, where: str, says: str) -> None:
        path = shared / "nir" / name
        with pytest.raises(InputError, match=says) as caught:
            read(path)
        assert caught.value.where == f"{path}: {where}".removesuffix(": ")
