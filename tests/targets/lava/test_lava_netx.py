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
from snnc.network import Network, Population, Projection, Semantics, identical
from snnc.targets.lava import export
from snnc.targets.lava.chain import chain as checked
from snnc.targets.lava.dialogue import WORKER


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).integers(-100, 100, shape)


KERNEL = random(3, 2, 3, 3)


def mlp(weight: np.ndarray | None = None, **params: object) -> Network:
    return chain((6,), (dense(random(4, 6) if weight is None else weight), params), (dense(random(3, 4)), {}))


def looped(weight: np.ndarray | None = None, loop: np.ndarray | None = None, **params: object) -> Network:
    """A layer of four that feeds back to itself, and one behind it."""
    made = mlp(weight, **params)
    back = Projection("loop", "l1", "l1", (dense(random(4, 4) if loop is None else loop),))
    return replace(made, projections=(*made.projections, back))


def with_neurons(kind: str, **params: object) -> Network:
    """A chain whose first layer is of another model, or has more parameters."""
    made = mlp()
    first = layer("l1", (4,), **params)
    return replace(made, populations=(made["in"], replace(first, neuron=kind), made["l2"]))


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


@pytest.mark.parametrize(
    ("shape", "weight", "bias", "direct"),
    [
        ((6,), np.eye(6), 0, True),
        ((2, 3, 1), np.eye(6), 0, True),
        ((6,), np.eye(6), 1, False),
        ((6,), np.eye(6) * 2, 0, False),
        ((6,), np.eye(6)[::-1], 0, False),
        ((6,), np.eye(5, 6), 0, False),
        ((6,), np.eye(6) * [1, 1, 1, 1, 1, 0], 0, False),
    ],
)
def test_neurons_that_values_are_fed_into_are_those_of_the_input(
    shape: tuple[int, ...], weight: np.ndarray, bias: int, direct: bool, tmp_path: Path
) -> None:
    """netx has no synapses there: of an image they would be a matrix of all its pixels."""
    after = shape if len(weight) == 6 else (5,)
    network = Network(
        (Population("in", shape, "input"), layer("l1", after, bias=bias), layer("l2", (3,))),
        (
            Projection("p1", "in", "l1", (dense(weight),)),
            Projection("p2", "l1", "l2", (dense(random(3, len(weight))),)),
        ),
        ("l2",),
        1e-3,
    )
    export(network, tmp_path / "a.net", 8)
    with h5py.File(tmp_path / "a.net") as file:
        kinds = [group["type"][0].decode() for group in file["layer"].values()]
        assert ("neuron" in file["layer/0"]) == direct
        assert "weight" not in file["layer/0"]
    flatten = ["flatten"] * (direct and len(shape) == 3)
    assert kinds == ["input", *([] if direct else ["dense"]), *flatten, "dense"]
    back = snnc.load(tmp_path / "a.net")
    for a, b in zip(network.projections, back.projections, strict=True):
        assert np.array_equal(a.op.weight.toarray(), b.op.weight.toarray())
    for a, b in zip(network.populations, back.populations, strict=True):
        assert a.shape == b.shape
        assert identical(dict(a.params), b.params)


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


