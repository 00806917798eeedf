"""What netx 0.6 makes of files by itself: the reasons for what snnc refuses to write, or writes as something else.

All files are loaded in one process of Lava. A spike of each input goes in at the first step; u of the first layer two
steps later is what netx multiplies with, times 64 (du 4095: currents keep nothing).
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from snnc.targets.lava.dialogue import WORKER

SCRIPT = Path(__file__).with_name("netx_loads.py")
NEURON = {"type": np.array([b"CUBA"]), "iDecay": 4096, "vDecay": 4096, "vThMant": 1 << 16}
SPATIAL = {"stride": np.array([1, 1]), "padding": np.array([0, 0]), "dilation": np.array([1, 1]), "groups": 1}

Group = dict[str, Any]
Found = Mapping[str, Mapping[str, Any]]


def group(kind: str, shape: tuple[int, ...], **fields: Any) -> Group:
    return {"type": np.array([kind.encode()]), "shape": np.array(shape), "neuron": NEURON, **fields}


def entry(*shape: int) -> Group:
    return {"type": np.array([b"input"]), "shape": np.array(shape)}


def dense(weight: object, **fields: Any) -> tuple[Group, Group]:
    """Inputs, and a layer of the given weights, (outputs, inputs)."""
    matrix = np.array(weight)
    return entry(matrix.shape[1]), group("dense", (len(matrix),), weight=matrix, **fields)


def conv(**fields: Any) -> tuple[Group, Group]:
    weight = np.array([1, -2, 3, 4]).reshape(1, 1, 2, 2)
    return entry(1, 3, 3), group("conv", (1, 2, 2), weight=weight, **SPATIAL, **fields)


def recurrent(weight: object, loop: object, **fields: Any) -> tuple[Group, Group]:
    first, layer = dense(weight, **fields)
    return first, {**layer, "type": np.array([b"dense_rec"]), "weight_rec": np.array(loop)}


SKIPPED = ("affine", "sparse", "attention", "conv_rec")
ODD = [[129, -131], [-1, 3]]
FILES: dict[str, tuple[tuple[Group, ...], int]] = {
    # name: layers; steps to run, 0 to load only
    "dense": (dense([[3, -5], [7, 100]]), 2),
    "dense-pre": (dense([[3, -5], [7, 100]], pre=0, post=np.array([0, 1])), 2),
    "values": (({**entry(2), "neuron": NEURON}, dense([[3, -5], [7, 100]])[1]), 1),
    "dense-bias": (dense([[3, -5], [7, 100]], bias=np.array([9, -4])), 2),
    "dense-delay": (dense([[3, -5], [7, 100]], delay=np.array([[0, 1], [1, 0]])), 3),
    "dense-delay-long": (dense([[3, -5], [7, 100]], delay=np.array([[0, 90], [1, 0]])), 0),
    "dense-rec": (recurrent([[3, -5], [7, 100]], [[1, 0], [0, -1]]), 2),
    "dense-rec-delay": (recurrent([[3, -5], [7, 100]], [[1, 0], [0, -1]], delay=np.zeros((2, 2), int)), 2),
    "conv": (conv(), 2),
    "conv-bias": (conv(bias=np.array([5])), 2),
    "conv-delay": (conv(delay=np.array([1])), 2),
    "conv-wide": (
        (entry(1, 3, 3), group("conv", (1, 2, 2), weight=np.full((1, 1, 2, 2), 3000), **SPATIAL)),
        2,
    ),
    "flatten": ((entry(1, 1, 2), group("flatten", (2,)), *dense([[3, -5], [7, 100]])[1:]), 0),
    **{kind: ((*conv(), group(kind, (1, 2, 2))), 0) for kind in ("pool", "convT", "unpool", "average", "concat")},
    "dense_comp": ((*dense([[3, -5], [7, 100]]), group("dense_comp", (2,), weight=np.ones((2, 2)))), 0),
    **{
        f"skipped-{kind}": ((*dense([[3, -5], [7, 100]]), group(kind, (2,), weight=np.ones((2, 2)))), 0)
        for kind in SKIPPED
    },
    "zeros": (dense([[0, 0], [0, 0]]), 0),
    "all-minus-64": (dense([[-64, -64]]), 2),
    "some-minus-64": (dense([[-64, 0]]), 2),
    "minus-63": (dense([[-63, 0]]), 2),
    "excitatory-255": (dense([[255, 1]]), 2),
    "excitatory-256": (dense([[256, 0]]), 2),
    "odd": (dense(ODD), 2),
    "even": (dense([[128, -130], [-2, 4]]), 2),
    "beyond": (dense([[300, -1]]), 2),
    "fractions": (dense([[0.9, 2.7]]), 2),
    "alif": (dense([[1, 2]], neuron=NEURON | {"type": np.array([b"ALIF"])}), 0),
    "graded": (dense([[1, 2]], neuron=NEURON | {"gradedSpike": True}), 2),
    "refractory": (dense([[1, 2]], neuron=NEURON | {"refDelay": 5, "vThMant": 0}), 4),
    "thresholds": (dense([[5, 0], [5, 0]], neuron=NEURON | {"vThMant": np.array([1, 9])}), 2),
}


@pytest.fixture(scope="module")
def found(lava: Path, tmp_path_factory: pytest.TempPathFactory) -> Found:
    folder = tmp_path_factory.mktemp("netx")
    for name, (layers, steps) in FILES.items():
        with h5py.File(folder / f"{name}.net", "w") as file:
            for k, layer in enumerate(layers):
                _put(file.create_group(f"layer/{k}"), layer)
        if steps:
            spikes = np.zeros((steps, *layers[0]["shape"]), np.int32)
            spikes[: steps if name == "refractory" else 1] = 1
            np.save(folder / f"{name}.npy", spikes)
    command = [str(lava), "-Es", str(SCRIPT), str(WORKER.parent), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result: Found = json.loads((folder / "found.json").read_text())
    assert result.keys() == FILES.keys()
    return result


def _put(parent: h5py.Group, tree: Group) -> None:
    for name, value in tree.items():
        if isinstance(value, dict):
            _put(parent.create_group(name), value)
        else:
            parent[name] = value


def current(found: Found, name: str, step: int = 2) -> list[Any]:
    """What has arrived at the first layer in a step, in units of weights."""
    assert "error" not in found[name], found[name]
    values = np.array(found[name]["u"][step - 1])
    assert not np.any(values % 64)
    return list((values // 64).tolist())


def test_dense(found: Found) -> None:
    assert current(found, "dense") == [-2, 107]


def test_a_file_is_a_chain_whatever_it_says(found: Found) -> None:
    """No field leads elsewhere than from one layer to the next."""
    assert found["dense-pre"] == found["dense"]


def test_an_input_with_neurons_has_no_way_in(found: Found) -> None:
    """Its port leads nowhere. Values are set as biases, or go to the port of its neurons."""
    assert "No subcompiler exists" in found["values"]["error"]


def test_flatten(found: Found) -> None:
    """In front of the first block it changes nothing."""
    assert found["flatten"]["layers"] == ["Dense"]


def test_bias(found: Found) -> None:
    assert found["dense-bias"]["v"][1] == [64 * (9 - 2), 64 * (107 - 4)]
    assert found["conv-bias"]["v"][0] == [[[320, 320], [320, 320]]]


def test_delays_of_a_dense_layer(found: Found) -> None:
    assert [current(found, "dense-delay", step) for step in (2, 3)] == [[3, 100], [-5, 7]]


def test_delays_beyond_62_are_cut(found: Found) -> None:
    assert found["dense-delay-long"]["delay"] == 62


def test_recurrent_layers(found: Found) -> None:
    assert found["dense-rec"]["layers"] == ["RecurrentDense"]
    assert current(found, "dense-rec") == [-2, 107]


def test_a_recurrent_layer_with_delays_loses_the_exponent(found: Found) -> None:
    """Stored are the weights doubled, which exponent -1 would take back."""
    assert (found["dense-rec"]["exponent"], found["dense-rec-delay"]["exponent"]) == (-1, 0)
    assert current(found, "dense-rec-delay") == [2 * -2, 2 * 107]


def test_conv(found: Found) -> None:
    assert current(found, "conv") == [[[6, 6], [6, 6]]]


def test_delays_of_a_convolution_are_ignored(found: Found) -> None:
    assert found["conv-delay"] == found["conv"]


def test_weights_of_a_convolution_are_not_checked(found: Found) -> None:
    """The chip has 8 bits for them."""
    assert current(found, "conv-wide") == [[[12_000, 12_000], [12_000, 12_000]]]


@pytest.mark.parametrize("kind", ["pool", "convT", "unpool", "average", "concat"])
def test_kinds_that_it_names_and_does_not_have(found: Found, kind: str) -> None:
    assert found[kind] == {"error": f"NotImplementedError: {kind} is not implemented."}


def test_complex_layers_crash(found: Found) -> None:
    assert found["dense_comp"]["error"].startswith("AttributeError: 'Network' object has no attribute 'create_complex")


@pytest.mark.parametrize("kind", SKIPPED)
def test_unknown_kinds_are_skipped_in_silence(found: Found, kind: str) -> None:
    assert found[f"skipped-{kind}"]["layers"] == ["Dense"]


def test_a_layer_of_zeros_crashes(found: Found) -> None:
    assert found["zeros"]["error"].startswith("OverflowError")


def test_weights_nowhere_positive_down_to_a_power_of_two_are_wrong(found: Found) -> None:
    assert current(found, "all-minus-64") == [0]  # of -128
    assert current(found, "some-minus-64") == [-32]  # of -64
    assert current(found, "minus-63") == [-63]


def test_excitatory_weights_beyond_255_become_zero(found: Found) -> None:
    assert current(found, "excitatory-255") == [256]
    assert current(found, "excitatory-256") == [0]


def test_odd_weights_beyond_127_get_a_ninth_bit(found: Found) -> None:
    """Which the simulation on a CPU multiplies with, and the chip does not have."""
    assert (found["even"]["bits"], found["odd"]["bits"]) == (8, 9)
    assert current(found, "odd") == [-2, 2]


def test_weights_beyond_254_are_clipped(found: Found) -> None:
    assert current(found, "beyond") == [253]  # of 299


def test_fractions_are_cut(found: Found) -> None:
    assert current(found, "fractions") == [2]


def test_dense_processes_whatever_is_pruned(found: Found) -> None:
    """Sparse ones can be asked for by an argument, for all layers."""
    assert found["some-minus-64"]["process"] == "Dense"


def test_adaptive_neurons_crash(found: Found) -> None:
    assert found["alif"]["error"].startswith("AttributeError: 'NoneType'")


def test_graded_spikes_and_refractory_delays_are_ignored(found: Found) -> None:
    assert current(found, "graded") == [3]
    # At rest for five steps, it would spike once; v is 0 after each spike.
    assert found["refractory"]["u"][1:] == [[192]] * 3
    assert found["refractory"]["v"] == [[0]] * 4


def test_a_threshold_for_each_neuron_works_on_a_cpu(found: Found) -> None:
    """Lava declares one for a process, which is what the chip has."""
    assert found["thresholds"]["v"][1] == [0, 320]
