"""Patch tickets: which patches are kept, what choosing costs, and that a connection ticket in the embedding stays."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import MLP, equal, watched
from torch import Tensor

from snnc import models, tickets
from snnc.errors import UsageError
from snnc.models import data
from snnc.models.spikformer import Spikformer
from snnc.tickets import session
from snnc.tickets.checkpoint import Checkpoint, read

# 16 patches of 2x2 pixels.
SMALL = replace(
    models.recipe("spikformer").with_args(dim=16, heads=2, mlp_ratio=1),
    data="digits:steps=2", epochs=2, batch=64, lr=2e-2,
)  # fmt: skip
TOKENS = 16
CONV = "embedding.conv.weight"
COSTS = ("synops", "updates", "additions", "comparisons")


def find(folder: Path, name: str = "a.pt", **options: Any) -> Checkpoint:
    return tickets.find(SMALL, out=folder / name, **{"method": "patchs", "patches": 0.5, **options})


def note(checkpoint: Checkpoint) -> dict[str, Any]:
    (found,) = (entry for entry in checkpoint.log if entry["stage"] == "patches")
    return found


@pytest.fixture(scope="module")
def fixed(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return find(tmp_path_factory.mktemp("fixed"))


# --- which patches -------------------------------------------------------------------------------


def inputs(split: str = "train", spec: str = SMALL.data) -> Tensor:
    return torch.from_numpy(getattr(data.load(spec), split).spikes).transpose(0, 1).float()


def best_of(scores: np.ndarray, count: int) -> list[int]:
    return sorted(int(k) for k in np.argsort(-scores, kind="stable")[:count])


def test_fixed_patches_are_the_best_in_the_mean_over_all_training_samples(fixed: Checkpoint) -> None:
    """Of the embedding's spikes in the dense network, which is the parent."""
    assert fixed.parent is not None
    dense = fixed.module(parent=True)
    assert fixed.parent.args["patches"] is None
    with torch.no_grad():
        spikes = next(spikes for name, spikes in dense.trace(inputs()) if name == "embedding")
    assert spikes.shape[2] == TOKENS
    rates = spikes.double().mean((0, 1, 3)).numpy()
    assert len(np.unique(rates)) == TOKENS
    assert fixed.args["patches"] == {"keep": best_of(rates, 8)}
    assert (note(fixed)["kept"], note(fixed)["of"]) == (8, TOKENS)
    # No selector is left that could cost anything.
    assert {name: note(fixed)[f"selector {name}"] for name in COSTS} == dict.fromkeys(COSTS, 0.0)
    assert fixed.masks == {}


def test_by_events_they_are_those_with_most_spikes_in_the_input(tmp_path: Path) -> None:
    found = find(tmp_path, score="events")
    events = inputs().numpy().mean((0, 1, 2)).reshape(4, 2, 4, 2).mean((1, 3)).ravel()
    assert found.args["patches"] == {"keep": best_of(events, 8)}


@pytest.mark.parametrize(("share", "count"), [(0.31, 11), (0.5, 8), (0.99, 1)])
def test_so_many_patches_are_kept(share: float, count: int, tmp_path: Path) -> None:
    found = find(tmp_path, patches=share, epochs=1, control="random-patches")
    assert len(found.args["patches"]["keep"]) == count


def test_a_student_learns_from_new_weights_on_its_patches_alone(tmp_path: Path) -> None:
    with watched() as spy:
        find(tmp_path)
    assert [name for name, _ in spy.stages] == ["dense", "patchs"]
    dense, student = spy.fits
    assert not torch.equal(student.states[0][CONV], dense.states[0][CONV])
    assert not torch.equal(student.states[0][CONV], dense.states[SMALL.epochs][CONV])
    assert student.plan.epochs == SMALL.epochs


