"""Connection tickets: which weights act, what a score learns, what stays as it was, and what chips make of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_runs import CONV, MLP
from torch import Tensor, nn

import snnc
from snnc import models, tickets
from snnc.errors import InputError, UsageError
from snnc.models.recipe import Recipe
from snnc.passes.lower import lower
from snnc.tickets import session
from snnc.tickets.checkpoint import Checkpoint, read, save_plain
from snnc.tickets.masks import attached, plain_state, prunable
from snnc.tickets.popup import LR, Selected, search_connections, top
from snnc.tickets.training import Plan, one_thread

BINARY: dict[str, Any] = {"method": "binw-conns", "sparsity": 0.75}
BIASED = MLP.with_args(bias=True)
ORIGINAL = "parametrizations.weight.original"


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    result = tmp_path_factory.mktemp("binary") / "ticket.pt"
    tickets.find(MLP, **BINARY, out=result)
    return result


# --- which weights act ---------------------------------------------------------------------------


@given(scores=st.lists(st.integers(0, 4), min_size=1, max_size=30), share=st.floats(0.01, 1))
def test_the_largest_scores_are_taken_and_of_equal_ones_the_first(scores: list[int], share: float) -> None:
    count = math.ceil(share * len(scores))
    found = top(torch.tensor(scores, dtype=torch.float32).view(1, -1), count)
    wanted = np.zeros(len(scores), bool)
    wanted[np.argsort(-np.array(scores), kind="stable")[:count]] = True
    assert found.tolist() == [wanted.tolist()]


def test_a_score_counts_by_its_size() -> None:
    selected = Selected(torch.Size([1, 5]), 2, binary=False)
    selected.scores.data = torch.tensor([[0.1, -0.9, 0.3, 0.5, -0.2]])
    assert selected.mask.tolist() == [[False, True, False, True, False]]
    weight = torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0]])
    assert selected(weight).tolist() == [[0.0, 2.0, 0.0, 4.0, 0.0]]


def test_binary_weights_are_signs_with_the_mean_magnitude_of_what_is_kept() -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn((20, 30), generator=generator)
    weight[3, 4] = 0.0  # of which the sign is positive
    selected = Selected(weight.shape, 150, binary=True)
    selected.scores.data[3, 4] = 10.0
    acting, mask = selected(weight).detach().numpy(), selected.mask.numpy()
    gain = np.abs(weight.numpy()[mask]).mean()
    assert mask.sum() == 150
    assert np.all(acting[~mask] == 0)
    np.testing.assert_allclose(acting[mask], np.where(weight.numpy()[mask] < 0, -gain, gain), rtol=1e-6)
    assert acting[3, 4] > 0
    assert len(np.unique(np.abs(acting[mask]))) == 1


@pytest.mark.parametrize(
    "make", [lambda: nn.Linear(400, 300), lambda: nn.Conv2d(40, 60, 3), lambda: nn.Conv2d(40, 60, 3, groups=4)]
)
@pytest.mark.parametrize("sparsity", [0.5, 0.95])
def test_the_initial_scale_is_that_of_he_for_the_inputs_that_are_kept(
    make: Callable[[], nn.Module], sparsity: float
) -> None:
    model = nn.Sequential(make())
    search_connections(model, ["0.weight"], sparsity, binary=False, seed=0)
    (weight,) = (p for name, p in model.named_parameters() if name.endswith(ORIGINAL))
    inputs = weight[0].numel() * (1 - sparsity)
    assert weight.std().item() == pytest.approx(math.sqrt(2 / inputs), rel=0.03)
    assert weight.mean().item() == pytest.approx(0, abs=0.05 * weight.std().item())
    (mask,) = attached(model).values()
    assert mask.sum() == round((1 - sparsity) * mask.size)


def test_the_seed_decides() -> None:
    def drawn(seed: int) -> dict[str, Tensor]:
        model = nn.Sequential(nn.Linear(8, 5))
        state = torch.get_rng_state()
        search_connections(model, ["0.weight"], 0.5, binary=True, seed=seed)
        assert torch.equal(torch.get_rng_state(), state)
        return {name: p for name, p in model.named_parameters() if "weight" in name}

    first, again, other = drawn(1), drawn(1), drawn(2)
    assert len(first) == 2  # weights and scores
    assert all(torch.equal(first[name], again[name]) and not torch.equal(first[name], other[name]) for name in first)


def test_an_empty_layer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        tickets.find(MLP, method="conns", sparsity=0.999, out=tmp_path / "a.pt")
    assert caught.value.message == "a sparsity of 0.999 leaves 0 of 160 weights, and a layer would be empty"
    assert caught.value.where == "layers.3.weight"
    assert caught.value.fix.startswith("at most 0.99375 ")
    assert list(tmp_path.iterdir()) == []


# --- what is learned -----------------------------------------------------------------------------


@pytest.mark.parametrize("binary", [False, True])
def test_the_gradient_of_a_score_is_that_of_its_weight_times_the_weight(binary: bool) -> None:
    """Of all scores, also of those whose weights do not act, as if each acted in proportion to its score's size."""
    model = nn.Sequential(nn.Linear(12, 7, bias=False))
    search_connections(model, ["0.weight"], 0.6, binary=binary, seed=3)
    layer: Any = model[0]
    selected: Any = layer.parametrizations.weight[0]
    with torch.no_grad():
        selected.scores[::2] *= -1
    x = torch.randn((5, 12), generator=torch.Generator().manual_seed(1))

    def loss(y: Tensor) -> Tensor:
        return (torch.sigmoid(y) * torch.arange(1, 8)).pow(2).sum()

    loss(model(x)).backward()
    weight = layer.weight.detach().requires_grad_()
    loss(x @ weight.T).backward()
    frozen = layer.parametrizations.weight.original.detach()
    gain = frozen[selected.mask].abs().mean()
    acting = torch.sign(frozen) * gain if binary else frozen
    assert weight.grad is not None
    torch.testing.assert_close(selected.scores.grad, weight.grad * acting * torch.sign(selected.scores.detach()))
    assert (selected.scores.grad[~selected.mask] != 0).all()
    assert layer.parametrizations.weight.original.grad is None


