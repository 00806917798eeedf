"""What frameworks do besides what a NIR file says: facts that the profiles and the other tests here rely on.

A test that fails here tells that a framework has changed; then its profile, or what is said of it, has to.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nir
import numpy as np
import pytest
import torch
from frameworks import FRAMEWORKS, SNNTORCH_DT, if_, snntorch_lif
from peers import DEPRECATED, DT, LAYERS, dense, graph, peer, spikes, stored
from spyx_on_numpy import spyx
from torch import nn

from snnc.frontends.nir import read
from snnc.simulator.floating import simulate

pytestmark = pytest.mark.filterwarnings(DEPRECATED)


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "r": lambda r: 2 * r,
    "w_in": lambda w_in: 2 * w_in,
    "v_reset": lambda v: v - 0.25,
    "v_leak": lambda v: v + 0.25,
}


def changed(built: nir.NIRGraph, field: str) -> nir.NIRGraph:
    """The graph with a field changed wherever a node has it."""
    for node in built.nodes.values():
        if hasattr(node, field):
            setattr(node, field, CHANGES[field](getattr(node, field)))
    return built


# (framework, neurons, field)
IGNORED = [
    ("norse", "lif", "r"),
    ("norse", "lif", "v_reset"),
    ("norse", "if", "r"),
    ("norse", "if", "v_reset"),
    ("norse", "cuba", "v_reset"),
    ("sinabs", "lif", "r"),
    ("sinabs", "lif", "v_reset"),
    ("sinabs", "if", "r"),
    ("sinabs", "if", "v_reset"),
    ("spyx", "lif", "r"),
    ("spyx", "lif", "v_leak"),
    ("spyx", "lif", "v_reset"),
    ("spyx", "if", "r"),
    ("spyx", "cuba", "r"),
    ("spyx", "cuba", "w_in"),
]


@pytest.mark.parametrize(("name", "kind", "field"), IGNORED)
def test_a_field_that_a_framework_ignores(tmp_path: Path, name: str, kind: str, field: str) -> None:
    """snnc follows the file instead, unless the field has no part in what the profile says; or, of spyx, is what its
    own exporter fills with something else."""
    framework, x = FRAMEWORKS[name], spikes(0)
    paths = []
    for folder in (tmp_path / "as it was", tmp_path / "changed"):
        folder.mkdir()
        built = framework.graph(np.random.default_rng(0), kind)
        paths.append(stored(folder, changed(built, field) if folder.name == "changed" else built))
    theirs = [framework.run(path, x) for path in paths]
    ours = [simulate(read(path, framework.reading), x) for path in paths]
    for layer in LAYERS:
        assert np.array_equal(theirs[0][layer], theirs[1][layer])
    subtracts = read(paths[0], framework.reading).layers[0].semantics.reset == "subtract"
    followed = any(np.any(ours[0][layer] != ours[1][layer]) for layer in LAYERS)
    without_part = (field == "v_reset" and subtracts) or (name == "spyx" and field in ("r", "w_in"))
    assert followed != without_part


# norse


def test_norse_lets_the_current_of_cuba_leak_to_the_leak_potential(tmp_path: Path) -> None:
    built = FRAMEWORKS["norse"].graph(np.random.default_rng(0), "cuba")
    path = stored(tmp_path, changed(built, "v_leak"))
    model = peer("norse.torch").from_nir(nir.read(path), dt=DT)
    assert torch.all(model.lif1.synapse.p.v_leak == 0.25)


def test_norse_starts_at_the_leak_potential() -> None:
    norse = peer("norse.torch")
    cell = norse.LIFBoxCell(norse.LIFBoxParameters(v_leak=torch.tensor([0.25])))
    assert cell.initial_state(torch.zeros(1)).v == 0.25


# sinabs


def test_sinabs_loses_linear_nodes(tmp_path: Path) -> None:
    """It knows Affine only; what is before the gap and what is behind are then two networks."""
    built = graph(np.random.default_rng(0), if_, plain=("fc2",))
    model = peer("sinabs.nir").from_nir(nir.read(stored(tmp_path, built)), batch_size=3)
    assert "fc2" not in dict(model.named_children())
    assert not {"lif1", "lif2"} <= {node.name for node in model.execution_order}


def test_sinabs_imports_neurons_other_than_those_it_makes() -> None:
    """By default IAF has no minimum, and LIF weighs its input by 1 - exp(-1/tau)."""
    layers = peer("sinabs.layers")
    for kind, floor, normed in (("lif", False, False), ("if", True, False)):
        built = FRAMEWORKS["sinabs"].graph(np.random.default_rng(0), kind)
        neurons = peer("sinabs.nir").from_nir(built, batch_size=3).lif1
        assert (neurons.min_v_mem is not None, neurons.norm_input) == (floor, normed)
    assert layers.LIF(tau_mem=5.0).norm_input
    assert layers.IAF().min_v_mem is None


# spikingjelly


@pytest.mark.parametrize(
    ("kind", "field", "message"),
    [
        ("if", "r", "nir.IF.r must equal 1 / dt"),
        ("lif", "r", "nir.LIF.r must equal 1 or tau / dt"),
        ("lif", "v_leak", "nir.LIF.v_leak must equal v_reset"),
        ("cuba", "w_in", "nir.CubaLIF.w_in must equal tau_syn / dt"),
    ],
)
def test_spikingjelly_refuses_what_it_cannot_do(kind: str, field: str, message: str) -> None:
    exchange = peer("spikingjelly.activation_based.nir_exchange")
    built = FRAMEWORKS["spikingjelly"].graph(np.random.default_rng(0), kind)
    with pytest.raises(ValueError, match=message):
        exchange.import_from_nir(changed(built, field), dt=DT)


def test_spikingjelly_refuses_to_export_a_soft_reset() -> None:
    exchange = peer("spikingjelly.activation_based.nir_exchange")
    neuron = peer("spikingjelly.activation_based.neuron")
    with pytest.raises(NotImplementedError, match="NIR does not distinguish soft reset"):
        exchange.export_to_nir(nn.Sequential(nn.Linear(3, 2), neuron.IFNode(v_reset=None)), torch.zeros(1, 3))


# snntorch


def test_snntorch_imports_every_reset_as_to_zero(tmp_path: Path) -> None:
    path = stored(tmp_path, graph(np.random.default_rng(0), snntorch_lif))
    neurons = peer("snntorch.import_nir").import_from_nir(nir.read(path)).lif1
    assert (neurons.reset_mechanism, neurons.reset_delay) == ("zero", False)
    np.testing.assert_allclose(neurons.beta, 1 - SNNTORCH_DT / nir.read(path).nodes["lif1"].tau)


def test_snntorch_imports_an_integrator_as_a_leaky_neuron_that_fails(tmp_path: Path) -> None:
    built = graph(np.random.default_rng(0), lambda rng, n: nir.IF(np.ones(n), np.ones(n), np.zeros(n)))
    model = peer("snntorch.import_nir").import_from_nir(nir.read(stored(tmp_path, built)))
    assert (float(model.lif1.beta), model.lif1.reset_mechanism) == (pytest.approx(0.9), "subtract")
    with pytest.raises(TypeError, match="must be Tensor, not tuple"):
        model(torch.zeros(3, 12))


def test_snntorch_cannot_import_loops(tmp_path: Path) -> None:
    path = stored(tmp_path, graph(np.random.default_rng(0), snntorch_lif, recurrent=True))
    with pytest.raises(AttributeError, match="items"):
        peer("snntorch.import_nir").import_from_nir(nir.read(path))


@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_reset_delay_of_rsynaptic_does_nothing(reset: str) -> None:
    """Which is why the profile, the reset at once, has no counterpart in snntorch 1.0.0 for loops with currents."""
    import snntorch as snn

    x = torch.from_numpy(np.random.default_rng(0).random((50, 3, 5)))
    found = []
    for delay in (False, True):
        torch.manual_seed(0)
        layer = snn.RSynaptic(alpha=0.5, beta=0.8, linear_features=5, reset_mechanism=reset, reset_delay=delay)
        state, record = [torch.zeros(3, 5, dtype=torch.float64)] * 3, []
        with torch.no_grad():
            for step in x:
                state = list(layer.double()(step, *state))
                record.append(state[0].numpy())
                state[0] = state[0].double()
        found.append(np.stack(record))
    assert found[0].any()
    assert np.array_equal(*found)
    with pytest.raises(TypeError, match="NoneType"):
        snn.RSynaptic(alpha=0.5, beta=0.8, linear_features=5, reset_delay=False, init_hidden=True)(torch.zeros(3, 5))


# spyx


def test_spyx_has_no_recurrent_bias() -> None:
    """Releases before 1.0 had one; the profile adds what the file says."""
    built = FRAMEWORKS["spyx"].graph(np.random.default_rng(0), "cuba", recurrent=True)
    built.nodes["rec"] = loop = dense(np.random.default_rng(1), 16, 16, bias=True)
    layer = spyx().from_nir(built, np.zeros((1, 1, 12)), dt=DT)[0].layers[1]
    assert np.array_equal(layer.recurrent_w[...], loop.weight.T)
    assert not [name for name in vars(layer) if "bias" in name]


def test_spyx_loses_a_loop_of_integrators() -> None:
    built = FRAMEWORKS["spyx"].graph(np.random.default_rng(0), "if", recurrent=True)
    model = spyx().from_nir(built, np.zeros((1, 1, 12)), dt=DT)[0]
    assert [type(layer).__name__ for layer in model.layers] == ["Linear", "IF"] * 3


# nirtorch


def test_nirtorch_leaves_biases_random() -> None:
    """Its own map of Affine; each framework has one of its own."""
    ends = {"input": nir.Input(np.array([2])), "output": nir.Output(np.array([2]))}
    node = nir.Affine(np.eye(2, dtype=np.float32), np.array([10, 20], np.float32))
    built = nir.NIRGraph({**ends, "fc": node}, [("input", "fc"), ("fc", "output")])
    layer = peer("nirtorch").nir_to_torch(built, {}).fc
    assert np.array_equal(layer.weight.detach(), node.weight)
    assert np.all(layer.bias.detach().numpy() < 1)
