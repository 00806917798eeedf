"""The page of the experiments on tickets, from results that are made up; and which runs are done again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.experiments import ticket_figures, ticket_page, ticket_plots, ticket_store, tickets
from tests.experiments.ticket_store import Row, Run
from tests.experiments.ticket_suites import SUITES, Asked, Job

# Accuracy of seed 0; the second seed is 2 points worse.
ACCURACY = {0.0: 0.97, 0.5: 0.98, 0.9: 0.96, 0.98: 0.90}


def row(method: str, sparsity: float, seed: int, epochs: int = 15, **fields: Any) -> Row:
    accuracy = ACCURACY[sparsity] - 0.02 * seed
    spent = 1000 * (1 - sparsity) + 100 * seed
    made = Row("mlp", method, None, sparsity, None, seed, epochs, sparsity, accuracy, accuracy, spent, spent)
    return replace(made, compiled=accuracy, memory=2048.0, cores=1, energy=3e-9, **fields)


def rows() -> list[Row]:
    found = []
    for seed in (0, 1):
        found.append(row("dense", 0.0, seed))
        found.append(row("dense", 0.0, seed, epochs=40))
        for sparsity in (0.5, 0.9, 0.98):
            found.append(row("imp", sparsity, seed))
            found.append(row("imp", sparsity, seed, control="random-mask"))
            found.append(row("imp", sparsity, seed, control="reinit"))
            found.append(row("imp, 40 epochs", sparsity, seed, epochs=40))
            priced = row("imp, priced, 40 epochs", sparsity, seed, epochs=40)
            found.append(replace(priced, synops=priced.synops / 4, price=priced.price / 4))
        found.append(replace(row("imp, 40 epochs, 25 % a round", 0.98, seed), accuracy=0.963))
    return found


def job(seed: int = 0, method: str = "imp", **asked: Any) -> Job:
    return next(j for j in SUITES["digits"](seed, Asked(**asked)) if j.method == method)


def run(made: list[Row]) -> Run:
    return Run("mlp, imp, seed 0", job().settings, {"snnc": "1", "torch": "2"}, tuple(made))


def page(made: list[Row]) -> str:
    return ticket_page.page({"digits": [run(made)]}, {"digits": "python -m it"}, {"digits": "tickets-digits.svg"})


def test_the_page_tells_why_a_network_was_not_simulated() -> None:
    reason = "its layers multiply spikes"
    told = page([replace(each, note=reason) for each in rows()])
    assert told.count(f"- Not simulated on loihi: {reason}.") == 1
    assert "Not simulated" not in page(rows())


def test_the_page_shows_means_and_spreads_of_the_seeds() -> None:
    text = page(rows())
    assert "| dense, 15 epochs | 96.0 (95.0 .. 97.0) |  |  |  |" in text
    assert "| imp |  | 97.0 (96.0 .. 98.0) | 95.0 (94.0 .. 96.0) | 89.0 (88.0 .. 90.0) |" in text
    assert "| imp |  | 550 | 150 | 70 |" in text  # SynOps: 500 and 600, 100 and 200, 20 and 120
    assert "| imp |  | 2.0 | 2.0 | 2.0 |" in text  # KiB
    assert "| imp |  | 3 | 3 | 3 |" in text  # nJ
    assert "![Accuracy over sparsity, SynOps and energy](tickets-digits.svg)" in text
    assert "Made by `python -m it`; torch 2." in text
    assert "0.0 points above weights at random places" in text


def test_one_seed_has_no_spread() -> None:
    text = page([r for r in rows() if r.seed == 0])
    assert "| dense, 15 epochs | 97.0 |  |  |  |" in text


def test_rows_are_in_the_order_of_the_suite_with_controls_behind_their_method() -> None:
    ordered = ticket_figures.of_suite("digits", reversed(rows()))
    assert list(dict.fromkeys(map(ticket_figures.label, ordered))) == [
        "dense, 15 epochs", "dense, 40 epochs", "imp", "random-mask of imp", "reinit of imp", "imp, 40 epochs",
        "imp, priced, 40 epochs", "imp, 40 epochs, 25 % a round",
    ]  # fmt: skip


def test_equal_accuracy_is_judged_on_validation_in_the_mean_over_the_seeds() -> None:
    # At 90 % accuracy on test is 1 point too low; on validation, it is within half a point of one seed, not of both.
    made = [replace(r, validation=0.968 - 0.02 * r.seed) if r.sparsity == 0.9 else r for r in rows()]
    assert {r.sparsity for r in ticket_figures.equal(made, "imp")} == {0.9}
    made = [replace(r, validation=r.validation - 0.01 * r.seed) if r.sparsity == 0.9 else r for r in made]
    assert {r.sparsity for r in ticket_figures.equal(made, "imp")} == {0.5}


def test_the_dense_network_is_the_cheapest_where_no_ticket_is_as_accurate() -> None:
    made = [replace(r, validation=0.5) if r.sparsity else r for r in rows()]
    assert {r.method for r in ticket_figures.equal(made, "imp")} == {"dense"}


def test_a_method_of_which_seeds_are_missing_is_not_judged() -> None:
    assert ticket_figures.equal([r for r in rows() if r.dense or r.seed == 0], "imp") == []


@pytest.mark.parametrize(("accuracy", "word"), [(0.963, "met"), (0.962, "not met")])
def test_goals_are_met_from_their_least_value_on(accuracy: float, word: str) -> None:
    made = [replace(r, accuracy=accuracy) if "25 %" in r.method else r for r in rows()]
    assert (
        f"| digits | 98 % pruned by imp, 40 epochs, 25 % a round: at least 96.3 % | {100 * accuracy:.1f} % | {word} |"
        in page(made)
    )
    assert f"| digits | {ticket_figures.CHEAPER} | 4.0 times | met |" in page(made)
    assert "| mnist | 95 % pruned by imp: at least 97.5 % | not run | |" in page(made)


def test_a_reduced_run_is_called_so_beside_the_published_figures() -> None:
    def shown(reduced: bool) -> str:
        first = next(iter(SUITES["cifar10"](0, Asked(reduced=reduced))))
        made = replace(row("conns", 0.5, 0), model="vgg9")
        found = Run(first.name, first.settings, {"snnc": "1", "torch": "2"}, (made,))
        return ticket_page.page({"cifar10": [found]}, {"cifar10": "it"}, {})

    assert "| vgg9 | conns | 87.52 | 98.0 |" in shown(True)
    assert "This is a reduced run" in shown(True)
    assert "This is a reduced run" not in shown(False)


def test_patch_tickets_have_a_table_of_their_own() -> None:
    made = [replace(row("dense", 0.0, 0), model="spikformer")]
    for control, accuracy in ((None, 0.9), ("random-patches", 0.8)):
        ticket = replace(row("patchs, fixed", 0.5, 0), model="spikformer", sparsity=0.0, patches=0.31)
        made.append(replace(ticket, control=control, accuracy=accuracy))
    text = page(made)
    assert "### spikformer: patches removed" in text
    assert "| patchs, fixed |  | 90.0 |" in text
    assert "*patchs, fixed* is 10.0 points above them with 31 % removed" in text


def test_plots_are_the_same_for_the_same_results(tmp_path: Path) -> None:
    files = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        file = ticket_plots.draw("digits", rows(), tmp_path / name)
        assert file is not None
        files.append(file.read_bytes())
    assert files[0] == files[1]
    assert b"random-mask of imp" in files[0]
    assert b"dc:date" not in files[0]


def test_energy_is_drawn_where_it_is_known(tmp_path: Path) -> None:
    known = [replace(each, energy=1e-12 * each.synops) for each in rows()]
    unknown = [replace(each, energy=None) for each in rows()]
    for made, drawn in ((known, True), (unknown, False)):
        file = ticket_plots.draw("digits", made, tmp_path)
        assert file is not None
        assert (b"energy per sample, nJ" in file.read_bytes()) == drawn
        assert b"SynOps per sample" in file.read_bytes()


def test_too_few_points_are_not_drawn(tmp_path: Path) -> None:
    assert ticket_plots.draw("cifar10", [row("dense", 0.0, 0), row("imp", 0.5, 0)], tmp_path) is None


def test_results_survive_the_file(tmp_path: Path) -> None:
    file = tmp_path / "tickets-digits.json"
    assert ticket_store.load(file) == []
    ticket_store.save(file, [run(rows())], "it")
    (found,) = ticket_store.load(file)
    assert list(found.rows) == rows()


def test_what_is_stored_is_not_run_again(tmp_path: Path) -> None:
    file = tmp_path / "tickets-digits.json"
    ticket_store.save(file, [run(rows())], "it")
    known, jobs = ticket_store.load(file), [job(0), job(1)]
    assert tickets.pending(jobs, known, again=False) == [job(1)]
    assert tickets.pending(jobs, known, again=True) == jobs


def test_what_is_stored_with_other_settings_is_run_again() -> None:
    first, second = (job(method="imp, priced, 40 epochs", penalty=penalty) for penalty in (1.0, 2.0))
    known = [Run(first.name, first.settings, {}, ())]
    assert tickets.pending([first], known, again=False) == []
    assert tickets.pending([second], known, again=False) == [second]


def test_a_new_run_replaces_that_of_its_name() -> None:
    other = replace(run(rows()), name="other")
    new = run(rows()[:1])
    assert ticket_store.with_run([run(rows()), other], new) == [other, new]


@pytest.mark.parametrize("suite", SUITES)
def test_jobs_have_names_of_their_own_and_say_nothing_of_where_the_data_is(suite: str, tmp_path: Path) -> None:
    jobs = [j for seed in (0, 1) for j in SUITES[suite](seed, Asked(data=tmp_path))]
    assert len({j.name for j in jobs}) == len(jobs)
    assert str(tmp_path) not in str([j.settings for j in jobs])
    for each in jobs:
        for search in each.searches:
            search.checked()
