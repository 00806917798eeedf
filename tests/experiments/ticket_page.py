"""The page docs/tickets.md, made of the stored results of all suites."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from snnc.files import atomic
from snnc.tickets.imp import MARGIN
from tests.experiments import ticket_plots, ticket_store
from tests.experiments.ticket_figures import (
    CHEAPEST,
    GOALS,
    at,
    equal,
    figure,
    label,
    mean,
    of_suite,
    parents,
    percents,
)
from tests.experiments.ticket_store import DENSE, FOLDER, Row, Run
from tests.experiments.ticket_suites import CORES, SUITES

TITLES = {
    "digits": "scikit-learn digits",
    "mnist": "MNIST",
    "nmnist": "N-MNIST",
    "cifar10": "CIFAR-10",
}
HEAD = """# Tickets

Sparse networks found in dense ones, by all methods of `snnc ticket`, beside what a ticket must beat. Written by
`python -m tests.experiments.tickets` from docs/tickets-SUITE.json; with `--suite SUITE` it first runs what of a suite
is not stored there.

Accuracy is on test samples, in percent, the mean over the seeds (least .. most). Nothing was chosen by it: what is
chosen, is chosen on validation samples. *imp* is iterative magnitude pruning, each round rewound to an early epoch;
its *random-mask* has as many weights in each layer at random places, its *reinit* the same places and new initial
weights. Compiled networks are of 8 bits, for loihi, simulated on all test samples; energy is dynamic, by the target's
default constants. SynOps are synapses that spikes visit; a compiled layer that is stored dense also visits its zeros.
Of networks that do not compile they are counted in torch, without the products of spikes in attention, and with the
spikes that the choice of patches adds up; what is behind a pooling counts with the mean of the spikes pooled."""

EQUAL = """Equal accuracy: of a method that sparsity is taken whose networks cost the fewest SynOps among those that are
at most {margin:.1f} points less accurate than dense networks of as many epochs, on validation samples and in the mean
over the seeds; the dense networks are candidates themselves. What is compared are SynOps on test samples."""

# Percent, of VGG-9 and Spikformer TINY; arXiv 2311.12060, Tables 1 and 2. Its CPS is ecpt with 31.4 % of the patches
# and 48.7 % of the embedding's connections removed.
PAPER = {
    ("vgg9", DENSE): 87.71,
    ("vgg9", "conns"): 87.52,
    ("vgg9", "binw-conns"): 87.76,
    ("spikformer-tiny", DENSE): 84.81,
    ("spikformer-tiny", "patchs, per sample"): 81.75,
    ("spikformer-tiny", "ecpt"): 81.21,
}

Shown = Callable[[Sequence[Row]], str]


def write(folder: Path = FOLDER) -> None:
    """Write the page, and the plots it shows, from the results in `folder`."""
    suites = {suite: ticket_store.load(ticket_store.path(suite, folder)) for suite in SUITES}
    commands = {
        suite: json.loads(ticket_store.path(suite, folder).read_text())["command"]
        for suite, runs in suites.items()
        if runs
    }
    plots = {suite: ticket_plots.draw(suite, ticket_store.rows(runs), folder) for suite, runs in suites.items() if runs}
    text = page(suites, commands, {suite: path.name for suite, path in plots.items() if path})
    with atomic(folder / "tickets.md") as temporary:
        temporary.write_text(text)


def page(suites: dict[str, list[Run]], commands: dict[str, str], plots: dict[str, str]) -> str:
    """The text. commands: that made the results. plots: file names by suite."""
    lines = [HEAD, "", "## Goals", "", "| suite | goal | measured | |", "|---|---|---|---|"]
    lines += [goal.row(ticket_store.rows(suites.get(goal.suite, []))) for goal in GOALS]
    lines += ["", EQUAL.format(margin=100 * MARGIN)]
    for suite, runs in suites.items():
        if runs:
            lines += ["", f"## {TITLES[suite]}", "", *_about(suite, runs, commands[suite])]
            if suite in plots:
                lines += ["", f"![Accuracy over sparsity, SynOps and energy]({plots[suite]})"]
            lines += _suite(suite, of_suite(suite, ticket_store.rows(runs)))
    return "\n".join(lines) + "\n"


def _about(suite: str, runs: Sequence[Run], command: str) -> list[str]:
    """What was run, from the settings."""
    lines = [f"Made by `{command}`; torch {', '.join(sorted({run.made['torch'] for run in runs}))}."]
    lines.append("")
    for name, recipe in {run.settings["recipe"]["name"]: run.settings["recipe"] for run in runs}.items():
        own = [run for run in runs if run.settings["recipe"]["name"] == name]
        epochs = " or ".join(str(e) for e in sorted({run.settings["recipe"]["epochs"] for run in own}))
        args = ", ".join(f"{k}={json.dumps(v)}" for k, v in recipe["args"].items() if v not in (None, False))
        precision = own[0].settings.get("precision", "float32")
        seeds = len({row.seed for row in ticket_store.rows(own)})
        lines.append(
            f"- `{name}` ({args}) on `{recipe['data']}`; {epochs} epochs in each training, batches of "
            f"{recipe['batch']}, {precision}, {seeds} seed{'s' * (seeds > 1)}."
        )
    return [*lines, *_reduced(suite, runs)]


def _reduced(suite: str, runs: Sequence[Run]) -> list[str]:
    """That it is less than is usual, where it is."""
    if suite == "nmnist":
        return ["", "The recordings are a part of N-MNIST's training set, of which a quarter is the test split."]
    data: set[str] = {run.settings["recipe"]["data"] for run in runs}
    if suite != "cifar10" or all("samples=0" in spec for spec in data):
        return []
    text = (
        "This is a reduced run: smaller networks, a part of the images, few epochs. It says how the methods compare "
        "with each other there, and nothing about how the full networks compare with the published figures beside them."
    )
    return ["", text]


def _suite(suite: str, rows: Sequence[Row]) -> list[str]:
    lines: list[str] = []
    for model in dict.fromkeys(row.model for row in rows):
        own = [row for row in rows if row.model == model]
        plain = [row for row in own if row.patches is None]
        patched = [row for row in own if row.patches is not None or row.dense]
        if len(plain) > len([row for row in plain if row.dense]):
            lines += ["", f"### {model}: weights removed", *_not_run(plain)]
            lines += [*_tables(plain, lambda row: row.sparsity), *_equal(plain), *_prose(plain)]
        if any(row.patches for row in patched):
            lines += ["", f"### {model}: patches removed", *_not_run(patched)]
            lines += [*_tables(patched, lambda row: row.patches or 0.0), *_patch_prose(patched)]
    if suite == "cifar10":
        lines += _published(rows)
    return lines


def _not_run(rows: Sequence[Row]) -> list[str]:
    """Why some were not simulated on the chip."""
    notes = sorted({row.note for row in rows if row.note})
    return ["", *(f"- Not simulated on loihi: {note}." for note in notes)] if notes else []


def _tables(rows: Sequence[Row], axis: Callable[[Row], float]) -> list[str]:
    shown: list[tuple[str, str, Shown]] = [
        ("Accuracy", "accuracy", lambda cell: percents(figure(cell, "accuracy"))),
        ("Accuracy of the compiled integers", "compiled", lambda cell: percents(figure(cell, "compiled"))),
        ("SynOps per sample", "synops", lambda cell: _number(mean(cell, "synops"))),
        ("Memory of synapses, KiB", "memory", lambda cell: _number(mean(cell, "memory"), 1 / 1024, 1)),
        ("Energy per sample, nJ", "energy", lambda cell: _number(mean(cell, "energy"), 1e9)),
        (f"Utilisation of {CORES} cores, percent", "utilisation", lambda c: percents(figure(c, "utilisation"))),
    ]
    lines: list[str] = []
    for title, name, text in shown:
        some = [row for row in rows if getattr(row, name) is not None]
        if some:
            lines += ["", f"{title}:", "", *table(some, axis, text)]
    return lines


def table(rows: Sequence[Row], axis: Callable[[Row], float], text: Shown) -> list[str]:
    """Methods down, what is removed across. text: of the rows of a cell, one for each seed."""
    columns = sorted({axis(row) for row in rows})
    lines = [f"| method | {' | '.join(_share(c) for c in columns)} |", "|---|" + "---|" * len(columns)]
    for name in dict.fromkeys(label(row) for row in rows):
        cells = [[row for row in rows if label(row) == name and axis(row) == column] for column in columns]
        lines.append(f"| {name} | {' | '.join(text(cell) if cell else '' for cell in cells)} |")
    return lines


def _share(value: float) -> str:
    return f"{100 * value:.3g} %"


def _number(value: float | None, unit: float = 1.0, digits: int = 0) -> str:
    return "" if value is None else f"{value * unit:,.{digits}f}"


def _equal(rows: Sequence[Row]) -> list[str]:
    """What each method's cheapest network costs that is about as accurate as the dense one."""
    methods = [m for m in dict.fromkeys(r.method for r in rows) if not m.endswith(CHEAPEST)]
    if len(methods) < 2:
        return []
    lines = ["", "At equal accuracy (see the goals), of each method:", ""]
    lines += ["| method | removed | accuracy | SynOps | of the dense | memory, KiB | energy, nJ |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for method in methods:
        found = equal(rows, method)
        spent, dense = mean(found, "synops"), mean(parents(rows, found), "synops")
        if spent is None or dense is None:
            continue
        memory, energy = _number(mean(found, "memory"), 1 / 1024, 1), _number(mean(found, "energy"), 1e9)
        lines.append(
            f"| {method} | {_share(found[0].sparsity)} | {percents(figure(found, 'accuracy'))} | {_number(spent)} "
            f"| {100 * spent / dense:.1f} % | {memory} | {energy} |"
        )
    return lines


def _prose(rows: Sequence[Row]) -> list[str]:
    """What the sparsest tickets that have controls say."""
    found = []
    shares = sorted({row.sparsity for row in rows if row.control and row.method == "imp"})
    for share in shares[-2:]:
        ticket, random, again = (mean(at(rows, "imp", share, c), "accuracy") for c in (None, "random-mask", "reinit"))
        if ticket is None or random is None or again is None:
            continue
        found.append(
            f"At {_share(share)} the tickets of imp reach {100 * ticket:.1f} %: {_points(ticket - random)} weights at "
            f"random places, and {_points(ticket - again)} the same places with new initial weights."
        )
    methods = dict.fromkeys(row.method for row in rows if not row.dense and not row.method.endswith(CHEAPEST))
    for share in sorted({row.sparsity for row in rows if row.sparsity})[-2:]:
        scores = {m: value for m in methods if (value := mean(at(rows, m, share), "accuracy")) is not None}
        if len(scores) > 1:
            best = max(scores, key=scores.__getitem__)
            found.append(f"The most accurate at {_share(share)} is {best}, with {100 * scores[best]:.1f} %.")
    return ["", " ".join(found)] if found else []


def _patch_prose(rows: Sequence[Row]) -> list[str]:
    """What chosen patches are worth, compared with random ones."""
    found = []
    for method in dict.fromkeys(row.method for row in rows if row.control):
        differences = []
        for share in sorted({row.patches for row in rows if row.patches}):
            own = [row for row in rows if row.method == method and row.patches == share]
            chosen, random = (mean((r for r in own if r.control == c), "accuracy") for c in (None, "random-patches"))
            if chosen is not None and random is not None:
                differences.append(f"{_points(chosen - random)} them with {_share(share)} removed")
        if differences:
            found.append(f"Beside random patches, *{method}* is {', '.join(differences)}.")
    return ["", " ".join(found)] if found else []


def _points(difference: float) -> str:
    return f"{abs(100 * difference):.1f} points {'above' if difference >= 0 else 'below'}"


def _published(rows: Iterable[Row]) -> list[str]:
    """What the paper has, beside the same method here."""
    some = list(rows)
    lines = [
        "",
        "Beside arXiv 2311.12060, Tables 1 and 2 (50 % of the connections, 31.4 % of the patches removed):",
        "",
    ]
    lines += ["| network | method | published | here |", "|---|---|---|---|"]
    for (model, method), published in PAPER.items():
        own = [row for row in some if (row.model, row.method, row.control) == (model, method, None)]
        lines.append(f"| {model} | {method} | {published:.2f} | {percents(figure(own, 'accuracy')) or 'not run'} |")
    return lines
