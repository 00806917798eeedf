"""Early tickets: when a mask stands still, how many steps are enough, and that a resumed search remembers both."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import entropy
from small_runs import MLP, WEIGHTS, equal, watched

from snnc import tickets
from snnc.models import data
from snnc.tickets import early
from snnc.tickets.checkpoint import read
from snnc.tickets.early import distance, enough
from snnc.tickets.masks import by_magnitude

REQUEST: dict[str, Any] = {"method": "early-bird", "sparsity": 0.8}
SLOW = replace(MLP, epochs=7)


# --- standing still ------------------------------------------------------------------------------


def bits(*places: int) -> torch.Tensor:
    mask = np.zeros(16, bool)
    mask[list(places)] = True
    return torch.from_numpy(np.packbits(mask))


def test_the_distance_is_to_the_farthest_of_the_window() -> None:
    assert distance([bits(1, 2), bits(1, 2)]) == 0
    assert distance([bits(1, 2), bits(1, 3)]) == 2 / 16
    assert distance([bits(4, 5), bits(1, 2), bits(1, 3)]) == 4 / 16
    assert distance([bits(1, 3), bits(4, 5), bits(1, 3)]) == 4 / 16


def stop_after(epochs: int) -> Any:
    """A progress that interrupts after so many epochs of all stages together."""
    count = 0

    def progress(*_: Any) -> None:
        nonlocal count
        count += 1
        if count == epochs:
            raise KeyboardInterrupt

    return progress


def test_the_training_ends_when_the_mask_stands_still(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against distances that are computed again from the weights after each epoch."""
    out = tmp_path / "a.pt"
    monkeypatch.setattr(early, "STILL", 0.0)
    with watched() as spy:
        tickets.find(SLOW, **REQUEST, out=out)
    states = spy.fits[0].states
    assert max(states) == SLOW.epochs  # never still enough
    masks = [
        by_magnitude({n: w.numpy() for n, w in states[e].items() if n.endswith("weight")}, None, 0.8)
        for e in range(1, SLOW.epochs + 1)
    ]
    flat = [np.concatenate([m.ravel() for m in each.values()]) for each in masks]
    moved = {e: max(np.mean(flat[e] != flat[e - k]) for k in range(1, 5)) for e in range(4, SLOW.epochs)}
    assert moved[6] < moved[5] < moved[4]
    for still, last in ((1.01 * moved[5], 6), (1.01 * moved[6], 7), (1.0, 5)):
        # What may move is in proportion to the share of weights that are kept.
        monkeypatch.setattr(early, "STILL", still / (1 - 0.8))
        with watched() as spy:
            ticket = tickets.find(SLOW, **REQUEST, out=out)
        dense, final = spy.fits
        assert max(dense.states) == last
        # The mask is that of the moment, and the weights are trained on from there, for all epochs.
        assert all(np.array_equal(ticket.masks[name], mask) for name, mask in masks[last - 1].items())
        for name, mask in ticket.masks.items():
            assert np.array_equal(final.states[0][name].numpy(), np.where(mask, dense.states[last][name].numpy(), 0))
        assert (max(final.states), final.start) == (SLOW.epochs, None)
        assert ticket.parent is not None
        assert equal(ticket.parent.state_dict, dense.states[last])
        assert [name for name, _ in spy.stages] == ["dense", "early-bird"]


