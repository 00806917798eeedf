"""NIR files that are wrong: each is refused with file, node and field, whatever its bytes are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest
from nir_samples import graph, ours

from snnc.errors import InputError
from snnc.frontends.nir import open_file, read
from snnc.frontends.reading import Reading
from snnc.network import Network
from snnc.ops import matrix


@pytest.fixture
def path(tmp_path: Path) -> Path:
    result = tmp_path / "net.nir"
    nir.write(result, graph())
    return result


def put(node: str, field: str, value: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        group = file[f"node/nodes/{node}"]
        if field in group:
            del group[field]
        group[field] = value

    return change


def drop(where: str) -> Callable[[h5py.File], None]:
    return lambda file: file.__delitem__(where)


def edges(*added: tuple[str, str], removed: tuple[int, ...] = ()) -> Callable[[h5py.File], None]:
    """Add edges to the chain of the file, and remove some by their place in it."""

    def change(file: h5py.File) -> None:
        old = [tuple(e) for e in file["node/edges"].asstr()[()]]
        del file["node/edges"]
        file["node/edges"] = [e for k, e in enumerate(old) if k not in removed] + list(added)

    return change


def node(name: str, kind: str, **fields: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        group = file.create_group(f"node/nodes/{name}")
        group["type"] = kind
        for key, value in fields.items():
            group[key] = value

    return change


def both(*changes: Callable[[h5py.File], None]) -> Callable[[h5py.File], None]:
    return lambda file: [change(file) for change in changes] and None


def test_the_unchanged_file_is_good(path: Path) -> None:
    network = read(path)
    assert [p.name for p in network.populations] == ["input", "if", "lif"]
    assert [p.name for p in network.projections] == ["conv", "fc"]
    assert open_file(path)[1] == {}


NAN, INF = np.full(4, np.nan), np.full(4, np.inf)

TABLE: list[tuple[Callable[[h5py.File], None], str, str]] = [
    # Fields
    (put("fc", "type", "Foo"), "node 'fc'", "unknown node type 'Foo'"),
    (put("fc", "type", "Conv1d"), "node 'fc', field 'stride'", "of this Conv1d is missing"),
    (put("fc", "type", 3), "node 'fc'", "a text 'type'"),
    (drop("node/nodes/fc/type"), "node 'fc'", "a text 'type'"),
    (drop("node/nodes/lif/tau"), "node 'lif', field 'tau'", "missing"),
    (put("lif", "tua", 1.0), "node 'lif', field 'tua'", "has no field"),
    (put("lif", "tau", NAN), "node 'lif', field 'tau'", "NaN"),
    (put("lif", "r", INF), "node 'lif', field 'r'", "NaN or infinity"),
    (put("lif", "tau", np.zeros(4)), "node 'lif', field 'tau'", "positive"),
    (put("lif", "tau", -np.ones(4)), "node 'lif', field 'tau'", "positive"),
    (put("lif", "tau", "slow"), "node 'lif', field 'tau'", "the text 'slow'"),
    (put("lif", "tau", np.ones(3)), "node 'lif'", "differ in shape: tau (3,), "),
    (put("lif", "v_threshold", -np.ones(4)), "node 'lif'", "v_threshold is not above"),
    (put("lif", "v_reset", np.full(4, 1.0)), "node 'lif'", "v_threshold is not above"),
    (put("fc", "weight", np.full((4, 27), np.nan)), "node 'fc', field 'weight'", "NaN"),
    (put("fc", "weight", np.ones((4, 27), bool)), "node 'fc', field 'weight'", "got bool"),
    (put("fc", "weight", np.ones(27)), "node 'fc', field 'weight'", "2 axes"),
    (put("fc", "weight", np.ones((4, 26))), "node 'fc'", "26 inputs receives 27"),
    (put("fc", "weight", np.ones((0, 27))), "node 'fc', field 'weight'", "2 axes"),
    (put("fc", "weight", np.ones((5, 27))), "node 'fc', field 'bias'", "(5,)"),
    (put("fc", "bias", np.ones(5)), "node 'fc', field 'bias'", "(4,)"),
    (put("fc", "bias", False), "node 'fc', field 'bias'", "got bool"),
    (put("conv", "groups", 2), "node 'conv', field 'groups'", "do not divide"),
    (put("conv", "groups", 3), "node 'conv'", "6 channels"),
    (put("conv", "groups", 0), "node 'conv', field 'groups'", "within"),
    (put("conv", "stride", [0, 1]), "node 'conv', field 'stride'", "within"),
    (put("conv", "stride", 1.5), "node 'conv', field 'stride'", "integers"),
    (put("conv", "stride", [1, 1, 1]), "node 'conv', field 'stride'", "one or two"),
    (put("conv", "padding", "mirror"), "node 'conv', field 'padding'", "'mirror'"),
    (put("conv", "dilation", [1, 1 << 40]), "node 'conv', field 'dilation'", "within"),
    (put("conv", "dilation", 9), "node 'conv'", "does not fit"),
    (put("conv", "input_shape", [5, 6]), "node 'conv', field 'input_shape'", "(5, 6)"),
    (put("conv", "weight", np.ones((3, 2, 3))), "node 'conv', field 'weight'", "4 axes"),
    (put("pool", "kernel_size", [9, 9]), "node 'pool'", "does not suit"),
    (put("pool", "padding", [2, 2]), "node 'pool'", "does not suit"),
    (
        both(put("pool", "kernel_size", 1 << 20), put("pool", "padding", 1 << 19)),
        "node 'pool'",
        "more than 16,777,216 values",
    ),
    (put("flat", "start_dim", 3), "node 'flat'", "axes 3 to -1"),
    (both(put("flat", "start_dim", 2), put("flat", "end_dim", 1)), "node 'flat'", "axes 2 to 1"),
    (put("flat", "input_type", [3, 3, 4]), "node 'flat', field 'input_type'", "(3, 3, 4)"),
    (put("flat", "start_dim", 1), "node 'fc'", "takes a vector"),
    (put("input", "shape", [2, 6, -6]), "node 'input', field 'shape'", "within"),
    (put("input", "shape", [2, 6]), "node 'conv', field 'input_shape'", "(2, 6)"),
    (put("input", "shape", "wide"), "node 'input', field 'shape'", "the text"),
    (put("output", "shape", [5]), "node 'output'", "'lif' delivers (4,)"),
    (put("input", "shape", [1 << 20, 1 << 20, 1 << 20]), "node 'input'", "more than 16,777,216 neurons"),
    # A 0-d parameter holds for as many neurons as arrive: here for 12 million million.
    (
        both(
            put("conv", "padding", 1_000_000),
            *(put("if", name, 1.0) for name in ("r", "v_threshold")),
            drop("node/nodes/if/v_reset"),
        ),
        "node 'conv'",
        "more than 16,777,216 neurons",
    ),
    # Edges
    (edges(("lif", "ghost")), "", "names a node 'ghost' that does not exist"),
    (edges(("fc", "lif")), "", "'fc' -> 'lif' is there twice"),
    (edges(removed=tuple(range(7))), "", "no edges"),
    (drop("node/edges"), "", "no 'edges'"),
    (edges(removed=(2,)), "node '", "nothing leads to it|leads nowhere"),
    (edges(removed=(0,)), "node '", "nothing leads to it|leads nowhere"),
    (edges(removed=(6,)), "node '", "nothing leads to it|leads nowhere"),
    (edges(("lif", "fc")), "node 'fc'", "it has shape (27,), but 'lif' delivers (4,)"),
    (edges(("fc", "fc")), "", "'fc' -> 'fc' form a loop without memory"),
    (edges(("pool", "conv")), "node 'conv'", "it has shape (2, 6, 6), but 'pool' delivers (3, 3, 3)"),
    (edges(("flat", "pool")), "", "form a loop without memory"),
    (edges(("if", "fc")), "node 'fc'", "'if' delivers (3, 6, 6)|'flat' delivers (27,)"),
    (edges(("fc", "output"), removed=(5, 6)), "node 'lif'", "nothing leads to it|leads nowhere"),
    (edges(("if", "output")), "node 'output'", "it has shape (4,), but 'if' delivers (3, 6, 6)"),
    (edges(("output", "lif")), "node 'output'", "leave it"),
    (edges(("if", "input")), "node 'input'", "cannot receive"),
    (edges(("if", "lif")), "node 'lif'", "'if' delivers (3, 6, 6)"),
    (node("lost", "Input", shape=[3]), "node 'lost'", "leads nowhere"),
    (both(node("spare", "LI", tau=1.0, r=1.0, v_leak=0.0), edges(("fc", "spare"))), "node 'spare'", "leads nowhere"),
    (
        both(node("late", "Delay", delay=-1.0), edges(("fc", "late"), ("late", "lif"), removed=(5,))),
        "node 'late'",
        "neg",
    ),
    (
        both(node("late", "Delay", delay=1e9), edges(("fc", "late"), ("late", "lif"), removed=(5,))),
        "node 'late'",
        "1e+13",
    ),
    # The file as a whole
    (drop("node"), "", "not a NIR file"),
    (lambda f: f["node"].__setitem__("size", 3), "", "unknown entry 'size'"),
    (both(drop("node/type"), lambda f: f["node"].__setitem__("type", "LIF")), "", "a single node of type 'LIF'"),
    (both(drop("node/nodes"), lambda f: f["node"].__setitem__("nodes", 3)), "", "no nodes"),
    (both(drop("node/edges"), lambda f: f["node"].__setitem__("edges", [1, 2])), "", "pairs of names"),
]


@pytest.mark.parametrize(("change", "where", "says"), TABLE)
def test_refused_with_file_node_and_field(
    path: Path, change: Callable[[h5py.File], None], where: str, says: str
) -> None:
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(InputError) as caught:
        read(path)
    assert any(part in caught.value.message for part in says.split("|")), caught.value
    assert caught.value.where.startswith(str(path))
    assert where in caught.value.where
    if where and not where.endswith("'"):
        assert caught.value.where == f"{path}: {where}"
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    "change",
    [
        put("lif", "tau", 0.01),
        both(
            *(
                put("lif", k, v)
                for k, v in {"tau": 1.0, "r": 1.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0}.items()
            )
        ),
        drop("node/nodes/lif/v_reset"),
        drop("node/nodes/conv/input_shape"),
        drop("node/nodes/flat/input_type"),
        drop("node/nodes/output/shape"),
        drop("version"),
        put("conv", "padding", "same"),
        put("conv", "padding", 1),
        put("lif", "r", np.ones(4, np.int32)),
    ],
)
def test_lenient_where_the_meaning_is_clear(path: Path, change: Callable[[h5py.File], None]) -> None:
    with h5py.File(path, "r+") as file:
        change(file)
    network = read(path)
    assert network["lif"].shape == (4,)
    assert network.projections[0].ops[0].padding == (1, 1)
    for value in network["lif"].params.values():
        assert value.dtype == np.float64
        assert value.shape == (4,)


def test_scale_is_a_diagonal(tmp_path: Path) -> None:
    path = tmp_path / "net.nir"
    lif = nir.LIF(np.ones(3), np.ones(3), np.zeros(3), np.ones(3))
    nir.write(path, nir.NIRGraph.from_list(nir.Scale(np.array([2.0, 0.0, 3.0])), lif))
    projection = read(path).projections[0]
    assert projection.ops[0].scale.tolist() == [2, 0, 3]
    assert matrix(projection.ops[0], (3,)).toarray().tolist() == [[2, 0, 0], [0, 0, 0], [0, 0, 3]]
    assert matrix(projection.ops[0], (3,)).nnz == 2


def entry(name: str, value: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        if name in file["node"]:
            del file[f"node/{name}"]
        if value is not None:
            file[f"node/{name}"] = value

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (entry("metadata/snnc", 1), "must be a group"),
        (entry("metadata/snnc/format", 1), "format 1"),
        (entry("metadata/snnc/format", None), "'format'"),
        (entry("metadata/snnc/format", "one"), "'format'"),
        (entry("metadata/snnc/dt", None), "'dt'"),
        (entry("metadata/snnc/dt", [1.0, 2.0]), "'dt'"),
        (entry("metadata/snnc/dt", -1.0), "dt must be"),
        (entry("metadata/snnc/name", 7), "'name'"),
        (entry("metadata/snnc/colour", "red"), "'colour'"),
        (entry("metadata/snnc/populations/node", ["in", "hidden"]), "do not match"),
        (entry("metadata/snnc/populations/node", ["in", "hidden", "in"]), "do not match"),
        (entry("metadata/snnc/populations/node", ["in", "hidden", "fc"]), "other populations"),
        (entry("metadata/snnc/populations/node", ["out", "hidden", "in"]), "order"),
        (entry("metadata/snnc/populations/name", ["a", "a", "a"]), "do not match"),
        (entry("metadata/snnc/populations/name", [1, 2, 3]), "'name'"),
        (entry("metadata/snnc/projections/name", ["conv"]), "do not match"),
        (entry("metadata/snnc/projections/bits", [8]), "do not match"),
        (entry("metadata/snnc/projections/bits", [8, -1]), "widths"),
        (entry("metadata/snnc/projections/bits", [8, 1.5]), "widths"),
        (entry("metadata/snnc/projections", None), "'projections'"),
        (entry("metadata/snnc/extra/data", [1.0, 2.0]), "'data'"),
        (entry("nodes/hidden/metadata/snnc/reset", "never"), "never"),
        (entry("nodes/hidden/metadata/snnc/reset", None), "'reset'"),
        (entry("nodes/hidden/metadata/snnc/compare", "<"), "<"),
        (entry("nodes/hidden/metadata/snnc/size", 3), "'size'"),
        (entry("nodes/hidden/metadata", None), "neuron are not"),
        (entry("nodes/hidden/v_reset", np.full((2, 4, 4), 0.5)), ""),
        (entry("nodes/out/v_reset", np.full(5, 0.5)), "contradicts"),
        (entry("nodes/fc/metadata/snnc/mask", np.zeros(3, np.uint8)), "one bit per weight"),
        (entry("nodes/fc/metadata/snnc/mask", "all"), "one bit per weight"),
        (entry("nodes/fc/metadata/snnc/mask_shape", [32, 5]), "weight's shape"),
        (entry("nodes/fc/metadata/snnc/mask_shape", None), "weight's shape"),
        (entry("nodes/conv/bias", np.ones(2)), "no bias"),
    ],
)
def test_damaged_metadata(tmp_path: Path, change: Callable[[h5py.File], None], says: str) -> None:
    path = ours(tmp_path / "ours.nir")
    with h5py.File(path, "r+") as file:
        change(file)
    if not says:  # subtraction does not look at v_reset
        assert read(path)["hidden"].semantics.reset == "subtract"
        return
    with pytest.raises(InputError) as caught:
        read(path)
    assert says in caught.value.message
    assert caught.value.where.startswith(str(path))


def test_metadata_of_others_are_passed_over(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["node/metadata/dt"] = 3.0
        file["node/nodes/lif/metadata/colour"] = "red"
    assert read(path, Reading(dt=1.0)).dt == 1.0


@pytest.mark.parametrize("kind", ["flip", "cut", "noise", "swap"])
@pytest.mark.parametrize("source", ["ours", "theirs"])
def test_damaged_bytes_never_break_the_reader(tmp_path: Path, kind: str, source: str) -> None:
    """Every damaged file is an InputError or, where the damage misses all structure, a valid network."""
    whole = tmp_path / "whole.nir"
    if source == "ours":
        ours(whole)
    else:
        nir.write(whole, graph())
    data = np.frombuffer(whole.read_bytes(), np.uint8)
    rng = np.random.default_rng([len(kind), len(source)])
    path = tmp_path / "damaged.nir"
    refused = 0
    for _ in range(50):
        damaged = data.copy()
        if kind == "flip":
            damaged[rng.integers(0, len(data), 5)] ^= np.uint8(1) << rng.integers(0, 8, 5, np.uint8)
        elif kind == "cut":
            damaged = damaged[: rng.integers(0, len(data))]
        elif kind == "noise":
            start = rng.integers(0, len(data) - 64)
            damaged[start : start + 64] = rng.integers(0, 256, 64)
        else:
            a, b = rng.integers(0, len(data) // 8, 2) * 8
            damaged[a : a + 8], damaged[b : b + 8] = data[b : b + 8], data[a : a + 8]
        path.write_bytes(damaged.tobytes())
        try:
            assert isinstance(read(path), Network)
        except InputError as error:
            refused += error.where.startswith(str(path))
    assert refused > 5