def test_a_recurrent_layer_comes_back_as_it_was(tmp_path: Path) -> None:
    network = looped()
    export(network, tmp_path / "a.net", 8)
    with h5py.File(tmp_path / "a.net") as file:
        assert [file[f"layer/{k}/type"][0] for k in range(3)] == [b"input", b"dense_rec", b"dense"]
        assert np.array_equal(file["layer/1/weight_rec"], random(4, 4))
    back = snnc.load(tmp_path / "a.net")
    assert sorted((back.rank[p.pre], back.rank[p.post], p.op.weight.toarray().tolist()) for p in back.projections) == [
        (network.rank[p.pre], network.rank[p.post], p.op.weight.toarray().tolist())
        for p in sorted(network.projections, key=lambda p: (network.rank[p.pre], network.rank[p.post]))
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
    "feedback": (
        replace(mlp(), projections=(*mlp().projections, Projection("back", "l2", "l1", (dense(random(4, 3)),)))),
        "projection 'back'",
        "back to 'l1'; in netx a layer feeds back to itself alone",
    ),
    "feedback-delayed": (
        replace(
            mlp(), projections=(*mlp().projections, Projection("back", "l2", "l1", (dense(random(4, 3)),), delay=1))
        ),
        "projection 'back'",
        "back to 'l1'; in netx a layer feeds back to itself alone",
    ),
    "loop-of-conv": (
        replace(
            convolutional(),
            projections=(*convolutional().projections, Projection("loop", "l1", "l1", (conv(random(3, 3, 1, 1)),))),
        ),
        "layer 'l1'",
        "in netx dense layers do",
    ),
    "loop-behind-conv": (
        replace(
            convolutional(),
            projections=(*convolutional().projections, Projection("loop", "l1", "l1", (dense(random(36, 36)),))),
        ),
        "layer 'l1'",
        "in netx dense layers do",
    ),
    "loop-delayed": (
        replace(looped(), projections=(*looped().projections[:2], replace(looped().projections[2], delay=1))),
        "layer 'l1'",
        "feeds back to itself and has delays",
    ),
    "loop-delay-in-front": (
        replace(looped(), projections=(replace(looped().projections[0], delay=1), *looped().projections[1:])),
        "layer 'l1'",
        "feeds back to itself and has delays",
    ),
    "loop-weight-odd": (looped(loop=np.full((4, 4), 129)), "layer 'l1'", "spans -95 .. 129 and holds the odd"),
    "loop-weight-high": (looped(loop=np.full((4, 4), 256)), "layer 'l1'", "weight spans .* 256"),
    "loop-weight-minus-128": (looped(loop=np.tile([0, -128], (4, 2))), "layer 'l1'", "-128 is a power of two"),
    "loop-weight-zero": (looped(np.zeros((4, 6)), np.zeros((4, 4))), "layer 'l1'", "weight is zero everywhere"),
    "adaptive": (with_neurons("alif_fixed", w_decay=100, w_jump=9), "layer 'l1'", "its neurons adapt"),
    "graded": (with_neurons("graded_fixed"), "layer 'l1'", "its spikes carry values"),
    "refractory": (with_neurons("cuba_fixed", refractory=2), "layer 'l1'", "its neurons rest after a spike"),
    "subtract": (
        replace(
            mlp(),
            populations=(
                mlp()["in"],
                replace(mlp()["l1"], semantics=Semantics(reset="subtract")),
                mlp()["l2"],
            ),
        ),
        "layer 'l1'",
        "subtracts the threshold",
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


HELD_BY_A_PROGRAM = {
    *("weight-zero", "weight-minus-64", "weight-minus-1", "threshold-varies", "u-decay-varies", "v-decay-varies"),
    *("conv-after-dense", "skip", "fork", "delay-long", "delay-conv", "delay-twice"),
    *("feedback-delayed", "loop-of-conv", "loop-behind-conv", "loop-delayed", "loop-delay-in-front"),
    *("loop-weight-minus-128", "loop-weight-zero", "adaptive", "graded", "refractory", "subtract"),
}
"""What the refusal of these says to be exported as a program."""


@pytest.mark.parametrize("case", REFUSED)
def test_what_lava_would_compute_wrongly_is_refused(case: str, tmp_path: Path) -> None:
    network, where, words = REFUSED[case]
    with pytest.raises(InputError, match=words) as caught:
        export(network, tmp_path / "a.net", 8)
    assert caught.value.where == where
    assert ("snnc lava export --program DIR" in caught.value.fix) == (case in HELD_BY_A_PROGRAM)
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


# What Lava multiplies with in the end: netx's choice of bits and exponent for the matrices of a layer side by side,
# then what each dense process does in its first step.
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
for layer in np.load(sys.argv[2]):
    scaled, bits, exponent, _ = optimize_weight_bits(np.hstack(layer).astype(int))
    held = []
    for part in np.hsplit(scaled, len(layer)):
        mode = determine_sign_mode(part)
        held.append(truncate_weights(clip_weights(part, mode, num_bits=8), mode, bits) * 2.0**exponent)
    result.append(held)
np.save(sys.argv[3], result)
"""


@pytest.mark.parametrize("parts", [1, 2], ids=["dense", "dense_rec"])
def test_no_weight_that_passes_is_changed_by_netx(parts: int, lava: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    count = 4000
    reach = 1 << rng.integers(1, 10, (count, 1))  # one-signed, mixed, small, large
    low = -rng.integers(0, reach, (count, parts)) * rng.integers(0, 2, (count, parts))
    high = low + rng.integers(1, reach, (count, parts))
    matrices = rng.integers(low[..., None, None], high[..., None, None], (count, parts, 4, 4))
    matrices *= rng.random(matrices.shape) < 0.7
    matrices <<= rng.integers(0, 4, (count, 1))[..., None, None]
    matrices = matrices[np.abs(matrices).max(axis=(1, 2, 3)) > 0].astype(np.int16)
    np.save(tmp_path / "in.npy", matrices)
    command = [str(lava), "-Es", "-c", EFFECTIVE, str(WORKER.parent), str(tmp_path / "in.npy"), str(tmp_path / "o.npy")]
    subprocess.run(command, check=True, capture_output=True)
    effective = np.load(tmp_path / "o.npy")
    exact = (effective == matrices).all(axis=(1, 2, 3))

    verdict = {"passed": 0, "power of two": 0, "must be even": 0, "spans": 0}
    for matrix, equal in zip(matrices, exact, strict=True):
        network = chain((4,), (dense(matrix[0]), LIF))
        loops = (Projection("loop", "l1", "l1", (dense(matrix[1]),)),) if parts == 2 else ()
        try:
            checked(replace(network, projections=(*network.projections, *loops)))
        except InputError as error:
            reason = next(words for words in verdict if words in error.message)
            # Odd weights beyond seven bits are the one refusal for the chip's sake alone.
            assert not equal or reason == "must be even", matrix
            verdict[reason] += 1
        else:
            assert equal, matrix
            verdict["passed"] += 1
    assert min(verdict.values()) >= 5, verdict
