"""Modules of snntorch neurons become networks that spike alike, or are refused by the layer's name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import snntorch as snn
import torch
from torch import nn

from snnc import frontends, models
from snnc.errors import InputError, UsageError
from snnc.frontends import nir
from snnc.frontends.reading import Reading
from snnc.frontends.torch import from_module, network
from snnc.models.spiking import Row
from snnc.network import Network, identical
from snnc.simulator.floating import simulate
from snnc.tickets.checkpoint import Checkpoint, Parent
from snnc.tickets.masks import at_random, attach, plain_state, weights

DT = 1e-3


def leaky(beta: Any = 0.9, **options: Any) -> snn.Leaky:
    return snn.Leaky(beta=beta, **{"reset_mechanism": "zero", **options})


def synaptic(alpha: Any = 0.5, beta: Any = 0.8, **options: Any) -> snn.Synaptic:
    return snn.Synaptic(alpha=alpha, beta=beta, **{"reset_mechanism": "zero", "reset_delay": False, **options})


def norm(layer: nn.BatchNorm1d | nn.BatchNorm2d) -> nn.Module:
    """Statistics and affine parameters as after a training, not 0 and 1."""
    count = layer.num_features
    layer.running_mean = torch.linspace(-0.2, 0.3, count)
    layer.running_var = torch.linspace(0.1, 0.6, count)
    if layer.affine:
        layer.weight.data = torch.linspace(0.5, 1.5, count)
        layer.bias.data = torch.linspace(-0.1, 0.4, count)
    return layer


def random(count: int, low: float, high: float) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).uniform(low, high, count))


def excite(layer: nn.Linear | nn.Conv2d) -> None:
    """Fresh weights leave deep layers silent: make them larger, and positive on average."""
    layer.weight.mul_(3).add_(2 / layer.weight[0].numel())


# --- the network spikes as the module does ---------------------------------------------------------

CASES: dict[str, tuple[tuple[int, ...], Callable[[], list[nn.Module]]]] = {
    "linear": ((12,), lambda: [nn.Linear(12, 20), leaky(), nn.Linear(20, 5, bias=False), leaky(0.5)]),
    "scalars of all kinds": ((12,), lambda: [nn.Linear(12, 20), leaky(0, threshold=0.5), nn.Linear(20, 4), leaky(1)]),
    "parameters per neuron": (
        (12,),
        lambda: [
            nn.Linear(12, 20),
            leaky(random(20, 0.1, 0.99), threshold=random(20, 0.2, 1)),
            nn.Linear(20, 4),
            synaptic(random(4, 0.1, 0.9), random(4, 0.1, 0.9)),
        ],
    ),
    "learned parameters": (
        (12,),
        lambda: [
            nn.Linear(12, 20),
            leaky(torch.tensor(1.3), learn_beta=True, learn_threshold=True),
            nn.Linear(20, 4),
            synaptic(learn_alpha=True, learn_beta=True),
        ],
    ),
    "reset without delay": ((12,), lambda: [nn.Linear(12, 20), leaky(reset_delay=False), nn.Linear(20, 4), leaky()]),
    "synaptic": ((12,), lambda: [nn.Linear(12, 20), synaptic(), nn.Linear(20, 4), synaptic(0.0, 0.0)]),
    "batch normalisation": (
        (12,),
        lambda: [
            nn.Linear(12, 20, bias=False),
            norm(nn.BatchNorm1d(20)),
            nn.Dropout(),
            leaky(),
            nn.Linear(20, 4),
            nn.Dropout(),
            norm(nn.BatchNorm1d(4, affine=False)),
            leaky(),
        ],
    ),
    "batch normalisation elsewhere": (
        (12,),
        lambda: [
            norm(nn.BatchNorm1d(12)),
            nn.Linear(12, 20),
            leaky(),
            norm(nn.BatchNorm1d(20)),
            nn.Linear(20, 4),
            leaky(),
        ],
    ),
    "some never decay": ((12,), lambda: [nn.Linear(12, 3), leaky(torch.tensor([1.0, 0.5, 1.0]), threshold=3.0)]),
    "other resets": (
        (12,),
        lambda: [
            nn.Linear(12, 20),
            leaky(reset_mechanism="subtract"),
            nn.Linear(20, 10),
            leaky(0.5, reset_mechanism="none", threshold=2.0),
            nn.Linear(10, 4),
            synaptic(reset_delay=True),
        ],
    ),
    "graded spikes": (
        (12,),
        lambda: [nn.Linear(12, 20), leaky(graded_spikes_factor=0.5), nn.Linear(20, 4), leaky()],
    ),
    "convolution": (
        (2, 9, 8),
        lambda: [
            nn.Conv2d(2, 4, (3, 5), padding=(1, 0), bias=False),
            norm(nn.BatchNorm2d(4)),
            leaky(),
            nn.AvgPool2d(2),
            nn.Conv2d(4, 6, 2, stride=(2, 1), groups=2),
            leaky(),
            nn.Flatten(),
            nn.Linear(12, 4),
            leaky(),
        ],
    ),
    "padding by name": (
        (2, 6, 5),
        lambda: [
            nn.Conv2d(2, 3, 3, padding="same", dilation=2),
            leaky(),
            nn.Conv2d(3, 3, (2, 4), padding="same"),
            leaky(),
            nn.Conv2d(3, 2, (3, 2), padding="valid"),
            leaky(),
        ],
    ),
    "pooling": (
        (2, 7, 7),
        lambda: [
            nn.AvgPool2d(3, stride=2, padding=1),
            leaky(threshold=0.2),
            nn.AvgPool2d((2, 1)),
            nn.Flatten(-3, -2),
            nn.Flatten(),
            nn.Linear(16, 4),
            leaky(),
        ],
    ),
}


# Torch tells that it will do what padding="same" asks for.
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_the_network_spikes_as_the_module_does(case: str) -> None:
    shape, make = CASES[case]
    torch.manual_seed(0)
    layers = make()
    for layer in layers:
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            excite(layer)
    same_spikes(Row(layers, shape))


@pytest.mark.parametrize(
    ("name", "args", "shape"),
    [
        ("mlp", {"hidden": [30, 20]}, (1, 8, 8)),
        ("mlp", {"hidden": [30], "neuron": "synaptic", "bias": True}, (1, 8, 8)),
        ("conv", {"channels": [3, 4]}, (1, 8, 8)),
        ("conv", {"channels": [3], "neuron": "synaptic"}, (2, 34, 34)),
    ],
)
@torch.no_grad()
def test_our_models_spike_alike(name: str, args: dict[str, Any], shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    module = models.model(name)(shape=shape, classes=10, **args)
    for layer in module.layers:
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            norm(layer)
        elif isinstance(layer, (nn.Linear, nn.Conv2d)):
            excite(layer)
    same_spikes(module)


@torch.no_grad()
def test_subtraction_is_exact_for_integrators() -> None:
    torch.manual_seed(0)
    linear = nn.Linear(12, 20, bias=False)
    # Multiples of 1/64: no sum is ever rounded, in whichever order it is taken.
    linear.weight.copy_((linear.weight * 200).round() / 64)
    module = Row([linear, leaky(1.0, reset_mechanism="subtract")], (12,))
    result = same_spikes(module)
    assert (result.layers[0].neuron, result.layers[0].semantics.reset) == ("if", "subtract")


@torch.no_grad()
def test_a_last_layer_without_neurons_is_read_out() -> None:
    torch.manual_seed(0)
    module = Row([nn.Linear(12, 20), leaky(), nn.Linear(20, 4)], (12,)).double()
    spikes = (np.random.default_rng(0).random((3, 100, 12)) < 0.4).astype(np.uint8)
    result = from_module(module, dt=DT)
    *_, (_, expected) = module.trace(torch.from_numpy(spikes).transpose(0, 1).double())
    assert (result["output"].neuron, result.outputs) == ("sum", ("output",))
    # Sums of up to 20 terms in another order; values are around 1.
    np.testing.assert_allclose(simulate(result, spikes)["output"], expected.transpose(0, 1), rtol=0, atol=1e-12)


def same_spikes(module: Row) -> Network:
    """Compare every population in float64; float32 sums in another order could move a spike."""
    module = module.double().eval()
    spikes = (np.random.default_rng(0).random((3, 100, *module.shape)) < 0.4).astype(np.uint8)
    result = from_module(module, dt=DT)
    found = simulate(result, spikes)
    traced = module.trace(torch.from_numpy(spikes).transpose(0, 1).double())
    for population, (name, out) in zip(result.layers, traced, strict=True):
        assert population.name == name
        assert np.array_equal(found[population.name], out.transpose(0, 1).numpy() != 0), population.name
        assert 0.01 < found[population.name].mean() < 0.99, f"{population.name} tells nothing"
    return result


# --- what the network says -------------------------------------------------------------------------


def test_neurons_get_the_constants_of_their_equations() -> None:
    beta, alpha = torch.tensor([0.75, 0.5]), torch.tensor(0.25)
    layers = [nn.Linear(3, 2), leaky(beta, threshold=2.0), nn.Linear(2, 2), synaptic(alpha, beta), nn.Linear(2, 1)]
    result = from_module(nn.Sequential(*layers, leaky(1.0)), dt=DT, shape=(3,))
    lif, cuba, integrator = result.layers
    expect = {"tau": [4e-3, 2e-3], "r": [4, 2], "v_leak": [0, 0], "v_threshold": [2, 2], "v_reset": [0, 0]}
    assert lif.neuron == "lif"
    assert {k: v.tolist() for k, v in lif.params.items()} == expect
    assert cuba.neuron == "cuba_lif"
    # 1e-3 / 0.75 is not exact; the bound is a few units in the last place.
    assert np.allclose(cuba.params["tau_syn"], 1e-3 / 0.75, rtol=1e-15, atol=0)
    assert np.allclose(cuba.params["w_in"], 1 / 0.75, rtol=1e-15, atol=0)
    assert cuba.params["tau_mem"].tolist() == [4e-3, 2e-3]
    assert (integrator.neuron, integrator.params["r"].tolist()) == ("if", [1])
    assert all(value.dtype == np.float64 for p in result.layers for value in p.params.values())


def test_layers_are_named_and_linked_in_order() -> None:
    layers = [nn.Conv2d(1, 2, 3), leaky(), nn.AvgPool2d(2), leaky(), nn.Flatten(), nn.Linear(8, 4), leaky()]
    result = from_module(nn.Sequential(*layers), dt=2e-3, shape=(1, 6, 6), bits=8, name="net")
    names = [("input", (1, 6, 6)), ("conv1", (2, 4, 4)), ("pool1", (2, 2, 2)), ("fc1", (4,))]
    assert [(p.name, p.shape) for p in result.populations] == names
    assert [(p.pre, p.post) for p in result.projections] == [("input", "conv1"), ("conv1", "pool1"), ("pool1", "fc1")]
    assert all(p.bits == 8 for p in result.projections)
    assert (result.outputs, result.dt, result.name) == (("fc1",), 2e-3, "net")


def test_sequentials_inside_sequentials_are_opened() -> None:
    torch.manual_seed(0)
    layers = [nn.Linear(3, 4), leaky(), nn.Linear(4, 2), leaky()]
    flat = nn.Sequential(*layers)
    nested = nn.Sequential(nn.Sequential(*layers[:2]), nn.Sequential(nn.Identity(), nn.Sequential(*layers[2:])))
    assert identical(from_module(nested, dt=DT, shape=(3,)), from_module(flat, dt=DT, shape=(3,)))


def test_a_layer_that_stands_twice_is_there_twice() -> None:
    pool = nn.AvgPool2d(2)
    result = from_module(nn.Sequential(pool, pool, leaky()), dt=DT, shape=(1, 8, 8))
    assert result.layers[0].shape == (1, 2, 2)


def test_weights_keep_their_type_unless_normalised() -> None:
    layers = [nn.Linear(3, 4), leaky(), nn.Linear(4, 2), norm(nn.BatchNorm1d(2)), leaky()]
    first, second = (p.ops[0] for p in from_module(nn.Sequential(*layers), dt=DT, shape=(3,)).projections)
    assert (first.weight.dtype, second.weight.dtype) == (np.float32, np.float64)  # type: ignore[union-attr]


def test_the_network_does_not_share_memory_with_the_module() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 2, 3), leaky(), nn.Flatten(), nn.Linear(8, 2), leaky())
    result = from_module(module, dt=DT, shape=(1, 4, 4))
    again = from_module(module, dt=DT, shape=(1, 4, 4))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    assert identical(result, again)


# --- checkpoints -----------------------------------------------------------------------------------


@pytest.fixture
def ticket() -> Checkpoint:
    args = {"shape": [1, 4, 4], "classes": 3, "channels": [2]}
    torch.manual_seed(0)
    model = models.model("conv")(**args)
    parent = plain_state(model)
    masks = at_random({name: np.arange(w.size).reshape(w.shape) % 3 == 0 for name, w in weights(model).items()}, 0)
    attach(model, masks)
    return Checkpoint(
        model="conv",
        args=args,
        state_dict=plain_state(model),
        masks=masks,
        dt=5e-4,
        reset="zero",
        bits=6,
        data="digits",
        seed=0,
        log=[],
        parent=Parent(parent, args, 0.5, []),
        accuracy={"validation": 0.5, "test": 0.5},
    )


def test_a_pruned_weight_is_an_absent_synapse(ticket: Checkpoint) -> None:
    result = network(ticket)
    conv, linear = result.projections[0].ops[0], result.projections[1].ops[-1]
    kept = list(ticket.masks.values())
    assert np.array_equal(conv.weight != 0, kept[0])  # type: ignore[union-attr]
    assert linear.weight.nnz == kept[1].sum() == np.count_nonzero(linear.weight.data)  # type: ignore[union-attr]
    assert (result.dt, result.name, result.projections[0].bits) == (5e-4, "conv", 6)


def test_a_file_gives_the_ticket_or_its_parent(ticket: Checkpoint, tmp_path: Path) -> None:
    ticket.save(tmp_path / "ticket.pt")
    loaded, about = frontends.load(tmp_path / "ticket.pt")
    assert identical(loaded, network(ticket))
    assert (about["model"], about["data"], about["parent"]) == ("conv", "digits", True)
    dense, _ = frontends.load(tmp_path / "ticket.pt", parent=True)
    assert identical(dense, network(ticket, parent=True))
    assert not identical(dense, loaded)


def test_a_ticket_and_its_parent_go_through_nir_unchanged(ticket: Checkpoint, tmp_path: Path) -> None:
    for parent in (False, True):
        before = network(ticket, parent=parent)
        nir.write(before, tmp_path / "net.nir")
        assert identical(nir.read(tmp_path / "net.nir"), before)


def test_a_checkpoint_knows_its_model(ticket: Checkpoint, tmp_path: Path) -> None:
    ticket.save(tmp_path / "ticket.pt")
    with pytest.raises(UsageError, match="says itself what model it is of"):
        frontends.load(tmp_path / "ticket.pt", Reading(model="mynets:Net"))


def test_a_dense_network_has_no_parent(ticket: Checkpoint) -> None:
    with pytest.raises(InputError, match="holds no dense parent"):
        network(replace(ticket, parent=None), parent=True)


# --- what is refused -------------------------------------------------------------------------------


class Odd(nn.Module):
    """Layers, but not in a row."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 4), leaky()])


