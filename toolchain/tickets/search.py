"""What a user can ask of a search for tickets, and which of it fits which method."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, fields
from typing import Any

from snnc.errors import UsageError


@dataclass(frozen=True)
class Method:
    """A way to find tickets.

    help: one line. module: whose function ``find(session, search)`` does it. options: fields of :class:`Search` that
    mean something to it. defaults: of options that the user leaves open. controls: what its ticket must beat.
    """

    help: str
    module: str
    options: tuple[str, ...]
    defaults: dict[str, Any]
    controls: tuple[str, ...] = ()


METHODS: dict[str, Method] = {
    "imp": Method(
        "iterative magnitude pruning with late rewinding",
        "snnc.tickets.imp",
        ("sparsity", "rounds", "rate", "schedule", "scope", "rewind", "early_time", "balance", "objective", "penalty"),
        {"sparsity": 0.95, "scope": "global"},
        ("random-mask", "reinit"),
    ),
    "early-bird": Method(
        "prune once, as soon as the mask of the dense training stands still",
        "snnc.tickets.early",
        ("sparsity", "scope", "early_time"),
        {"sparsity": 0.9, "scope": "global"},
        ("random-mask", "reinit"),
    ),
    "conns": Method(
        "connection ticket: edge-popup on random weights that are never trained",
        "snnc.tickets.popup",
        ("sparsity",),
        {"sparsity": 0.5},
    ),
    "binw-conns": Method(
        "connection ticket of binary weights: a mask, signs and one gain per layer",
        "snnc.tickets.popup",
        ("sparsity",),
        {"sparsity": 0.95},
    ),
    "patchs": Method(
        "patch ticket: a selector keeps some patches of the input",
        "snnc.tickets.patches",
        ("patches", "selector", "score"),
        {"patches": 0.31, "selector": "fixed", "score": "rate"},
        ("random-patches",),
    ),
    "ecpt": Method(
        "connection ticket in the patch embedding, then a patch ticket, then the encoder is trained",
        "snnc.tickets.patches",
        ("sparsity", "patches", "selector", "score", "binary"),
        {"sparsity": 0.5, "patches": 0.31, "selector": "fixed", "score": "rate"},
        ("random-patches",),
    ),
}
CONTROLS = tuple(dict.fromkeys(control for method in METHODS.values() for control in method.controls))
CHEAPEST = "accuracy@synops"
OBJECTIVES = ("accuracy", CHEAPEST)
SELECTORS = ("fixed", "sample")
SCOPES = ("global", "layer")


@dataclass(frozen=True)
class Search:
    """What to look for. None is the method's default; an option that means nothing to the method is a UsageError.

    method: a key of :data:`METHODS`.
    sparsity: share of the weights to remove, between 0 and 1 (ecpt: of those of the patch embedding).
    rounds: prunings on the way, each removing the same share of what is left; 1 is one-shot pruning. rate: that
    share, instead of their number. schedule: the sparsity after each of them, instead of all three. None of these: as
    many as :func:`snnc.tickets.imp.schedule` holds right.
    scope: "global", the magnitudes of the whole network compete, or "layer", each layer keeps the same share.
    rewind: epochs of the dense training to whose end weights are set back; 0: to the initial weights. None: the
    recipe's.
    control: what the ticket must beat: "random-mask" draws the places of each layer's weights at random, "reinit"
    keeps the places and draws new initial weights, "random-patches" keeps as many patches at random.
    early_time: search with fewer time steps, as many as :func:`snnc.tickets.early.time` finds enough.
    balance: cores over which each layer's connections are evened out after each pruning (:mod:`snnc.tickets.balance`).
    objective: "accuracy", or "accuracy@synops": of the tickets that are as accurate, the one that costs least
    (:mod:`snnc.tickets.imp`). penalty: of synaptic operations in the loss; 0 for "accuracy", if not given.
    patches: share of the patches to remove, between 0 and 1. selector: "fixed", the same patches of all samples, or
    "sample", chosen for each sample. score: by which patches are chosen, a key of ``snnc.models.spikformer.SCORES``.
    binary: also binary weights in the patch embedding.
    """

    method: str = "imp"
    sparsity: float | None = None
    rounds: int | None = None
    rate: float | None = None
    schedule: tuple[float, ...] | None = None
    scope: str | None = None
    rewind: int | None = None
    control: str | None = None
    early_time: bool = False
    balance: int | None = None
    objective: str | None = None
    penalty: float | None = None
    patches: float | None = None
    selector: str | None = None
    score: str | None = None
    binary: bool = False

    def checked(self) -> Search:
        """The same with the method's defaults filled in, or UsageError."""
        _known("method", self.method, METHODS)
        method = METHODS[self.method]
        if self.control is not None:
            _known("control", self.control, CONTROLS)
            if self.control not in method.controls:
                fix = f"its controls: {', '.join(method.controls)}" if method.controls else "it has no controls"
                raise UsageError(f"method '{self.method}' has no control '{self.control}'", fix=fix)
        filled = {}
        for field in fields(self):
            value = getattr(self, field.name)
            given = value is not None and value is not False
            if given and field.name not in ("method", "control", *method.options):
                fitting = ", ".join(n for n, m in METHODS.items() if field.name in m.options)
                raise UsageError(
                    f"method '{self.method}' takes no {field.name.replace('_', ' ')}", fix=f"methods that do: {fitting}"
                )
            filled[field.name] = value if given else method.defaults.get(field.name, value)
        if self.schedule is not None:
            self._check_schedule(self.schedule)
            filled["sparsity"] = self.schedule[-1]
        search = Search(**filled)
        search._check_values()
        return search

    def _check_values(self) -> None:
        _share("sparsity", "weights", self.sparsity)
        _share("patches", "patches", self.patches)
        _share("rate", "weights in each round", self.rate)
        for name, known in (("scope", SCOPES), ("objective", OBJECTIVES), ("selector", SELECTORS)):
            if getattr(self, name) is not None:
                _known(name, getattr(self, name), known)
        if self.rounds is not None and self.rounds < 1:
            raise UsageError(f"there must be at least one round, got {self.rounds}")
        if self.rounds is not None and self.rate is not None:
            raise UsageError("the rate follows from the number of rounds", fix="give --rounds or --rate, not both")
        if self.rewind is not None and self.rewind < 0:
            raise UsageError(f"rewind is a number of epochs, got {self.rewind}", fix="0 is back to the initial weights")
        if self.balance is not None and self.balance < 2:
            raise UsageError(f"connections are balanced over at least 2 cores, got {self.balance}")
        if self.penalty is not None and not 0 < self.penalty < float("inf"):
            raise UsageError(f"the penalty must be a positive number, got {self.penalty:g}", fix="for instance 3")

    def _check_schedule(self, schedule: tuple[float, ...]) -> None:
        others = [name for name in ("sparsity", "rounds", "rate") if getattr(self, name) is not None]
        if others and (others != ["sparsity"] or self.sparsity != schedule[-1]):  # which is checked once more
            raise UsageError("the schedule says how much is pruned in each round", fix=f"leave out {', '.join(others)}")
        for value in schedule:
            _share("each step of the schedule", "weights", value)
        if not schedule or list(schedule) != sorted(set(schedule)):
            given = ", ".join(f"{value:g}" for value in schedule)
            raise UsageError(f"a schedule goes up from round to round, got {given or 'none'}", fix="0.5,0.8,0.9")


def _known(what: str, name: str, names: Any) -> None:
    if name not in names:
        close = difflib.get_close_matches(name, names, n=1)
        fix = f"did you mean '{close[0]}'?" if close else f"{what}s: {', '.join(names)}"
        raise UsageError(f"there is no {what} '{name}'", fix=fix)


def _share(name: str, of: str, value: float | None) -> None:
    if value is not None and not 0 < value < 1:
        raise UsageError(
            f"{name} is the share of {of} to remove, between 0 and 1; got {value:g}",
            fix=f"for {value:g} % give {value / 100:g}" if 1 < value < 100 else "for instance 0.9",
        )
