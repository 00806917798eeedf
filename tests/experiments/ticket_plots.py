"""The plots of docs/tickets.md: docs/tickets-SUITE.svg; the same results give the same file."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from snnc.files import atomic
from tests.experiments.ticket_figures import CHEAPEST, label, of_suite
from tests.experiments.ticket_store import Row

# A line needs so many points to be worth a plot.
POINTS = 3
# Points of accuracy below the best that are shown; what falls deeper is of no use.
DEPTH = 30
STYLES = {None: "-", "random-mask": ":", "reinit": "--", "random-patches": ":"}


def draw(suite: str, rows: Sequence[Row], folder: Path) -> Path | None:
    """Draw the plots of a suite into `folder`; None where there is too little to draw."""
    panels = [
        (of, which)
        for of in dict.fromkeys(row.model for row in rows)
        for which in (_sparsity, _synops, _energy, _patches)
        if len({x for row in rows if row.model == of and (x := which(row)) is not None}) >= POINTS
    ]
    if not panels:
        return None
    import matplotlib

    matplotlib.use("svg")
    # Names in the file follow from this alone, and not from the time.
    matplotlib.rcParams.update({"svg.hashsalt": "snnc", "svg.fonttype": "none", "font.size": 9})
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(5.2 * len(panels), 4.6), layout="constrained")
    axes = drawing.subplots(1, len(panels), squeeze=False)[0]
    for axis, (model, which) in zip(axes, panels, strict=True):
        _panel(axis, of_suite(suite, [row for row in rows if row.model == model]), which)
        axis.set_title(model)
    path = folder / f"tickets-{suite}.svg"
    with atomic(path) as temporary:
        drawing.savefig(temporary, format="svg", metadata={"Date": None})
    return path


def _sparsity(row: Row) -> float | None:
    return 100 * (1 - row.sparsity) if row.patches is None and not row.dense else None


def _synops(row: Row) -> float | None:
    return row.synops if row.patches is None and not row.dense else None


def _energy(row: Row) -> float | None:
    return None if row.energy is None or row.patches is not None or row.dense else 1e9 * row.energy


def _patches(row: Row) -> float | None:
    return None if row.patches is None else 100 * (1 - row.patches)


NAMES: dict[Callable[[Row], float | None], str] = {
    _sparsity: "weights left, %",
    _synops: "SynOps per sample",
    _energy: "energy per sample, nJ",
    _patches: "patches left, %",
}


def _panel(axis: Any, rows: Sequence[Row], which: Callable[[Row], float | None]) -> None:
    """Accuracy over what `which` tells: a line through the means of each method, a band from least to most."""
    for name, line in zip(dict.fromkeys(label(row) for row in rows if row.dense), ("-", "--"), strict=False):
        level = statistics.mean(row.accuracy for row in rows if label(row) == name)
        axis.axhline(100 * level, color="black", linewidth=0.8, linestyle=line, label=name)
    shown = [row for row in rows if which(row) is not None and not row.method.endswith(CHEAPEST)]
    colours = {method: f"C{k}" for k, method in enumerate(dict.fromkeys(row.method for row in shown))}
    for name in dict.fromkeys(label(row) for row in shown):
        own = [row for row in shown if label(row) == name]
        cells = [[row for row in own if (row.sparsity, row.patches) == key] for key in _keys(own)]
        x = [statistics.mean(which(row) or 0.0 for row in cell) for cell in cells]
        y = [[100 * row.accuracy for row in cell] for cell in cells]
        style = {"color": colours[own[0].method], "linestyle": STYLES[own[0].control], "marker": "."}
        axis.plot(x, [statistics.mean(values) for values in y], label=name, **style)
        axis.fill_between(x, [min(v) for v in y], [max(v) for v in y], color=style["color"], alpha=0.15, linewidth=0)
    axis.set_ylim(bottom=max(axis.get_ylim()[0], 100 * max(row.accuracy for row in shown) - DEPTH))
    axis.set_xscale("log")
    if which not in (_synops, _energy):
        ticks = sorted({which(row) or 0.0 for row in shown})
        axis.set_xticks(ticks, [f"{tick:.3g}" for tick in ticks])
        axis.minorticks_off()
    axis.invert_xaxis()
    axis.set_xlabel(NAMES[which])
    axis.set_ylabel("accuracy, %")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=7, loc="lower left")


def _keys(rows: Sequence[Row]) -> list[tuple[float, float | None]]:
    return sorted({(row.sparsity, row.patches) for row in rows}, key=lambda key: (key[0], key[1] or 0.0))
