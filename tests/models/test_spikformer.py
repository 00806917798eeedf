"""Spikformer: its equations, its patch tickets, what choosing costs, and that it learns the digits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from snnc import models
from snnc.errors import UsageError
from snnc.models import data
from snnc.models.embedding import cut
from snnc.models.selection import SCORES, best
from snnc.models.spikformer import Spikformer
from snnc.tickets.masks import prunable
from snnc.tickets.training import Plan, Snapshot, evaluate, fit, one_thread, seeded

SHAPE = (2, 8, 8)
EMBEDDINGS = ("patchwise", "staged")


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    with one_thread():
        yield


def build(**args: Any) -> Spikformer:
    torch.manual_seed(0)
    model = models.model("spikformer")(**{"shape": SHAPE, "classes": 3, "dim": 16, "heads": 2, **args})
    assert isinstance(model, Spikformer)
    return model


def settled(**args: Any) -> Spikformer:
    """A model in evaluation mode, whose normalisation knows the noise, so that all its layers spike."""
    model = build(**args)
    for norm in model.modules():
        if isinstance(norm, (nn.BatchNorm1d, nn.BatchNorm2d)):
            norm.momentum = 1.0
    with torch.no_grad():
        model(noise(8, 20))
    return model.eval()


def noise(steps: int = 4, batch: int = 5) -> Tensor:
    """Patches of different rates."""
    generator = torch.Generator().manual_seed(1)
    rates = torch.rand((1, batch, *SHAPE), generator=generator)
    return (torch.rand((steps, batch, *SHAPE), generator=generator) < rates).float()


@torch.no_grad()
def test_a_block_is_its_equations() -> None:
    """Against einsum and a loop over the heads, in float64."""
    model = settled(dim=32).double()
    spikes = noise(8).double()
    traced = dict(model.trace(spikes))
    x = model.embed(spikes)
    q, k, v = (traced[f"block1.{name}"].unflatten(3, (2, 16)) for name in "qkv")
    current = torch.stack([
        torch.einsum("sbid,sbjd,sbje->sbie", q[..., h, :], k[..., h, :], v[..., h, :]) for h in range(2)
    ], 3).flatten(3) * 0.25  # fmt: skip
    membrane = torch.zeros_like(current[0])
    for step, now in enumerate(current):
        membrane = 0.5 * membrane + now
        assert torch.equal(traced["block1.attention"][step], (membrane > 1).double())
        membrane = membrane * (membrane <= 1)
    last = x + traced["block1.out"] + traced["block1.fc2"]
    expected = functional.linear(last.mean(2), model.head.weight, model.head.bias)
    torch.testing.assert_close(traced["output"], expected, rtol=1e-12, atol=1e-12)
    assert all(0 < float(traced[f"block1.{name}"].mean()) < 1 for name in ("q", "attention", "out", "fc1", "fc2"))


@torch.no_grad()
def test_patchwise_is_a_convolution_with_the_stride_of_a_patch() -> None:
    model = build().double().eval()
    spikes = noise().double()
    patches = cut(spikes, 2)
    assert torch.equal(patches[1, 2, 6], spikes[1, 2, :, 2:4, 4:6])  # the second row of four, third column
    layer = model.embedding
    whole = functional.conv2d(spikes.flatten(0, 1), layer.conv.weight, stride=2).flatten(2).mT
    parts = layer.conv(patches.flatten(0, 2)).flatten(1)
    torch.testing.assert_close(parts.reshape(whole.shape), whole, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("embedding", EMBEDDINGS)
@torch.no_grad()
def test_a_fixed_ticket_attends_to_its_patches_alone(embedding: str) -> None:
    everything, ticket = (
        build(embedding=embedding).eval(),
        build(embedding=embedding, patches={"keep": [1, 6, 7]}).eval(),
    )
    ticket.load_state_dict(everything.state_dict())  # the same tensors, whatever is kept
    spikes = noise()
    assert torch.equal(ticket.embed(spikes), everything.embed(spikes)[:, :, [1, 6, 7]])
    shapes = {name: tuple(part.shape) for name, part in ticket.trace(spikes) if name.startswith("block")}
    assert set(shapes.values()) == {(4, 5, 3, 16), (4, 5, 3, 64)}
    assert ticket.choose(spikes).tolist() == [[1, 6, 7]] * 5
    assert ticket.tokens == 16


@torch.no_grad()
def test_patches_out_of_a_fixed_ticket_are_never_looked_at() -> None:
    ticket = build(patches={"keep": [1, 6, 7]}).eval()
    spikes = noise()
    outside = spikes.clone()
    outside[..., 4:, :] = torch.nan  # rows of the patches 8 to 15
    assert torch.equal(ticket(outside), ticket(spikes))
    calls: list[torch.Size] = []
    ticket.embedding.conv.register_forward_hook(lambda _, args, __: calls.append(args[0].shape))
    ticket(spikes)
    assert calls == [(4 * 5 * 3, 2, 2, 2)]


@pytest.mark.parametrize("embedding", EMBEDDINGS)
@pytest.mark.parametrize("score", ["rate", "events"])
@torch.no_grad()
def test_the_patches_with_most_spikes_are_chosen_for_each_sample(score: str, embedding: str) -> None:
    everything = settled(embedding=embedding)
    model = build(embedding=embedding, patches={"count": 5, "score": score}).eval()
    model.load_state_dict(everything.state_dict())
    spikes = noise()
    values = everything.embed(spikes) if score == "rate" else cut(spikes, 2).flatten(3)
    rates = values.double().mean((0, 3)).numpy()
    expected = [sorted(sorted(range(16), key=lambda k: (-row[k], k))[:5]) for row in rates]
    chosen = model.choose(spikes)
    assert chosen.tolist() == expected
    assert len(np.unique(expected, axis=0)) > 1
    # What comes behind sees just these, as a fixed ticket of a sample alone does.
    for sample, keep in enumerate(expected):
        fixed = build(embedding=embedding, patches={"keep": keep}).eval()
        fixed.load_state_dict(everything.state_dict())
        assert torch.equal(fixed(spikes[:, [sample]])[:, 0], model(spikes)[:, sample])


def test_equal_scores_go_to_the_first_patches() -> None:
    scores = torch.tensor([[1.0, 2.0, 2.0, 2.0, 0.0], [0.0] * 5])
    assert best(scores, 3).tolist() == [[1, 2, 3], [0, 1, 2]]


@torch.no_grad()
def test_random_patches_are_new_in_training_and_fixed_in_evaluation() -> None:
    model = build(patches={"count": 5, "score": "random"})
    spikes = noise(batch=40)
    torch.manual_seed(7)
    first, second = model.choose(spikes), model.choose(spikes)
    assert not torch.equal(first, second)
    torch.manual_seed(7)
    assert torch.equal(model.choose(spikes), first)
    model.eval()
    state = torch.get_rng_state()
    fixed = model.choose(spikes)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(model.choose(1 - spikes), fixed)
    assert torch.equal(model.choose(spikes[:, :9]), fixed[:9])  # by the place in the batch
    assert fixed.shape == (40, 5)
    assert bool((fixed.diff(dim=1) > 0).all())
    assert len(fixed.unique()) == 16
    assert len(fixed.unique(dim=0)) > 30


def test_other_scores_can_be_added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SCORES, "last", lambda x: torch.arange(x.shape[2]).expand(x.shape[1], -1))
    assert build(patches={"count": 2, "score": "last"}).choose(noise()).tolist() == [[14, 15]] * 5


def test_gradients_reach_the_embedding_through_the_chosen_patches() -> None:
    model = build(dim=32, patches={"count": 8, "score": "rate"})
    model(noise(8)).square().sum().backward()
    layers = prunable(model)
    assert next(iter(layers)) == "embedding.conv.weight"
    for name, layer in layers.items():
        assert layer.weight.grad is not None, name
        assert bool(layer.weight.grad.any()), name


@pytest.mark.parametrize("embedding", EMBEDDINGS)
@torch.no_grad()
def test_what_choosing_costs_is_counted(embedding: str) -> None:
    spikes = noise(steps=3, batch=4)
    everything = settled(embedding=embedding)
    weight = next(iter(prunable(everything).values())).weight
    weight[:3] = 0
    model = build(embedding=embedding, patches={"count": 3, "score": "rate"}).eval()
    model.load_state_dict(everything.state_dict())
    cost = model.selection_cost(spikes)
    assert cost["additions"] == float((everything.embed(spikes) != 0).sum()) / 4
    # The first three tokens fill an empty list of three: 0 + 1 + 2; the others meet three each.
    assert cost["comparisons"] == 3 + 13 * 3
    if embedding == "patchwise":
        assert cost["synops"] == float(spikes.sum()) * 13 / 4  # of sixteen features three have no weights
        assert cost["updates"] == 3 * 16 * 16
    else:
        # Each stage: places of a spike in windows of three by three, times the features that have weights.
        traced = dict(everything.trace(spikes))
        pooled = functional.max_pool2d(traced["conv4"].flatten(0, 1), 2).unflatten(0, (3, 4))
        fed = [(spikes, 0), (traced["conv1"], 4), (traced["conv2"], 8), (traced["conv3"], 16), (pooled, 16)]
        expected = sum(float((x * hits(x.shape[3])).sum()) * features for x, features in fed)
        assert cost["synops"] == expected / 4
        assert cost["updates"] == 3 * (64 * (2 + 4 + 8 + 16) + 16 * 16)


def hits(side: int) -> Tensor:
    """Windows of three by three that each place of an image lies in."""
    ones = torch.ones(1, 1, side, side)
    return functional.conv2d(ones, torch.ones(1, 1, 3, 3), padding=1)[0, 0]


@torch.no_grad()
def test_early_and_fixed_choices_cost_less() -> None:
    spikes = noise(batch=4)

    def cost(patches: Any) -> dict[str, float]:
        return build(patches=patches).eval().selection_cost(spikes)

    assert set(cost(None).values()) == set(cost({"keep": [2]}).values()) == {0.0}
    events = cost({"count": 2, "score": "events"})
    assert (events["synops"], events["updates"], events["additions"]) == (0, 0, float(spikes.sum()) / 4)
    assert cost({"count": 2, "score": "random"}) | {"comparisons": 0} == dict.fromkeys(events, 0.0)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"dim": 10, "heads": 4}, "dim must be a multiple of heads; got 10 and 4"),
        ({"dim": 0}, "dim must be a positive whole number, got 0"),
        ({"depth": 65}, "depth must be at most 64, got 65"),
        ({"mlp_ratio": 2.0}, "mlp_ratio must be a positive whole number, got 2.0"),
        ({"patch": 3}, "images of 8x8 do not divide into patches of 3x3"),
        ({"embedding": "conv"}, "embedding must be one of patchwise, staged; got 'conv'"),
        ({"embedding": "staged", "dim": 20, "heads": 2}, "dim must be a multiple of 8"),
        ({"embedding": "staged", "shape": (1, 9, 9), "patch": 3}, "patch must be 1, 2, 4, 8 or 16"),
        ({"scale": 0}, "scale must be a number above 0 and up to 1, got 0"),
        ({"beta": 2}, "beta is what the neuron keeps"),
        ({"patches": [1]}, "patches must be null, {keep}, or {count, score}; got [1]"),
        ({"patches": {"keep": [3, 1]}}, "keep must be different patches of 0 to 15, in order; got [3, 1]"),
        ({"patches": {"keep": []}}, "keep must be different patches"),
        ({"patches": {"keep": [16]}}, "keep must be different patches"),
        ({"patches": {"count": 17, "score": "rate"}}, "count is 17, but an image has 16 patches"),
        ({"patches": {"count": 2}}, "patches must be null"),
        ({"patches": {"count": 2, "score": "size"}}, "score must be one of rate, events, random; got 'size'"),
    ],
)
def test_an_impossible_argument_is_named(args: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        build(**args)
    assert message in caught.value.message


def test_it_learns_the_digits() -> None:
    """The mean of two seeds: of 150 samples alone a share of 95 % has a deviation of 1.8 points."""
    recipe = models.recipe("spikformer")
    digits = data.load(recipe.data)
    shares = []
    for seed in (0, 1):
        with seeded(seed):
            model = models.model("spikformer")(shape=digits.shape, classes=10, **recipe.args)
        snapshots: list[Snapshot] = []
        plan = Plan(recipe.epochs, recipe.batch, recipe.lr, seed)
        fit(model, digits.train, digits.validation, plan, start=None, after=snapshots.append)
        right, rates = evaluate(model, digits.validation)
        shares.append(right)
        assert min(rates.values()) > 0.01
    assert np.mean(shares) >= 0.95
