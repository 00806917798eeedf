"""Scores as tables, and what became of the goals."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tests.instances.child import Failed
from tests.instances.jobs import LAYERS, METHODS, METIS, OURS, SLACK, Cost, Score, gib

# Goals: what is asked of the mapper.
TRAFFIC_MEAN, TRAFFIC_EACH, HOPS_MEAN = 0.60, 0.95, 0.60
CORES = 1.10
SECONDS = ((100_000, 5), (10_000_000, 60), (math.inf, 15 * 60))
"""Synapses up to -> seconds."""
BYTES, BYTES_FROM, GIB = 8, 1_000_000, 24
"""Bytes per synapse beyond the network, from so many synapses on (what numba and numpy take hides it below)."""

NOTHING = "–"


@dataclass(frozen=True)
class Table:
    """Rows of cells under a title. The first row is the head."""

    title: str
    text_above: str
    rows: list[list[str]]

    def text(self) -> str:
        """Aligned columns: the first to the left, all others to the right."""
        widths = [max(len(row[k]) for row in self.rows) for k in range(len(self.rows[0]))]
        lines = [
            "  ".join(
                cell.ljust(w) if k == 0 else cell.rjust(w) for k, (cell, w) in enumerate(zip(row, widths, strict=True))
            )
            for row in self.rows
        ]
        return "\n".join([self.title, *(line.rstrip() for line in lines)])

    def markdown(self) -> list[str]:
        head, *rest = self.rows
        lines = [f"| {' | '.join(row)} |" for row in rest]
        return [
            f"### {self.title}",
            "",
            self.text_above,
            "",
            f"| {' | '.join(head)} |",
            "|---" * len(head) + "|",
            *lines,
            "",
        ]


def head(target: str) -> list[str]:
    """What all the tables are about."""
    return [
        f"Networks of `tests/instances`, every neuron on a core of {target}. Up to some thousand neurons are mapped to "
        f"16 cores of at most {SLACK} times the mean size, larger networks to as many whole cores as the mapper takes, "
        "and METIS to as many as it took. METIS knows none of the other limits of a core. Everything is per step, at "
        "the rates of the instance; ratios are those of snnc to the better METIS, or to layer order.",
        "",
    ]


def tables(scores: list[Score]) -> list[Table]:
    """Traffic, hops, cores, and time."""
    return [
        Table("Traffic", "Spikes that leave a core, once for each other core they go to.", _ratios(scores, "traffic")),
        Table(
            "Hops", "Mesh hops of these spikes, each partition but ours placed by scipy's FAQ.", _ratios(scores, "hops")
        ),
        Table("Hottest link", "Spikes over the link that carries most.", _ratios(scores, "hottest")),
        Table(
            "Cores",
            "The bound is the tightest resource, if nothing of it were wasted. Broken: limits that the METIS "
            "partitions exceed.",
            [["instance", "snnc", LAYERS, "bound", "resource", "snnc / bound", *(f"{m} broken" for m in METIS)]]
            + [_cores(s) for s in scores],
        ),
        Table(
            "Time and memory",
            "Of partition, placement and routes by snnc, imports excluded; memory beyond that of the network. "
            "METIS: partition alone.",
            [
                [
                    "instance",
                    "seconds",
                    "memory",
                    "bytes per synapse",
                    *(f"{m} {u}" for m in METIS for u in ("seconds", "memory")),
                ]
            ]
            + [_effort(s) for s in scores],
        ),
    ]


def _ratios(scores: list[Score], what: str) -> list[list[str]]:
    rows = [["instance", "neurons", "synapses", *METHODS, "/ METIS", "/ layers"]]
    for s in scores:
        values = [_value(s.costs[m], what) for m in METHODS]
        rows.append(
            [
                s.name,
                f"{s.neurons:,}",
                f"{s.synapses:,}",
                *values,
                _number(_to_metis(s, what)),
                _number(_to_layers(s, what)),
            ]
        )
    if len(scores) > 1:
        means = [_mean(f(s, what) for s in scores) for f in (_to_metis, _to_layers)]
        rows.append(["geometric mean", "", "", *[""] * len(METHODS), *map(_number, means)])
    return rows


def _value(cost: Cost | Failed, what: str) -> str:
    if isinstance(cost, Failed):
        return cost.reason
    value = getattr(cost, what)
    return NOTHING if math.isnan(value) else f"{value:,.1f}"


def _number(value: float) -> str:
    return NOTHING if math.isnan(value) else f"{value:.2f}"


def _get(score: Score, method: str, what: str) -> float:
    cost = score.costs[method]
    return math.nan if isinstance(cost, Failed) else float(getattr(cost, what))


def _ratio(ours: float, other: float) -> float:
    if ours == other:
        return 1.0
    return ours / other if other else math.inf if ours > 0 else math.nan


def _to_metis(score: Score, what: str) -> float:
    """Ours to the better METIS; nan where neither ran."""
    others = [v for m in METIS if not math.isnan(v := _get(score, m, what))]
    return _ratio(_get(score, OURS, what), min(others)) if others else math.nan


def _to_layers(score: Score, what: str) -> float:
    return _ratio(_get(score, OURS, what), _get(score, LAYERS, what))


def _mean(values: Iterable[float]) -> float:
    """Geometric, of those that are there."""
    there = [v for v in values if not math.isnan(v)]
    return math.exp(sum(math.log(max(v, 1e-12)) for v in there) / len(there)) if there else math.nan


def _cores(score: Score) -> list[str]:
    ours = score.costs[OURS]
    row = [score.name]
    row += [c.reason if isinstance(c, Failed) else f"{c.cores:,}" for c in (ours, score.costs[LAYERS])]
    row += [f"{score.bound:,}", score.resource]
    row.append(NOTHING if isinstance(ours, Failed) else f"{ours.cores / score.bound:.2f}")
    for method in METIS:
        cost = score.costs[method]
        row.append(NOTHING if isinstance(cost, Failed) else ", ".join(cost.broken) or "none")
    return row


def _effort(score: Score) -> list[str]:
    ours = score.costs[OURS]
    row = [score.name, *_spent(ours)]
    row.append(NOTHING if isinstance(ours, Failed) else f"{ours.peak / score.synapses:,.1f}")
    for method in METIS:
        row += _spent(score.costs[method])
    return row


def _spent(cost: Cost | Failed) -> list[str]:
    if isinstance(cost, Failed):
        return [cost.reason, NOTHING]
    return [f"{cost.seconds:,.1f} s", f"{gib(cost.peak):,.2f} GiB"]


def goals(scores: list[Score]) -> list[str]:
    """A line per goal: met or not, and by what."""
    large = [s for s in scores if s.synapses >= BYTES_FROM]
    return [
        _all("no limit of a core is broken", scores, lambda s: _ours(s, lambda c: float(len(c.broken))), 0),
        _average("traffic", scores, TRAFFIC_MEAN),
        _all(
            f"traffic <= {TRAFFIC_EACH} of the better METIS on each",
            scores,
            lambda s: _to_metis(s, "traffic"),
            TRAFFIC_EACH,
        ),
        _all("traffic never worse than layer order", scores, lambda s: _to_layers(s, "traffic"), 1.0),
        _average("hops", scores, HOPS_MEAN),
        _all(f"cores <= {CORES:.2f} of the bound", scores, lambda s: _ours(s, lambda c: c.cores / s.bound), CORES),
        *(
            _all(
                f"up to {_size(top)}: at most {limit} s",
                _between(scores, k),
                lambda s: _ours(s, lambda c: c.seconds),
                limit,
            )
            for k, (top, limit) in enumerate(SECONDS)
        ),
        _all(f"at most {BYTES} bytes per synapse", large, lambda s: _ours(s, lambda c: c.peak / s.synapses), BYTES),
        _all(f"under {GIB} GiB in all", scores, lambda s: _ours(s, lambda c: gib(c.whole)), GIB),
    ]


def _between(scores: list[Score], k: int) -> list[Score]:
    low = SECONDS[k - 1][0] if k else 0
    return [s for s in scores if low < s.synapses <= SECONDS[k][0]]


def _size(top: float) -> str:
    return "any size" if math.isinf(top) else f"{top:,.0f} synapses"


def _ours(score: Score, value: Callable[[Cost], float]) -> float:
    cost = score.costs[OURS]
    return math.inf if isinstance(cost, Failed) else value(cost)


def _average(what: str, scores: list[Score], limit: float) -> str:
    text = f"{what} <= {limit:.2f} of the better METIS in the geometric mean"
    mean = _mean(_to_metis(s, what) for s in scores)
    if math.isnan(mean):
        return f"not measured: {text}"
    return f"{'met' if mean <= limit else 'not met'}: {text} ({mean:.2f})"


def _all(text: str, scores: list[Score], value: Callable[[Score], float], limit: float) -> str:
    """A goal that every instance must meet on its own; those that fail are named."""
    values = {s.name: v for s in scores if not math.isnan(v := value(s))}
    if not values:
        return f"not measured: {text}"
    failing = [f"{name} {v:.2f}" for name, v in values.items() if v > limit * (1 + 1e-9)]
    if failing:
        return f"not met: {text} ({', '.join(failing)})"
    return f"met: {text} (at most {max(values.values()):.2f})"
