"""Results of the contest between simulators as tables, and what became of the goals."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence

from tests.benchmarks.contest import Result
from tests.benchmarks.entrants import BRIAN, COMMAND, LAVA, LIMITS, NENGO, OURS, SANAFE, TORCH, TWO
from tests.instances.table import NOTHING, Table

Found = Mapping[str, Sequence[Result]]


def head(load: float) -> list[str]:
    """What all the tables are about. load: how many processes ran on the machine when it began."""
    return [
        "Medians of rounds in turn, one thread unless said, in brackets the slowest and the fastest; snnc with "
        "everything counted: synapses visited, updates, spikes and time per core and step. Start-up, reading and "
        "compiling are in no figure unless said. brian2 is timed by its own clock, which does not see what other "
        f"processes take: {load:.1f} ran when this began.",
        "",
    ]


# Names of the nets that are not drawn at random.
LAYERED, NMNIST, PILOTNET, SMALL = "784-256-10", "N-MNIST size", "PilotNet-LIF", "64-256-10"
# Steps by which these are compared: of 100 samples, of one recording, of one image.
UNITS = {LAYERED: (100 * 100, "100 samples x 100 steps"), NMNIST: (300, "300 steps"), PILOTNET: (16, "16 steps")}

# Goals. Rates: synaptic operations per second of one thread, by net.
RATES = {"10k, 10%": 1.0e9, "10k, 5%": 1.0e9, "10k, 1%": 0.7e9, "100k, 1%": 0.8e9}
THREADS, LIMIT_SHARE = 1.7, 0.5
TIMES = {SANAFE: 100, NENGO: 60, TORCH: 8, BRIAN: 2.5}
TIMES_LAVA = 100
PILOTNET_SECONDS, PILOTNET_GIB = 1.0, 1.0
BYTES_PER_SYNAPSE = 4
COMMAND_SECONDS = 1.5


def tables(found: Found, bandwidth: Mapping[int, float]) -> list[Table]:
    """All of them. bandwidth: bytes per second by threads."""
    random = {net: results for net, results in found.items() if net not in UNITS and net != SMALL}
    rows = [[f"{threads}", f"{rate / 1e9:.1f} GB/s"] for threads, rate in bandwidth.items()]
    memory = Table("Memory", "Bytes read in order, of a table that fits no cache.", [["threads", "bandwidth"], *rows])
    return [memory, *(_random(random) if random else []), *_layered(found), *_sizes(random)]


def _random(found: Found) -> list[Table]:
    """Rates, and their ratios to ours."""
    names = [r.name for r in next(iter(found.values()))]
    above = (
        "One layer, N -> N, random; 5 % of the inputs spike in a step. Millions of synaptic operations per second, "
        "an operation being a stored synapse that a spike of the input visits. The limits are additions of the same "
        "synapses, row after row, and nothing else: tables of 3 bytes a synapse, or of 4." + _missing(found)
    )
    rates, ratios = [["who", *found]], [["who", *found]]
    for k, name in enumerate(names):
        rates.append([name, *(_cell(results[k]) for results in found.values())])
        if name not in (*LIMITS, OURS):
            times = [_times(results, name) for results in found.values()]
            ratios.append([name, *(NOTHING if t is None else f"{t:,.1f}" for t in times)])
    return [
        Table("Random nets", above, rates),
        Table("Random nets, times", "How many times as fast snnc is, on one thread.", ratios),
    ]


def _layered(found: Found) -> Iterable[Table]:
    """Times of what has layers, of which nets spike by themselves."""
    for net, (steps, unit) in UNITS.items():
        if net in found:
            rows = [["who", "time", "slowest..fastest", "times snnc"]]
            for result in found[net]:
                if result.failed:
                    rows.append([result.name, NOTHING, NOTHING, NOTHING])
                    continue
                low, high = (_time(s / result.steps * steps) for s in (max(result.seconds), min(result.seconds)))
                times = _times(found[net], result.name, rate=False) or 0
                rows.append([result.name, _time(result.per_step * steps), f"{low}..{high}", f"{times:,.2f}"])
            yield Table(net, f"{unit}.{_missing({net: found[net]})}", rows)


def _sizes(found: Found) -> Iterable[Table]:
    """Memory of ours."""
    ours = {net: r for net, results in found.items() if not (r := _of(results, OURS)).failed}
    if ours:
        rows = [["net", "synapses", "bytes per synapse", "most memory of the process", "read", "made ready"]]
        for net, r in ours.items():
            figures = r.figures
            rows.append(
                [
                    net,
                    f"{figures['synapses']:,.0f}",
                    f"{_bytes(r):.2f}",
                    f"{r.peak_bytes / 2**30:.2f} GiB",
                    f"{figures['loaded']:.1f} s",
                    f"{figures['flattened']:.1f} s",
                ]
            )
        yield Table(
            "Memory of snnc",
            "Tables of synapses as the engine holds them. Read: the file or the arrays, and the use of all cores.",
            rows,
        )


def _missing(found: Found) -> str:
    words = [f"{r.name} on {r.net}: {r.failed}" for results in found.values() for r in results if r.failed]
    return f" Without figure: {'; '.join(words)}." if words else ""


def _cell(result: Result) -> str:
    if result.failed:
        return NOTHING
    return f"{_digits(result.rate)} ({_digits(min(result.rates))}..{_digits(max(result.rates))})"


def _digits(rate: float) -> str:
    return f"{rate / 1e6:,.0f}" if rate >= 10e6 else f"{rate / 1e6:.1f}"


def _time(seconds: float) -> str:
    return f"{seconds:,.2f} s" if seconds >= 1 else f"{seconds * 1e3:,.1f} ms"


def _times(results: Sequence[Result], name: str, *, rate: bool = True) -> float | None:
    """How many times as fast ours is as another: in operations per second, or in steps per second."""
    ours, other = _of(results, OURS), _of(results, name)
    if ours.failed or other.failed:
        return None
    return ours.rate / other.rate if rate else other.per_step / ours.per_step


def _bytes(result: Result) -> float:
    return result.figures["synapse_bytes"] / result.figures["synapses"]


def _of(results: Sequence[Result], name: str) -> Result:
    return next(r for r in results if r.name == name)


def goals(found: Found) -> list[str]:
    """A line for each goal of the nets that were run: whether it is met, and by what number."""
    return [*_rates(found), *_peers(found), *_others(found)]


def _rates(found: Found) -> Iterable[str]:
    for net, wanted in RATES.items():
        if net in found:
            results = found[net]
            ours, limits = _of(results, OURS), [_of(results, name) for name in LIMITS]
            two = _times(results, TWO)
            known = not ours.failed and not any(r.failed for r in limits)
            yield _line(f"{net}: operations per second", None if ours.failed else ours.rate / 1e9, wanted / 1e9, " G")
            share = ours.rate / max(r.rate for r in limits) if known else None
            yield _line(f"{net}: share of the limit", share, LIMIT_SHARE, "")
            yield _line(f"{net}: two threads", None if two is None else 1 / two, THREADS, "x")
            yield _line(
                f"{net}: bytes per synapse", None if ours.failed else _bytes(ours), BYTES_PER_SYNAPSE, "", most=True
            )


def _peers(found: Found) -> Iterable[str]:
    for name, wanted in TIMES.items():
        for net, results in found.items():
            if any(r.name == name and not r.failed for r in results):
                times = _times(results, name, rate=net not in UNITS)
                yield _line(f"{net}: against {name}", times, wanted, "x")


def _others(found: Found) -> Iterable[str]:
    if LAYERED in found:
        yield _line(f"{LAYERED}: against {LAVA}", _times(found[LAYERED], LAVA, rate=False), TIMES_LAVA, "x")
    if PILOTNET in found:
        ours = _of(found[PILOTNET], OURS)
        seconds = None if ours.failed else ours.figures["flattened"] + statistics.median(ours.seconds)
        memory = None if ours.failed else ours.peak_bytes / 2**30
        yield _line(f"{PILOTNET}: after load, made ready included", seconds, PILOTNET_SECONDS, " s", most=True)
        yield _line(f"{PILOTNET}: memory of the process", memory, PILOTNET_GIB, " GiB", most=True)
    if SMALL in found:
        result = _of(found[SMALL], COMMAND)
        seconds = None if result.failed else statistics.median(result.seconds)
        yield _line(f"{SMALL}: {COMMAND}, wall time", seconds, COMMAND_SECONDS, " s", most=True)
        torch = None if result.failed else result.figures["imports_torch"]
        yield _line(f"{SMALL}: {COMMAND}, imports of torch", torch, 0, "", most=True)


def _line(what: str, value: float | None, wanted: float, unit: str, *, most: bool = False) -> str:
    """most: whether the goal is a bound from above."""
    sign = "<=" if most else ">="
    if value is None:
        return f"{what} {sign} {wanted:g}{unit}: no figure"
    met = value <= wanted if most else value >= wanted
    return f"{what} {sign} {wanted:g}{unit}: {'met' if met else 'NOT met'}, {value:,.2f}{unit}"