def test_a_selector_of_each_sample_is_part_of_the_network_and_its_cost_is_told(tmp_path: Path) -> None:
    found = find(tmp_path, selector="sample")
    assert found.args["patches"] == {"count": 8, "score": "rate"}
    model = read(tmp_path / "a.pt").module()
    assert isinstance(model, Spikformer)
    validation = inputs("validation")
    with torch.no_grad():
        ids = model.choose(validation)
    assert len({tuple(row) for row in ids.tolist()}) > 10
    cost = model.selection_cost(validation)
    assert {name: note(found)[f"selector {name}"] for name in COSTS} == pytest.approx(cost)
    # All patches are embedded: each spike of the input meets the live weights behind it once.
    live = (found.state_dict[CONV] != 0).sum((0, 1)).repeat(4, 4)
    assert cost["synops"] == pytest.approx(float((validation.double() * live).sum()) / validation.shape[1])
    assert cost["updates"] == SMALL.args["dim"] * TOKENS * 2  # steps
    assert cost["comparisons"] == sum(min(k, 8) for k in range(TOKENS))


def test_the_control_keeps_as_many_at_random(fixed: Checkpoint, tmp_path: Path) -> None:
    other, again, third = (find(tmp_path, f"{k}.pt", control="random-patches", seed=s) for k, s in enumerate((0, 0, 1)))
    keep = other.args["patches"]["keep"]
    assert len(keep) == 8
    assert keep == sorted(set(keep))
    assert again.args == other.args
    assert keep != fixed.args["patches"]["keep"]
    assert keep != third.args["patches"]["keep"]
    # Nothing else is another: the dense network, and the initial weights (of another stream they would be others).
    assert other.parent is not None
    assert fixed.parent is not None
    assert equal(other.parent.state_dict, fixed.parent.state_dict)
    sample = find(tmp_path, selector="sample", control="random-patches")
    assert sample.args["patches"] == {"count": 8, "score": "random"}
    assert note(sample)["selector synops"] == note(sample)["selector additions"] == 0


def test_ticket_and_control_start_alike(tmp_path: Path) -> None:
    with watched() as ticket:
        find(tmp_path, selector="sample")
    with watched() as control:
        find(tmp_path, selector="sample", control="random-patches")
    assert equal(ticket.fits[1].states[0], control.fits[1].states[0])
    assert ticket.fits[1].plan == control.fits[1].plan


def test_the_file_brings_the_patches_of_ticket_and_parent(fixed: Checkpoint, tmp_path: Path) -> None:
    fixed.save(tmp_path / "a.pt")
    again = read(tmp_path / "a.pt")
    ticket, dense = again.module(), again.module(parent=True)
    assert isinstance(ticket, Spikformer)
    assert isinstance(dense, Spikformer)
    assert ticket.kept is not None
    assert (ticket.kept.tolist(), dense.kept) == (fixed.args["patches"]["keep"], None)
    again.save(tmp_path / "b.pt")
    assert (tmp_path / "b.pt").read_bytes() == (tmp_path / "a.pt").read_bytes()


# --- connection and patch tickets at once -------------------------------------------------------


