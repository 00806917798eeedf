"""Every spike and register that Intel recorded to hold Lava and Loihi 2 against, by our engine, bit for bit.

The vectors are in the wheel of lava-dl (``tests/lava/lib/dl/netx/gts``); Intel's own tests compare single layers, steps
or columns of them, those of PilotNet-LIF (158,509 neurons) on Loihi 2. Here all that is in the files is compared.

They are in chip time: layer k, counted from 0, shows a sample k steps late. Before that it has no input from the
sample, but its bias is there and what its bias made the layers before it fire; this lead-in is a run of the same
network with a delay of one step in each layer (:func:`pipelined`). Two things of the recordings need saying:

- **128**: the v register of a neuron that has just spiked reads 128 there, where Lava and snnc have 0; the next step
  goes on as from 0. It is *modelled*, in the expected values (:func:`registers`), not masked: no value is left out.
- **The phase of the reset**: PilotNet was recorded with a reset every 17 steps, layer k for the first time at step k;
  but for its last layer, fc-3, which is of another recording: a reset every 16 steps, each layer a step earlier. The
  first sample is then a step short: the first layer had no input before the recording began.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy import sparse

import snnc
from snnc.network import Network, Population, Projection
from snnc.ops import Linear
from snnc.samples import Samples
from snnc.simulator import reference, simulate
from snnc.simulator.traces import Trace
from snnc.targets.lava.session import run

LAYERS = ("input", "conv-0", "conv-1", "conv-2", "conv-3", "conv-4", "fc-0", "fc-1", "fc-2", "fc-3")
"""Of PilotNet, as the files are named; the last is a read-out."""

STEPS = 24
"""Of the recordings of PilotNet. Of fc-3 there is one more."""

AFTER_SPIKE = 128
"""What a v register reads after a spike."""

Traces = dict[Trace, np.ndarray]


def golden(path: Path) -> np.ndarray:
    """A recording as snnc lays it out: (steps, *shape), of images (steps, channels, rows, columns); integers."""
    recorded = np.load(path)
    assert np.array_equal(recorded, np.rint(recorded))
    return recorded.astype(np.int64).T


def pipelined(network: Network) -> Network:
    """The same, whose layers show their spikes to the next one step later, as on the chip."""
    late = (replace(p, delay=int(network[p.pre].neuron != "input")) for p in network.projections)
    return replace(network, projections=tuple(late))


def registers(found: Traces, layer: str, kind: str) -> np.ndarray:
    """A trace of the one sample, with v as it reads on the chip."""
    values = found[kind, layer][0].astype(np.int64)
    return np.where(found["spikes", layer][0], AFTER_SPIKE, values) if kind == "v" else values


@pytest.fixture(scope="module")
def pilotnet(intel: Path) -> tuple[Network, np.ndarray]:
    """The network, and its image, (channels, rows, columns)."""
    return snnc.load(intel / "gts/pilotnet_lif/network.net"), np.load(intel / "gts/pilotnet_lif/image.npy").T


def frames(image: np.ndarray, steps: int) -> Samples:
    return Samples(np.broadcast_to(image, (1, steps, *image.shape)).astype(np.int32))


@pytest.fixture(scope="module")
def found(pilotnet: tuple[Network, np.ndarray]) -> tuple[Traces, Traces]:
    """All that the layers with spikes do: from the first step of a sample on, reset as recorded; and before it."""
    network, image = pilotnet
    traces = [(kind, p.name) for p in network.layers[:-1] for kind in ("spikes", "u", "v")]
    whole = simulate(network, frames(image, STEPS), traces=traces, reset_every=17)
    lead = simulate(pipelined(network), frames(image, len(LAYERS)), traces=traces)
    return whole.traces, lead.traces


@pytest.mark.parametrize("k", range(9), ids=LAYERS[:9])
def test_pilotnet(k: int, intel: Path, pilotnet: tuple[Network, np.ndarray], found: tuple[Traces, Traces]) -> None:
    """All 24 steps: the lead-in of k steps, one sample of 17, and what there is of the next."""
    whole, lead = found
    layer, name = pilotnet[0].layers[k], LAYERS[k]
    # Of the first layer Intel kept the spikes alone.
    for kind, file in (("spikes", name), ("u", f"{name}-u"), ("v", f"{name}-v"))[: 3 if k else 1]:
        recorded = golden(intel / f"gts/pilotnet_lif/{file}.npy")
        ours = np.concatenate([registers(t, layer.name, kind) for t in (lead, whole)])
        ours = np.concatenate([ours[:k], ours[len(LAYERS) : len(LAYERS) + STEPS - k]])
        np.testing.assert_array_equal(ours.reshape(recorded.shape), recorded, err_msg=f"{name} {kind}")
    # Of 10 neurons fc-2 has the fewest.
    assert whole["spikes", layer.name].sum() >= 4


def test_pilotnet_spikes_alike_by_the_reference(pilotnet: tuple[Network, np.ndarray]) -> None:
    network, image = pilotnet
    data = frames(image, 16)
    names = [p.name for p in network.layers]
    ours = simulate(network, data, rasters=names).rasters
    exact = reference.simulate(network, data.spikes)
    for name in names:
        np.testing.assert_array_equal(ours[name], exact[name], err_msg=name)


def test_pilotnet_read_out(intel: Path, pilotnet: tuple[Network, np.ndarray]) -> None:
    """fc-3: 8 steps of lead-in, a sample of 16 whose first step has no input, and the first step of the next."""
    network, image = pilotnet
    last = network.layers[-1].name
    values = np.concatenate([0 * frames(image, 1).spikes, frames(image, 16).spikes], axis=1)
    traces = [("u", last), ("v", last)]
    whole = simulate(network, Samples(values), traces=traces, reset_every=16).traces
    lead = simulate(pipelined(network), frames(image, 8), traces=traces).traces
    for kind, name in traces:
        ours = np.concatenate([lead[kind, name][0], whole[kind, name][0]])
        recorded = golden(intel / f"gts/pilotnet_lif/fc-3-{kind}.npy")
        np.testing.assert_array_equal(ours.reshape(recorded.shape), recorded)
        assert len(np.unique(recorded)) >= 4
    assert not golden(intel / "gts/pilotnet_lif/fc-3-s.npy").any()


def test_tinynet(intel: Path) -> None:
    """Values into a first layer, two convolutions; recorded from one step before the sample, in which nothing is."""
    network = snnc.load(intel / "tiny.net")
    steps, first = 15, golden(intel / "gts/tinynet/input_bias.npy")
    names = [p.name for p in network.layers]
    assert len(names) == 3
    result = simulate(network, frames(first, steps), rasters=names, traces=[("u", names[1])])
    expected = [*(result.rasters[name] for name in names), result.traces["u", names[1]] >> 6]
    for file, ours in zip(("input", "layer1", "output", "current"), expected, strict=True):
        recorded = np.load(intel / f"gts/tinynet/{file}.npy")[0]
        recorded = np.moveaxis(recorded, -1, 0)
        assert recorded.shape[0] == steps + 1
        assert not recorded[0].any()
        np.testing.assert_array_equal(ours[0], recorded[1:], err_msg=file)
        assert recorded.any()
    assert not np.any(result.traces["u", names[1]] & 63)


def test_dense(intel: Path) -> None:
    """One layer of 256 neurons on 200 inputs, 2000 steps; one step later, as a layer of Lava answers."""
    weight = np.load(intel / "gts/dense/weight.npy").astype(np.int16)
    # The registers are those of Intel's test: du 4095, dv 415, vth 6.
    registers = {"u_decay": 4096, "v_decay": 415, "threshold": 6, "bias": 0}
    neurons = Population("l1", (256,), "cuba_fixed", {k: np.full(256, v, np.int32) for k, v in registers.items()})
    synapses = Projection("p1", "in", "l1", (Linear(sparse.csr_array(weight)),))
    network = Network((Population("in", (200,), "input"), neurons), (synapses,), ("l1",), 1e-3, "dense")
    data = Samples(golden(intel / "gts/dense/in.npy")[None].astype(np.uint8))
    result = simulate(network, data, rasters=["l1"], traces=[("u", "l1")])
    for file, ours in (("out", result.rasters["l1"]), ("current", result.traces["u", "l1"] / 64)):
        recorded = golden(intel / f"gts/dense/{file}.npy")
        assert not recorded[0].any()
        np.testing.assert_array_equal(ours[0, :-1], recorded[1:], err_msg=file)
    assert result.rasters["l1"].sum() > 1000


def test_ntidigits(intel: Path, tmp_path: Path) -> None:
    """Spoken digits, 3000 steps, a delay for each neuron of two layers; recorded four steps after model time.

    The last layer of the file averages, which netx cannot either; the spikes are those of the layer before it.
    """
    path = tmp_path / "ntidigits.net"
    path.write_bytes((intel / "gts/ntidigits/ntidigits.net").read_bytes())
    with h5py.File(path, "r+") as file:
        assert file["layer/5/type"][0] == b"average"
        del file["layer/5"]
    network = snnc.load(path)
    assert len({p.delay for p in network.projections}) > 30
    data = golden(intel / "gts/ntidigits/input.npy")
    last = network.layers[-1].name
    shaped = data.reshape(1, len(data), *network.populations[0].shape).astype(np.uint8)
    ours = simulate(network, Samples(shaped), rasters=[last]).rasters[last][0]
    recorded = golden(intel / "gts/ntidigits/output.npy")
    assert not recorded[:4].any()
    np.testing.assert_array_equal(ours[:-4], recorded[4:])
    assert recorded.sum() > 20_000


def test_oxford(intel: Path, shared: Path, lava: Path) -> None:
    """200 -> 256 -> 200. The wheel has no spikes of it: each layer against Lava, in the 2000 steps that `dense` has."""
    network = snnc.load(shared / "nir/A24_lava_dl_oxford_net.net")
    data = Samples(golden(intel / "gts/dense/in.npy")[None].astype(np.uint8))
    theirs = run(network, data, timeout=300)
    ours = simulate(network, data, rasters=list(theirs)).rasters
    for name, raster in theirs.items():
        np.testing.assert_array_equal(ours[name], raster, err_msg=name)
        assert raster.sum() > 1000, name
