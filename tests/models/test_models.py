"""The models: what they compute is a plain loop over snntorch neurons, and what they refuse."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import snntorch as snn
import torch
from torch import Tensor, nn

from snnc import models
from snnc.errors import UsageError
from snnc.models.spiking import Row, SpikingNetwork, population, population_names
from snnc.tickets.training import one_thread

SHAPE = (2, 8, 8)


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    with one_thread():
        yield


def build(name: str, **args: Any) -> Row:
    torch.manual_seed(0)
    return models.model(name)(**{"shape": SHAPE, "classes": 3, **args})


def noise(steps: int, batch: int, shape: tuple[int, ...] = SHAPE) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return (torch.rand((steps, batch, *shape), generator=generator) < 0.4).float()


def stepwise(model: Row, spikes: Tensor) -> list[Tensor]:
    """What each layer puts out, (steps, batch, ...), time step by time step as in snntorch's tutorials."""
    states: dict[int, tuple[Tensor, ...]] = {}
    outputs: list[list[Tensor]] = [[] for _ in model.layers]
    for x in spikes:
        for k, layer in enumerate(model.layers):
            if isinstance(layer, snn.Leaky):
                x, *states[k] = layer(x, *states.get(k, (layer.reset_mem(),)))
            elif isinstance(layer, snn.Synaptic):
                x, *states[k] = layer(x, *states.get(k, layer.reset_mem()))
            else:
                x = layer(x)
            x = x.double()  # snntorch's spikes are float32
            outputs[k].append(x)
    return [torch.stack(o) for o in outputs]


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "mlp leaky": ("mlp", {"hidden": [20, 12], "bias": True}),
    "mlp synaptic": ("mlp", {"hidden": [20], "neuron": "synaptic", "alpha": 0.7, "beta": 0.8}),
    "mlp integrator": ("mlp", {"hidden": [20], "beta": 1.0}),
    "mlp without hidden layers": ("mlp", {"hidden": []}),
    "conv leaky": ("conv", {"channels": [4, 6]}),
    "conv synaptic": ("conv", {"channels": [4], "neuron": "synaptic"}),
}


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_forward_is_the_loop_over_steps(case: str) -> None:
    # In double precision: sums over one step or over all of them may differ in the last bit, too little for a spike.
    name, args = CASES[case]
    model = build(name, **args).double().eval()
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):  # statistics as after a training, not 0 and 1
            layer.running_mean = torch.linspace(-0.2, 0.1, layer.num_features).double()
            layer.running_var = torch.linspace(0.05, 0.2, layer.num_features).double()
        elif isinstance(layer, (nn.Linear, nn.Conv2d)):
            layer.weight *= 3  # or the last layer never spikes
    spikes = noise(30, 5).double()
    expected = stepwise(model, spikes)
    names = population_names(list(model.layers))
    assert len(names) == sum(isinstance(layer, (snn.Leaky, snn.Synaptic)) for layer in model.layers)
    traced = list(model.trace(spikes))
    assert [name for name, _ in traced] == list(names.values())
    for k, (_, found) in zip(names, traced, strict=True):
        assert torch.equal(found, expected[k])
        assert 0.01 < float(expected[k].mean()) < 0.99
    assert torch.equal(model(spikes), expected[-1])
    assert model(spikes).shape == (30, 5, 3)


@torch.no_grad()
def test_forward_starts_from_rest() -> None:
    model = build("mlp", hidden=[20]).eval()
    first = model(noise(20, 4))
    assert torch.equal(model(noise(20, 4)), first)
    assert model(noise(20, 2)).shape == (20, 2, 3)


@torch.no_grad()
def test_double_precision_stays_double() -> None:
    model = build("mlp", hidden=[20, 20]).double().eval()
    assert model(noise(4, 2).double()).dtype == torch.float64


@pytest.mark.parametrize(("kind", "states"), [("leaky", 1), ("synaptic", 2)])
def test_a_spike_resets_to_zero_and_loses_no_input(kind: str, states: int) -> None:
    """By the letter: i = alpha i + x, v = beta v + i, spike where v > 1, v = 0 there."""
    alpha, beta = (0.0, 0.75) if kind == "leaky" else (0.5, 0.75)
    neuron = population(kind, beta, alpha)
    state = [torch.zeros(1)] * states
    i = v = 0.0
    fired = []
    # Multiples of 1/16 and factors of 1/4: float32 is exact.
    for x in np.random.default_rng(0).integers(0, 20, 8) / 16:
        i = alpha * i + x
        v = beta * v + i
        spike, *state = neuron(torch.tensor([x], dtype=torch.float32), *state)
        assert float(spike) == (v > 1)
        fired.append(v > 1)
        v = 0.0 if v > 1 else v
    assert sum(fired[:-1]) > 1  # and goes on from there


