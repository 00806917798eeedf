"""Training and iterative magnitude pruning: sparsity, rewinding, controls, and what the test data is used for."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import CONV, MLP, WEIGHTS, Spy, equal, watched

from snnc import tickets
from snnc.errors import UsageError, VerificationError
from snnc.tickets.checkpoint import Checkpoint, read
from snnc.tickets.imp import STEPS, schedule
from snnc.tickets.masks import by_magnitude
from snnc.tickets.session import Stage


@dataclasses.dataclass
class Run:
    checkpoint: Checkpoint
    spy: Spy
    path: Path
    progress: list[tuple[str, int, int]]


def run(folder: Path, recipe: Any = MLP, **options: Any) -> Run:
    progress: list[tuple[str, int, int]] = []
    options = {"sparsity": 0.9, "rounds": 3, **options}
    with watched() as spy:
        checkpoint = tickets.find(
            recipe,
            out=folder / "ticket.pt",
            progress=lambda stage, done, total, note: progress.append((stage, done, total)),
            **options,
        )
    return Run(checkpoint, spy, folder / "ticket.pt", progress)


@pytest.fixture(scope="module")
def ticket(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run(tmp_path_factory.mktemp("ticket"))


ROUNDS = ["round 1 of 3", "round 2 of 3", "round 3 of 3"]

# --- pruning -------------------------------------------------------------------------------------


def test_the_sparsity_is_reached_exactly(ticket: Run) -> None:
    kept = sum(int(mask.sum()) for mask in ticket.checkpoint.masks.values())
    assert kept == round(0.1 * WEIGHTS)
    for name, mask in ticket.checkpoint.masks.items():
        # A weight that was kept is zero only by an accident that does not happen.
        assert np.array_equal(ticket.checkpoint.state_dict[name].numpy() != 0, mask)
    assert ticket.checkpoint.log[-1]["sparsity"] == pytest.approx(1 - kept / WEIGHTS)


def test_each_round_prunes_the_same_share_and_revives_nothing(ticket: Run) -> None:
    assert [name for name, _ in ticket.spy.stages] == ["dense", *ROUNDS]
    assert [entry["stage"] for entry in ticket.checkpoint.log if "sparsity" in entry] == ["dense", *ROUNDS]
    masks = [ticket.spy.masks(stage) for stage in ROUNDS]
    left = [sum(int(m.sum()) for m in each.values()) for each in masks]
    assert left == [round(0.1 ** (k / 3) * WEIGHTS) for k in (1, 2, 3)]
    for before, after in itertools.pairwise(masks):
        assert not any(np.any(after[name] & ~before[name]) for name in after)


def test_what_is_pruned_is_what_the_training_left_smallest(ticket: Run) -> None:
    """The first mask against the weights at the end of the dense training, not those of the rewind point."""
    trained = ticket.spy.fits[0].states[3]
    masks = ticket.spy.masks(ROUNDS[0])
    kept = np.concatenate([np.abs(trained[name].numpy())[mask] for name, mask in masks.items()])
    gone = np.concatenate([np.abs(trained[name].numpy())[~mask] for name, mask in masks.items()])
    assert gone.max() <= kept.min()


def test_the_file_holds_the_ticket_and_its_dense_parent(ticket: Run) -> None:
    stored = read(ticket.path)
    assert stored.parent is not None
    assert equal(stored.state_dict, ticket.spy.fits[-1].states[2])
    assert equal(stored.parent.state_dict, ticket.spy.fits[0].states[3])
    assert stored.parent.log == [entry for entry in stored.log if entry["stage"] == "dense"]
    assert (stored.model, stored.args["hidden"], stored.args["shape"], stored.args["classes"]) == (
        "mlp", [16], [1, 8, 8], 10,
    )  # fmt: skip
    assert (stored.data, stored.seed) == ("digits:steps=4,encoding=rate,seed=0", 0)
    assert not ticket.path.with_name("ticket.pt.partial").exists()


def test_progress_is_told_after_each_epoch(ticket: Run) -> None:
    rewound = [(stage, epoch, 2) for stage in ROUNDS for epoch in (1, 2)]
    assert ticket.progress == [("dense", 1, 3), ("dense", 2, 3), ("dense", 3, 3), *rewound]


# --- rewinding -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("recipe", "statistics"), [(MLP, ()), (CONV, ("running_mean", "running_var", "tracked"))])
def test_rewinding_restores_everything(recipe: Any, statistics: tuple[str, ...], tmp_path: Path) -> None:
    spy = run(tmp_path, recipe, rounds=2).spy
    dense, *rounds = spy.fits
    kept = dense.states[1]
    for name in statistics:
        assert any(name in key for key in kept)
    for key in kept:  # so that a state restored in part would show
        if key.endswith(("weight", "bias", "running_mean", "running_var", "tracked")):
            assert not torch.equal(kept[key], dense.states[0][key])
            assert not torch.equal(kept[key], dense.states[recipe.epochs][key])
    for fit, (_, masks) in zip(rounds, spy.stages[1:], strict=True):
        assert masks is not None
        for key, value in fit.states[0].items():
            mask = torch.from_numpy(masks[key]) if key in masks else torch.ones_like(value, dtype=torch.bool)
            assert torch.equal(value[mask], kept[key][mask]), key
            assert not value[~mask].any()
        assert fit.plan.epochs == recipe.epochs - 1
        assert fit.start is None  # a fresh optimizer
    assert len({fit.plan.seed for fit in spy.fits}) == 3


def test_rewinding_to_epoch_zero_restores_the_initial_weights(tmp_path: Path) -> None:
    spy = run(tmp_path, dataclasses.replace(MLP, rewind=0, epochs=1), sparsity=0.5, rounds=1).spy
    masks = spy.masks("round 1 of 1")
    assert all(
        torch.equal(spy.fits[1].states[0][name][mask], spy.fits[0].states[0][name][mask])
        for name, mask in ((n, torch.from_numpy(m)) for n, m in masks.items())
    )


# --- controls ------------------------------------------------------------------------------------


def test_a_random_mask_keeps_the_count_of_each_layer(ticket: Run, tmp_path: Path) -> None:
    control = run(tmp_path, control="random-mask")
    assert [name for name, _ in control.spy.stages] == ["dense", *ROUNDS[:2], "random-mask"]
    drawn, found = control.checkpoint.masks, ticket.checkpoint.masks
    assert [int(m.sum()) for m in drawn.values()] == [int(m.sum()) for m in found.values()]
    # Two independent masks of density 0.1 share 0.01 of the places.
    assert sum(int((drawn[n] & found[n]).sum()) for n in found) < 0.03 * WEIGHTS
    # All else is as for the ticket: the rounds before, the rewound weights, the number of epochs.
    assert equal(control.spy.fits[2].states[2], ticket.spy.fits[2].states[2])
    start, rewound = control.spy.fits[3].states[0], ticket.spy.fits[0].states[1]
    assert all(torch.equal(start[n][m], rewound[n][m]) for n, m in ((n, torch.from_numpy(m)) for n, m in drawn.items()))
    assert control.spy.fits[3].plan == ticket.spy.fits[3].plan


def test_reinit_keeps_the_places_and_draws_new_weights(ticket: Run, tmp_path: Path) -> None:
    control = run(tmp_path, control="reinit")
    assert [name for name, _ in control.spy.stages] == ["dense", *ROUNDS[:2], "reinit"]
    for name, mask in ticket.checkpoint.masks.items():
        assert np.array_equal(control.checkpoint.masks[name], mask)
        start = control.spy.fits[3].states[0][name].numpy()
        for other in (control.spy.fits[0].states[0][name], control.spy.fits[0].states[1][name]):
            assert not np.any(start[mask] == other.numpy()[mask])
    assert control.spy.fits[3].plan.epochs == 3  # it has no weights that were trained before


# --- seeds ---------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(ticket: Run, tmp_path: Path) -> None:
    (tmp_path / "other name").mkdir()
    with torch.random.fork_rng():
        torch.manual_seed(123)
        state, threads = torch.get_rng_state(), torch.get_num_threads()
        again = tickets.find(MLP, sparsity=0.9, rounds=3, out=tmp_path / "other name" / "again.pt")
        # The caller's random stream and settings are left alone.
        assert torch.equal(torch.get_rng_state(), state)
        assert torch.get_num_threads() == threads
    assert (tmp_path / "other name" / "again.pt").read_bytes() == ticket.path.read_bytes()
    assert again.accuracy == ticket.checkpoint.accuracy
    other = run(tmp_path, seed=1)
    assert not equal(other.spy.fits[0].states[0], ticket.spy.fits[0].states[0])
    assert other.path.read_bytes() != ticket.path.read_bytes()


def test_dense_training_is_the_first_stage_of_a_ticket(ticket: Run, tmp_path: Path) -> None:
    """The parent in a ticket's file is what `train` gives for the same seed; it is no ticket itself."""
    with watched() as spy:
        dense = tickets.train(MLP, out=tmp_path / "dense.pt")
    parent = ticket.checkpoint.parent
    assert parent is not None
    assert equal(dense.state_dict, parent.state_dict)
    assert (dense.log, dense.accuracy["test"]) == (parent.log, parent.accuracy)
    assert (dense.parent, dense.masks) == (None, {})
    assert [name for name, _ in spy.stages] == ["dense"]
    assert spy.events.count("evaluate 450") == 1
    assert equal(read(tmp_path / "dense.pt").state_dict, dense.state_dict)


