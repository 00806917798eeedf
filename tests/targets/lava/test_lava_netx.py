"""What goes into a ``.net`` file, and what is refused because netx would not compute it."""

from __future__ import annotations

import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from integer_chains import LIF, chain, conv, dense, layer

import snnc
from snnc.errors import InputError, UsageError
from snnc.network import Network, Population, Projection
from snnc.targets.lava import export
from snnc.targets.lava.chain import chain as checked
from snnc.targets.lava.dialogue import WORKER


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).integers(-100, 100, shape)


KERNEL = random(3, 2, 3, 3)


def mlp(weight: np.ndarray | None = None, **params: object) -> Network:
    return chain((6,), (dense(random(4, 6) if weight is None else weight), params), (dense(random(3, 4)), {}))


def convolutional(kernel: np.ndarray = KERNEL, **params: object) -> Network:
    return chain((2, 5, 6), (conv(kernel, stride=(2, 1), padding=(1, 0)), params), (dense(random(4, 36)), {}))


def test_layout_of_a_chain(tmp_path: Path) -> None:
    bias = np.array([5, -3, 0])
    export(convolutional(bias=bias[:, None, None], threshold=77), tmp_path / "a.net", 16)
    with h5py.File(tmp_path / "a.net") as file:
        layers = file["layer"]
        assert [layers[str(k)]["type"][0] for k in range(len(layers))] == [b"input", b"conv", b"flatten", b"dense"]
        assert layers["0/shape"][()].tolist() == [2, 5, 6]
        assert layers["1/shape"][()].tolist() == [3, 3, 4]
        assert np.array_equal(layers["1/weight"], KERNEL)
        assert layers["1/stride"][()].tolist() == [2, 1]
        assert layers["1/padding"][()].tolist() == [1, 0]
        assert layers["1/bias"][()].tolist() == bias.tolist()
        assert "bias" not in layers["3"]
        neuron = layers["1/neuron"]
        assert (neuron["iDecay"][()], neuron["vDecay"][()], neuron["vThMant"][()]) == (4096, 128, 77)
        assert file["simulation/tSample"][()] == 16


def test_a_bias_per_neuron_lies_by_column_row_channel(tmp_path: Path) -> None:
    bias = np.arange(36).reshape(3, 3, 4)
    export(convolutional(bias=bias), tmp_path / "a.net", 16)
    with h5py.File(tmp_path / "a.net") as file:
        assert np.array_equal(file["layer/1/bias"], bias.transpose(2, 1, 0))


def test_equal_networks_give_equal_bytes(tmp_path: Path) -> None:
    export(convolutional(bias=7), tmp_path / "a.net", 8)
    time.sleep(1.1)  # HDF5 counts times in whole seconds
    export(convolutional(bias=7), tmp_path / "b.net", 8)
    assert (tmp_path / "a.net").read_bytes() == (tmp_path / "b.net").read_bytes()


def test_delays_come_back_as_they_were(tmp_path: Path) -> None:
    """A number for each synapse; our reader makes a projection of each."""
    first, second = mlp().projections
    rows = np.arange(4) < 2
    parts = [
        replace(first, name=f"p1@{steps}", delay=steps, ops=(dense(first.op.weight.toarray() * chosen[:, None]),))
        for steps, chosen in ((0, ~rows), (5, rows))
    ]
    network = replace(mlp(), projections=(*parts, second))
    export(network, tmp_path / "a.net", 8)
    with h5py.File(tmp_path / "a.net") as file:
        assert np.array_equal(file["layer/1/delay"][()], (first.op.weight.toarray() != 0) * rows[:, None] * 5)
    back = snnc.load(tmp_path / "a.net")
    assert [(p.delay, p.op.weight.toarray().tolist()) for p in back.projections] == [
        (p.delay, p.op.weight.toarray().tolist()) for p in network.projections
    ]


def test_an_unwritable_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError):
        export(mlp(), tmp_path / "file" / "a.net", 8)


def weights(**entries: int) -> np.ndarray:
    """A 4x6 matrix of small mixed weights with the given values in front."""
    matrix = np.tile([1, -1], (4, 3))
    matrix.ravel()[: len(entries)] = list(entries.values())
    return matrix


def ramp(low: int, high: int) -> np.ndarray:
    return np.linspace(low, high, 24).astype(int).reshape(4, 6)


