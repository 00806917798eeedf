"""What frameworks do besides what a NIR file says: facts that the profiles and the other tests here rely on.

A test that fails here tells that a framework has changed; then its profile, or what is said of it, has to.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import torch
from frameworks import FRAMEWORKS, SNNTORCH_DT, if_, snntorch_lif
from peers import DEPRECATED, DT, LAYERS, dense, graph, peer, spikes, stored
from spyx_on_numpy import spyx
from torch import nn

import snnc
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


SINABS: dict[str, tuple[str, dict[str, Any]]] = {
    "a minimum": ("IAFSqueeze", {"min_v_mem": -1.0}),
    "one spike per step": ("IAFSqueeze", {"spike_fn": "SingleSpike"}),
    "a reset to zero": ("IAFSqueeze", {"reset_fn": "MembraneReset"}),
    "input as it is": ("LIFSqueeze", {"norm_input": False, "tau_mem": 5.0}),
    "a current": ("LIFSqueeze", {"tau_syn": 2.0, "tau_mem": 5.0}),
}


@pytest.mark.parametrize("case", SINABS)
def test_the_export_of_sinabs_loses(case: str) -> None:
    """What tells these neurons from those with the defaults is not in the file."""
    kind, options = SINABS[case]
    activation = peer("sinabs.activation")
    made = {k: getattr(activation, v) if k == "spike_fn" else v for k, v in options.items()}
    if "reset_fn" in made:
        made["reset_fn"] = getattr(activation, made["reset_fn"])()
    usual = {k: v for k, v in made.items() if k == "tau_mem"}
    nodes = []
    for how in (made, usual):
        how = how | {k: torch.full((8,), v) for k, v in how.items() if k == "tau_mem"}
        neurons = getattr(peer("sinabs.layers"), kind)(spike_threshold=torch.ones(8), batch_size=3, **how)
        built = peer("sinabs.nir").to_nir(nn.Sequential(nn.Linear(12, 8), neurons), torch.zeros(3, 12))
        nodes.append(built.nodes["1"])
    assert type(nodes[0]) is type(nodes[1]) is (nir.IF if kind == "IAFSqueeze" else nir.LIF)
    for field in ("r", "v_threshold", "v_reset", *(("tau", "v_leak") if kind == "LIFSqueeze" else ())):
        assert np.array_equal(np.asarray(getattr(nodes[0], field)), np.asarray(getattr(nodes[1], field))), field


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


UNKNOWN: dict[str, Callable[[Any], nn.Module]] = {
    "BatchNorm1d": lambda snn: nn.BatchNorm1d(12),
    "Dropout": lambda snn: nn.Dropout(),
    "Lapicque": lambda snn: snn.Lapicque(beta=0.5, init_hidden=True),
}


@pytest.mark.filterwarnings("ignore:The use of `x.T`")
@pytest.mark.parametrize("layer", UNKNOWN)
def test_what_the_export_of_snntorch_cannot(layer: str) -> None:
    import snntorch as snn

    how = {"beta": torch.full((12,), 0.5), "threshold": torch.ones(12), "init_hidden": True}
    module = nn.Sequential(nn.Linear(12, 12), UNKNOWN[layer](snn), snn.Leaky(**how))
    with pytest.raises((AttributeError, ValueError)):
        peer("snntorch.export_nir").export_to_nir(module, torch.zeros(1, 12), ignore_dims=[0])
    assert len(snnc.load(module.eval(), torch.zeros(1, 12)).layers) == (2 if layer == "Lapicque" else 1)


class Skip(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        import snntorch as snn

        self.a, self.c = nn.Linear(12, 12), nn.Linear(12, 12)
        how = {"beta": torch.full((12,), 0.5), "threshold": torch.ones(12), "init_hidden": True}
        self.b, self.d = snn.Leaky(**how), snn.Leaky(**how)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.b(self.a(x))
        found: torch.Tensor = self.d(self.c(hidden) + hidden)
        return found


def test_the_export_of_snntorch_loses_what_is_behind_a_skip() -> None:
    built = peer("snntorch.export_nir").export_to_nir(Skip(), torch.zeros(1, 12), ignore_dims=[0])
    assert "d" not in built.nodes
    assert ("c", "output") in built.edges
    network = snnc.load(Skip(), torch.zeros(1, 12))
    assert {(p.pre, p.post) for p in network.projections} == {("input", "b"), ("b", "d")}
    assert len(network.into("d")) == 2


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


class Looped(nn.Module):
    """constant: adds one and has no loop."""

    def __init__(self, *, constant: bool) -> None:
        super().__init__()
        self.a, self.constant = nn.Linear(2, 2), constant

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.constant:
            return self.a(x) + 1.0
        return torch.stack([self.a(x[step]) for step in range(x.shape[0])])


def test_nirtorch_cannot_follow_a_loop_over_time_and_loses_constants() -> None:
    """Which is why snnc runs a module and does not trace it with torch.fx."""
    with pytest.raises(TypeError, match="'Proxy' object cannot be interpreted as an integer"):
        peer("nirtorch").torch_to_nir(Looped(constant=False), {})
    built = peer("nirtorch").torch_to_nir(Looped(constant=True), {})
    assert sorted(built.edges) == [("a", "output"), ("x", "a")]
