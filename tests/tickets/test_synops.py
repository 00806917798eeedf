"""Synaptic operations: as a loop counts them, as the chip counts them, and as what a training can spend less of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import CONV, MLP, watched
from torch import Tensor, nn

import snnc
from snnc import models, tickets
from snnc.frontends.torch import from_module
from snnc.models import data
from snnc.models.spiking import SpikingNetwork
from snnc.samples import Samples
from snnc.simulator.accounting import layers
from snnc.tickets.masks import at_random, attach, by_magnitude, weights
from snnc.tickets.synops import count, metered
from snnc.tickets.training import one_thread


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    with one_thread():
        yield


def noise(shape: tuple[int, ...], samples: int = 5, steps: int = 4, rate: float = 0.4) -> Samples:
    spikes = np.random.default_rng(1).random((samples, steps, *shape)) < rate
    return Samples(spikes.astype(np.uint8), np.zeros(samples, np.int64), "noise")


def pruned(model: SpikingNetwork, sparsity: float = 0.6) -> SpikingNetwork:
    attach(model, at_random(by_magnitude(weights(model), None, sparsity), 0))
    return model


# --- fan-out -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"padding": 1},
        {"stride": 2},
        {"stride": 2, "padding": 1},
        {"kernel_size": (3, 2), "stride": (2, 1), "padding": (0, 1)},
        {"kernel_size": 2, "stride": 3},  # some places are never looked at
        {"groups": 2, "padding": 1},
        {"groups": 4, "out_channels": 8},
        {"dilation": 2, "padding": 2, "groups": 2},
    ],
)
def test_the_fan_out_of_a_convolution_is_what_a_single_spike_reaches(options: dict[str, Any]) -> None:
    """By brute force: one at one place after the other, through a convolution whose live weights are ones."""
    torch.manual_seed(0)
    conv = nn.Conv2d(**{"in_channels": 4, "out_channels": 6, "kernel_size": 3, "bias": False, **options})
    with torch.no_grad():
        conv.weight[torch.rand_like(conv.weight) < 0.5] = 0
    ones = nn.Conv2d(**{"in_channels": 4, "out_channels": 6, "kernel_size": 3, "bias": False, **options})
    single = torch.eye(4 * 7 * 8).view(-1, 4, 7, 8)
    for live in ((conv.weight != 0).float(), torch.ones_like(conv.weight)):
        ones.weight.data = live
        wanted = ones(single).sum((1, 2, 3)).detach()
        found, most = spent(conv, single)
        assert torch.equal(found, wanted) == bool((live == 0).any())
    assert most == wanted.sum() * len(single)


def spent(layer: nn.Module, inputs: Tensor) -> tuple[Tensor, float]:
    """What each input costs, by the gradient of each element if it were a spike, and the most that all could cost."""
    x = inputs.clone().requires_grad_()
    with metered(nn.Sequential(layer)) as meter:
        layer(x)
    (total,) = meter.layers.values()
    (cost,) = torch.autograd.grad(total, x)
    return (cost * inputs).flatten(1).sum(1), meter.most


def test_the_fan_out_of_a_linear_layer_is_its_live_columns() -> None:
    layer = nn.Linear(5, 7)
    layer.weight.data[:, 1] = 0
    layer.weight.data[:4, 2] = 0
    found, most = spent(layer, torch.eye(5))
    assert (found.tolist(), most) == ([7, 0, 3, 7, 7], 5 * 5 * 7)


# --- counts --------------------------------------------------------------------------------------


def entering(model: SpikingNetwork, name: str, samples: Samples) -> np.ndarray:
    """What enters the layer of a weight, (samples, steps, ...)."""
    layer = model.get_submodule(name.removesuffix(".weight"))
    seen: list[Tensor] = []
    hook = layer.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].detach()))
    with torch.no_grad():
        model(torch.from_numpy(samples.spikes).transpose(0, 1).float())
    hook.remove()
    (found,) = seen
    return found.unflatten(0, (samples.steps, len(samples))).transpose(0, 1).numpy()


def test_the_count_of_a_perceptron_is_that_of_a_loop() -> None:
    model = pruned(models.model("mlp")(shape=(1, 3, 4), classes=3, hidden=[20, 9], beta=0.9)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter *= 5 if name.endswith("original") else 1
    samples = noise((1, 3, 4))
    found = count(model, samples)
    assert list(found) == list(weights(model))
    for name, weight in weights(model).items():
        spikes = entering(model, name, samples)
        assert spikes.any()
        total = 0
        for sample in spikes:
            for step in sample:
                for neuron in np.flatnonzero(step):
                    total += np.count_nonzero(weight[:, neuron])
        assert found[name] == total / len(samples)


def test_the_count_of_a_convolution_is_the_sum_of_one_with_ones() -> None:
    model = pruned(models.model("conv")(shape=(2, 8, 8), classes=3, channels=[4, 5]))
    samples = noise((2, 8, 8))
    with torch.no_grad():  # normalisation that knows the noise, so that all layers spike
        for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
            norm.momentum = 1.0
        model(torch.from_numpy(samples.spikes).transpose(0, 1).float())
    model.eval()
    found = count(model, samples)
    for name, weight in weights(model).items():
        x = torch.from_numpy(entering(model, name, samples)).flatten(0, 1)
        layer: Any = model.get_submodule(name.removesuffix(".weight"))
        live = torch.from_numpy(weight != 0).float()
        wanted = (
            nn.functional.conv2d(x, live, None, layer.stride, layer.padding).sum()
            if isinstance(layer, nn.Conv2d)
            else (x @ live.T).sum()
        )
        assert wanted > 0
        assert found[name] == pytest.approx(float(wanted) / len(samples), rel=1e-6)


def test_counts_do_not_depend_on_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    from snnc.tickets import synops

    model, samples = pruned(models.model("mlp")(shape=(12,), classes=3, hidden=[20])), noise((12,))
    whole = count(model, samples)
    monkeypatch.setattr(synops, "_BATCH", 2)
    assert count(model, samples) == pytest.approx(whole)


def test_the_chip_counts_the_same(tmp_path: Path) -> None:
    """Exactly, of a network that integers hold exactly, so that its spikes are the same.

    Its weights are quarters of one sign or the other, membranes keep a half, and each neuron has live synapses before
    and behind it: nothing rounds, no weight becomes zero, and nothing is trimmed. Without the zeros that a layer of
    half of its weights stores, too, because its places would take more memory.
    """
    model = models.model("mlp")(shape=(1, 8, 8), classes=10, hidden=[24], beta=0.5)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for layer in (m for m in model.modules() if isinstance(m, nn.Linear)):
            live = torch.rand(layer.weight.shape, generator=generator) < 0.5
            signs = torch.where(torch.rand(layer.weight.shape, generator=generator) < 0.7, 0.25, -0.25)
            layer.weight.copy_(live * signs)
            assert live.any(0).all()
            assert live.any(1).all()
    samples = data.load("digits:steps=4").validation
    found = count(model, samples)
    network = from_module(model, dt=1e-3, shape=(1, 8, 8))
    image = snnc.compile(network, "loihi", map="layers")
    run = snnc.simulate(image, samples)
    with torch.no_grad():
        outputs = model.eval()(torch.from_numpy(samples.spikes).transpose(0, 1).float())
    assert np.array_equal(run.outputs, outputs.sum(0).numpy())
    assert outputs.any()
    inputs, *effective = layers(image, run).effective_synops.sum(axis=0)
    assert inputs == 0
    assert [total / len(samples) for total in effective] == list(found.values())


# --- a price -------------------------------------------------------------------------------------


def test_the_share_is_of_all_that_a_dense_network_could_do() -> None:
    model = models.model("mlp")(shape=(12,), classes=3, hidden=[20])
    full = torch.ones(4, 5, 12)
    with metered(model) as meter:
        model(full)
    assert meter.most == 4 * 5 * (12 * 20 + 20 * 3)
    assert meter.layers["layers.1.weight"] == 4 * 5 * 12 * 20
    total = float(torch.stack(list(meter.layers.values())).sum().detach())
    assert float(meter.share().detach()) == pytest.approx(total / meter.most)
    # Nothing is counted any more outside.
    model(full)
    assert float(torch.stack(list(meter.layers.values())).sum().detach()) == total


def test_the_gradient_of_a_spike_is_what_it_costs() -> None:
    layer = nn.Linear(5, 7)
    layer.weight.data[:4, 2] = 0
    x = torch.ones(3, 5, requires_grad=True)
    with metered(nn.Sequential(layer)) as meter:
        layer(x)
    meter.share().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, (torch.tensor([7.0, 7, 3, 7, 7]) / (3 * 5 * 7)).expand(3, 5))


def test_gradients_reach_the_neurons_in_front_through_their_spikes() -> None:
    """By their biases, to which no other way leads: a spike costs the live synapses behind it, and nothing else."""
    torch.manual_seed(0)
    model = models.model("mlp")(shape=(12,), classes=3, hidden=[20], bias=True)
    x = torch.from_numpy(noise((12,)).spikes).transpose(0, 1).float()
    with metered(model) as meter:
        model(x)
    (bias,) = (p for name, p in model.named_parameters() if name == "layers.1.bias")
    (found,) = torch.autograd.grad(meter.share(), bias)
    (_, spikes), _ = model.trace(x)
    (wanted,) = torch.autograd.grad(3 * spikes.sum() / (4 * 5 * (12 * 20 + 20 * 3)), bias)
    assert (wanted > 0).any()
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("recipe", [replace(MLP, epochs=6), CONV])
def test_a_penalty_lowers_operations(recipe: Any, tmp_path: Path) -> None:
    """Of the rounds; the dense training is the same."""
    found, dense = [], []
    for penalty in (None, 3.0):
        with watched() as spy:
            options: dict[str, Any] = {"sparsity": 0.5, "rounds": 1, "penalty": penalty, "out": tmp_path / "a.pt"}
            found.append(tickets.find(recipe, **options))
        assert [fit.plan.penalty for fit in spy.fits] == [0.0, penalty or 0.0]
        dense.append(spy.fits[0].states[recipe.epochs])
    assert all(torch.equal(value, dense[1][name]) for name, value in dense[0].items())
    samples = data.load(found[0].data).validation
    plain, cheap = (sum(list(count(ticket.module(), samples).values())[1:]) for ticket in found)
    assert cheap < 0.8 * plain
