"""Figures of many rows of the experiments on tickets: order, means, what costs least, and whether goals are met."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from snnc.tickets.imp import MARGIN
from tests.experiments.ticket_store import Row
from tests.experiments.ticket_suites import SUITES, Asked

CHEAPEST = ", cheapest"


def label(row: Row) -> str:
    """The method, or what it is a control of; of a dense network also its epochs, for there are several."""
    if row.dense:
        return f"{row.method}, {row.epochs} epochs"
    named = f"{row.method}, {100 * row.sparsity:.3g} % of the embedding" if row.patches and row.sparsity else row.method
    return f"{row.control} of {named}" if row.control else named


def of_suite(suite: str, rows: Iterable[Row]) -> list[Row]:
    """In the order of the page: dense, then the methods as the suite has them, each with its controls."""
    jobs = list(SUITES[suite](0, Asked()))
    order = {job.method: k for k, job in enumerate(jobs)}
    models = {job.recipe.name: k for k, job in enumerate(jobs)}

    def key(row: Row) -> tuple[object, ...]:
        base = row.method.removesuffix(CHEAPEST)
        place = -1 if row.dense else order.get(base, len(order))
        patched = (row.sparsity, row.patches) if row.patches else (row.sparsity,)
        return models.get(row.model, len(jobs)), place, row.method, row.epochs, row.control or "", patched, row.seed

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


def parents(rows: Iterable[Row], own: Sequence[Row]) -> list[Row]:
    """The dense networks of the same model that were trained for as many epochs as the rows `own`."""
    kinds = {(row.model, row.epochs) for row in own}
    return [row for row in rows if row.dense and (row.model, row.epochs) in kinds]


def equal(rows: Sequence[Row], method: str) -> list[Row]:
    """The networks of a method, one of each seed, at the sparsity that costs least among the accurate ones.

    Accurate: on the validation samples at most MARGIN less than the dense networks that were trained for as many
    epochs, in the mean over the seeds. Costs: synaptic operations on these samples, counted in torch. The dense
    networks are among them. Nothing of a method of which a sparsity lacks seeds.
    """
    own = [row for row in rows if row.method == method and row.control is None and row.patches is None]
    dense = parents(rows, own)
    cells = [[row for row in own if row.sparsity == sparsity] for sparsity in sorted({row.sparsity for row in own})]
    if not dense or not own or any(len(cell) != len(dense) for cell in cells):
        return []
    least = statistics.mean(row.validation for row in dense) - MARGIN
    good = [cell for cell in [dense, *cells] if statistics.mean(row.validation for row in cell) >= least]
    return min(good, key=lambda cell: statistics.mean(row.price for row in cell))


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


def _saved(plain: str, priced: str) -> Callable[[Sequence[Row]], float | None]:
    """SynOps of the method `plain` in units of those of `priced`, at equal accuracy: see :func:`equal`."""

    def value(rows: Sequence[Row]) -> float | None:
        before, after = (mean(equal(rows, method), "synops") for method in (plain, priced))
        return before / after if before and after else None

    return value


CHEAPER = "imp with a price on SynOps, at equal accuracy: at least 2 times fewer SynOps than imp without"
LONG, LONG_PRICED = "imp, 40 epochs", "imp, priced, 40 epochs"
GOALS = (
    *(
        Goal(f"98 % pruned by {method}: at least 96.3 %", "digits", _accuracy(method, 0.98), 0.963, "%")
        for method in (LONG, "imp, 40 epochs, 25 % a round")
    ),
    Goal(CHEAPER, "digits", _saved(LONG, LONG_PRICED), 2.0, "times"),
    Goal("95 % pruned by imp: at least 97.5 %", "mnist", _accuracy("imp", 0.95), 0.975, "%"),
    Goal("98 % pruned by imp: at least 96.5 %", "mnist", _accuracy("imp", 0.98), 0.965, "%"),
    Goal("95 % pruned by imp, small steps: at least 97.5 %", "mnist", _accuracy("imp, small steps", 0.95), 0.975, "%"),
    Goal("98 % pruned by imp, small steps: at least 96.5 %", "mnist", _accuracy("imp, small steps", 0.98), 0.965, "%"),
    Goal(CHEAPER, "mnist", _saved("imp", "imp, priced"), 2.0, "times"),
)
