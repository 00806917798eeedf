"""lava-dl's ``.net`` files: integers kept, every spike that of Lava, and what netx would skip refused."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from scipy import sparse

import snnc
from snnc import frontends
from snnc.errors import InputError, UsageError
from snnc.frontends.reading import Reading
from snnc.network import Network, identical
from snnc.ops import Conv2d, Linear
from snnc.samples import Samples
from snnc.simulator import reference
from snnc.simulator import simulate as engine
from snnc.targets.lava import export
from snnc.targets.lava.session import run

Tree = dict[str, Any]
NEURON: Tree = {"type": "CUBA", "iDecay": 1024, "vDecay": 128, "vThMant": 40, "refDelay": 1, "gradedSpike": False}
RNG = np.random.default_rng(5)


def weight(*shape: int) -> np.ndarray:
    return RNG.integers(-70, 75, shape).astype(np.int8)


def chain() -> list[Tree]:
    """input, conv, flatten, dense_rec, dense: all that is read, as SLAYER lays it out."""
    return [
        {"type": np.array([b"input"]), "shape": np.array([2, 6, 5])},
        {
            "type": np.array([b"conv"]),
            "shape": np.array([3, 3, 4]),
            "weight": weight(3, 2, 3, 2)[..., None],
            "bias": np.array([4, -2, 0]),
            "stride": np.array([2, 1]),
            "padding": np.array([1, 0]),
            "dilation": np.array([1, 1]),
            "groups": 1,
            "kernelSize": np.array([3, 2]),
            "inChannels": 2,
            "outChannels": 3,
            "neuron": NEURON,
        },
        {"type": np.array([b"flatten"]), "shape": np.array([36])},
        {
            "type": np.array([b"dense_rec"]),
            "shape": np.array([7]),
            "weight": weight(7, 36),
            "weight_rec": weight(7, 7) // 2,
            "neuron": NEURON | {"vDecay": np.arange(7) * 100},
        },
        {
            "type": np.array([b"dense"]),
            "shape": np.array([4]),
            "weight": weight(4, 7),
            "delay": np.array([0, 3, 1, 3]),
            "neuron": NEURON | {"type": "LOIHI"},
        },
    ]


def write(path: Path, layers: list[Tree]) -> Path:
    def put(group: h5py.Group, tree: Tree) -> None:
        for name, value in tree.items():
            if isinstance(value, dict):
                put(group.create_group(name), value)
            else:
                group[name] = value

    with h5py.File(path, "w") as file:
        put(file, {"layer": {str(k): layer for k, layer in enumerate(layers)}, "simulation": {"Ts": 1, "tSample": 9}})
    return path


def load(path: Path, **reading: Any) -> tuple[Network, list[str]]:
    network, about = frontends.load(path, Reading(**reading))
    assert about["format"] == "netx"
    return network, [note["text"] for note in about["notes"]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "chain.net", chain())


# --- what is read ----------------------------------------------------------------------------------


def test_every_integer_is_kept(path: Path) -> None:
    layers = chain_of(path)
    network, notes = load(path)
    assert notes == []
    assert [(p.name, p.neuron, p.shape) for p in network.populations] == [
        ("input", "input", (2, 6, 5)),
        ("conv1", "cuba_fixed", (3, 3, 4)),
        ("dense_rec3", "cuba_fixed", (7,)),
        ("dense4", "cuba_fixed", (4,)),
    ]
    conv = network.projections[0].op
    assert isinstance(conv, Conv2d)
    np.testing.assert_array_equal(conv.weight, layers[1]["weight"][..., 0])
    assert (conv.stride, conv.padding, conv.dilation, conv.groups) == ((2, 1), (1, 0), (1, 1), 1)
    np.testing.assert_array_equal(network["conv1"].params["bias"][:, 0, 0], [4, -2, 0])
    into, loop = network.into("dense_rec3")
    np.testing.assert_array_equal(into.op.weight.toarray(), layers[3]["weight"])
    np.testing.assert_array_equal(loop.op.weight.toarray(), layers[3]["weight_rec"])
    registers = network["dense_rec3"].params
    np.testing.assert_array_equal(registers["v_decay"], np.arange(7) * 100)
    assert (set(registers["u_decay"]), set(registers["threshold"])) == ({1024}, {40})
    delayed = {p.delay: p.op.weight.toarray() for p in network.into("dense4")}
    assert sorted(delayed) == [0, 1, 3]
    for row, delay in enumerate([0, 3, 1, 3]):
        np.testing.assert_array_equal(delayed[delay][row], layers[4]["weight"][row])
    assert sum(d.sum() for d in delayed.values()) == layers[4]["weight"].sum(dtype=int)
    for projection in network.projections:
        values = projection.op.weight
        assert (values.data if sparse.issparse(values) else values).dtype == np.int16


def chain_of(path: Path) -> list[Tree]:
    """The layers as h5py reads them."""
    with h5py.File(path) as file:
        return [{k: v[()] for k, v in file[f"layer/{n}"].items() if k != "neuron"} for n in range(len(file["layer"]))]


def test_it_simulates_by_both_executors(path: Path) -> None:
    network, _ = load(path)
    data = Samples((np.random.default_rng(0).random((3, 30, 2, 6, 5)) < 0.3).astype(np.uint8))
    names = [p.name for p in network.layers]
    theirs = reference.simulate(network, data.spikes)
    ours = engine(network, data, rasters=names).rasters
    for name in names:
        np.testing.assert_array_equal(ours[name], theirs[name])
        assert 0.01 < ours[name].mean() < 0.99, name


def test_what_we_export_comes_back(path: Path, tmp_path: Path) -> None:
    layers = chain()
    layers[3] = {**layers[3], "type": np.array([b"dense"]), "neuron": NEURON}
    del layers[3]["weight_rec"], layers[4]["delay"]
    network, _ = load(write(path, layers))
    export(network, tmp_path / "again.net", 9)
    again, _ = load(tmp_path / "again.net")
    assert identical(again.projections, tuple(network.projections))
    for a, b in zip(network.populations, again.populations, strict=True):
        assert identical(a, b)


def test_a_network_whose_input_has_neurons(path: Path) -> None:
    """Values go into the membranes of the first layer, as netx wants it."""
    layers = [chain()[0] | {"neuron": NEURON, "weight": 100, "bias": -3}, *chain()[1:]]
    network, (note,) = load(write(path, layers))
    assert "weight 100 and bias -3, which netx leaves to the user" in note
    assert [p.name for p in network.populations][:2] == ["input", "input0"]
    np.testing.assert_array_equal(network.into("input0")[0].op.weight.toarray(), np.eye(60))


def test_a_dense_layer_without_neurons_integrates(path: Path) -> None:
    layers = chain()
    del layers[4]["neuron"]
    network, (note,) = load(write(path, layers))
    assert "layer 4 has no neurons: as netx does, it sums up what arrives" in note
    last = network["dense4"]
    assert last.neuron == "cuba_li_fixed"
    assert {k: int(v[0]) for k, v in last.params.items()} == {"u_decay": 0, "v_decay": 4096, "bias": 0}
    # The same with a threshold that no membrane reaches; of another layer, one that a rule of the chip will name.
    for k, threshold in ((1, 1 << 17), (4, 1 << 17), (4, (1 << 18) - 1)):
        layers = chain()
        layers[k]["neuron"] = NEURON | {"vThMant": threshold}
        population = load(write(path, layers))[0].populations[-1 if k == 4 else 1]
        assert population.neuron == ("cuba_li_fixed" if k == 4 else "cuba_fixed")


def pooled() -> list[Tree]:
    """A pooling of SLAYER in front of the convolution."""
    first, conv, *others = chain()
    pool = {
        "type": np.array([b"pool"]),
        "shape": np.array([2, 3, 2]),
        "weight": np.full((1, 1, 2, 3), 64),
        "delay": np.zeros(2),
        "neuron": NEURON,
        "kernelSize": np.array([2, 3]),
        "dilation": 1,
        "stride": np.array([2, 3]),
        "padding": np.array([0, 1]),
    }
    conv = conv | {"shape": np.array([3, 2, 1]), "padding": np.array([1, 0])}
    flatten, recurrent, last = others
    return [first, pool, conv, flatten, recurrent | {"weight": weight(7, 6)}, last]


def test_a_pooling_is_a_convolution_of_each_channel(path: Path) -> None:
    network, notes = load(write(path, pooled()))
    assert notes == ["layer 1 pools, which netx cannot; it is a convolution of each channel"]
    op = network.into("pool1")[0].op
    assert isinstance(op, Conv2d)
    assert (op.groups, op.stride, op.padding) == (2, (2, 3), (0, 1))
    np.testing.assert_array_equal(op.weight, np.full((2, 1, 2, 3), 64))
    layers = pooled()
    layers[1]["weight"] = np.full((2, 1, 2, 3), 64)
    with pytest.raises(InputError, match="one kernel for all channels"):
        load(write(path, layers))


def test_the_input_shape_may_be_given(path: Path) -> None:
    write(path, chain()[1:])
    with pytest.raises(InputError, match="does not state the shape of its input") as caught:
        load(path)
    assert "--shape CHANNELS,ROWS,COLUMNS" in caught.value.fix
    network, _ = load(path, shape=(2, 6, 5))
    expected, _ = load(write(path.with_name("whole.net"), chain()))
    assert identical(network["conv0"].params, expected["conv1"].params)


# --- what is refused -------------------------------------------------------------------------------


def put(layer: int, field: str, value: Any) -> Callable[[list[Tree]], None]:
    """Set a field, or one of its neuron's, or remove it."""

    def change(layers: list[Tree]) -> None:
        group, _, name = field.rpartition("/")
        target = layers[layer]
        if group:
            target[group] = dict(target[group])
            target = target[group]
        if value is None:
            del target[name]
        else:
            target[name] = value

    return change


