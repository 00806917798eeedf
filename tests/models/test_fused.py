"""The fused neurons against snntorch's own loop: spikes bit for bit, gradients to rounding; and who takes which."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import snntorch as snn
import torch
from snntorch import surrogate
from torch import Tensor, nn

from snnc.models import fused
from snnc.models.spiking import population, run, step_by_step

SHAPE = (30, 5, 4, 3)  # steps, batch, neurons
KINDS = ("leaky", "synaptic")


def currents(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Currents that make some spikes, and a gradient that arrives at these."""
    generator = torch.Generator().manual_seed(3)
    current, onto = (torch.randn(SHAPE, generator=generator, dtype=torch.float64) for _ in range(2))
    return (0.3 + current / 2).to(dtype), onto.to(dtype)


def through(how: Callable[[Any, Tensor], Tensor], neuron: Any, current: Tensor, onto: Tensor) -> tuple[Tensor, Tensor]:
    """Spikes, and the gradient of the currents."""
    leaf = current.clone().requires_grad_()
    spikes = how(neuron, leaf)
    (gradient,) = torch.autograd.grad(spikes, leaf, onto)
    return spikes.detach(), gradient


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize(("beta", "alpha"), [(0.9, 0.5), (0.0, 0.0), (1.0, 1.0)])
@pytest.mark.parametrize("kind", KINDS)
def test_spikes_are_equal_and_gradients_are_to_rounding(
    kind: str, beta: float, alpha: float, dtype: torch.dtype
) -> None:
    neuron = population(kind, beta, alpha)
    current, onto = currents(dtype)
    spikes, gradient = through(run, neuron, current, onto)
    expected, wanted = through(step_by_step, neuron, current, onto)
    assert spikes.dtype == gradient.dtype == dtype
    assert torch.equal(spikes, expected)
    assert 0.05 < float(spikes.double().mean()) < 0.95
    # Up to 30 steps of a few operations each, rounded differently: a division is a product with the inverse here.
    # In float64, too, since snntorch's spikes, and what arrives at them, are float32. In bfloat16, of 8 bits, ours
    # rounds once, at the end; snntorch's synapses in every step.
    close = 1e-6 if dtype != torch.bfloat16 else 2**-8 if kind == "leaky" else 2**-5
    error = (gradient - wanted).abs().double()
    assert float((error / wanted.abs().double().max()).max()) <= close


@pytest.mark.parametrize("kind", KINDS)
def test_decays_and_thresholds_may_differ_from_neuron_to_neuron(kind: str) -> None:
    beta, alpha, threshold = (torch.linspace(low, high, 3) for low, high in ((0.2, 1.2), (0.0, 0.9), (0.5, 1.5)))
    neuron: Any = population(kind, 0.5, 0.5)
    neuron.beta, neuron.threshold = beta, threshold  # a beta beyond 1 counts as 1
    if kind == "synaptic":
        neuron.alpha = alpha
    neuron.graded_spikes_factor = torch.tensor(0.75)
    current, onto = currents()
    spikes, gradient = through(run, neuron, current, onto)
    expected, wanted = through(step_by_step, neuron, current, onto)
    assert torch.equal(spikes, expected)
    assert set(spikes.unique().tolist()) == {0.0, 0.75}
    torch.testing.assert_close(gradient, wanted, rtol=1e-6, atol=1e-6 * float(wanted.abs().max()))


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_is_that_of_the_equations(kind: str) -> None:
    """By hand."""
    # One neuron, two steps; the synaptic one's reset lets the gradient pass, the other's does not.
    neuron: Any = population(kind, 0.5, 0.25)

    def g(v: float) -> float:
        return float((1 + neuron.spike_grad.slope * abs(v - 1)) ** -2)

    x = torch.tensor([[[0.25]], [[0.125]]], dtype=torch.float64, requires_grad=True)
    run(neuron, x)[1].sum().backward()
    keeps = 0.5 if kind == "leaky" else 0.25 + 0.5 * (1 - 0.25 * g(0.25))
    v = 0.25 * (0.5 if kind == "leaky" else 0.25 + 0.5) + 0.125
    assert x.grad is not None
    assert x.grad.flatten().tolist() == pytest.approx([g(v) * keeps, g(v)], rel=1e-12)


ZERO: dict[str, Any] = {"reset_mechanism": "zero", "spike_grad": fused.FastSigmoid(15)}
LOOPED: dict[str, Callable[[], nn.Module]] = {
    "learns its decay": lambda: snn.Leaky(0.9, learn_beta=True, **ZERO),
    "learns its threshold": lambda: snn.Leaky(0.9, learn_threshold=True, **ZERO),
    "subtracts": lambda: snn.Leaky(0.9, **{**ZERO, "reset_mechanism": "subtract"}),
    "another surrogate": lambda: snn.Leaky(0.9, **{**ZERO, "spike_grad": surrogate.atan()}),
    "no delay": lambda: snn.Leaky(0.9, reset_delay=False, **ZERO),
    "a delay": lambda: snn.Synaptic(0.5, 0.9, **ZERO),
    "a coarse state": lambda: snn.Leaky(0.9, state_quant=torch.round, **ZERO),
}


@pytest.mark.parametrize("case", LOOPED)
def test_neurons_with_other_features_are_called_step_by_step(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any) -> Tensor:
        raise AssertionError("fused")

    monkeypatch.setattr(fused, "leaky", never)
    monkeypatch.setattr(fused, "synaptic", never)
    current, onto = currents()
    spikes, gradient = through(run, LOOPED[case](), current, onto)
    expected, wanted = through(step_by_step, LOOPED[case](), current, onto)
    assert torch.equal(spikes, expected)
    assert torch.equal(gradient, wanted)


def test_neurons_of_the_models_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any) -> Tensor:
        raise AssertionError("step by step")

    for kind in KINDS:
        neuron: Any = population(kind, 0.9, 0.5)
        monkeypatch.setattr(type(neuron), "forward", never)
        assert run(neuron, currents()[0]).shape == SHAPE


@pytest.mark.parametrize("kind", KINDS)
def test_under_autocast_the_states_are_float32(kind: str) -> None:
    neuron, layer = population(kind, 0.9, 0.5), nn.Linear(6, 8)
    torch.manual_seed(0)
    x = 3 * torch.rand(20, 4, 6)
    with torch.autocast("cpu", torch.bfloat16):
        current = layer(x)
        spikes = run(neuron, current)
        expected = step_by_step(neuron, current)
    assert spikes.dtype == torch.bfloat16
    assert torch.equal(spikes, expected)
