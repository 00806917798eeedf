"""Graphs that are no chain: sums, branches, loops, delays, graphs in graphs; each held against a loop by hand.

Weights and decays are multiples of powers of two, so that every sum is exact in any order.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

from snnc.errors import InputError
from snnc.frontends.nir import open_file, read, write
from snnc.frontends.notes import Notes
from snnc.frontends.reading import Reading
from snnc.network import Network, identical
from snnc.simulator.floating import simulate

DT = 1e-3
STEPS, B, N = 40, 2, 5
Edge = tuple[str, str]


def weight(seed: int, rows: int = N, columns: int = N) -> np.ndarray:
    return np.random.default_rng(seed).integers(-4, 9, (rows, columns)) / 8


def bias(seed: int, rows: int = N) -> np.ndarray:
    return np.random.default_rng(seed).integers(-4, 5, rows) / 8


def lif(size: int = N) -> nir.LIF:
    """v = 3/4 v + x, spikes above 1, resets to 0."""
    one = np.ones(size)
    return nir.LIF(one * 4 * DT, one * 4, one * 0, one)


class Lif:
    """The same by hand."""

    def __init__(self, size: int = N) -> None:
        self.v = np.zeros((B, size))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        self.v = 0.75 * self.v + x
        spikes = self.v > 1
        self.v = np.where(spikes, 0, self.v)
        return spikes.astype(float)


def store(path: Path, nodes: dict[str, nir.NIRNode], edges: Sequence[Edge], **sizes: int) -> Path:
    """Nodes and edges with Inputs and Outputs of N values, or of other sizes by name, where none are given."""
    ends: dict[str, nir.NIRNode] = {}
    for name in {n for e in edges for n in e} - set(nodes):
        ends[name] = (nir.Input if name.startswith("in") else nir.Output)(np.array([sizes.get(name, N)]))
    nir.write(path, nir.NIRGraph({**ends, **nodes}, list(edges), type_check=False))
    return path


def values(seed: int = 0, size: int = N) -> np.ndarray:
    return (np.random.default_rng(seed).random((B, STEPS, size)) < 0.4).astype(float)


def compare(network: Network, name: str, step: Callable[[np.ndarray], np.ndarray], x: np.ndarray) -> None:
    found = simulate(network, x)[name]
    for t in range(STEPS):
        np.testing.assert_array_equal(found[:, t], step(x[:, t]), err_msg=f"step {t}")
    assert 0.02 < found.mean() < 0.98


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "net.nir"


def opened(path: Path, **reading: Any) -> tuple[Network, list[str]]:
    """The network, after it went through our own file, too; and what was noted."""
    reading.setdefault("reset", "zero")
    notes = Notes(str(path), reading.pop("strict", False))
    network, _ = open_file(path, Reading(dt=DT, strict=notes.strict, **reading), notes)
    write(network, path.with_name("ours.nir"))
    assert identical(read(path.with_name("ours.nir")), network)
    return network, [note["text"] for note in notes.entries]


# --- sums and branches -----------------------------------------------------------------------------


def test_edges_that_meet_add_up_at_neurons_and_operations(path: Path) -> None:
    """A residual block: a skip past a layer, and a linear layer on a sum of spikes."""
    nodes = {
        "a": lif(),
        "w": nir.Affine(weight(1), bias(1)),
        "b": lif(),
        "v": nir.Linear(weight(2)),
        "c": lif(),
        "u": nir.Scale(bias(3)),
    }
    edges = [
        ("in", "a"),
        ("a", "w"),
        ("w", "b"),
        ("a", "b"),
        ("b", "v"),
        ("a", "v"),
        ("v", "c"),
        ("a", "u"),
        ("u", "c"),
    ]
    network, notes = opened(store(path, nodes, [*edges, ("c", "out")]), strict=True)
    assert notes == []
    assert [(p.name, p.neuron) for p in network.populations] == [
        ("in", "input"), ("a", "lif"), ("b", "lif"), ("v.sum", "sum"), ("c", "lif"),
    ]  # fmt: skip
    a, b, c = Lif(), Lif(), Lif()

    def step(x: np.ndarray) -> np.ndarray:
        sa = a(x)
        sb = b(sa @ weight(1).T + bias(1) + sa)
        return c((sa + sb) @ weight(2).T + sa * bias(3))

    compare(network, "c", step, values())


def test_several_inputs_and_outputs(path: Path) -> None:
    nodes = {"w": nir.Linear(weight(1, N, 3)), "a": lif(), "b": lif(), "v": nir.Linear(weight(2, 2, N))}
    edges = [("in1", "w"), ("w", "a"), ("in2", "a"), ("a", "out1"), ("in2", "b"), ("b", "v"), ("v", "out2"), ("a", "b")]
    network, _ = opened(store(path, nodes, edges, in1=3, out2=2), strict=True)
    assert {p.name: p.shape for p in network.inputs} == {"in1": (3,), "in2": (N,)}
    assert set(network.outputs) == {"a", "out2"}
    fed = {"in1": values(0, 3), "in2": values(1)}
    found = simulate(network, fed)
    a, b = Lif(), Lif()
    for t in range(STEPS):
        sa = a(fed["in1"][:, t] @ weight(1, N, 3).T + fed["in2"][:, t])
        sb = b(fed["in2"][:, t] + sa)
        np.testing.assert_array_equal(found["a"][:, t], sa)
        np.testing.assert_array_equal(found["out2"][:, t], sb @ weight(2, 2, N).T)
    assert found["out2"].any()


def test_the_command_takes_an_array_for_each_input(path: Path) -> None:
    store(
        path,
        {"w": nir.Linear(weight(1, N, 3)), "a": lif()},
        [("in1", "w"), ("w", "a"), ("in2", "a"), ("a", "out")],
        in1=3,
    )
    data = path.with_name("both.npz")
    np.savez(data, in1=values(0, 3).astype(np.uint8), in2=values(1).astype(np.uint8))
    command = [sys.executable, "-m", "snnc", "simulate", str(path), "--float", "--dt", str(DT), "--json", "--data"]
    done = subprocess.run([*command, str(data)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    a, total = Lif(), 0.0
    for t in range(STEPS):
        total += a(values(0, 3)[:, t] @ weight(1, N, 3).T + values(1)[:, t]).sum()
    assert {layer["name"]: layer["total"] for layer in json.loads(done.stdout)["layers"]}["a"] == total
    np.savez(data, in1=values(0, 3).astype(np.uint8))
    done = subprocess.run([*command, str(data)], capture_output=True, text=True, check=False)
    assert done.returncode in (2, 3)
    assert "in2" in done.stderr


# --- loops -----------------------------------------------------------------------------------------


def recurrent() -> tuple[dict[str, nir.NIRNode], list[Edge]]:
    nodes = {"w": nir.Affine(weight(1), bias(1)), "a": lif(), "r": nir.Affine(weight(2) / 2, bias(2))}
    return nodes, [("in", "w"), ("w", "a"), ("a", "r"), ("r", "a"), ("a", "out")]


@pytest.mark.parametrize(
    ("semantics", "first", "later"),
    [("nir", 1, 1), ("norse", 0, 1), ("lava-dl", 0, 0)],
    ids=["always", "late", "never"],
)
def test_what_closes_a_loop_comes_one_step_late(path: Path, semantics: str, first: int, later: int) -> None:
    """And the biases in it are there by the habit of the framework."""
    network, _ = opened(store(path, *recurrent()), semantics=semantics, reset="zero")
    assert [(p.pre, p.post, p.delay) for p in network.projections] == [("in", "a", 0), ("a", "a", 0)]
    if semantics == "lava-dl":  # computes in integers of its own; only the bias is looked at here
        assert network.projections[1].op.bias is None
        return
    a, last, t = Lif(), np.zeros((B, N)), 0

    def step(x: np.ndarray) -> np.ndarray:
        nonlocal last, t
        loop = last @ (weight(2) / 2).T + bias(2) * (later if t else first)
        last, t = a(x @ weight(1).T + bias(1) + loop), t + 1
        return last

    compare(network, "a", step, values())


@pytest.mark.parametrize("steps", [1, 3])
def test_a_delay_in_a_loop_says_how_late(path: Path, steps: int) -> None:
    nodes, edges = recurrent()
    nodes["late"] = nir.Delay(np.full(N, steps * DT))
    edges = [e for e in edges if e != ("a", "r")] + [("a", "late"), ("late", "r")]
    network, notes = opened(store(path, nodes, edges), strict=True)
    assert notes == []
    a, before = Lif(), [np.zeros((B, N))] * steps

    def step(x: np.ndarray) -> np.ndarray:
        before.append(a(x @ weight(1).T + bias(1) + before.pop(0) @ (weight(2) / 2).T + bias(2)))
        return before[-1]

    compare(network, "a", step, values())


def test_a_loop_over_two_layers_and_one_on_itself(path: Path) -> None:
    nodes = {
        "w": nir.Linear(weight(1)),
        "a": lif(),
        "v": nir.Linear(weight(2)),
        "b": lif(),
        "r": nir.Linear(-weight(3) / 4),
    }
    edges = [("in", "w"), ("w", "a"), ("a", "v"), ("v", "b"), ("b", "r"), ("r", "a"), ("b", "b"), ("b", "out")]
    network, notes = opened(store(path, nodes, edges), strict=True)
    assert notes == []
    a, b, last = Lif(), Lif(), np.zeros((B, N))

    def step(x: np.ndarray) -> np.ndarray:
        nonlocal last
        last = b(a(x @ weight(1).T - last @ (weight(3) / 4).T) @ weight(2).T + last)
        return last

    compare(network, "b", step, values())


def test_a_loop_that_is_entered_in_two_places_leaves_a_choice(path: Path) -> None:
    """a -> b -> a, and an input into each: which of the two connections is late?"""
    nodes = {"a": lif(), "b": lif(), "v": nir.Linear(weight(2)), "r": nir.Linear(weight(3) / 4)}
    edges = [("in", "a"), ("in", "b"), ("a", "v"), ("v", "b"), ("b", "r"), ("r", "a"), ("b", "out")]
    network, (note,) = opened(store(path, nodes, edges))
    assert "which connection of a loop delivers a step late is open; chosen is 'r' -> 'a'" in note
    a, b, last = Lif(), Lif(), np.zeros((B, N))

    def step(x: np.ndarray) -> np.ndarray:
        nonlocal last
        last = b(x + a(x + last @ (weight(3) / 4).T) @ weight(2).T)
        return last

    compare(network, "b", step, values())
    with pytest.raises(InputError, match="which connection of a loop"):
        opened(path, strict=True)
    # A Delay of one step settles it.
    nodes["late"] = nir.Delay(np.full(N, DT))
    edges = [e for e in edges if e != ("a", "v")] + [("a", "late"), ("late", "v")]
    settled, notes = opened(store(path, nodes, edges), strict=True)
    assert notes == []
    a, b, last, first = Lif(), Lif(), np.zeros((B, N)), np.zeros((B, N))

    def other(x: np.ndarray) -> np.ndarray:
        nonlocal last, first
        last = b(x + first @ weight(2).T)
        first = a(x + last @ (weight(3) / 4).T)
        return last

    compare(settled, "b", other, values())


@pytest.mark.parametrize("between", [nir.Scale(np.ones(N)), nir.Delay(np.zeros(N)), nir.Threshold(np.ones(N))])
def test_loops_without_memory_have_no_meaning(path: Path, between: nir.NIRNode) -> None:
    nodes = {"a": nir.Linear(weight(1)), "back": between, "b": lif()}
    store(path, nodes, [("in", "a"), ("a", "b"), ("a", "back"), ("back", "a"), ("b", "out")])
    with pytest.raises(InputError, match=r"'a' -> .*form a loop without memory|'back' -> .*form a loop") as caught:
        opened(path)
    assert "Delay of at least one step" in caught.value.fix


# --- graphs in graphs ------------------------------------------------------------------------------


def inner(nodes: dict[str, nir.NIRNode], edges: list[Edge]) -> nir.NIRGraph:
    ends = {"input": nir.Input(np.array([N])), "output": nir.Output(np.array([N]))}
    return nir.NIRGraph({**ends, **nodes}, edges, type_check=False)


def test_graphs_in_graphs_are_what_they_hold(path: Path) -> None:
    """A recurrent pair two graphs deep, as exporters of recurrent layers write it."""
    nodes, edges = recurrent()
    pair = inner({"a": nodes["a"], "r": nodes["r"]}, [("input", "a"), ("a", "r"), ("r", "a"), ("a", "output")])
    block = inner({"w": nodes["w"], "cell": pair}, [("input", "w"), ("w", "cell"), ("cell", "output")])
    flat, _ = opened(store(path, nodes, edges), strict=True)
    nested, notes = opened(store(path, {"block": block}, [("in", "block"), ("block", "out")]), strict=True)
    assert notes == []
    assert [p.name for p in nested.populations] == ["in", "block/cell/a"]
    assert [p.name for p in nested.projections] == ["block/w", "block/cell/r"]
    ours, theirs = simulate(flat, values())["a"], simulate(nested, values())["block/cell/a"]
    np.testing.assert_array_equal(ours, theirs)
    assert ours.any()


@pytest.mark.parametrize("depth", [1, 10, 20])
def test_any_depth(path: Path, depth: int) -> None:
    made = inner({"a": lif()}, [("input", "a"), ("a", "output")])
    for _ in range(depth - 1):
        made = inner({"g": made}, [("input", "g"), ("g", "output")])
    network, _ = opened(store(path, {"top": made}, [("in", "top"), ("top", "out")]))
    assert network.layers[0].name == "top/" + "g/" * (depth - 1) + "a"
    compare(network, network.layers[0].name, Lif(), values())


def test_edges_that_enter_and_leave_a_graph_add_up(path: Path) -> None:
    """Two edges into a graph and two into its Output."""
    cell = inner(
        {"w": nir.Linear(weight(1)), "a": lif()}, [("input", "w"), ("w", "a"), ("a", "output"), ("input", "output")]
    )
    edges = [("in1", "cell"), ("in2", "cell"), ("cell", "b"), ("b", "out")]
    network, _ = opened(store(path, {"cell": cell, "b": lif()}, edges), strict=True)
    fed = {"in1": values(0), "in2": values(1)}
    found = simulate(network, fed)["b"]
    a, b = Lif(), Lif()
    for t in range(STEPS):
        x = fed["in1"][:, t] + fed["in2"][:, t]
        np.testing.assert_array_equal(found[:, t], b(a(x @ weight(1).T) + x))
    assert found.any()


# --- what the user says ----------------------------------------------------------------------------


def test_strict_takes_nothing_for_granted(path: Path) -> None:
    nodes = {"w": nir.Linear(weight(1)), "a": lif()}
    store(path, nodes, list(pairwise(["in", "w", "a", "out"])))
    for reading, says in (({"reset": "zero"}, "states no time step"), ({"dt": DT}, "does not say how neurons reset")):
        with pytest.raises(InputError, match=says) as caught:
            read(path, Reading(strict=True, **reading))  # type: ignore[arg-type]
        assert caught.value.fix
    assert identical(read(path, Reading(strict=True, dt=DT, reset="zero")), read(path, Reading(dt=DT)))


@pytest.mark.parametrize(
    ("reading", "expected"),
    [
        # v: 0.75 v + 0.75, above 1 in step 1 (1.3125).
        ({"reset": "zero"}, [0, 1, 0, 1, 0, 1, 0, 1]),
        ({"reset": "subtract"}, [0, 1, 0, 1, 1, 0, 1, 1]),
        ({"reset": "subtract", "late_reset": True}, [0, 1, 0, 1, 0, 1, 0, 1]),
        ({"semantics": "spyx"}, [0, 0, 1, 0, 1, 0, 1, 0]),
    ],
)
def test_semantics_by_hand(path: Path, reading: dict[str, Any], expected: list[int]) -> None:
    store(path, {"a": lif(1)}, [("in", "a"), ("a", "out")], **{"in": 1, "out": 1})
    network = read(path, Reading(dt=DT, **reading))
    found = simulate(network, np.full((1, 8, 1), 0.75))["a"]
    assert found[0, :, 0].astype(int).tolist() == expected
