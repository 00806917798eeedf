"""Interrupted runs: wherever they stop, going on gives the same file to the last byte."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import CONV, MLP, watched

from snnc import tickets
from snnc.errors import InputError, UsageError
from snnc.models.recipe import Recipe
from snnc.tickets import archive, training

# Of a dense training over 3 epochs and two rounds over 2, after rewinding to epoch 1.
REQUEST: dict[str, Any] = {"sparsity": 0.9, "rounds": 2}


def stop_at(call: int) -> Callable[..., None]:
    """A function that is interrupted in its call number `call`, as by Ctrl-C."""
    calls = 0

    def function(*args: Any, **options: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            raise KeyboardInterrupt

    return function


def interrupt(out: Path, epoch: int, recipe: Recipe = MLP, **request: Any) -> None:
    """A run that is stopped after `epoch` epochs of all its stages together."""
    with pytest.raises(KeyboardInterrupt):
        tickets.find(recipe, **{**REQUEST, **request}, out=out, progress=stop_at(epoch))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of a run without interruption."""
    path = tmp_path_factory.mktemp("whole") / "whole.pt"
    tickets.find(MLP, **REQUEST, out=path)
    return path.read_bytes()


@pytest.mark.parametrize("epoch", range(1, 8))
def test_a_resumed_run_gives_the_same_file(epoch: int, whole: bytes, tmp_path: Path) -> None:
    """After the rewind point, in the dense training, at its end, in each round, and before the final test."""
    out = tmp_path / "a.pt"
    interrupt(out, epoch)
    assert [p.name for p in tmp_path.iterdir()] == ["a.pt.partial"]
    with watched() as spy:
        tickets.find(MLP, **REQUEST, out=out, resume=True)
    assert out.read_bytes() == whole
    assert not out.with_name("a.pt.partial").exists()
    # It does not begin anew: each epoch is trained once in the two runs together.
    assert (
        sum(max(fit.states) - (fit.start.epoch if fit.start else 0) for fit in spy.fits if max(fit.states)) == 7 - epoch
    )


def test_a_run_can_be_interrupted_again_and_again(whole: bytes, tmp_path: Path) -> None:
    out = tmp_path / "a.pt"
    for resume in (False, True, True):
        with pytest.raises(KeyboardInterrupt):
            tickets.find(MLP, **REQUEST, out=out, resume=resume, progress=stop_at(2))
    tickets.find(MLP, **REQUEST, out=out, resume=True)
    assert out.read_bytes() == whole


def test_an_interruption_within_an_epoch_costs_that_epoch(
    whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "a.pt"
    count = stop_at(10 * 4 + 5)  # updates: 10 an epoch, so in the middle of the fifth
    step = torch.optim.Adam.step

    def counted(self: Any) -> Any:
        count()
        return step(self)

    monkeypatch.setattr(torch.optim.Adam, "step", counted)
    with pytest.raises(KeyboardInterrupt):
        tickets.find(MLP, **REQUEST, out=out)
    monkeypatch.undo()
    with watched() as spy:
        tickets.find(MLP, **REQUEST, out=out, resume=True)
    assert out.read_bytes() == whole
    assert spy.fits[0].start is not None
    assert spy.fits[0].start.epoch == 1


@pytest.mark.parametrize("control", [None, "random-mask", "reinit"])
def test_batch_normalisation_and_controls_resume_too(control: str | None, tmp_path: Path) -> None:
    tickets.find(CONV, sparsity=0.8, rounds=1, control=control, out=tmp_path / "a.pt")
    interrupt(tmp_path / "b.pt", 3, CONV, sparsity=0.8, rounds=1, control=control)
    tickets.find(CONV, sparsity=0.8, rounds=1, control=control, out=tmp_path / "b.pt", resume=True)
    assert (tmp_path / "b.pt").read_bytes() == (tmp_path / "a.pt").read_bytes()


def test_a_dense_training_resumes(tmp_path: Path) -> None:
    tickets.train(MLP, out=tmp_path / "a.pt")
    with pytest.raises(KeyboardInterrupt):
        tickets.train(MLP, out=tmp_path / "b.pt", progress=stop_at(2))
    tickets.train(MLP, out=tmp_path / "b.pt", resume=True)
    assert (tmp_path / "b.pt").read_bytes() == (tmp_path / "a.pt").read_bytes()


def test_without_an_unfinished_run_resuming_begins_anew(
    whole: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        tickets.find(MLP, **REQUEST, out=tmp_path / "a.pt", resume=True)
    assert (tmp_path / "a.pt").read_bytes() == whole
    assert f"nothing to resume at {tmp_path / 'a.pt.partial'}" in caplog.text


def test_without_resuming_an_unfinished_run_is_forgotten(whole: bytes, tmp_path: Path) -> None:
    interrupt(tmp_path / "a.pt", 2, seed=1)
    tickets.find(MLP, **REQUEST, out=tmp_path / "a.pt")
    assert (tmp_path / "a.pt").read_bytes() == whole


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"sparsity": 0.8}, "sparsity (was 0.9)"),
        ({"seed": 7}, "seed (was 0)"),
        ({"control": "reinit"}, "control (was None)"),
        ({"rounds": None}, "rounds (was 2)"),
        ({"rewind": 0}, "rewind (was 1)"),
        ({"penalty": 1.0}, "penalty (was None)"),
        ({"precision": "bfloat16"}, "precision (was float32)"),
        ({"method": "binw-conns", "rounds": None}, "method (was imp), rounds (was 2), scope (was global)"),
        ({"epochs": 4}, "epochs (was 3)"),
        ({"data": "digits:steps=5"}, "data (was digits:steps=4,encoding=rate,seed=0)"),
    ],
)
def test_another_request_is_not_resumed(changed: dict[str, Any], named: str, tmp_path: Path) -> None:
    out = tmp_path / "a.pt"
    interrupt(out, 1)
    before = out.with_name("a.pt.partial").read_bytes()
    with pytest.raises(UsageError) as caught:
        tickets.find(MLP, **{**REQUEST, **changed}, out=out, resume=True)
    assert caught.value.message == f"the unfinished run had other arguments: {named}"
    assert caught.value.where == f"{out}.partial"
    assert caught.value.fix == "run again without resuming"
    assert out.with_name("a.pt.partial").read_bytes() == before


