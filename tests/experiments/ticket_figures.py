"""Figures of many rows of the experiments on tickets: order, means, what costs least, and whether goals are met."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from snnc.tickets.imp import MARGIN
from tests.experiments.ticket_store import Row
from tests.experiments.ticket_suites import SUITES, Asked

DENSE = "dense"
CHEAPEST = ", cheapest"


def label(row: Row) -> str:
    """The method, or what it is a control of."""
    named = f"{row.method}, {row.sparsity:.0%} of the embedding" if row.patches and row.sparsity else row.method
    return f"{row.control} of {named}" if row.control else named


def of_suite(suite: str, rows: Iterable[Row]) -> list[Row]:
    """In the order of the page: dense, then the methods as the suite has them, each with its controls."""
    order = {DENSE: -1} | {job.method: k for k, job in enumerate(SUITES[suite](0, Asked()))}

    def key(row: Row) -> tuple[object, ...]:
        base = row.method.removesuffix(CHEAPEST)
        place = order.get(base, len(order))
        patched = (row.sparsity, row.patches) if row.patches else (row.sparsity,)
        return place, row.method, row.control or "", patched, row.seed

    return sorted(rows, key=key)


def figure(rows: Iterable[Row], name: str) -> list[float]:
    """The values of a field, where there are any."""
    return [value for row in rows if (value := getattr(row, name)) is not None]


def mean(rows: Iterable[Row], name: str) -> float | None:
    """The mean of a field over rows, None where no row has it."""
    values = figure(rows, name)
    return statistics.mean(values) if values else None


def percents(values: Sequence[float]) -> str:
    """Mean, and least and most where there are several, of shares in percent; nothing of nothing."""
    if not values:
        return ""
    middle = f"{100 * statistics.mean(values):.1f}"
    return middle if len(values) == 1 else f"{middle} ({100 * min(values):.1f} .. {100 * max(values):.1f})"


def at(rows: Iterable[Row], method: str, sparsity: float, control: str | None = None) -> list[Row]:
    """The rows of a method without patches at a sparsity, of all seeds."""
    wanted = (method, sparsity, control, None)
    return [row for row in rows if (row.method, row.sparsity, row.control, row.patches) == wanted]


def equal(rows: Sequence[Row], method: str) -> list[Row]:
    """Of each seed the network of a method that costs least among those about as accurate as the dense one.

    About: at most MARGIN less, on the validation samples. Costs: synaptic operations on these samples, counted in
    torch. The dense network itself is one of them.
    """
    chosen = []
    for dense in (row for row in rows if row.method == DENSE):
        own = [r for r in rows if (r.model, r.method, r.seed, r.control) == (dense.model, method, dense.seed, None)]
        good = [row for row in own if row.validation >= dense.validation - MARGIN]
        if own:
            chosen.append(min([dense, *good], key=lambda row: row.price))
    return chosen


@dataclass(frozen=True)
class Goal:
    """What was hoped for. value: of the rows of a suite, None where it was not run; least: that is wanted."""

    text: str
    suite: str
    value: Callable[[Sequence[Row]], float | None]
    least: float
    unit: str

    def row(self, rows: Sequence[Row]) -> str:
        """A row of the table: goal, measured, met or not."""
        value = self.value(rows)
        if value is None:
            return f"| {self.suite} | {self.text} | not run | |"
        shown = f"{100 * value:.1f} %" if self.unit == "%" else f"{value:.1f} times"
        return f"| {self.suite} | {self.text} | {shown} | {'met' if value >= self.least else 'not met'} |"


def _accuracy(method: str, sparsity: float) -> Callable[[Sequence[Row]], float | None]:
    return lambda rows: mean(at(rows, method, sparsity), "accuracy")


def saved(rows: Sequence[Row]) -> float | None:
    """SynOps of plain pruning, in units of those with a price on them, at equal accuracy: see :func:`equal`."""
    plain, priced = (mean(equal(rows, method), "synops") for method in ("imp", "imp, priced"))
    return plain / priced if plain and priced else None


CHEAPER = "imp with a price on SynOps: at equal accuracy, SynOps fewer by a factor of at least 2 than plain imp's"
GOALS = (
    Goal("98 % pruned by long imp: at least 96.3 %", "digits", _accuracy("imp, long", 0.98), 0.963, "%"),
    Goal(CHEAPER, "digits", saved, 2.0, "times"),
    Goal("95 % pruned by imp: at least 97.5 %", "mnist", _accuracy("imp", 0.95), 0.975, "%"),
    Goal("98 % pruned by imp: at least 96.5 %", "mnist", _accuracy("imp", 0.98), 0.965, "%"),
    Goal(CHEAPER, "mnist", saved, 2.0, "times"),
)