REFUSED: list[tuple[Callable[[list[Tree]], None], str, str]] = [
    # Types that netx names but cannot run, or skips in silence.
    (put(2, "type", np.array([b"concat"])), "layer 2", "layers of type 'concat' do not run in netx"),
    (put(2, "type", np.array([b"average"])), "layer 2", "layers of type 'average' do not run in netx"),
    (put(2, "type", np.array([b"convT"])), "layer 2", "layers of type 'convT' do not run in netx"),
    (
        put(2, "type", np.array([b"attention"])),
        "layer 2",
        "unknown layer type 'attention', which netx skips in",
    ),
    (put(2, "type", 7), "layer 2", "a text 'type'"),
    # Neurons
    (put(1, "neuron/type", "SDNN"), "layer 1 (conv), field 'neuron/type'", "neurons of type 'SDNN' are not read"),
    (put(1, "neuron/gradedSpike", True), "field 'neuron/gradedSpike'", "graded spikes do not run in netx"),
    (put(1, "neuron/vThMant", 40.5), "field 'neuron/vThMant'", "holds 40.5, which netx would cut to 40"),
    (put(1, "neuron/vThMant", 1 << 18), "field 'neuron/vThMant'", "must lie within 0 and 262,143"),
    (put(1, "neuron/iDecay", -1), "field 'neuron/iDecay'", "must lie within 0 and 4,096"),
    (put(1, "neuron/iDecay", np.nan), "field 'neuron/iDecay'", "NaN"),
    (put(1, "neuron/iDecay", None), "field 'neuron/iDecay'", "is missing"),
    (put(3, "neuron/vDecay", np.arange(6)), "field 'neuron/vDecay'", "6 values for 7 neurons"),
    (put(1, "neuron/tauU", 3), "field 'neuron/tauU'", "a neuron has no field 'tauU'"),
    (put(1, "neuron", None), "layer 1 (conv), field 'neuron'", "is missing"),
    (put(1, "neuron", 3), "layer 1 (conv), field 'neuron'", "must be a group"),
    # Layers
    (put(1, "weight", np.full((3, 2, 3, 2), 0.5)), "field 'weight'", "holds 0.5, which netx would cut to 0"),
    (put(1, "weight", weight(3, 2, 3)), "field 'weight'", "must have 4 axes"),
    (put(1, "weight", weight(3, 3, 3, 2)), "layer 1", "3 channels"),
    (put(1, "weight", np.full((3, 2, 3, 2), 1 << 15)), "field 'weight'", "must lie within"),
    (put(1, "groups", 2), "field 'groups'", "2 groups do not divide 3"),
    (put(1, "delay", np.array([0, 1, 0])), "layer 1 (conv), field 'delay'", "netx ignores delays of a convolution"),
    (put(1, "type", np.array([b"pool"])), "layer 1", "a pool layer has no field"),
    (put(1, "stride", np.array([0, 1])), "field 'stride'", "must lie within 1"),
    (put(1, "stride", np.array([1, 1, 1])), "field 'stride'", "one or two integers"),
    (put(1, "stride", None), "field 'stride'", "is missing"),
    (put(1, "shape", np.array([3, 3, 5])), "field 'shape'", "the convolution gives (3, 3, 4)"),
    (put(1, "shape", np.array([1 << 12, 1 << 12, 1 << 12])), "field 'shape'", "more than 16,777,216 neurons"),
    (put(1, "bias", np.arange(5)), "field 'bias'", "has shape (5,), the layer (3, 3, 4)"),
    (put(1, "leak", 3), "field 'leak'", "a conv layer has no field 'leak'"),
    (put(3, "weight", weight(7, 35)), "field 'weight'", "35 inputs, but 'conv1' has 36"),
    (put(3, "weight", weight(6, 36)), "field 'weight'", "must have 7 rows"),
    (put(3, "weight_rec", weight(7, 6)), "field 'weight_rec'", "must have shape (7, 7)"),
    (put(3, "delay", np.zeros(7)), "field 'delay'", "computes a recurrent layer with delays wrongly"),
    (put(4, "delay", np.zeros(3)), "field 'delay'", "has shape (3,), the weights (4, 7)"),
    (put(4, "delay", np.array([0, 1, -1, 0])), "field 'delay'", "must lie within 0"),
    (put(4, "weight", {"real": weight(4, 7), "imag": weight(4, 7)}), "field 'weight'", "complex weights"),
    # The chain
    (lambda layers: layers.pop(2), "layer 2", "put a flatten layer before it|it follows the shape (3, 3, 4)"),
    (lambda layers: layers.insert(1, layers.pop(2)), "layer 2", "a convolution cannot follow a flatten"),
    (lambda layers: layers.insert(1, layers[0]), "layer 1", "an input layer must be the first"),
    (lambda layers: layers.clear(), "", "not numbered 0, 1, 2"),
]


