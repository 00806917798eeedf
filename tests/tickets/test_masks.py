"""Masks: how many weights they keep and which, and that pruned weights take no part in training."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import prune

from snnc import models
from snnc.errors import UsageError
from snnc.models.spiking import SpikingNetwork
from snnc.tickets.masks import Masks, at_random, attach, by_magnitude, plain_state, prunable, sparsity, weights


def conv(seed: int = 0) -> SpikingNetwork:
    torch.manual_seed(seed)
    return models.model("conv")(shape=(1, 8, 8), classes=3, channels=[4, 5])


def flat(masks: Masks) -> np.ndarray:
    return np.concatenate([m.ravel() for m in masks.values()])


def test_only_weights_of_layers_can_be_pruned() -> None:
    model = conv()
    assert list(prunable(model)) == ["layers.0.weight", "layers.4.weight", "layers.9.weight"]
    attach(model, by_magnitude(weights(model), None, 0.5))
    # The names stay, although torch moves a masked weight elsewhere.
    assert list(prunable(model)) == list(weights(model)) == ["layers.0.weight", "layers.4.weight", "layers.9.weight"]
    biased = models.model("mlp")(shape=[4], classes=3, hidden=[5], bias=True)
    assert list(prunable(biased)) == ["layers.1.weight", "layers.3.weight"]


@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=5),
    shares=st.lists(st.floats(0, 1), min_size=2, max_size=2).map(sorted),
    seed=st.integers(0, 1000),
)
def test_counts_are_exact_and_pruned_weights_stay_pruned(sizes: list[int], shares: list[float], seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = ({str(k): rng.normal(size=n) for k, n in enumerate(sizes)} for _ in range(2))
    total = sum(sizes)
    # At most all but one weight of each layer.
    shares = [share * (1 - len(sizes) / total) for share in shares]
    early = by_magnitude(first, None, shares[0])
    # The weights differ by now, and those that were pruned may have become the largest.
    late = by_magnitude({name: w + 9 * ~early[name] for name, w in second.items()}, early, shares[1])
    for masks, share in ((early, shares[0]), (late, shares[1])):
        kept = int(flat(masks).sum())
        assert kept == round((1 - share) * total)
        assert sparsity(masks) == pytest.approx(1 - kept / total)
        assert all(mask.any() for mask in masks.values())
    assert not np.any(flat(late) & ~flat(early))


def test_the_largest_weights_of_the_whole_network_are_kept() -> None:
    """Against torch's own global pruning, over two rounds."""
    ours, theirs = conv(), conv()
    layers = [(layer, "weight") for layer in prunable(theirs).values()]
    total = sum(layer.weight.numel() for layer, _ in layers)
    masks: Masks | None = None
    gone = 0
    for share in (0.6, 0.85):
        masks = by_magnitude(weights(ours), masks, share)
        prune.global_unstructured(layers, prune.L1Unstructured, amount=round(share * total) - gone)
        gone = round(share * total)
        for (layer, _), mask in zip(layers, masks.values(), strict=True):
            assert np.array_equal(layer.weight_mask.numpy().astype(bool), mask)
    assert 1 - sparsity(masks or {}) == pytest.approx(1 - 0.85, abs=1 / total)


def test_a_layer_keeps_its_largest_weight_however_small() -> None:
    masks = by_magnitude({"a": np.array([0.001, -0.003, 0.002]), "b": np.arange(1.0, 8.0)}, None, 0.8)
    assert masks["a"].tolist() == [False, True, False]
    assert masks["b"].tolist() == [False] * 6 + [True]
    ones = {name: np.ones(3) for name in "abc"}
    assert [int(m.sum()) for m in by_magnitude(ones, None, 2 / 3).values()] == [1, 1, 1]
    with pytest.raises(UsageError) as caught:
        by_magnitude(ones, None, 0.8)
    assert caught.value.message == "a sparsity of 0.8 leaves 2 of 9 weights, and a layer would be empty"
    assert (caught.value.where, caught.value.fix) == ("a, b, c", "at most 0.666666 leaves each layer a weight")