@pytest.mark.parametrize("epoch", [4, 5, 8])
def test_a_resumed_search_remembers_the_masks(epoch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the mask stands still, in that very epoch, and in the training of the ticket."""
    monkeypatch.setattr(early, "STILL", 10.0)
    whole, out = tmp_path / "whole.pt", tmp_path / "a.pt"
    tickets.find(SLOW, **REQUEST, out=whole)
    assert [e["epoch"] for e in read(whole).log if e["stage"] == "dense" and "epoch" in e] == [1, 2, 3, 4, 5]
    with pytest.raises(KeyboardInterrupt):
        tickets.find(SLOW, **REQUEST, out=out, progress=stop_after(epoch))
    tickets.find(SLOW, **REQUEST, out=out, resume=True)
    assert out.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("control", ["random-mask", "reinit"])
def test_controls_differ_in_what_they_are_named_for(control: str, tmp_path: Path) -> None:
    ticket = tickets.find(MLP, **REQUEST, out=tmp_path / "a.pt")
    with watched() as spy:
        other = tickets.find(MLP, **REQUEST, control=control, out=tmp_path / "b.pt")
    assert [name for name, _ in spy.stages] == ["dense", control]
    same = [np.array_equal(other.masks[name], mask) for name, mask in ticket.masks.items()]
    assert all(same) if control == "reinit" else not any(same)
    assert [m.sum() for m in other.masks.values()] == [m.sum() for m in ticket.masks.values()]
    start, dense = spy.fits[1].states[0], spy.fits[0].states[MLP.epochs]
    for name, mask in other.masks.items():
        kept = start[name].numpy()[mask] == dense[name].numpy()[mask]
        assert not kept.any() if control == "reinit" else kept.all()
    assert spy.fits[1].plan.epochs == MLP.epochs


# --- enough steps --------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_enough_is_the_first_step_whose_divergence_is_near(seed: int) -> None:
    """The divergences by scipy."""
    rng = np.random.default_rng(seed)
    outputs = rng.random((7, 9, 4)) + np.eye(4)[rng.integers(4, size=9)] * rng.random()
    predicted = softmax(outputs.cumsum(0), axis=-1)
    left = entropy(predicted, np.broadcast_to(predicted[-1], predicted.shape), axis=-1).mean(-1)
    wanted = next(t for t in range(3, 8) if left[t - 1] < 0.6 * left[1])
    assert enough(torch.from_numpy(outputs)) == wanted


def test_enough_steps_by_hand() -> None:
    """Two classes that are 0.1 apart after each step, so that D_t goes with the square of what is missing."""

    def apart(*steps: float) -> torch.Tensor:
        return torch.tensor(steps)[:, None, None] * torch.tensor([0.1, 0.0])

    # Of 6 steps 4 are missing after two: D_2 ~ 16; after three ~ 9, which is less than 0.6 x 16.
    assert enough(apart(1, 1, 1, 1, 1, 1)) == 3
    # Nothing happens in the middle.
    assert enough(apart(1, 1, 0, 0, 1, 1)) == 5
    assert enough(apart(1, 1, 0, 0, 0, 1)) == 6
    # Two say all.
    assert enough(apart(1, 1, 0, 0)) == 2
    assert enough(apart(1, 1)) == 2
    assert enough(apart(1)) == 1


@pytest.mark.parametrize(
    ("options", "stages"),
    [
        ({"sparsity": 0.8, "rounds": 2}, ["early-time", "dense", "round 1 of 2", "round 2 of 2"]),
        ({"sparsity": 0.8, "rounds": 1, "control": "reinit"}, ["early-time", "dense", "reinit"]),
        (REQUEST, ["early-time", "dense", "early-bird"]),
    ],
)
def test_the_search_takes_fewer_steps_and_the_last_training_all(
    options: dict[str, Any], stages: list[str], tmp_path: Path
) -> None:
    steps = 8
    with watched() as spy:
        ticket = tickets.find(MLP, **options, early_time=True, data=f"digits:steps={steps}", out=tmp_path / "a.pt")
    assert [name for name, _ in spy.stages] == stages
    look, *search, last = (fit.plan for fit in spy.fits)
    few = search[0].steps
    assert few is not None
    assert 2 <= few < steps
    assert ([plan.steps for plan in search], look.steps, last.steps) == ([few] * len(search), None, None)
    assert look.epochs == early.LOOK
    # It is what two epochs of training let expect, on samples that are not trained on.
    model = replace(ticket, state_dict=spy.fits[0].states[early.LOOK], masks={}, parent=None).module()
    samples = data.load(ticket.data).validation.spikes
    with torch.no_grad():
        assert few == enough(model(torch.from_numpy(samples).transpose(0, 1).float()))
    assert sum(int(m.sum()) for m in ticket.masks.values()) == round(0.2 * WEIGHTS)


def test_an_early_time_search_resumes_too(tmp_path: Path) -> None:
    request: dict[str, Any] = {"sparsity": 0.8, "rounds": 1, "early_time": True, "data": "digits:steps=8"}
    tickets.find(MLP, **request, out=tmp_path / "a.pt")
    for epoch in (1, 4):
        with pytest.raises(KeyboardInterrupt):
            tickets.find(MLP, **request, out=tmp_path / "b.pt", progress=stop_after(epoch))
        tickets.find(MLP, **request, out=tmp_path / "b.pt", resume=True)
        assert (tmp_path / "b.pt").read_bytes() == (tmp_path / "a.pt").read_bytes()
