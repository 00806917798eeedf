"""Instances from files of strangers: read, or refused with the field, the fault and exit code 3."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from snnc import ops
from snnc.errors import InputError
from tests.instances import npz, score

SIZES = (4, 3, 2)


def valid() -> dict[str, np.ndarray]:
    """Rows are sources: layers of 4, 3 and 2 neurons, and one synapse inside the second."""
    dense = np.zeros((9, 9), int)
    dense[:4, 4:7] = 1
    dense[4:7, 7:] = 1
    dense[0, 5] = 0
    dense[4, 6] = 1
    matrix = sparse.csr_array(dense)
    return {"indptr": matrix.indptr, "indices": matrix.indices, "rates": np.arange(9) / 10, "layers": np.array(SIZES)}


def save(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def dense(network) -> np.ndarray:
    """Of the whole network, rows are targets."""
    whole, at = np.zeros((network.size, network.size), int), network.offsets
    for p in network.projections:
        part = ops.matrix(p.op, network[p.pre].shape).toarray() != 0
        whole[at[p.post] :, at[p.pre] :][: part.shape[0], : part.shape[1]] += part
    return whole


def read(path: Path):
    said: list[str] = []
    return npz.read(path, said.append), said


@pytest.mark.parametrize("key", ["layers", "layer_sizes", "sizes"])
def test_rows_are_sources(tmp_path: Path, key: str) -> None:
    arrays = valid()
    arrays[key] = arrays.pop("layers")
    instance, said = read(save(tmp_path / "net.npz", **arrays))
    assert instance.name == "net"
    assert instance.cores == 16
    assert said == []
    assert [p.size for p in instance.network.populations] == list(SIZES)
    assert instance.network.inputs == ()
    assert np.array_equal(instance.rates, np.arange(9) / 10)
    found = dense(instance.network)
    assert found[4, 0] == 1
    assert found[5, 0] == 0
    assert found[6, 4] == 1  # within its layer
    assert found.sum() == len(arrays["indices"])


def test_the_other_orientation_is_found_out(tmp_path: Path) -> None:
    arrays = valid()
    usual = sparse.csr_array((np.ones(len(arrays["indices"])), arrays["indices"], arrays["indptr"]), shape=(9, 9))
    other = usual.T.tocsr()
    path = save(tmp_path / "net.npz", **{**arrays, "indptr": other.indptr, "indices": other.indices})
    instance, said = read(path)
    assert np.array_equal(dense(instance.network), other.toarray())
    assert "rows are taken as targets" in said[0]


def test_feedback_is_no_reason_to_turn_it_around(tmp_path: Path) -> None:
    arrays = {"indptr": [0, 1, 2, 3], "indices": [2, 0, 0], "rates": np.ones(3), "layers": [1, 1, 1]}
    instance, said = read(save(tmp_path / "net.npz", **arrays))
    assert said == []
    assert dense(instance.network)[2, 0] == 1


def test_synapses_that_are_there_twice_count_once(tmp_path: Path) -> None:
    arrays = {"indptr": [0, 3, 3], "indices": [1, 1, 1], "rates": np.ones(2), "sizes": [1, 1]}
    instance, said = read(save(tmp_path / "net.npz", **arrays))
    assert dense(instance.network).tolist() == [[0, 0], [1, 0]]
    assert "2 synapses are there twice" in said[0]


def test_no_synapses_at_all(tmp_path: Path) -> None:
    arrays = {"indptr": [0, 0, 0], "indices": np.zeros(0), "rates": np.ones(2), "sizes": [2]}
    instance, _ = read(save(tmp_path / "net.npz", **arrays))
    assert instance.network.projections == ()


BROKEN = {
    "rates negative": (
        {"rates": np.array([0, 0.1, -0.5, 0, 0, -1, 0, 0, 0])},
        "rates",
        "neuron 2 and 1 more is negative",
    ),
    "rates nan": ({"rates": np.array([0, np.nan, 0, 0, 0, 0, 0, 0, 0])}, "rates", "neuron 1 is not a number"),
    "rates infinite": ({"rates": np.array([np.inf, 0, 0, 0, 0, 0, 0, 0, 0])}, "rates", "neuron 0 is infinite"),
    "rates short": ({"rates": np.ones(8)}, "rates", "8, for 9 neurons"),
    "rates words": ({"rates": np.array(["a"] * 9)}, "rates", "numbers are needed"),
    "rates square": ({"rates": np.ones((3, 3))}, "rates", "shape (3, 3)"),
    "layers short": ({"layers": np.array([4, 3])}, "layers", "hold 7 neurons, but indptr has 9 rows"),
    "layers empty one": ({"layers": np.array([4, 3, 2, 0])}, "layers", "a layer of 0 neurons"),
    "layers negative": ({"layers": np.array([4, 6, -1])}, "layers", "a layer of -1 neurons"),
    "layers huge": ({"layers": np.array([2**63 - 1, 2**63 - 1, 11])}, "layers", "neurons, but indptr"),
    "layers float": ({"layers": np.array([4.0, 3.0, 2.0])}, "layers", "whole numbers are needed"),
    "layers scalar": ({"layers": np.array(9)}, "layers", "shape ()"),
    "indptr falls": ({"indptr": np.array([0, 3, 2, 9, 12, 15, 17, 18, 18, 18])}, "indptr", "never fall"),
    "indptr starts late": ({"indptr": np.array([1, 3, 6, 9, 12, 15, 17, 18, 18, 18])}, "indptr", "start at 0"),
    "indptr ends early": ({"indptr": np.array([0, 2, 5, 8, 11, 13, 15, 17, 17, 17])}, "indptr", "ends at 17"),
    "indptr empty": ({"indptr": np.zeros(0, int)}, "indptr", "shape (0,)"),
    "indices beyond": ({"indices": np.full(18, 9)}, "indices", "no neuron 9; they are 0 .. 8"),
    "indices negative": ({"indices": np.full(18, -1)}, "indices", "no neuron -1"),
    "indices float": ({"indices": np.full(18, 1.5)}, "indices", "whole numbers are needed"),
    "pickled": ({"rates": np.array([{"a": 1}] * 9, object)}, "rates", "allow_pickle=False"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_is_named(tmp_path: Path, name: str) -> None:
    changed, where, message = BROKEN[name]
    path = save(tmp_path / "net.npz", **{**valid(), **changed})
    with pytest.raises(InputError) as error:
        npz.read(path, print)
    assert message in error.value.message
    assert error.value.where == f"{path} {where}"
    assert error.value.exit_code == 3


@pytest.mark.parametrize("key", ["indptr", "indices", "rates", "layers"])
def test_missing_keys_are_named(tmp_path: Path, key: str) -> None:
    arrays = valid()
    del arrays[key]
    with pytest.raises(InputError, match=f"it lacks {key}; it has "):
        npz.read(save(tmp_path / "net.npz", **arrays), print)


def test_files_that_are_none(tmp_path: Path) -> None:
    for name, content in (("text.npz", b"hello"), ("cut.npz", save(tmp_path / "a.npz", **valid()).read_bytes()[:200])):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError):
            npz.read(tmp_path / name, print)
    np.save(tmp_path / "one.npy", np.ones(3))
    with pytest.raises(InputError, match="one array"):
        npz.read(tmp_path / "one.npy", print)


def test_the_command_says_so_and_exits_with_3(tmp_path: Path) -> None:
    path = save(tmp_path / "net.npz", **{**valid(), "rates": -np.ones(9)})
    done = subprocess.run(
        [sys.executable, "-m", "tests.instances.score", str(path)],
        capture_output=True,
        text=True,
        cwd=Path(score.__file__).parents[2],
    )
    assert done.returncode == 3, done.stderr
    assert "error[input]" in done.stderr
    assert f"{path} rates" in done.stderr
    assert done.stdout == ""
