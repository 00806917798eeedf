"""Files of NIR to be damaged, and hostile ones made by hand."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
from formats import Format
from hdf5_files import HDF5_LANDMARKS, HDF5_ONCE, hdf5, modern, restructured
from nir_samples import graph, ours


def nir_file(nodes: dict[str, dict[str, Any]], edges: list[tuple[str, str]]) -> bytes:
    """A NIR file as no program would write it. A node is its fields; one with `nodes` is a graph inside."""

    def write(group: h5py.Group, fields: dict[str, Any]) -> None:
        for key, value in fields.items():
            if isinstance(value, dict):
                write(group.create_group(key), value)
            elif isinstance(value, np.ndarray) and value.size > 1 << 12:
                group.create_dataset(key, data=value, compression="gzip", chunks=value.shape)
            else:
                group[key] = value

    return hdf5(lambda file: write(file, {"node": {"type": "NIRGraph", "nodes": nodes, "edges": edges}}))


def chain(*nodes: dict[str, Any], shape: Any = (4,)) -> bytes:
    """A NIR file of an input, the nodes one after the other, and an output."""
    named = {"input": {"type": "Input", "shape": np.array(shape)}}
    named |= {f"n{k:05}": node for k, node in enumerate(nodes)} | {"output": {"type": "Output"}}
    return nir_file(named, list(itertools.pairwise(named)))


ONE = {"type": "I", "r": 1.0}
IF = {"type": "IF", "r": 1.0, "v_threshold": 1.0, "v_reset": 0.0}
CUBA = {"type": "CubaLIF", **dict.fromkeys(("tau_syn", "tau_mem", "r", "v_threshold", "w_in"), 1.0)}
CUBA |= {"v_leak": 0.0, "v_reset": 0.0}
SCALE = {"type": "Scale", "scale": 1.0}


def parallel(count: int, node: dict[str, Any], shape: list[int]) -> bytes:
    """The same node several times, side by side; then one that all lead to, and neurons."""
    names = [f"n{k}" for k in range(count)]
    ends = {"input": {"type": "Input", "shape": shape}, "output": {"type": "Output"}, "sum": SCALE, "if": IF}
    edges = [("input", n) for n in names] + [(n, "sum") for n in names] + [("sum", "if"), ("if", "output")]
    return nir_file({**ends, **dict.fromkeys(names, node)}, edges)


def nested(depth: int) -> bytes:
    """Graphs within graphs."""
    node: dict[str, Any] = IF
    ends = {"input": {"type": "Input", "shape": [4]}, "output": {"type": "Output", "shape": [4]}}
    edges = [("input", "x"), ("x", "output")]
    for _ in range(depth):
        node = {"type": "NIRGraph", "nodes": {**ends, "x": node}, "edges": edges}
    return nir_file({**ends, "x": node}, edges)


def meshed(nodes: list[dict[str, Any]], edges: Callable[[list[str]], list[tuple[str, str]]]) -> bytes:
    """A NIR file of `nodes` between an input and an output, whose further edges `edges` makes from their names."""
    names = [f"n{k:05}" for k in range(len(nodes))]
    ends = {"input": {"type": "Input", "shape": [1]}, "output": {"type": "Output"}}
    chosen = [("input", names[0]), *edges(names), (names[-1], "output")]
    return nir_file({**ends, **dict(zip(names, nodes, strict=True))}, list(dict.fromkeys(chosen)))


def _far(names: list[str]) -> list[tuple[str, str]]:
    """A chain; behind it nodes that are each fed from all over it, and an edge back."""
    rng = np.random.default_rng(1)
    half = len(names) // 2
    feeds = [(names[a], b) for b in names[half:] for a in rng.integers(0, half, 12)]
    return [*itertools.pairwise(names), *feeds, (names[-1], names[0])]


def _all(names: list[str]) -> list[tuple[str, str]]:
    return list(itertools.product(names, names))


def _combed(names: list[str]) -> list[tuple[str, str]]:
    """The first half in a row, each of which feeds one of the other half; all of these end in the last node."""
    row, teeth = names[: len(names) // 2], names[len(names) // 2 : -1]
    return [*itertools.pairwise(row), *zip(row, teeth, strict=False), *((t, names[-1]) for t in teeth)]


def _diamonds(names: list[str]) -> list[tuple[str, str]]:
    """a -> (b, c) -> d -> ...: sums behind sums."""
    edges = []
    for a, b, c, d in zip(names[::3], names[1::3], names[2::3], names[3::3], strict=False):
        edges += [(a, b), (a, c), (b, d), (c, d)]
    return edges


def _backwards(names: list[str]) -> list[tuple[str, str]]:
    """A chain, with edges back from everywhere."""
    rng = np.random.default_rng(2)
    back = [(names[k], names[j]) for k in range(len(names)) for j in rng.integers(0, k + 1, 3)]
    return [*itertools.pairwise(names), *back]


CONV2D = {"type": "Conv2d", "stride": [1, 1], "padding": [0, 0], "dilation": [1, 1], "groups": 1}


def pool(kernel: int, stride: int, padding: int) -> dict[str, Any]:
    return {"type": "SumPool2d", "kernel_size": [kernel] * 2, "stride": [stride] * 2, "padding": [padding] * 2}


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


NIR_ONCE: dict[str, Callable[[], bytes]] = {
    **HDF5_ONCE,
    "more nodes than are read": lambda: chain(*[ONE] * 2050, shape=[1]),
    "more edges than are read": lambda: meshed([ONE] * 91, _all),
    "a chain of thousands": lambda: chain(*[ONE] * 2000, shape=[1]),
    "a chain of thousands of operations": lambda: chain(*[SCALE] * 2000, IF, shape=[1]),
    "a chain, and edges back from everywhere": lambda: meshed([ONE] * 2000, _backwards),
    "far feeds": lambda: meshed([ONE] * 1100, _far),
    "every edge there can be": lambda: meshed([ONE] * 89, _all),
    "a comb": lambda: meshed([SCALE] * 1000 + [ONE] * 1000, _combed),
    "diamonds": lambda: meshed([SCALE] * 1950 + [IF], _diamonds),
    "graphs in graphs": lambda: nested(30),
    "graphs in graphs, too many": lambda: nested(200),
    "an input of 2^40": lambda: chain(IF, shape=[1 << 20, 1 << 20]),
    "neurons without end": lambda: chain(CUBA, shape=[1 << 20, 16]),
    "many neurons": lambda: chain(CUBA, shape=[1 << 12, 1 << 9]),
    "a kernel larger than the input": lambda: chain({**CONV2D, "weight": noise(1, 1, 9, 9)}, IF, shape=[1, 4, 4]),
    "a window as large as the input": lambda: chain(pool(1 << 12, 1 << 12, 0), IF, shape=[1, 1 << 12, 1 << 12]),
    "a window three times the input": lambda: chain(pool(6000, 1, 2000), IF, shape=[1, 2000, 2000]),
    "a convolution, then a window as large as the image": lambda: chain(
        {**CONV2D, "weight": noise(16, 16, 3, 3)}, pool(998, 1, 0), IF, shape=[16, 1000, 1000]
    ),
    "a window as large as the image, then a convolution": lambda: chain(
        pool(1500, 1, 0), {**CONV2D, "weight": noise(512, 1, 3, 3)}, IF, shape=[1, 1510, 1510]
    ),
    "a window, then one as large": lambda: chain(pool(1000, 1, 500), pool(1000, 1, 500), IF, shape=[1, 1000, 1000]),
    "a small kernel, then a window as large as the image": lambda: chain(
        {**CONV2D, "weight": noise(1, 1, 3, 3)}, pool(1998, 1, 0), IF, shape=[1, 2000, 2000]
    ),
    "parallel convolutions without end": lambda: parallel(
        6, {**CONV2D, "weight": noise(64, 64, 5, 5), "input_shape": [128, 128]}, [64, 128, 128]
    ),
    "a padding of 2^31": lambda: chain(pool(2, 1, 1 << 31), IF, shape=[1, 4, 4]),
    "a stride of 2^20": lambda: chain(pool(2, 1 << 20, 1), IF, shape=[1, 4, 4]),
    "a delay for each": lambda: chain({"type": "Delay", "delay": np.arange(1 << 16) * 1e-4}, IF, shape=[1 << 16]),
    "a long delay": lambda: chain({"type": "Delay", "delay": 100.0}, IF),
    "a convolution as a matrix": lambda: chain(
        {**CONV2D, "weight": noise(64, 64, 5, 5)}, SCALE, IF, shape=[64, 128, 128]
    ),
    "a convolution of ones": lambda: chain(
        {**CONV2D, "weight": np.ones((256, 256, 3, 3), np.float32)},
        {"type": "Flatten", "start_dim": 0, "end_dim": -1},
        {"type": "Linear", "weight": np.ones((1, 256 * 62 * 62), np.float32)},
        IF,
        shape=[256, 64, 64],
    ),
    "a matrix for each place": lambda: chain(
        {"type": "Linear", "weight": np.ones((1 << 18, 1, 1), np.float32)}, IF, shape=[1 << 18, 1]
    ),
    "a matrix of ones": lambda: chain(
        {"type": "Linear", "weight": np.ones((1 << 12, 1 << 12), "f4")}, IF, shape=[1 << 12]
    ),
    "a matrix of small ones": lambda: chain(
        {"type": "Linear", "weight": np.ones((1 << 13, 1 << 13), "i1")}, IF, shape=[1 << 13]
    ),
    "a matrix of halves": lambda: chain(
        {"type": "Linear", "weight": np.ones((1 << 13, 1 << 14), "f2")}, IF, shape=[1 << 14]
    ),
    "parameters of zeros": lambda: chain(
        {**CUBA, **{k: np.ones(1 << 22) for k in CUBA if k != "type"}}, shape=[1 << 22]
    ),
}


@cache
def nir_seeds() -> dict[str, bytes]:
    path = Path("seed.nir")

    def written(build: Callable[[], object]) -> bytes:
        build()
        return path.read_bytes()

    seeds = {
        "ours": written(lambda: ours(path)),
        "theirs": written(lambda: nir.write(path, graph())),
        "uncompressed": written(lambda: nir.write(path, graph(), compression=None)),
        "every node": written(lambda: nir.write(path, every_node())),
        "recurrent": written(lambda: nir.write(path, recurrent())),
        "inside": nested(2),
    }
    for name in ("theirs", "every node"):
        with h5py.File(io.BytesIO(seeds[name])) as old:
            seeds[f"{name}, modern"] = modern(lambda file, old=old: [old.copy(old[k], file, k) for k in old])
    return seeds


def every_node() -> Any:
    """A graph of all kinds of nodes."""

    four = np.ones(4)
    inner = {"in": nir.Input(np.array([4])), "x": nir.Threshold(four), "out": nir.Output(np.array([4]))}
    nodes = {
        "input": nir.Input(np.array([2, 8, 8])),
        "conv": nir.Conv2d((8, 8), np.ones((3, 2, 3, 3)), 1, 1, 1, 1, np.zeros(3)),
        "if": nir.IF(np.ones((3, 8, 8)), np.ones((3, 8, 8))),
        "sum": nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        "mean": nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        "flat": nir.Flatten({"input": np.array([3, 2, 2])}, 0),
        "affine": nir.Affine(np.ones((4, 12)), four),
        "lif": nir.LIF(four / 100, four, four * 0, four),
        "linear": nir.Linear(np.eye(4)),
        "cuba": nir.CubaLIF(four / 100, four / 100, four, four * 0, four),
        "scale": nir.Scale(four / 2),
        "delay": nir.Delay(four / 1000),
        "threshold": nir.Threshold(four),
        "graph": nir.NIRGraph(inner, [("in", "x"), ("x", "out")], type_check=False),
        "i": nir.I(four),
        "li": nir.LI(four / 100, four, four * 0),
        "cuba_li": nir.CubaLI(four / 100, four / 100, four, four * 0),
        "output": nir.Output(np.array([4])),
    }
    edges = [*itertools.pairwise(nodes), ("cuba_li", "lif")]
    nodes |= {
        "row": nir.Input(np.array([2, 9])),
        "conv1d": nir.Conv1d(9, np.ones((2, 2, 3)), 2, 1, 1, 1, np.zeros(2)),
        "flat1": nir.Flatten({"input": np.array([2, 5])}, 0),
        "fc1": nir.Linear(np.ones((4, 10))),
    }
    edges += [("row", "conv1d"), ("conv1d", "flat1"), ("flat1", "fc1"), ("fc1", "cuba")]
    return nir.NIRGraph(nodes, edges, type_check=False)


def recurrent() -> Any:
    """A loop, which a chip can do."""

    three = np.ones(3)
    nodes = {
        "input": nir.Input(np.array([2])),
        "fc": nir.Affine(noise(3, 2), three),
        "lif": nir.LIF(three / 100, three, three * 0, three),
        "back": nir.Linear(noise(3, 3)),
        "output": nir.Output(np.array([3])),
    }
    edges = [("input", "fc"), ("fc", "lif"), ("lif", "back"), ("back", "lif"), ("lif", "output")]
    return nir.NIRGraph(nodes, edges, type_check=False)


NIR = Format(".nir", nir_seeds, restructured, lambda: NIR_ONCE, HDF5_LANDMARKS)
