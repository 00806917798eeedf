"""Results of the contest between simulators as tables, and what became of the goals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tests.benchmarks.contest import ROUNDS, Result
from tests.benchmarks.entrants import BRIAN, LIMITS, NENGO, OURS, SANAFE, TORCH, TWO
from tests.instances.table import NOTHING, Table

HEAD = [
    f"Medians of {ROUNDS} rounds in turn, one thread unless said, snnc with everything counted (synapses visited, "
    "updates, spikes and time per core and step). In brackets the slowest and the fastest round. Start-up, reading "
    "and compiling are in no figure unless said.",
    "",
]

Found = Mapping[str, Sequence[Result]]

# Goals. Of rates: synaptic operations per second of one thread, by net.
RATES = {"10k, 10%": 1.0e9, "10k, 5%": 1.0e9, "10k, 1%": 0.7e9, "100k, 1%": 0.8e9}
THREADS, LIMIT_SHARE = 1.7, 0.5
TIMES = {SANAFE: 100, NENGO: 60, TORCH: 8, BRIAN: 2.5}


def machine(bandwidth: Mapping[int, float]) -> Table:
    """What the memory gives."""
    rows = [[f"{threads}", f"{rate / 1e9:.1f} GB/s"] for threads, rate in bandwidth.items()]
    return Table("Memory", "Bytes read in order, of a table that fits no cache.", [["threads", "bandwidth"], *rows])


def random(found: Found) -> list[Table]:
    """Rates, and their ratios to ours."""
    names = [r.name for r in next(iter(found.values()))]
    above = (
        "One layer, N -> N, random; 5 % of the inputs spike in a step. Millions of synaptic operations per second, "
        "an operation being a stored synapse that a spike of the input visits. The limits are additions of the same "
        "synapses, row after row, and nothing else: tables of 3 bytes a synapse, or of 4."
    )
    rates = [["who", *found]]
    ratios = [["who", *found]]
    for k, name in enumerate(names):
        rates.append([name, *(_rate(results[k]) for results in found.values())])
        if name not in (*LIMITS, OURS):
            ratios.append([name, *(_ratio(results, name) for results in found.values())])
    words = sorted({f"{r.name} on {r.net}: {r.failed}" for results in found.values() for r in results if r.failed})
    missing = f" Without figure: {'; '.join(words)}." if words else ""
    return [
        Table("Random nets", above + missing, rates),
        Table("Random nets, times", "How many times as fast snnc is, on one thread.", ratios),
    ]


def _rate(result: Result) -> str:
    if result.failed:
        return NOTHING
    low, high = (f"{_digits(r / 1e6)}" for r in (min(result.rates), max(result.rates)))
    return f"{_digits(result.rate / 1e6)} ({low}..{high})"


def _digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def _ratio(results: Sequence[Result], name: str) -> str:
    times = _times(results, name)
    return NOTHING if times is None else f"{times:,.1f}"


def _times(results: Sequence[Result], name: str) -> float | None:
    """Our rate over another's."""
    ours, other = _of(results, OURS), _of(results, name)
    return None if ours.failed or other.failed else ours.rate / other.rate


def _of(results: Sequence[Result], name: str) -> Result:
    return next(r for r in results if r.name == name)


def goals(found: Found) -> list[str]:
    """A line for each goal: whether it is met, and by what number."""
    return list(_goals(found))


def _goals(found: Found) -> Iterable[str]:
    for net, wanted in RATES.items():
        if net in found:
            ours = _of(found[net], OURS)
            yield _line(f"{net}: operations per second", ours.failed or ours.rate / 1e9, wanted / 1e9, " G")
    large = {net: results for net, results in found.items() if net in RATES}
    for net, results in large.items():
        two = _times(results, TWO)
        yield _line(f"{net}: two threads", 1 / two if two else "no figure", THREADS, "x")
        best = [_of(results, name) for name in LIMITS]
        ours = _of(results, OURS)
        if ours.failed or any(r.failed for r in best):
            yield _line(f"{net}: share of the limit", "no figure", LIMIT_SHARE, "")
        else:
            yield _line(f"{net}: share of the limit", ours.rate / max(r.rate for r in best), LIMIT_SHARE, "")
    for name, wanted in TIMES.items():
        times = {net: t for net, results in found.items() if (t := _times(results, name)) is not None}
        if not times:
            yield _line(f"against {name}", "no figure", wanted, "x")
        for net, value in times.items():
            yield _line(f"{net}: against {name}", value, wanted, "x")


def _line(what: str, value: float | str, wanted: float, unit: str, *, most: bool = False) -> str:
    """most: whether the goal is a bound from above."""
    sign = "<=" if most else ">="
    if isinstance(value, str):
        return f"{what} {sign} {wanted:g}{unit}: {value}"
    met = value <= wanted if most else value >= wanted
    return f"{what} {sign} {wanted:g}{unit}: {'met' if met else 'NOT met'}, {value:,.2f}{unit}"
