"""The whole script on a small instance, and what it says of goals."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from core_counts import count

from snnc.compilation import Options
from snnc.errors import UsageError
from tests.experiments import page
from tests.instances import families, jobs, score, table
from tests.instances.child import Failed
from tests.instances.jobs import LAYERS, METHODS, METIS, OURS, Cost, Score, Source


def ring(path: Path) -> Path:
    """90 neurons in three layers, each with two targets in the next."""
    pairs = [(i, 30 * (i // 30 + 1) + (i + k) % 30) for i in range(60) for k in (0, 1)]
    indptr = np.concatenate([np.arange(61) * 2, np.full(30, 120)])
    rates = np.linspace(0.1, 1, 90)
    np.savez(path, indptr=indptr, indices=[b for _, b in pairs], rates=rates, sizes=[30, 30, 30])
    return path


def test_a_file_is_scored_from_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert score.main([str(ring(tmp_path / "ring.npz")), "--cores", "3"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Traffic\n")
    for title in ("Hops", "Hottest link", "Cores", "Time and memory"):
        assert f"\n\n{title}\n" in out
    row = next(line for line in out.splitlines() if line.startswith("ring"))
    name, neurons, synapses, *values = row.split()
    assert (name, neurons, synapses) == ("ring", "90", "120")
    assert len(values) == len(METHODS) + 2
    assert "met: no limit of a core is broken" in out


def test_the_chip_is_as_small_as_the_instance_asks() -> None:
    instance = families.build("local")
    assert jobs.chip("loihi", instance).core.neurons.value == math.ceil(1.03 * 1818 / 16)
    _, target = Source("local", cores=2).load()
    assert target.core.neurons.value == math.ceil(1.03 * 1818 / 2)
    _, target = Source("local", cores="auto").load()
    assert target.core.neurons.value == 1024
    _, target = Source("local", cores=1).load()
    assert target.core.neurons.value == 1024  # no larger than it is


def test_costs_are_those_of_single_spikes() -> None:
    instance, target = Source("local", cores=5).load()
    state = jobs.run_passes(instance.network, instance.rates, target, Options(map="layers", cores=5))
    cost = jobs._cost(instance, target, jobs.Mapped(state.core_of, state.site_of), ours=True)
    assert cost.traffic == pytest.approx(state.log["route"]["messages_per_step"])
    assert cost.hops == pytest.approx(state.log["route"]["hops_per_step"])
    assert cost.hottest == pytest.approx(state.log["route"]["hottest_link_per_step"])
    assert cost.broken == ()
    assert cost.cores == len(count(instance.network, state.core_of, target).neurons)


def test_wrong_requests_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert score.main(["--only", "locl"]) == 2
    assert "there is no instance 'locl'" in capsys.readouterr().err
    assert score.main(["--target", "lohi"]) == 2
    assert score.main(["a.npz", "--only", "local"]) == 2
    assert score.main(["--write", "--only", "local"]) == 2
    assert score.main(["--write", "--cores", "4"]) == 2
    with pytest.raises(SystemExit) as stop:
        score.main(["--cores", "0"])
    assert stop.value.code == 2


def made(name: str, ours: float, metis: tuple[float, float], layers: float = 100, **other: float) -> Score:
    values = {OURS: ours, METIS[0]: metis[0], METIS[1]: metis[1], LAYERS: layers}
    more = {"cores": 10, "broken": (), "seconds": 1.0, "peak": 1 << 20, "whole": 1 << 30} | other
    costs = {m: Cost(v, 2 * v, v / 10, **more) for m, v in values.items()}
    return Score(name, 1000, 50_000, 10, "neurons", costs)


def lines(scores: list[Score]) -> dict[str, str]:
    return {line.partition(": ")[2]: line.partition(": ")[0] for line in table.goals(scores)}


def test_goals_are_met_or_not() -> None:
    good = lines([made("a", 50, (100, 200)), made("b", 60, (300, 90))])
    assert good["traffic <= 0.60 of the better METIS in the geometric mean (0.58)"] == "met"
    assert good["traffic <= 0.95 of the better METIS on each (at most 0.67)"] == "met"
    assert good["traffic never worse than layer order (at most 0.60)"] == "met"
    assert good["hops <= 0.60 of the better METIS in the geometric mean (0.58)"] == "met"
    assert good["at most 8 bytes per synapse"] == "not measured"  # small instances do not tell
    bad = lines([made("a", 96, (100, 200), 95, cores=12, seconds=5.5), made("b", 1, (1, 1))])
    assert bad["traffic <= 0.60 of the better METIS in the geometric mean (0.98)"] == "not met"
    assert bad["traffic <= 0.95 of the better METIS on each (a 0.96, b 1.00)"] == "not met"
    assert bad["traffic never worse than layer order (a 1.01)"] == "not met"
    assert bad["cores <= 1.10 of the bound (a 1.20)"] == "not met"
    assert bad["up to 100,000 synapses: at most 5 s (a 5.50)"] == "not met"
    broken = lines([made("a", 50, (100, 100), broken=("neurons",))])
    assert broken["no limit of a core is broken (a 1.00)"] == "not met"


def test_what_came_to_nothing_says_why() -> None:
    score = made("a", 50, (100, 200))
    score.costs[METIS[0]] = Failed("took more than 15 min")  # type: ignore[index]
    text = table.tables([score])[0].text()
    assert "took more than 15 min" in text
    assert text.split()[-2:] == ["0.25", "0.50"]  # against the METIS that is left
    score.costs[OURS] = Failed("does not fit")  # type: ignore[index]
    verdicts = lines([score])
    assert verdicts["no limit of a core is broken (a inf)"] == "not met"
    assert verdicts["cores <= 1.10 of the bound (a inf)"] == "not met"


def test_tables_as_text_and_as_markdown() -> None:
    (traffic, *_) = table.tables([made("a", 50, (100, 200)), made("bb", 60, (300, 90))])
    text, rows = traffic.text().splitlines(), traffic.markdown()
    assert [line[:14].strip() for line in text] == ["Traffic", "instance", "a", "bb", "geometric mean"]
    assert len({len(line) for line in text[1:]}) == 1
    assert rows[0] == "### Traffic"
    assert rows[4].startswith("| instance | neurons | synapses | layer order | METIS cut |")
    assert rows[6] == "| a | 1,000 | 50,000 | 100.0 | 100.0 | 200.0 | 50.0 | 0.50 | 0.50 |"


def test_the_page_has_a_part_for_it() -> None:
    assert "mapping" in page.PARTS
    with pytest.raises(UsageError):
        score._run(score._parser().parse_args(["--write", "x.npz"]))