@pytest.mark.parametrize("recipe", [MLP, BIASED, CONV])
@pytest.mark.parametrize("method", ["conns", "binw-conns"])
def test_scores_alone_are_trained(recipe: Recipe, method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fit, states = session.fit, []

    def spied(model: Any, *args: Any, **options: Any) -> None:
        states.append({name: value.clone() for name, value in model.state_dict().items()})
        fit(model, *args, **options)
        states.append({name: value.clone() for name, value in model.state_dict().items()})
        plan: Plan = args[2]
        assert (plan.lr, plan.epochs) == (LR, recipe.epochs)

    monkeypatch.setattr(session, "fit", spied)
    ticket = tickets.find(recipe, method=method, sparsity=0.5, out=tmp_path / "a.pt")
    before, after = states
    for name, value in before.items():
        learned = name.endswith((".scores", "running_mean", "running_var", "tracked"))
        assert torch.equal(value, after[name]) != learned, name
    # The ticket is what acted at the end.
    for name, mask in ticket.masks.items():
        prefix = name.removesuffix("weight")
        frozen = after[prefix + ORIGINAL].numpy()
        scores = np.abs(after[prefix + "parametrizations.weight.0.scores"].numpy())
        assert mask.sum() == round(0.5 * mask.size)
        assert scores[mask].min() >= scores[~mask].max()
        acting = np.where(frozen < 0, -1, 1) * np.abs(frozen[mask]).mean() if method == "binw-conns" else frozen
        np.testing.assert_allclose(ticket.state_dict[name].numpy(), np.where(mask, acting, 0), rtol=1e-6)
    assert (ticket.parent, ticket.log[-1]["sparsity"]) == (None, pytest.approx(0.5, abs=1e-3))
    assert [entry["stage"] for entry in ticket.log] == [method] * (recipe.epochs + 1)


def test_a_search_learns(path: Path) -> None:
    log = read(path).log
    losses = [entry["loss"] for entry in log if "loss" in entry]
    assert losses == sorted(losses, reverse=True)
    assert read(path).accuracy["test"] > 0.3  # a guess is right for one in ten


# --- what is kept --------------------------------------------------------------------------------


def test_the_file_holds_masks_signs_and_a_gain_for_each_layer(path: Path, tmp_path: Path) -> None:
    checkpoint = read(path)
    plain = torch.load(path, weights_only=True)
    for name, mask in checkpoint.masks.items():
        entry, weight = plain["masks"][name], checkpoint.state_dict[name].numpy()
        assert set(entry) == {"shape", "bits", "signs", "gain"}
        assert name not in plain["state_dict"]
        assert entry["signs"].numel() == math.ceil(mask.sum() / 8)
        signs = np.unpackbits(entry["signs"].numpy(), count=int(mask.sum())).astype(bool)
        assert np.array_equal(weight[mask], np.where(signs, -entry["gain"], entry["gain"]).astype(np.float32))
        assert not weight[~mask].any()
        assert weight.dtype == np.float32
    assert not any("scores" in name or "parametrizations" in name for name in plain["state_dict"])
    checkpoint.save(tmp_path / "again.pt")
    assert (tmp_path / "again.pt").read_bytes() == path.read_bytes()
    # The same network with weights of two magnitudes is stored as floats.
    weights = {name: w.clone() for name, w in checkpoint.state_dict.items()}
    for name, mask in checkpoint.masks.items():
        weights[name][tuple(int(k) for k in np.argwhere(mask)[0])] *= 2
    replace(checkpoint, state_dict=weights).save(tmp_path / "floats.pt")
    floats = torch.load(tmp_path / "floats.pt", weights_only=True)
    assert all(name in floats["state_dict"] for name in checkpoint.masks)
    assert path.stat().st_size < (tmp_path / "floats.pt").stat().st_size - 4 * 1184 + 200


CASES: dict[str, Any] = {
    "no signs": lambda entry: entry.pop("signs"),
    "no gain": lambda entry: entry.pop("gain"),
    "more": lambda entry: entry.update(more=1),
    "a gain of nothing": lambda entry: entry.update(gain=0.0),
    "a negative gain": lambda entry: entry.update(gain=-0.5),
    "a gain that is none": lambda entry: entry.update(gain=float("nan")),
    "an infinite gain": lambda entry: entry.update(gain=float("inf")),
    "a gain as text": lambda entry: entry.update(gain="1"),
    "too few signs": lambda entry: entry.update(signs=entry["signs"][:-1].clone()),
    "signs as floats": lambda entry: entry.update(signs=entry["signs"].float()),
    "signs that are not stored": lambda entry: entry.update(signs=torch.zeros(1, dtype=torch.uint8).expand(32)),
}


@pytest.mark.parametrize("case", CASES)
def test_wrong_signs_are_named(case: str, path: Path, tmp_path: Path) -> None:
    plain = torch.load(path, weights_only=True)
    CASES[case](plain["masks"]["layers.1.weight"])
    save_plain(plain, tmp_path / "a.pt")
    with pytest.raises(InputError) as caught:
        read(tmp_path / "a.pt")
    assert caught.value.message == "the mask of 'layers.1.weight' has not a sign for each weight and a positive gain"
    assert caught.value.where == str(tmp_path / "a.pt")


def test_a_weight_is_not_there_twice(path: Path, tmp_path: Path) -> None:
    plain = torch.load(path, weights_only=True)
    plain["state_dict"]["layers.1.weight"] = torch.zeros(16, 64)
    save_plain(plain, tmp_path / "a.pt")
    with pytest.raises(InputError, match=r"'layers.1.weight' is there twice, as a tensor and as signs"):
        read(tmp_path / "a.pt")


@pytest.mark.parametrize("method", ["conns", "binw-conns"])
@pytest.mark.parametrize("epoch", [1, 3])
def test_a_resumed_search_gives_the_same_file(method: str, epoch: int, tmp_path: Path) -> None:
    def stop(stage: str, done: int, total: int, note: str) -> None:
        if done == epoch:
            raise KeyboardInterrupt

    request: dict[str, Any] = {"method": method, "sparsity": 0.75}
    tickets.find(MLP, **request, out=tmp_path / "a.pt")
    with pytest.raises(KeyboardInterrupt):
        tickets.find(MLP, **request, out=tmp_path / "b.pt", progress=stop)
    tickets.find(MLP, **request, out=tmp_path / "b.pt", resume=True)
    assert (tmp_path / "b.pt").read_bytes() == (tmp_path / "a.pt").read_bytes()


def test_the_plain_state_of_a_search_is_that_of_a_network_without_one() -> None:
    model, other = (models.model("conv")(shape=(1, 8, 8), classes=3, channels=[4]) for _ in range(2))
    search_connections(model, list(prunable(model)), 0.5, binary=True, seed=0)
    other.load_state_dict(plain_state(model))
    spikes = (torch.rand((4, 3, 1, 8, 8), generator=torch.Generator().manual_seed(0)) < 0.5).float()
    model.eval(), other.eval()
    for (_, a), (_, b) in zip(model.trace(spikes), other.trace(spikes), strict=True):
        assert torch.equal(a, b)


# --- what a chip makes of them -------------------------------------------------------------------


def test_integers_are_one_magnitude_and_its_negative_exactly(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    tickets.find(MLP, method="binw-conns", sparsity=0.5, out=path)
    network = snnc.load(path)
    image = snnc.compile(network, "loihi", data=snnc.data("digits:steps=4", "validation"), map="layers")
    ticket: Checkpoint = read(path)
    layers = list(image.network.projections)
    assert len(layers) == 2
    for floats, stored, mask in zip(lower(network).projections, layers, ticket.masks.values(), strict=True):
        wanted, found = floats.ops[-1].weight.toarray(), stored.ops[-1].weight.toarray()  # type: ignore[union-attr]
        assert found.shape == wanted.shape  # no neuron is dead here, so none is removed
        (q,) = np.unique(np.abs(found[found != 0]))
        assert np.array_equal(found, q * np.sign(wanted))
        assert np.array_equal(found != 0, mask)
