"""What the experiments on tickets found, kept as JSON beside their page: docs/tickets-SUITE.json."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from snnc.files import atomic
from tests.experiments.page import ROOT

FOLDER = ROOT / "docs"
# What the method of a dense network is called.
DENSE = "dense"


@dataclass(frozen=True)
class Row:
    """One network, trained and measured.

    method: what the page calls the way it was found. control: what it is a control of that, or None. sparsity: share
    of the weights that was to be removed (of ecpt: of those of the patch embedding). patches: share of the patches.
    pruned: share of all prunable weights that are zero. epochs: of each training on the way. accuracy: of the float
    network on the test samples; validation: on those that may be chosen by. synops: per test sample, counted by the
    simulator on the image, or in torch where there is no image. price: per validation sample, always in torch.
    compiled: accuracy of the integers on the test samples. memory: bytes of synapses. energy: joules per test sample.
    utilisation: of so many cores as were asked for. seconds: that it took, since the row before. note: why there is no
    image.
    """

    model: str
    method: str
    control: str | None
    sparsity: float
    patches: float | None
    seed: int
    epochs: int
    pruned: float
    accuracy: float
    validation: float
    synops: float
    price: float
    compiled: float | None = None
    memory: float | None = None
    cores: int | None = None
    energy: float | None = None
    utilisation: float | None = None
    seconds: float = 0.0
    note: str = ""

    @property
    def dense(self) -> bool:
        """Whether it is a dense network."""
        return self.method == DENSE


@dataclass(frozen=True)
class Run:
    """What one job made. settings: all that determines the rows. made: versions that they were made with."""

    name: str
    settings: dict[str, Any]
    made: dict[str, str]
    rows: tuple[Row, ...]


def path(suite: str, folder: Path = FOLDER) -> Path:
    """Where the results of a suite are kept."""
    return folder / f"tickets-{suite}.json"


def load(file: Path) -> list[Run]:
    """The runs in a file, none where there is no file."""
    if not file.exists():
        return []
    found = json.loads(file.read_text())["runs"]
    return [Run(**{**run, "rows": tuple(Row(**row) for row in run["rows"])}) for run in found]


def save(file: Path, runs: Iterable[Run], command: str) -> None:
    """Write all runs of a suite, by name, whole or not at all. command: that made them."""
    plain = {"command": command, "runs": [asdict(run) for run in sorted(runs, key=lambda run: run.name)]}
    with atomic(file) as temporary:
        temporary.write_text(json.dumps(plain, indent=1) + "\n")


def with_run(runs: Sequence[Run], new: Run) -> list[Run]:
    """The runs with a new one, instead of that of its name."""
    return [*(run for run in runs if run.name != new.name), new]


def stored(runs: Iterable[Run], name: str, settings: dict[str, Any]) -> bool:
    """Whether there is a run of that name with equal settings."""
    plain = json.loads(json.dumps(settings))
    return any(run.name == name and json.loads(json.dumps(run.settings)) == plain for run in runs)


def rows(runs: Iterable[Run]) -> list[Row]:
    """The rows of all runs."""
    return [row for run in runs for row in run.rows]