def test_in_the_scope_of_layers_each_keeps_the_same_share() -> None:
    """However large the weights of one are beside those of another."""
    found = weights(conv())
    found["layers.0.weight"] = found["layers.0.weight"] * 100
    masks: Masks | None = None
    for share in (0.5, 0.75):
        before, masks = masks, by_magnitude(found, masks, share, "layer")
        for name, mask in masks.items():
            assert mask.sum() == round((1 - share) * mask.size)
            assert np.abs(found[name][mask]).min() >= np.abs(found[name][~mask]).max()
            assert before is None or not np.any(mask & ~before[name])
    # Globally, the large layer keeps everything.
    assert by_magnitude(found, None, 0.5)["layers.0.weight"].all()


def test_ties_go_to_the_first_in_order() -> None:
    same = {"a": np.full((2, 2), -0.5), "b": np.full(4, 0.5)}
    masks = by_magnitude(same, None, 0.5)
    assert masks["a"].tolist() == [[True, True], [True, False]]
    assert masks["b"].tolist() == [True, False, False, False]


def test_random_masks_keep_the_count_of_each_layer() -> None:
    like = by_magnitude(weights(conv()), None, 0.7)
    drawn = at_random(like, seed=1)
    assert [m.shape for m in drawn.values()] == [m.shape for m in like.values()]
    assert [int(m.sum()) for m in drawn.values()] == [int(m.sum()) for m in like.values()]
    assert all(np.array_equal(a, b) for a, b in zip(drawn.values(), at_random(like, seed=1).values(), strict=True))
    for other in (like, at_random(like, seed=2)):
        # Two independent masks of density 0.3 share 0.09 of the places, the same mask 0.3.
        assert np.mean(flat(drawn) & flat(other)) < 0.15


def test_pruned_weights_get_no_gradient_and_stay_zero() -> None:
    model = conv()
    masks = by_magnitude(weights(model), None, 0.8)
    before = plain_state(model)
    attach(model, masks)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    spikes = (torch.rand((6, 16, 1, 8, 8), generator=torch.Generator().manual_seed(0)) < 0.5).float()
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(spikes).sum(0), torch.arange(16) % 3).backward()
        optimizer.step()
    state = plain_state(model)
    for name, layer in prunable(model).items():
        mask = torch.from_numpy(masks[name])
        original = layer.parametrizations.weight.original
        assert original.grad is not None
        assert torch.all(original.grad[~mask] == 0)
        assert torch.any(original.grad[mask] != 0)
        # Zero to the bit: -0.0 would make equal networks differ in their files.
        assert state[name][~mask].numpy().tobytes() == bytes(4 * int((~mask).sum()))
        # Adam moves a weight by about lr whatever its gradient, a pruned one not at all.
        assert torch.all(original[~mask] == before[name][~mask])
        assert torch.any(state[name][mask] != before[name][mask])
    for name in ("layers.1.weight", "layers.1.bias"):  # batch normalisation learns as ever
        assert torch.any(state[name] != before[name])


def test_a_plain_state_is_that_of_a_model_without_masks() -> None:
    model = conv().eval()
    masks = by_magnitude(weights(model), None, 0.5)
    attach(model, masks)
    state = plain_state(model)
    plain = conv(seed=1).eval()
    plain.load_state_dict(state)
    spikes = (torch.rand((4, 3, 1, 8, 8), generator=torch.Generator().manual_seed(0)) < 0.5).float()
    assert torch.equal(plain.layers[0](spikes[0]), model.layers[0](spikes[0]))
    for name, weight in weights(plain).items():
        assert np.array_equal(weight != 0, masks[name])


def test_a_plain_state_is_a_copy() -> None:
    model = conv()
    state = plain_state(model)
    kept: dict[str, Tensor] = {name: value.clone() for name, value in state.items()}
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            tensor += 1
    assert all(torch.equal(state[name], kept[name]) for name in kept)