def test_shapes_and_names_of_the_layers() -> None:
    mlp = build("mlp", hidden=[20, 12])
    assert [tuple(w.shape) for n, w in mlp.named_parameters()] == [(20, 128), (12, 20), (3, 12)]
    assert list(population_names(list(mlp.layers)).values()) == ["fc1", "fc2", "fc3"]
    conv = build("conv", channels=[4, 6])
    # Each block halves the image: 8x8 -> 2x2 of 6 channels.
    assert [tuple(w.shape) for n, w in conv.named_parameters() if w.ndim > 1] == [(4, 2, 3, 3), (6, 4, 3, 3), (3, 24)]
    assert list(population_names(list(conv.layers)).values()) == ["conv1", "conv2", "fc1"]
    assert population_names([nn.AvgPool2d(2), snn.Leaky(0.5), snn.Leaky(0.5)]) == {1: "pool1", 2: "neurons1"}


@pytest.mark.parametrize("name", models.MODELS)
def test_each_model_has_a_recipe_whose_arguments_it_takes(name: str) -> None:
    recipe = models.recipe(name)
    assert (recipe.name, recipe.model) == (name, name)
    assert isinstance(models.model(name)(**{"shape": (1, 8, 8), "classes": 10, **recipe.args}), SpikingNetwork)
    assert 0 <= recipe.rewind < recipe.epochs


def test_a_recipe_with_other_arguments_leaves_the_original_alone() -> None:
    recipe = models.recipe("mlp")
    changed = recipe.with_args(hidden=[7])
    assert changed.args == {**recipe.args, "hidden": [7]}
    assert models.recipe("mlp").args["hidden"] == [256, 256]


@pytest.mark.parametrize("lookup", [models.model, models.recipe])
@pytest.mark.parametrize(("name", "fix"), [("convv", "did you mean 'conv'?"), ("resnet", "models: conv, mlp")])
def test_an_unknown_model_is_refused_with_a_cure(lookup: Any, name: str, fix: str) -> None:
    with pytest.raises(UsageError, match=f"no model '{name}'") as caught:
        lookup(name)
    assert caught.value.fix == fix


@pytest.mark.parametrize(
    ("model", "args", "message"),
    [
        ("mlp", {"hidden": 5}, "hidden must be a list of 0 to 63 positive whole numbers, got 5"),
        ("mlp", {"hidden": [5, 0]}, "hidden must be a list of 0 to 63 positive whole numbers, got [5, 0]"),
        ("mlp", {"hidden": [5] * 64}, "hidden must be a list of 0 to 63"),
        ("mlp", {"hidden": [True]}, "hidden must be a list"),
        ("mlp", {"hidden": "12"}, "hidden must be a list"),
        ("mlp", {"shape": []}, "shape must be a list of 1 to 3 positive whole numbers, got []"),
        ("mlp", {"classes": 2.0}, "classes must be a positive whole number, got 2.0"),
        ("mlp", {"classes": 0}, "classes must be a positive whole number, got 0"),
        ("mlp", {"bias": "no"}, "bias must be true or false, got 'no'"),
        ("mlp", {"neuron": "lif"}, "neuron must be one of leaky, synaptic; got 'lif'"),
        ("mlp", {"beta": 1.5}, "beta is what the neuron keeps from step to step, a number in 0..1; got 1.5"),
        ("mlp", {"beta": float("nan")}, "beta is what the neuron keeps"),
        ("mlp", {"beta": True}, "beta is what the neuron keeps"),
        ("conv", {"alpha": "0.5"}, "alpha is what the neuron keeps from step to step, a number in 0..1; got '0.5'"),
        ("conv", {"shape": [8, 8]}, "shape must be a list of 3 positive whole numbers, got [8, 8]"),
        ("conv", {"channels": []}, "channels must be a list of 1 to 63 positive whole numbers, got []"),
        ("conv", {"channels": [2] * 4}, "4 blocks, each of which halves the image, are too many for (2, 8, 8)"),
        ("conv", {"classes": -1}, "classes must be a positive whole number, got -1"),
    ],
)
def test_an_impossible_argument_is_named(model: str, args: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        build(model, **args)
    assert message in caught.value.message