@pytest.mark.parametrize(("change", "where", "says"), REFUSED, ids=[f"{w} {s}"[:60] for _, w, s in REFUSED])
def test_refused_with_layer_and_field(path: Path, change: Callable[[list[Tree]], None], where: str, says: str) -> None:
    layers = chain()
    change(layers)
    write(path, layers)
    with pytest.raises(InputError) as caught:
        load(path)
    assert any(part in caught.value.message for part in says.split("|"))
    assert str(path) in caught.value.where
    assert where in caught.value.where


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (put(1, "neuron/weight_exp", np.array([-2.0])), "exponent of the weights other than 0 is ignored"),
        (put(1, "neuron/refDelay", 2), "refractory delay other than 1 is ignored, as netx does"),
        (put(4, "delay", np.array([0, 90, 1, 2])), "reach 90 steps and are cut to 62, as netx does"),
        (put(4, "weight", np.full((4, 7), 300)), "netx clips or zeroes what is beyond"),
    ],
)
def test_what_netx_changes_is_noted(path: Path, change: Callable[[list[Tree]], None], says: str) -> None:
    layers = chain()
    change(layers)
    _, notes = load(write(path, layers))
    assert any(says in note for note in notes)


@pytest.mark.parametrize("reading", [{"semantics": "nir"}, {"reset": "zero"}, {"late_reset": True}])
def test_the_file_says_itself_how_neurons_behave(path: Path, reading: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="says itself how its neurons behave"):
        load(path, **reading)