def varied(value: int) -> np.ndarray:
    return np.array([value, value, value, value + 1])


REFUSED: dict[str, tuple[Network, str, str]] = {
    # name: (network, layer or projection, words of the message)
    "weight-high": (mlp(weights(a=256)), "layer 'l1'", "weight spans -1 .. 256"),
    "weight-low": (mlp(weights(a=-258)), "layer 'l1'", "weight spans -258 .. 1"),
    "weight-odd": (mlp(weights(a=129)), "layer 'l1'", "weight spans -1 .. 129 and holds the odd"),
    "weight-odd-negative": (mlp(weights(a=-131)), "layer 'l1'", "weight spans -131 .. 1 and holds the odd"),
    "weight-excitatory": (mlp(ramp(0, 256)), "layer 'l1'", "weight spans .* 256; Lava holds 0 .. 255"),
    "weight-inhibitory": (mlp(ramp(-256, 0)), "layer 'l1'", "weight spans -256 .* Lava holds -255 .. 0"),
    "weight-odd-inhibitory": (mlp(np.tile([0, -129], (4, 3))), "layer 'l1'", "holds the odd -129"),
    "weight-zero": (mlp(np.zeros((4, 6))), "layer 'l1'", "weight is zero everywhere"),
    "weight-minus-64": (mlp(np.full((4, 6), -64)), "layer 'l1'", "-64 is a power of two"),
    "weight-minus-1": (mlp(np.tile([0, -1], (4, 3))), "layer 'l1'", "-1 is a power of two"),
    "kernel-high": (convolutional(KERNEL * 30), "layer 'l1'", "weight spans"),
    "kernel-odd": (convolutional(np.where(KERNEL > 50, 131, KERNEL)), "layer 'l1'", "must be even"),
    "threshold-high": (mlp(threshold=1 << 17), "layer 'l1'", "threshold must lie within 0 .. 131,071"),
    "threshold-negative": (mlp(threshold=-1), "layer 'l1'", "threshold must lie"),
    "threshold-varies": (mlp(threshold=varied(90)), "layer 'l1'", "threshold differs between neurons"),
    "u-decay-varies": (mlp(u_decay=varied(90)), "layer 'l1'", "u_decay differs"),
    "v-decay-varies": (mlp(v_decay=varied(90)), "layer 'l1'", "v_decay differs"),
    "decay-high": (mlp(v_decay=4097), "layer 'l1'", "v_decay must be 0..4096"),
    "bias-high": (mlp(bias=varied(4095)), "layer 'l1'", "bias must lie within -4,096 .. 4,095"),
    "bias-low": (mlp(bias=-4097), "layer 'l1'", "bias must lie"),
    "conv-after-dense": (
        Network(
            (Population("in", (6,), "input"), layer("l1", (1, 2, 2)), layer("l2", (1, 1, 1))),
            (
                Projection("p1", "in", "l1", (dense(random(4, 6)),)),
                Projection("p2", "l1", "l2", (conv(random(1, 1, 2, 2)),)),
            ),
            ("l2",),
            1e-3,
        ),
        "layer 'l2'",
        "cannot follow a dense layer",
    ),
    "skip": (
        replace(mlp(), projections=(*mlp().projections, Projection("skip", "in", "l2", (dense(random(3, 6)),)))),
        "layer 'l2'",
        "fed by 'l1' alone, it is fed by 'l1', 'in'",
    ),
    "fork": (
        Network(
            (Population("in", (6,), "input"), layer("l1", (4,)), layer("l2", (4,))),
            tuple(Projection(f"p{k}", "in", f"l{k}", (dense(random(4, 6)),)) for k in (1, 2)),
            ("l1", "l2"),
            1e-3,
        ),
        "layer 'l2'",
        "chains",
    ),
    "recurrent": (
        replace(mlp(), projections=(*mlp().projections, Projection("loop", "l2", "l2", (dense(random(3, 3)),)))),
        "projection 'loop'",
        "recurrent",
    ),
    "delay-long": (
        replace(mlp(), projections=(replace(mlp().projections[0], delay=63), mlp().projections[1])),
        "projection 'p1'",
        "delay of 63 steps; netx cuts",
    ),
    "delay-conv": (
        replace(
            convolutional(),
            projections=(replace(convolutional().projections[0], delay=1), *convolutional().projections[1:]),
        ),
        "layer 'l1'",
        "netx ignores such delays",
    ),
    "delay-twice": (
        replace(mlp(), projections=(*mlp().projections, replace(mlp().projections[0], name="late", delay=2))),
        "layer 'l1'",
        "two synapses join the same two neurons",
    ),
    "two-inputs": (
        replace(mlp(), populations=(*mlp().populations, Population("in2", (3,), "input"))),
        "test",
        "2 ",
    ),
    "no-layers": (Network((Population("in", (6,), "input"),), (), ("in",), 1e-3, "bare"), "bare", "no layers"),
    "float": (
        replace(
            mlp(),
            populations=(
                mlp()["in"],
                Population("l1", (4,), "if", {k: np.ones(4) for k in ("r", "v_threshold", "v_reset")}),
                mlp()["l2"],
            ),
        ),
        "layer 'l1'",
        "not an integer neuron",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_lava_would_compute_wrongly_is_refused(case: str, tmp_path: Path) -> None:
    network, where, words = REFUSED[case]
    with pytest.raises(InputError, match=words) as caught:
        export(network, tmp_path / "a.net", 8)
    assert caught.value.where == where
    assert not list(tmp_path.iterdir())


def test_steps_are_positive(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least one step"):
        export(mlp(), tmp_path / "a.net", 0)


@pytest.mark.parametrize(
    "params",
    [
        {"threshold": (1 << 17) - 1, "bias": 4095},
        {"threshold": 0, "bias": -4096},
        {"u_decay": 0, "v_decay": 0},
        {"u_decay": 4096, "v_decay": 4096},
    ],
)
def test_the_ends_of_the_ranges_are_allowed(params: dict[str, Any]) -> None:
    _, layers = checked(mlp(**params))
    assert {name: getattr(layers[0], name) for name in params if name != "bias"} == {
        name: value for name, value in params.items() if name != "bias"
    }


# What Lava multiplies with in the end: netx's choice of bits and exponent, then what the dense
# process does in its first step.
EFFECTIVE = """
import sys
sys.path.insert(0, sys.argv[1])
import compat
compat.enable()
compat.enable_netx()
import numpy as np
from lava.lib.dl.netx.utils import optimize_weight_bits
from lava.utils.weightutils import clip_weights, determine_sign_mode, truncate_weights
result = []
for weight in np.load(sys.argv[2]):
    scaled, bits, exponent, _ = optimize_weight_bits(weight.astype(int))
    mode = determine_sign_mode(scaled)
    held = truncate_weights(clip_weights(scaled, mode, num_bits=8), mode, bits)
    result.append(held * 2.0**exponent)
np.save(sys.argv[3], result)
"""


def test_no_weight_that_passes_is_changed_by_netx(lava: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    count = 4000
    reach = 1 << rng.integers(1, 10, count)  # one-signed, mixed, small, large
    low = -rng.integers(0, reach) * rng.integers(0, 2, count)
    high = low + rng.integers(1, reach)
    matrices = rng.integers(low[:, None, None], high[:, None, None], (count, 3, 4))
    matrices *= rng.random(matrices.shape) < 0.7
    matrices <<= rng.integers(0, 4, count)[:, None, None]
    matrices = matrices[np.abs(matrices).max(axis=(1, 2)) > 0].astype(np.int16)
    np.save(tmp_path / "in.npy", matrices)
    command = [str(lava), "-Es", "-c", EFFECTIVE, str(WORKER.parent), str(tmp_path / "in.npy"), str(tmp_path / "o.npy")]
    subprocess.run(command, check=True, capture_output=True)
    effective = np.load(tmp_path / "o.npy")
    exact = (effective == matrices).all(axis=(1, 2))

    verdict = {"passed": 0, "power of two": 0, "must be even": 0, "spans": 0}
    for matrix, equal in zip(matrices, exact, strict=True):
        try:
            checked(chain((4,), (dense(matrix), LIF)))
        except InputError as error:
            reason = next(words for words in verdict if words in error.message)
            # Odd weights beyond seven bits are the one refusal for the chip's sake alone.
            assert not equal or reason == "must be even", matrix
            verdict[reason] += 1
        else:
            assert equal, matrix
            verdict["passed"] += 1
    assert min(verdict.values()) >= 5, verdict