def other_reset() -> snn.Leaky:
    """A neuron whose state dict comes from one with another reset."""
    neuron = leaky()
    neuron.load_state_dict(leaky(reset_mechanism="subtract").state_dict())
    return neuron


def image(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(2), leaky())


REFUSED: list[tuple[str, Callable[[], nn.Module], tuple[int, ...] | None, str, str]] = [
    (
        "activation",
        lambda: nn.Sequential(nn.Linear(4, 4), nn.ReLU()),
        (4,),
        "layers.1 (ReLU)",
        "ReLU are not supported",
    ),
    ("max pooling", lambda: image(nn.MaxPool2d(2)), (1, 4, 4), "layers.0 (MaxPool2d)", "not supported"),
    ("nested", lambda: nn.Sequential(nn.Sequential(nn.Tanh())), (4,), "layers.0.0 (Tanh)", "not supported"),
    ("no row", Odd, (4,), "Odd", 'missing the required "forward" function'),
    ("no shape", lambda: nn.Sequential(nn.Linear(4, 4), leaky()), None, "", "shape of the input is not known"),
    ("no neurons", lambda: nn.Sequential(nn.Linear(4, 4)), (4,), "", "there is no layer of neurons"),
    (
        "widths",
        lambda: nn.Sequential(nn.Linear(4, 4), leaky(), nn.Linear(3, 2)),
        (4,),
        "layers.2",
        "3 inputs receives 4",
    ),
    (
        "not flat",
        lambda: nn.Sequential(nn.Linear(4, 2), leaky()),
        (4, 4),
        "layers.0 (Linear)",
        "receives the shape (4, 4)",
    ),
    ("channels", lambda: image(nn.Conv2d(2, 3, 3)), (1, 4, 4), "layers.0 (Conv2d)", "over 2 channels"),
    ("kernel", lambda: image(nn.Conv2d(1, 3, 5)), (1, 4, 4), "layers.0 (Conv2d)", "does not fit into 4x4"),
    (
        "wrap",
        lambda: image(nn.Conv2d(1, 1, 3, padding_mode="circular")),
        (1, 4, 4),
        "layers.0",
        "'circular'",
    ),
    ("pool options", lambda: image(nn.AvgPool2d(2, ceil_mode=True)), (1, 5, 5), "layers.0", "only plain average"),
    (
        "pool edges",
        lambda: image(nn.AvgPool2d(2, padding=1, count_include_pad=False)),
        (1, 4, 4),
        "layers.0",
        "only plain average",
    ),
    ("flat batch", lambda: nn.Sequential(nn.Flatten(0), leaky()), (4,), "layers.0 (Flatten)", "flatten the batch"),
    (
        "norm without statistics",
        lambda: nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4, track_running_stats=False), leaky()),
        (4,),
        "layers.1",
        "no running statistics",
    ),
    (
        "norm of other width",
        lambda: nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(3), leaky()),
        (4,),
        "layers.1",
        "3 channels of 4",
    ),
    ("other reset", lambda: nn.Sequential(other_reset()), (4,), "layers.0", "another reset mechanism"),
    ("coarse state", lambda: nn.Sequential(leaky(state_quant=torch.round)), (4,), "layers.0", "state_quant"),
    ("negative threshold", lambda: nn.Sequential(leaky(threshold=-1.0)), (4,), "layers.0", "threshold -1 is negative"),
    ("NaN", lambda: nn.Sequential(leaky(float("nan"))), (4,), "layers.0", "beta holds NaN"),
    ("other size", lambda: nn.Sequential(leaky(torch.full((3,), 0.5))), (4,), "layers.0", "beta has shape (3,)"),
]


def test_inhibition_is_refused() -> None:
    with pytest.warns(UserWarning, match="Inhibition is an unstable feature"):
        neuron = leaky(inhibition=True)
    with pytest.raises(InputError, match="inhibition and state_quant are not supported") as caught:
        from_module(nn.Sequential(neuron), dt=DT, shape=(4,))
    assert caught.value.where == "layers.0 (Leaky)"


@pytest.mark.parametrize(("make", "shape", "where", "message"), [c[1:] for c in REFUSED], ids=[c[0] for c in REFUSED])
def test_what_a_chip_could_not_be_told_is_refused(
    make: Callable[[], nn.Module], shape: tuple[int, ...] | None, where: str, message: str
) -> None:
    with pytest.raises(InputError) as caught:
        from_module(make(), dt=DT, shape=shape)
    assert message in caught.value.message
    assert where in caught.value.where