# --- files of others -------------------------------------------------------------------------------


def test_the_network_of_another_project_equals_lava(shared: Path, lava: Path) -> None:
    """200 -> 256 -> 200, made for few spikes: each equal through netx and Lava's bit-accurate processes."""
    file = shared / "nir" / "A24_lava_dl_oxford_net.net"
    network, notes = load(file)
    assert notes == []
    assert [p.shape for p in network.populations] == [(200,), (256,), (200,)]
    with h5py.File(file) as original:
        dense = [layer for layer in original["layer"].values() if "weight" in layer]
        for population, layer in zip(network.layers, dense, strict=True):
            (projection,) = network.into(population.name)
            assert isinstance(projection.op, Linear)
            np.testing.assert_array_equal(projection.op.weight.toarray(), layer["weight"][()])
            for register, field in (("u_decay", "iDecay"), ("v_decay", "vDecay"), ("threshold", "vThMant")):
                assert set(population.params[register]) == {int(layer["neuron"][field][()])}
    data = Samples((np.random.default_rng(0).random((4, 40, 200)) < 0.005).astype(np.uint8))
    theirs = run(network, data, timeout=120)
    ours = engine(network, data, rasters=list(theirs)).rasters
    for name, raster in theirs.items():
        np.testing.assert_array_equal(ours[name], raster)
        assert 0.01 < raster.mean() < 0.99, name


STEPS = 16


def test_pilotnet_by_the_command(intel: Path, tmp_path: Path) -> None:
    folder = intel / "gts/pilotnet_lif"
    image = np.load(folder / "image.npy").T
    np.save(tmp_path / "frames.npy", np.broadcast_to(image, (1, STEPS, *image.shape)).copy())
    command = [sys.executable, "-m", "snnc", "simulate", str(folder / "network.net"), "--json"]
    done = subprocess.run(
        [*command, "--data", str(tmp_path / "frames.npy")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    layers = json.loads(done.stdout)["layers"]
    assert [layer["name"] for layer in layers] == [p.name for p in snnc.load(folder / "network.net").populations]
    first = np.load(folder / "input.npy")
    assert layers[1]["total"] == first[..., :STEPS].sum()


@pytest.mark.parametrize(
    ("file", "where", "says"),
    [
        ("ntidigits/ntidigits.net", "layer 5", "layers of type 'average' do not run in netx"),
        ("pilotnet_sdnn/network.net", "field 'neuron/type'", "neurons of type 'SDNN' are not read"),
    ],
)
def test_what_cuba_neurons_do_not_do_is_refused_by_layer(intel: Path, file: str, where: str, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        load(intel / "gts" / file)
    assert where in caught.value.where
