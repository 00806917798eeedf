"""A ``.net`` of SLAYER through the front door, the compiler and out again holds the same integers.

The files are read by h5py here, not by our reader, and compared array by array: weights, biases, decays, thresholds,
delays of present synapses, and the shape of a convolution. A pooling, which netx cannot run, comes out as the
convolution of each channel that it is. Neurons that the compiler removes, which can never spike or are read by none,
are missing in the file that comes out: what is left is compared in its place (``Compilation.places``).
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

import snnc
from snnc import families
from snnc.compilation import Compilation
from snnc.network import Network
from snnc.pipeline import compile_until
from snnc.samples import Samples
from snnc.simulator import simulate
from snnc.targets.lava import export

SCRIPT = Path(__file__).with_name("slayer_export.py")
NEVER = 1 << 17
INTEGRATES = {"iDecay": 0, "vDecay": 4096, "vThMant": NEVER}
"""What netx takes of a dense layer without neurons."""

Layer = dict[str, np.ndarray]

MADE = ("dense", "affine", "integrates", "delayed", "recurrent", "convolutional", "pooled", "dead")
"""Networks of slayer_export.py."""

OTHERS = ("tiny", "mnist", "pilotnet", "ntidigits", "oxford")
"""Networks that others have trained and exported."""


@pytest.fixture(scope="module")
def made(lava: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all networks of SLAYER, and what it makes of some spikes."""
    folder = tmp_path_factory.mktemp("slayer")
    tell = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = subprocess.run([lava, "-c", tell], check=True, capture_output=True, text=True).stdout.strip()
    done = subprocess.run([sys.executable, SCRIPT, packages, folder], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def layers(path: Path) -> Iterator[Layer]:
    """The layers with neurons, of one form whatever the file leaves out: int64; delays of absent synapses are 0."""
    with h5py.File(path) as file:
        groups = [file[f"layer/{k}"] for k in range(len(file["layer"]))]
        for group in groups:
            kind = group["type"][0].decode()
            if kind == "flatten" or (kind == "input" and "neuron" not in group):
                continue
            neuron = group.get("neuron", INTEGRATES)
            layer = {name: whole(neuron[name]) for name in INTEGRATES}
            layer["vThMant"] = np.minimum(layer["vThMant"], NEVER)
            if kind != "input":
                layer |= synapses(group, kind)
            yield layer


def synapses(group: h5py.Group, kind: str) -> Layer:
    shape = group["shape"][()]
    weight = whole(group["weight"])
    if kind in ("conv", "pool"):
        weight = weight.reshape(weight.shape[:4])
        if kind == "pool":
            weight = np.repeat(weight, shape[0], axis=0)
        groups = whole(group["groups"]) if kind == "conv" else shape[0]
        layer = {name: whole(group[name]) for name in ("stride", "padding", "dilation")} | {"groups": np.int64(groups)}
    else:
        weight = weight.reshape(np.prod(shape), -1)
        delay = whole(group["delay"]) if "delay" in group else np.zeros(1, np.int64)
        delay = np.minimum(delay.reshape(-1, 1) if delay.ndim == 1 else delay, 62)
        layer = {"delay": delay * (weight != 0)}
        if "weight_rec" in group:
            layer["weight_rec"] = whole(group["weight_rec"])
    bias = whole(group["bias"]) if "bias" in group else np.zeros(len(weight), np.int64)
    return layer | {"weight": weight, "bias": np.broadcast_to(bias, len(weight))}


def whole(values: h5py.Dataset | int) -> np.ndarray:
    found = values if isinstance(values, int) else values[()]
    assert np.array_equal(found, np.rint(found))
    return np.asarray(found, np.int64)


def kept(c: Compilation, name: str, *, channels: bool) -> np.ndarray:
    """Which neurons of a layer are left, or which of its channels."""
    places = c.places(name)
    return np.unique(places // np.prod(c.source[name].shape[1:], dtype=int)) if channels else places


def cut(layer: Layer, c: Compilation, name: str, before: str) -> Layer:
    """What a layer of the file must be like now that neurons are missing in it, and in the one before it."""
    if "weight" not in layer:
        return layer
    image = layer["weight"].ndim == 4
    rows = kept(c, name, channels=image)
    found = dict(layer, bias=layer["bias"][rows])
    if image:
        assert len(rows) == len(layer["weight"])  # of a convolution nothing is dead here
        return found
    columns = kept(c, before, channels=False)
    found["weight"], found["delay"] = (layer[key][np.ix_(rows, columns)] for key in ("weight", "delay"))
    if "weight_rec" in layer:
        found["weight_rec"] = layer["weight_rec"][np.ix_(rows, rows)]
    return found


def through(path: Path, target: str, last: str, folder: Path) -> Compilation:
    """The file compiled up to a pass, and written again; every integer compared."""
    network = snnc.load(path)
    state, _ = compile_until(last, network, families.load(target))
    out = folder / f"{target}.net"
    export(state.network, out, 9)
    names = [p.name for p in network.populations]
    assert [p.name for p in state.network.populations] == names
    before, after = list(layers(path)), list(layers(out))
    assert len(before) == len(after) == len(names) - 1
    for k, (layer, again) in enumerate(zip(before, after, strict=True)):
        expected = cut(layer, state, names[k + 1], names[k])
        assert expected.keys() == again.keys()
        for key, value in expected.items():
            np.testing.assert_array_equal(again[key], value, err_msg=f"{names[k + 1]}: {key}")
    return state


@pytest.mark.parametrize("target", ["loihi2", "loihi"])
@pytest.mark.parametrize("name", MADE)
def test_a_network_of_slayer(name: str, target: str, made: Path, tmp_path: Path) -> None:
    state = through(made / f"{name}.net", target, "verify", tmp_path)
    assert {layer for layer in state.kept if len(state.kept[layer])} == (
        {"dense1", "dense2"} if name == "dead" else set()
    )


@pytest.mark.parametrize("target", ["loihi2", "loihi"])
@pytest.mark.parametrize("name", OTHERS)
def test_a_network_of_others(
    name: str, target: str, intel: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Through all passes that change a network; what comes after them places it. mnist.net has eight dead neurons."""
    path = tmp_path / "network.net"
    if name == "oxford":
        path = request.getfixturevalue("shared") / "nir/A24_lava_dl_oxford_net.net"
    else:
        nets = {"pilotnet": "gts/pilotnet_lif/network", "ntidigits": "gts/ntidigits/ntidigits"}
        path.write_bytes((intel / f"{nets.get(name, name)}.net").read_bytes())
    if name == "ntidigits":
        with h5py.File(path, "r+") as file:  # averages, which netx cannot
            del file["layer/5"]
    state = through(path, target, "retrim", tmp_path)
    assert {layer: len(places) for layer, places in state.kept.items()} == ({"dense2": 504} if name == "mnist" else {})


@pytest.mark.parametrize("name", MADE)
def test_what_is_read_spikes_as_slayer_does(name: str, made: Path) -> None:
    """Every spike of its last block; of an affine one the membranes, in units of 2^-12.

    In SLAYER as on the chip a block answers a step later than the one before it, and its bias acts before that. A
    block without neurons gives a current, of which netx makes the sum.
    """
    network = snnc.load(made / f"{name}.net")
    data, last = np.load(made / f"{name}.npz"), network.layers[-1]
    # Neurons of the input get values, 1 of SLAYER is 64 here.
    values = data["spikes"] * (64 if "input0" in network.rank else 1)
    shaped = values.reshape(*values.shape[:2], *network.populations[0].shape)
    steps = len(network.layers) - 1
    ours = simulate(pipelined(network), Samples(shaped.astype(np.int32)), rasters=[last.name]).rasters[last.name]
    shift = int(data["late"]) - steps
    ours, theirs = ours[:, : ours.shape[1] - shift], data["out"][:, shift:]
    if name == "integrates":
        theirs = np.cumsum(theirs, axis=1)
    if last.neuron == "cuba_li_fixed":
        theirs = theirs * 4096
    assert ours.any()
    np.testing.assert_array_equal(ours, theirs)


def pipelined(network: Network) -> Network:
    """The same, whose layers show their spikes to the next one step later."""
    forward = {p.name for p in network.projections if network[p.pre].neuron != "input" and not network.backward(p)}
    late = (replace(p, delay=p.delay + 1) if p.name in forward else p for p in network.projections)
    return replace(network, projections=tuple(late))
