"""Files go both ways: frameworks run what snnc writes, and snnc reads what they write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest
import torch
from frameworks import CASES, FRAMEWORKS, SNNTORCH_DT
from peers import (
    DEPRECATED,
    DT,
    assert_agree,
    dense,
    doubled,
    linear,
    peer,
    recorder,
    spikes,
    stateless,
    stepped,
    stored,
)
from spyx_on_numpy import spyx
from torch import nn

import snnc
from snnc.frontends.nir import read, write
from snnc.frontends.notes import Notes
from snnc.frontends.reading import Reading
from snnc.network import Network, identical
from snnc.simulator.floating import simulate

pytestmark = pytest.mark.filterwarnings(DEPRECATED)


# Files of snnc


def pruned(built: nir.NIRGraph) -> nir.NIRGraph:
    rng = np.random.default_rng(1)
    for node in built.nodes.values():
        if hasattr(node, "weight"):
            node.weight = (2 * node.weight * (rng.random(node.weight.shape) < 0.4)).astype(np.float32)
    return built


@pytest.mark.parametrize(("name", "kind", "recurrent"), CASES)
def test_frameworks_run_what_snnc_writes(tmp_path: Path, name: str, kind: str, recurrent: bool) -> None:
    """Sparse networks with all their metadata, which say themselves what they mean."""
    framework, x = FRAMEWORKS[name], spikes(3)
    built = framework.graph(np.random.default_rng(3), kind, recurrent=recurrent)
    network = read(stored(tmp_path, pruned(built)), framework.reading)
    write(network, tmp_path / "ours.nir")
    again = read(tmp_path / "ours.nir", Reading(strict=True))
    assert identical(again, network)
    assert_agree(framework.run(tmp_path / "ours.nir", x), again, x)


def test_a_file_of_snnc_in_the_eyes_of_nir(tmp_path: Path) -> None:
    built = pruned(FRAMEWORKS["norse"].graph(np.random.default_rng(0), "lif", recurrent=True))
    path = stored(tmp_path, built)
    write(read(path, FRAMEWORKS["norse"].reading), tmp_path / "ours.nir")
    theirs = nir.read(tmp_path / "ours.nir")  # with its check of types
    assert set(theirs.nodes) == set(built.nodes)
    assert set(theirs.edges) == set(built.edges)
    assert theirs.metadata["snnc"]["dt"] == DT
    assert theirs.nodes["lif1"].metadata["snnc"]["reset"] == "zero"
    for name in ("fc1", "fc2", "fc3", "rec"):
        node, given = theirs.nodes[name], built.nodes[name].weight
        assert np.array_equal(node.weight, given)
        mask = np.unpackbits(node.metadata["snnc"]["mask"], count=given.size).reshape(given.shape)
        assert np.array_equal(mask, given != 0)
    with h5py.File(tmp_path / "ours.nir") as file:
        assert file["node/nodes/fc1/weight"].compression == "gzip"


@pytest.mark.parametrize("name", ["norse", "spikingjelly", "snntorch", "nirtorch"])
def test_weights_outside_the_mask_stay_zero(tmp_path: Path, name: str) -> None:
    kind = "lif" if name == "nirtorch" else next(iter(FRAMEWORKS[name].neurons))
    framework = FRAMEWORKS.get(name, FRAMEWORKS["norse"])
    built = pruned(framework.graph(np.random.default_rng(0), kind))
    write(read(stored(tmp_path, built), framework.reading), path := tmp_path / "ours.nir")
    if name == "norse":
        model = peer("norse.torch").from_nir(nir.read(path), dt=DT)
    elif name == "spikingjelly":
        model = peer("spikingjelly.activation_based.nir_exchange").import_from_nir(path, dt=DT)
    elif name == "snntorch":
        model = peer("snntorch.import_nir").import_from_nir(nir.read(path))
    else:
        model = peer("nirtorch").nir_to_torch(str(path), {nir.LIF: lambda node: nn.Identity()})
    for layer in ("fc1", "fc2", "fc3"):
        weight = model.get_submodule(layer).weight.detach().numpy()
        assert np.array_equal(weight, built.nodes[layer].weight)
        assert 0.5 < np.mean(weight == 0) < 0.7


# Files of snntorch


def perceptron(kind: str, reset: str, delay: bool, *, bias: bool = True) -> Any:
    """snntorch's export wants parameters of the shape of the layer.

    It computes time constants in float32, so that decays come back 1e-8 off. No spike here hangs on that.
    """
    import snntorch as snn

    rng = np.random.default_rng(0)
    layers: list[nn.Module] = []
    for into, out in ((12, 16), (16, 10)):
        how: dict[str, Any] = {"reset_mechanism": reset, "reset_delay": delay, "init_hidden": True}
        how |= {"beta": torch.linspace(0.5, 0.95, out), "threshold": torch.full((out,), 0.75)}
        layers.append(linear(dense(rng, out, into, bias=bias)))
        if kind == "leaky":
            layers.append(snn.Leaky(**how))
        elif kind == "synaptic":
            layers.append(snn.Synaptic(alpha=torch.linspace(0.2, 0.6, out), **how))
        else:
            layers.append(snn.RLeaky(linear_features=out, **how))
            layers[-1].recurrent = linear(dense(rng, out, out, bias=True, scale=0.5))
    return nn.Sequential(*layers)


def exported(module: nn.Module) -> nir.NIRGraph:
    return peer("snntorch.export_nir").export_to_nir(module, torch.zeros(1, 12), ignore_dims=[0])


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("kind", ["leaky", "synaptic", "rleaky"])
def test_the_export_of_snntorch_and_the_module_itself(tmp_path: Path, kind: str, bias: bool) -> None:
    """Where the reset is that of the profile, the file means what the module does."""
    module = perceptron(kind, "subtract", False, bias=bias)
    direct = snnc.load(module, torch.zeros(1, 12), dt=SNNTORCH_DT)
    path = stored(tmp_path, exported(module))
    filed = read(path, Reading(semantics="snntorch", dt=SNNTORCH_DT))
    assert same_weights(filed, direct)
    x = spikes(0)
    ours, theirs = simulate(filed, x), simulate(direct, x)
    for a, b in zip(filed.layers, direct.layers, strict=True):
        assert a.semantics == b.semantics
        assert 0.01 < ours[a.name].mean() < 0.95
        assert np.array_equal(ours[a.name], theirs[b.name])


def same_weights(a: Network, b: Network) -> bool:
    def weights(network: Network) -> list[tuple[np.ndarray, np.ndarray | None]]:
        order = sorted(network.projections, key=lambda p: (network.rank[p.post], network.rank[p.pre]))
        return [(p.op.weight.toarray(), p.op.bias) for p in order]

    pairs = list(zip(weights(a), weights(b), strict=True))
    return all(np.array_equal(p[0], q[0]) and (p[1] is q[1] is None or np.array_equal(p[1], q[1])) for p, q in pairs)


RESETS = [("subtract", False), ("subtract", True), ("zero", False), ("zero", True), ("none", True)]


@pytest.mark.parametrize("kind", ["leaky", "synaptic", "rleaky"])
def test_the_export_of_snntorch_loses_how_neurons_reset(kind: str) -> None:
    """Five modules that behave differently, one graph; snnc.load keeps the difference."""
    graphs = [_contents(exported(perceptron(kind, *how))) for how in RESETS]
    for other in graphs[1:]:
        assert list(other) == list(graphs[0])
        for name, value in other.items():
            assert np.array_equal(value, graphs[0][name]), name
    assert all(np.all(value == 0) for name, value in graphs[0].items() if name.endswith("v_reset"))
    kept = [snnc.load(perceptron(kind, *how), torch.zeros(1, 12)).layers[0].semantics for how in RESETS]
    # Leaky resets to zero at once whatever reset_delay is.
    assert len(set(kept)) == (4 if kind == "leaky" else 5)


def _contents(built: nir.NIRGraph, prefix: str = "") -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for name, node in sorted(built.nodes.items()):
        if isinstance(node, nir.NIRGraph):
            found |= _contents(node, f"{prefix}{name}/")
            continue
        fields = {k: v for k, v in vars(node).items() if isinstance(v, np.ndarray)}
        found |= {f"{prefix}{name}.{field}": value for field, value in fields.items()}
    return found


@pytest.mark.parametrize("kind", ["leaky", "synaptic", "rleaky"])
@pytest.mark.parametrize(("reset", "delay"), RESETS[:4])
def test_what_the_export_lost_can_be_said(tmp_path: Path, kind: str, reset: str, delay: bool) -> None:
    module = perceptron(kind, reset, delay)
    path = stored(tmp_path, exported(module))
    network = read(path, Reading(semantics="snntorch", reset=reset, late_reset=delay, dt=SNNTORCH_DT))
    x = spikes(0)
    for layer in (module[1], module[3]):
        layer.reset_mem()
    found = stepped(stateless(module), module, x, ("1", "3"))
    names = [p.name for p in network.layers]
    assert_agree(dict(zip(names, found.values(), strict=True)), network, x)


# Files of the others


def test_the_export_of_norse(tmp_path: Path) -> None:
    """It multiplies time constants by the step: read with the square of the step, the file is right."""
    norse = peer("norse.torch")
    rng = np.random.default_rng(0)
    lif = norse.LIFBoxParameters(
        tau_mem_inv=torch.full((8,), 0.25 / DT), v_th=torch.full((8,), 0.25), v_leak=torch.full((8,), 0.125)
    )
    first, last = (linear(dense(rng, out, into, bias=True)) for into, out in ((12, 8), (8, 5)))
    iaf = norse.IAFCell(norse.IAFParameters(v_th=torch.ones(5)), dt=DT)
    model = norse.SequentialState(first, norse.LIFBoxCell(lif, dt=DT), last, iaf)
    built = norse.to_nir(model, torch.zeros(1, 12), dt=DT)
    np.testing.assert_allclose(built.nodes["1"].tau, 4 * DT * DT)
    path, notes, x = stored(tmp_path, built), Notes("norse"), spikes(0)
    network = read(path, Reading(semantics="norse", dt=DT**2), notes)
    assert any("batch axis" in entry["text"] for entry in notes.entries)
    assert_agree(stepped(model, model, x, ("1", "3")), network, x)
    notes = Notes("norse")
    read(path, Reading(semantics="norse", dt=DT), notes)
    assert any("norse's exporter multiplies" in entry["text"] for entry in notes.entries)


def test_the_export_of_sinabs(tmp_path: Path) -> None:
    """LIF with its default, which weighs the input; IAF with the minimum that its own import takes."""
    layers = peer("sinabs.layers")
    rng = np.random.default_rng(0)
    lif = layers.LIFSqueeze(tau_mem=torch.full((8,), 5.0), spike_threshold=torch.full((8,), 0.5), batch_size=3)
    iaf = layers.IAFSqueeze(spike_threshold=torch.tensor(1.0), min_v_mem=-1.0, batch_size=3)
    first, last = (linear(dense(rng, out, into, bias=True)) for into, out in ((12, 8), (8, 5)))
    model = nn.Sequential(first, lif, last, iaf)
    built = peer("sinabs.nir").to_nir(model, torch.zeros(3, 12))
    assert np.all(np.asarray(built.nodes["1"].r) == 1)
    for layer in (lif, iaf):
        layer.reset_states()
    network, x = read(stored(tmp_path, built), Reading(semantics="sinabs")), spikes(0)
    found = recorder(doubled(model), ("1", "3"))
    with torch.no_grad():
        model(torch.from_numpy(x.astype(np.float64)).flatten(0, 1))
    theirs = {name: record.reshape(*x.shape[:2], -1) for name, (record,) in found.items()}
    assert_agree(theirs, network, x)


def test_the_export_of_spikingjelly(tmp_path: Path) -> None:
    neuron = peer("spikingjelly.activation_based.neuron")
    rng = np.random.default_rng(0)
    lif, integrator = neuron.LIFNode(4.0, v_threshold=0.25, v_reset=-0.125), neuron.IFNode(0.75, v_reset=0.25)
    first, last = linear(dense(rng, 8, 12, bias=True)), linear(dense(rng, 5, 8, bias=False))
    model = nn.Sequential(first, lif, last, integrator)
    built = peer("spikingjelly.activation_based.nir_exchange").export_to_nir(model, torch.zeros(3, 12), dt=DT)
    peer("spikingjelly.activation_based.functional").reset_net(model)
    network, x = read(stored(tmp_path, built), Reading(semantics="spikingjelly", dt=DT)), spikes(0)
    found = stepped(stateless(model), model, x, ("1", "3"))
    assert_agree({f"_{name}": record for name, record in found.items()}, network, x)


@pytest.mark.parametrize("kind", ["LIF", "CuBaLIF", "IF"])
def test_the_export_of_spyx(tmp_path: Path, kind: str) -> None:
    """It writes beta into r, which its neurons do not have and its import ignores: their gain is 1."""
    framework = spyx()
    layers, rng = [], np.random.default_rng(0)
    for into, out in ((12, 8), (8, 5)):
        layers.append(framework.nnx.Linear(into, out, rngs=None))
        layers[-1].kernel[...] = rng.normal(0.1, 0.5, (into, out)).astype(np.float32)
        decays = {"LIF": {"beta": 0.75}, "CuBaLIF": {"alpha": 0.5, "beta": 0.75}, "IF": {}}[kind]
        layers.append(getattr(framework, kind)((out,), **decays, rngs=framework.nnx.Rngs(0)))
    model = framework.Sequential(*layers)
    ends = {"input": np.array([12])}, {"output": np.array([5])}
    built = framework.to_nir(model, *ends, dt=DT)
    for node in built.nodes.values():
        if isinstance(node, nir.LIF | nir.CubaLIF):
            assert np.all(node.r == 0.75)
        if isinstance(node, nir.CubaLIF):
            assert np.all(node.w_in == 1)
    path, x = stored(tmp_path, built), spikes(0)
    state, found = model.initial_state(len(x)), {"layer_1": [], "layer_3": []}
    for t in range(x.shape[1]):
        hidden, state[1] = layers[1](layers[0](x[:, t].astype(float)), state[1])
        last, state[3] = layers[3](layers[2](hidden), state[3])
        found["layer_1"].append(hidden)
        found["layer_3"].append(last)
    theirs = {name: np.stack(record, axis=1) for name, record in found.items()}
    assert_agree(theirs, read(path, Reading(semantics="spyx", dt=DT)), x)
