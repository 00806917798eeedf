"""Training: where and how it computes, what it says when it fails, and that nothing of it is left to chance."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import CONV, MLP, equal
from torch import Tensor

from snnc import models, tickets
from snnc.errors import InputError, UsageError
from snnc.models import data
from snnc.models.data.augment import shift
from snnc.samples import Samples
from snnc.tickets import session, training
from snnc.tickets.masks import plain_state
from snnc.tickets.training import Compute, Plan, Snapshot, evaluate, fit, one_thread, seeded

PLAN = Plan(epochs=2, batch=128, lr=3e-2, seed=5)


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="module")
def digits() -> tuple[Samples, Samples]:
    found = data.load("digits:steps=4")
    return found.train, found.validation


def fresh(**args: Any) -> Any:
    with seeded(0):
        return models.model("mlp")(**{"shape": (1, 8, 8), "classes": 10, "hidden": [16], **args})


def fitted(digits: tuple[Samples, Samples], plan: Plan = PLAN, **options: Any) -> tuple[Any, list[Snapshot]]:
    model, snapshots = fresh(), []
    fit(model, *digits, plan, **{"start": None, "after": snapshots.append, **options})
    return model, snapshots


# --- where and how -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message", "fix"),
    [
        ({"device": "tpu"}, "there is no device 'tpu'", "device: auto, cpu, cuda"),
        ({"device": "cuda:1"}, "there is no device 'cuda:1'", "device: auto, cpu, cuda"),
        ({"precision": "float16"}, "there is no precision 'float16'", "precision: float32, bfloat16"),
        ({"threads": 0}, "there must be at least one thread, got 0", ""),
    ],
)
def test_what_there_is_not_is_refused(options: dict[str, Any], message: str, fix: str, tmp_path: Path) -> None:
    for ask in (lambda **o: tickets.find(MLP, **o), lambda **o: tickets.train(MLP, **o)):
        with pytest.raises(UsageError) as caught:
            ask(**options, out=tmp_path / "a.pt")
        assert (caught.value.message, caught.value.fix) == (message, fix)
    assert list(tmp_path.iterdir()) == []


def test_without_cuda_there_is_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert Compute().place.type == "cpu"
    with pytest.raises(UsageError, match="no CUDA device") as caught:
        Compute(device="cuda")
    assert caught.value.fix == "--device cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert Compute().place.type == Compute(device="cuda").place.type == "cuda"
    assert Compute(device="cpu").place.type == "cpu"


def test_settings_of_torch_are_put_back_even_after_an_error() -> None:
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()

    def failing() -> None:
        with Compute(device="cpu", threads=before[0] + 2).settled():
            assert torch.get_num_threads() == before[0] + 2
            raise KeyError

    with pytest.raises(KeyError):
        failing()
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before


def test_threads_are_those_asked_for(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    seen: list[int] = []
    for threads in (1, 2):
        settings: dict[str, Any] = {"threads": threads, "epochs": 1, "out": tmp_path / "a.pt"}
        tickets.train(MLP, **settings, progress=lambda *_: seen.append(torch.get_num_threads()))
    assert seen == [1, 2]
    assert torch.get_num_threads() == before


def test_in_bfloat16_products_are_rounded_and_weights_are_not(digits: tuple[Samples, Samples]) -> None:
    compute = Compute(device="cpu", precision="bfloat16")
    plain, _ = fitted(digits)
    model, snapshots = fitted(digits, compute=compute)
    assert not equal(plain_state(model), plain_state(plain))
    for name, value in model.state_dict().items():
        assert value.dtype == plain.state_dict()[name].dtype
    moments = [v for state in snapshots[-1].optimizer["state"].values() for v in state.values() if v.ndim]
    assert moments
    assert all(m.dtype == torch.float32 for m in moments)
    right, _ = evaluate(model, digits[1], compute=compute)
    assert right == snapshots[-1].log[-1]["validation"]
    assert right > 0.3  # it has learned: a guess is right for one in ten
    weight = model.layers[1].weight.detach()
    assert not torch.equal(weight, weight.bfloat16().float())


def test_a_ticket_can_be_found_in_bfloat16(tmp_path: Path) -> None:
    for recipe in (MLP, CONV):
        ticket = tickets.find(recipe, sparsity=0.5, rounds=1, precision="bfloat16", out=tmp_path / "a.pt")
        assert all(v.dtype != torch.bfloat16 for v in ticket.state_dict.values())


@pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a C++ compiler, and there is none")
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # by torch's own compiler
def test_a_compiled_network_learns_the_same(digits: tuple[Samples, Samples]) -> None:
    """Sums have another order, so weights differ in their last bits, and some spikes with them."""
    digits = digits[0].first(9 * PLAN.batch), digits[1]  # of one size of batches, which is compiled once
    plain, before = fitted(digits)
    model, after = fitted(digits, compute=Compute(device="cpu", compiled=True))
    assert after[0].log[0]["loss"] == pytest.approx(before[0].log[0]["loss"], rel=0.05)
    assert evaluate(model, digits[1])[0] == pytest.approx(evaluate(plain, digits[1])[0], abs=0.05)
    assert list(model.state_dict()) == list(plain.state_dict())


def test_operations_cannot_be_counted_in_a_compiled_network(digits: tuple[Samples, Samples], tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        fitted(digits, replace(PLAN, penalty=1.0), compute=Compute(device="cpu", compiled=True))
    assert caught.value.message == "synaptic operations cannot be counted in a compiled network"
    assert caught.value.fix == "leave out --compiled"


# --- data ----------------------------------------------------------------------------------------


def test_samples_without_labels_are_refused(digits: tuple[Samples, Samples]) -> None:
    train, validation = digits
    with pytest.raises(InputError, match="training needs labels") as caught:
        fitted((replace(train, labels=None), validation))
    assert caught.value.where == train.name


def test_a_training_that_diverges_says_so(digits: tuple[Samples, Samples]) -> None:
    """Membranes that are no numbers pass no threshold, so the loss is that of a silent network."""
    snapshots: list[Snapshot] = []
    with pytest.raises(InputError) as caught:
        fitted(digits, replace(PLAN, lr=float("inf")), after=snapshots.append)
    assert caught.value.message == "the training has diverged: in epoch 1 'layers.1.weight' holds NaN or infinity"
    assert caught.value.where == digits[0].name
    assert caught.value.fix == "train with a smaller learning rate (Recipe.lr)"
    assert snapshots == []


def test_after_a_divergence_the_epochs_before_are_still_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loss, calls = training._loss, 0

    def diverging(*args: Any) -> Tensor:
        nonlocal calls
        calls += 1
        return loss(*args) * (math.nan if calls == 15 else 1)  # in the second epoch of ten updates each

    monkeypatch.setattr(training, "_loss", diverging)
    with pytest.raises(InputError, match="diverged: in epoch 2 the loss is nan"):
        tickets.train(MLP, out=tmp_path / "a.pt")
    monkeypatch.undo()
    tickets.train(MLP, out=tmp_path / "a.pt", resume=True)
    tickets.train(MLP, out=tmp_path / "b.pt")
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()


class Seen:
    """An augmentation that turns samples upside down where its generator says so, and remembers what it was given."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []
        self.drawn: list[list[bool]] = []

    def __call__(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        turned = torch.randint(0, 2, (len(batch),), generator=generator, dtype=torch.bool)
        self.shapes.append(tuple(batch.shape))
        self.drawn.append(turned.tolist())
        return torch.where(turned[:, None, None, None, None], batch.flip(3), batch)


def test_each_batch_is_augmented_as_the_seed_says(digits: tuple[Samples, Samples]) -> None:
    first, again, other = Seen(), Seen(), Seen()
    plain, _ = fitted(digits)
    models_ = [fitted(digits, augment=a)[0] for a in (first, again)]
    fitted(digits, replace(PLAN, seed=6), augment=other)
    assert first.shapes == [(128, 4, 1, 8, 8)] * 9 + [(1197 - 9 * 128, 4, 1, 8, 8)] + [(128, 4, 1, 8, 8)] * 9 + [
        (1197 - 9 * 128, 4, 1, 8, 8)
    ]
    assert first.drawn == again.drawn != other.drawn
    assert first.drawn[:10] != first.drawn[10:]  # each epoch anew
    assert equal(plain_state(models_[0]), plain_state(models_[1]))
    assert not equal(plain_state(models_[0]), plain_state(plain))


def test_augmentation_draws_no_number_that_others_need(digits: tuple[Samples, Samples]) -> None:
    def idle(batch: Tensor, generator: torch.Generator) -> Tensor:
        torch.rand(100, generator=generator)
        return batch

    assert equal(plain_state(fitted(digits, augment=idle)[0]), plain_state(fitted(digits)[0]))


def shifted(spec: str) -> data.Data:
    """The data set, moved about."""
    return replace(data.load(spec), augment=shift)


def test_an_augmented_run_resumes_to_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    def stop(stage: str, done: int, total: int, note: str) -> None:
        if done == 2:
            raise KeyboardInterrupt

    plain = tickets.train(MLP, out=tmp_path / "a.pt")
    monkeypatch.setattr(session, "load", shifted)
    found = tickets.train(MLP, out=tmp_path / "a.pt")
    with pytest.raises(KeyboardInterrupt):
        tickets.train(MLP, out=tmp_path / "b.pt", progress=stop)
    tickets.train(MLP, out=tmp_path / "b.pt", resume=True)
    assert (tmp_path / "b.pt").read_bytes() == (tmp_path / "a.pt").read_bytes()
    assert not equal(found.state_dict, plain.state_dict)


def test_only_the_first_steps_are_looked_at(digits: tuple[Samples, Samples]) -> None:
    """With other spikes behind, the training is the same."""
    few = replace(PLAN, steps=2)
    changed = [replace(s, spikes=np.concatenate([s.spikes[:, :2], 1 - s.spikes[:, 2:]], axis=1)) for s in digits]
    wanted, log = fitted(digits, few)
    assert equal(plain_state(fitted((changed[0], changed[1]), few)[0]), plain_state(wanted))
    assert not equal(plain_state(fitted(digits)[0]), plain_state(wanted))
    assert log[-1].log[-1]["validation"] == evaluate(wanted, digits[1], steps=2)[0]


# --- watching ------------------------------------------------------------------------------------


def test_a_watch_remembers_and_ends_the_training(digits: tuple[Samples, Samples]) -> None:
    def watch(model: Any, memory: Any) -> tuple[Any, bool]:
        return (memory or 0) + 1, memory == 1

    model, snapshots = fitted(digits, replace(PLAN, epochs=5), watch=watch)
    assert [(s.epoch, s.memory, s.stopped) for s in snapshots] == [(1, 1, False), (2, 2, True)]
    # Going on after the end changes nothing.
    more: list[Snapshot] = []
    state = plain_state(model)
    fit(model, *digits, replace(PLAN, epochs=5), start=snapshots[-1], after=more.append, watch=watch)
    assert more == []
    assert equal(plain_state(model), state)


def test_a_snapshot_does_not_change_afterwards(digits: tuple[Samples, Samples]) -> None:
    copies: list[dict[str, Tensor]] = []
    snapshots: list[Snapshot] = []

    def after(snapshot: Snapshot) -> None:
        snapshots.append(snapshot)
        copies.append({name: value.clone() for name, value in snapshot.state.items()})

    fitted(digits, after=after)
    assert len(snapshots) == 2
    assert all(equal(s.state, copy) for s, copy in zip(snapshots, copies, strict=True))
    assert [len(s.log) for s in snapshots] == [1, 2]


def test_a_session_asks_for_what_the_user_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Compute, Any]] = []

    def spied(*args: Any, compute: Compute, augment: Any, **options: Any) -> None:
        seen.append((compute, augment))
        fit(*args, compute=compute, augment=augment, **options)

    monkeypatch.setattr(session, "fit", spied)
    monkeypatch.setattr(session, "load", shifted)
    tickets.train(MLP, device="cpu", precision="bfloat16", threads=1, out=tmp_path / "a.pt")
    ((compute, augment),) = seen
    assert compute == Compute("cpu", "bfloat16", False, 1)
    assert augment is shift
