"""Trainings that take a fraction of a second, and a look at what happens inside."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from torch import Tensor

from snnc import models
from snnc.samples import Samples
from snnc.tickets import session, training
from snnc.tickets.masks import Masks, plain_state
from snnc.tickets.training import Plan, Snapshot

# 64 x 16 + 16 x 10 weights. The rates are so high because there are so few updates to come to life in.
MLP = dataclasses.replace(
    models.recipe("mlp").with_args(hidden=[16]), data="digits:steps=4", epochs=3, rewind=1, batch=128, lr=3e-2
)
WEIGHTS = 64 * 16 + 16 * 10
CONV = dataclasses.replace(
    models.recipe("conv").with_args(channels=[3]), data="digits:steps=4", epochs=2, rewind=1, batch=128, lr=5e-2
)


@dataclass
class Fit:
    """One call of `fit`: what it was asked for, and copies of the states that came out, by epoch; 0: before."""

    train: Samples
    validation: Samples
    plan: Plan
    start: Snapshot | None
    states: dict[int, dict[str, Tensor]] = field(default_factory=dict)


@dataclass
class Spy:
    """What a run did. stages: (name, masks) in order. fits: see there. events: "fit" and "evaluate <samples>"."""

    stages: list[tuple[str, Masks | None]] = field(default_factory=list)
    fits: list[Fit] = field(default_factory=list)
    events: list[str] = field(default_factory=list)

    def masks(self, stage: str) -> Masks:
        found = dict(self.stages)[stage]
        assert found is not None
        return found


@contextmanager
def watched() -> Iterator[Spy]:
    """Record all trainings and evaluations inside."""
    spy = Spy()
    fit, evaluate, train = session.fit, training.evaluate, session.Session.train

    def spied_fit(
        model: Any,
        samples: Samples,
        validation: Samples,
        plan: Plan,
        *,
        start: Snapshot | None,
        after: Callable[[Snapshot], None],
        **options: Any,
    ) -> None:
        record = Fit(samples, validation, plan, start)
        record.states[0] = plain_state(model)
        spy.fits.append(record)

        def copy_then(snapshot: Snapshot) -> None:
            record.states[snapshot.epoch] = plain_state(model)
            after(snapshot)

        fit(model, samples, validation, plan, start=start, after=copy_then, **options)
        spy.events.append("fit")

    def spied_evaluate(model: Any, samples: Samples, **options: Any) -> Any:
        spy.events.append(f"evaluate {len(samples)}")
        return evaluate(model, samples, **options)

    def spied_train(self: session.Session, name: str, model: Any, masks: Masks | None = None, **options: Any) -> Any:
        spy.stages.append((name, masks))
        return train(self, name, model, masks, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "fit", spied_fit)
        patch.setattr(session, "evaluate", spied_evaluate)
        patch.setattr(training, "evaluate", spied_evaluate)
        patch.setattr(session.Session, "train", spied_train)
        yield spy


def equal(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return set(a) == set(b) and all(a[name].equal(b[name]) for name in a)