# --- data ----------------------------------------------------------------------------------------


def test_the_test_data_is_used_once_and_last(ticket: Run) -> None:
    events = ticket.spy.events
    # 450 samples are the test set, 150 the validation set (tests of snnc.models.data).
    assert set(events) == {"fit", "evaluate 450", "evaluate 150"}
    assert events.count("evaluate 450") == 2  # the ticket and its parent
    last = max(k for k, event in enumerate(events) if event == "fit")
    assert "evaluate 450" not in events[: last + 1]
    assert all((len(fit.train), len(fit.validation)) == (1197, 150) for fit in ticket.spy.fits)


def test_training_learns(ticket: Run) -> None:
    """Three short epochs of a narrow network; what a full training reaches is in test_accuracy."""
    losses = [entry["loss"] for entry in ticket.checkpoint.log if entry["stage"] == "dense" and "loss" in entry]
    assert losses == sorted(losses, reverse=True)
    assert ticket.checkpoint.parent is not None
    assert ticket.checkpoint.parent.accuracy > 0.4  # a guess is right for one in ten


def test_each_epoch_has_an_order_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    permute, orders = torch.randperm, []
    monkeypatch.setattr(torch, "randperm", lambda count: orders.append(permute(count)) or orders[-1])
    tickets.train(MLP, epochs=2, out=tmp_path / "a.pt")
    assert [len(order) for order in orders] == [1197, 1197]
    assert not torch.equal(*orders)