class Embeddings:
    """Raw states of the embedding before and after each training."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.models: list[Any] = []
        self.states: list[dict[str, Tensor]] = []
        fit = session.fit

        def spied(model: Any, *args: Any, **options: Any) -> None:
            self.models.append(model)
            self.states.append(self.of(model))
            fit(model, *args, **options)
            self.states.append(self.of(model))

        monkeypatch.setattr(session, "fit", spied)

    @staticmethod
    def of(model: Any) -> dict[str, Tensor]:
        return {name: v.clone() for name, v in model.state_dict().items() if name.startswith("embedding.")}


ECPT: dict[str, Any] = {"method": "ecpt", "sparsity": 0.5}
LEARNED = ("running_mean", "running_var", "num_batches_tracked")


@pytest.mark.parametrize("binary", [False, True])
def test_the_embedding_is_a_connection_ticket_and_stays(
    binary: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spied = Embeddings(monkeypatch)
    found = find(tmp_path, **ECPT, binary=binary)
    assert [type(m).__name__ for m in spied.models] == ["Spikformer", "Probe", "Spikformer"]
    _, _, start, end, before, after = spied.states
    weight, scores = (
        "embedding.conv.parametrizations.weight.original",
        "embedding.conv.parametrizations.weight.0.scores",
    )
    # Of the search, scores alone are trained, and in the last training nothing at all of the embedding.
    for name, value in start.items():
        assert torch.equal(value, end[name]) != (name == scores or name.endswith(LEARNED)), name
    for name, value in before.items():
        assert torch.equal(value, after[name]) or name.endswith(LEARNED), name
    # The mask keeps exactly the largest scores; in binary tickets one gain, the mean magnitude of what is kept.
    mask = found.masks[CONV]
    assert mask.sum() == round(0.5 * mask.size)
    assert np.abs(end[scores].numpy())[mask].min() >= np.abs(end[scores].numpy())[~mask].max()
    frozen = end[weight].numpy()
    acting = np.sign(frozen) * np.abs(frozen[mask]).mean() if binary else frozen
    np.testing.assert_allclose(found.state_dict[CONV].numpy(), np.where(mask, acting, 0), rtol=1e-6)
    assert torch.equal(found.state_dict["embedding.position"], start["embedding.position"])
    # Nothing else is pruned, and the embedding's parametrization and classifier are gone.
    assert all(m.all() for name, m in found.masks.items() if name != CONV)
    assert set(found.state_dict) == set(models.model("spikformer")(**found.args).state_dict())
    assert found.state_dict["head.weight"].shape == (10, SMALL.args["dim"])
    plain = torch.load(tmp_path / "a.pt", weights_only=True)
    assert ("gain" in plain["masks"][CONV]) == binary
    assert (CONV in plain["state_dict"]) != binary


def test_the_encoder_is_trained_behind_it(tmp_path: Path) -> None:
    with watched() as spy:
        find(tmp_path, **ECPT)
    assert [name for name, _ in spy.stages] == ["dense", "embedding", "ecpt"]
    states = spy.fits[2].states
    for name, value in states[0].items():
        if "head" in name or (name.startswith("blocks") and name.endswith("linear.weight")):
            assert not torch.equal(value, states[SMALL.epochs][name]), name


def test_its_patches_are_those_that_the_ticket_of_the_embedding_finds_best(tmp_path: Path) -> None:
    """By the embedding as it was before the last training, whose normalisation knew all patches."""
    with watched() as spy:
        found = find(tmp_path, **ECPT)
    end = spy.fits[1].states[SMALL.epochs]
    model = models.model("spikformer")(**{**found.args, "patches": None}).eval()
    own = model.state_dict()
    model.load_state_dict(own | {name: value for name, value in end.items() if name.startswith("embedding.")})
    with torch.no_grad():
        spikes = next(spikes for name, spikes in model.trace(inputs()) if name == "embedding")
    assert found.args["patches"] == {"keep": best_of(spikes.double().mean((0, 1, 3)).numpy(), 8)}


@pytest.mark.parametrize(
    ("options", "epoch"), [({}, 3), ({**ECPT, "binary": True}, 3), ({**ECPT, "selector": "sample"}, 5)]
)
def test_a_resumed_search_gives_the_same_file(options: dict[str, Any], epoch: int, tmp_path: Path) -> None:
    count = 0

    def stop(*_: Any) -> None:
        nonlocal count
        count += 1
        if count == epoch:
            raise KeyboardInterrupt

    find(tmp_path, "whole.pt", **options)
    with pytest.raises(KeyboardInterrupt):
        find(tmp_path, **options, progress=stop)
    find(tmp_path, **options, resume=True)
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "whole.pt").read_bytes()


# --- what cannot be ------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["patchs", "ecpt"])
def test_a_network_without_patches_is_refused(method: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        tickets.find(MLP, method=method, out=tmp_path / "a.pt")
    assert caught.value.message == "model 'mlp' has no patch embedding, so there are no patches to choose"
    assert caught.value.fix == "take recipe spikformer, or a method for connections: imp, conns, binw-conns"
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_score_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        find(tmp_path, score="rates")
    assert caught.value.message == "there is no score 'rates'"
    assert caught.value.fix == "scores: rate, events, random"
    assert list(tmp_path.iterdir()) == []


def test_an_empty_embedding_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        find(tmp_path, method="ecpt", sparsity=0.999, epochs=1)
    assert caught.value.message == "a sparsity of 0.999 leaves 0 of 64 weights, and a layer would be empty"
    assert caught.value.where == CONV
    assert math.isclose(float(caught.value.fix.split()[2]), 1 - 1 / 64, abs_tol=1e-4)