def test_another_recipe_or_algorithm_is_not_resumed(tmp_path: Path) -> None:
    out = tmp_path / "a.pt"
    interrupt(out, 1)
    with pytest.raises(UsageError, match=r"other arguments: args \(was .*'hidden': \[16\]"):
        tickets.find(MLP.with_args(hidden=[17]), **REQUEST, out=out, resume=True)
    with pytest.raises(UsageError, match=r"other arguments: rewind \(was 1\)"):
        tickets.find(replace(MLP, rewind=2), **REQUEST, out=out, resume=True)
    with pytest.raises(UsageError, match=r"other arguments: method \(was imp\)"):
        tickets.train(MLP, out=out, resume=True)


def test_a_file_that_is_no_unfinished_run_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "a.pt"
    partial = out.with_name("a.pt.partial")
    interrupt(out, 1)
    content = partial.read_bytes()
    partial.write_bytes(content[:-100])
    with pytest.raises(InputError, match="damaged or incomplete") as caught:
        tickets.find(MLP, **REQUEST, out=out, resume=True)
    assert caught.value.where == str(partial)
    torch.save(torch.ones(3), partial)
    with pytest.raises(InputError, match="not an unfinished run") as caught:
        tickets.find(MLP, **REQUEST, out=out, resume=True)
    assert (caught.value.where, caught.value.fix) == (str(partial), "run again without resuming")


def _without(*path: str) -> Callable[[Any], None]:
    """A change of a record that leaves out what `path` leads to."""

    def change(plain: Any) -> None:
        for key in path[:-1]:
            plain = plain[key]
        del plain[path[-1]]

    return change


def _with(value: Any, *path: str) -> Callable[[Any], None]:
    def change(plain: Any) -> None:
        for key in path[:-1]:
            plain = plain[key]
        plain[path[-1]] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        _without("stages"),
        _with([1], "stages"),
        _with(3, "stages", "dense"),
        _without("stages", "dense", "state"),
        _without("stages", "dense", "masks"),
        _with({"fc1.weight": 3}, "stages", "dense", "masks"),
        _with([], "stages", "dense", "log"),
        _with([{"loss": 1.0}], "stages", "dense", "log"),
        _with([1.0], "stages", "dense", "state"),
        _with({"fc1.weight": torch.ones(3)}, "stages", "dense", "state"),
        _without("current"),
        _without("current", "stage"),
        _without("current", "state"),
        _with({}, "current", "state"),
        _with([], "current", "log"),
        _with({}, "current", "optimizer"),
        _with("soon", "current", "epoch"),
    ],
)
def test_a_record_that_was_tampered_with_is_refused(change: Callable[[Any], None], tmp_path: Path) -> None:
    """And kept as it is, whatever is missing or of another kind."""
    out = tmp_path / "a.pt"
    partial = out.with_name("a.pt.partial")
    interrupt(out, 4)  # in the first round: a finished stage and a current one
    plain = archive.load_plain(partial)
    assert set(plain["stages"]) == {"dense"}
    assert plain["current"] is not None
    change(plain)
    torch.save(plain, partial)
    before = partial.read_bytes()
    with pytest.raises(InputError, match="record") as caught:
        tickets.find(MLP, **REQUEST, out=out, resume=True)
    assert (caught.value.where, caught.value.fix) == (str(partial), "run again without resuming")
    assert partial.read_bytes() == before
    assert not out.exists()


def test_streams_are_independent_and_repeatable() -> None:
    """What makes resuming possible: everything that is drawn has a stream of its own, told by seed and name."""
    names = [(0, 0), (0, 1), *((1, stage) for stage in range(8)), (2,)]
    assert len({training.derive(seed, *name) for seed in range(4) for name in names}) == 4 * len(names)
    assert training.derive(5, 1, 2) == training.derive(5, 1, 2)