def test_data_and_epochs_replace_those_of_the_recipe(tmp_path: Path) -> None:
    checkpoint = tickets.train(MLP, data="digits:steps=2,encoding=latency", epochs=1, out=tmp_path / "a.pt")
    assert checkpoint.data == "digits:steps=2,encoding=latency,seed=0"
    assert [entry.get("epoch") for entry in checkpoint.log] == [1, None]


def test_a_dead_ticket_is_refused_and_what_there_is_stays(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With so few weights that nothing reaches the threshold of the outputs."""
    out = tmp_path / "a.pt"
    tickets.train(MLP, out=out)
    before = out.read_bytes()
    with watched() as spy, pytest.raises(VerificationError) as caught:
        tickets.find(MLP, sparsity=0.995, rounds=1, epochs=2, out=out)
    assert caught.value.message.startswith("the ticket is dead: layer 'fc1' spikes 0.000")
    assert (caught.value.where, caught.value.fix.split(",")[0]) == (str(out), "prune less")
    assert "round 1 of 1: layer 'fc2' is silent" in caplog.text
    # The test data was not looked at, an older result is left alone, and the trainings are not lost.
    assert "evaluate 450" not in spy.events
    assert out.read_bytes() == before
    with watched() as again, pytest.raises(VerificationError):
        tickets.find(MLP, sparsity=0.995, rounds=1, epochs=2, out=out, resume=True)
    assert again.fits == []


def test_a_control_may_be_dead(tmp_path: Path) -> None:
    options = {"sparsity": 0.995, "rounds": 1, "epochs": 2, "control": "random-mask"}
    checkpoint = tickets.find(MLP, out=tmp_path / "a.pt", **options)
    assert checkpoint.log[-1]["rate fc2"] < 1e-3
    # It guesses the class that comes first.
    assert checkpoint.accuracy["test"] == pytest.approx(0.1, abs=0.02)


def test_a_rate_just_above_the_bound_is_not_dead() -> None:
    log = [{"stage": "x", "epoch": 1}, {"stage": "x", "rate a": 1e-3, "rate b": 0.9e-3, "rate c": 0.0}]
    assert Stage({}, {}, None, log).silent == {"b": 0.9e-3, "c": 0.0}


# --- requests ------------------------------------------------------------------------------------


def test_the_schedule_goes_through_few_large_steps() -> None:
    assert schedule(0.9) == (0.36, 0.59, 0.8, 0.9)
    assert schedule(0.3) == (0.3,)
    assert schedule(0.99) == (*STEPS, 0.99)
    assert schedule(0.75, rounds=2) == (0.5, 0.75)
    assert schedule(0.9, rounds=1) == (0.9,)


@pytest.mark.parametrize(
    ("options", "message", "fix"),
    [
        ({"sparsity": 0}, "between 0 and 1; got 0", "for instance 0.9"),
        ({"sparsity": 1}, "between 0 and 1; got 1", "for instance 0.9"),
        ({"sparsity": 95}, "between 0 and 1; got 95", "for 95 % give 0.95"),
        ({"sparsity": -0.5}, "between 0 and 1; got -0.5", "for instance 0.9"),
        ({"sparsity": float("nan")}, "between 0 and 1; got nan", "for instance 0.9"),
        ({"method": "immp"}, "no method 'immp'", "did you mean 'imp'?"),
        ({"method": "snip"}, "no method 'snip'", "methods: imp, early-bird, conns, binw-conns, patchs, ecpt"),
        ({"control": "random"}, "no control 'random'", "did you mean 'random-mask'?"),
        ({"control": "x"}, "no control 'x'", "controls: random-mask, reinit, random-patches"),
        ({"rounds": 0}, "at least one round, got 0", ""),
        ({"epochs": 0}, "epochs must be at least 1, got 0", ""),
        ({"epochs": 1}, "rewound to epoch 1, so a training needs more epochs than that; got 1", "--epochs 2 or more"),
        ({"seed": -1}, "the seed must not be negative, got -1", ""),
        ({"data": "digit"}, "no data set 'digit'", "did you mean 'digits'?"),
    ],
)
def test_an_impossible_request_is_refused_with_a_cure(
    options: dict[str, Any], message: str, fix: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as caught:
        tickets.find(MLP, **{"sparsity": 0.5, **options}, out=tmp_path / "a.pt")
    assert message in caught.value.message
    assert caught.value.fix == fix
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_no_ticket_has_an_empty_layer(scope: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        tickets.find(MLP, sparsity=0.9999, rounds=1, scope=scope, epochs=2, out=tmp_path / "a.pt")
    size, names = {
        "global": ("1,184", "layers.1.weight, layers.3.weight"), "layer": ("1,024", "layers.1.weight"),
    }[scope]  # fmt: skip
    assert caught.value.message == f"a sparsity of 0.9999 leaves 0 of {size} weights, and a layer would be empty"
    assert caught.value.where == names
    # The cure is one.
    most = float(caught.value.fix.removeprefix("at most ").split()[0])
    masks = by_magnitude(
        {name: np.ones((16, 64 if name == "layers.1.weight" else 10)) for name in names.split(", ")}, None, most
    )
    assert all(mask.any() for mask in masks.values())
    assert not (tmp_path / "a.pt").exists()
