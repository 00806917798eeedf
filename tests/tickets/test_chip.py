"""What a chip decides of a ticket: its image is as balanced, and costs as much, as the search was told."""

from __future__ import annotations

import dataclasses
import logging
import math
import re
from pathlib import Path
from typing import Any

import pytest
from small_chips import few
from small_runs import MLP

from snnc import cli, families, models, tickets, workflow
from snnc.chip import Chip
from snnc.errors import InputError, UsageError
from snnc.image import Image
from snnc.target import Target
from snnc.tickets import checkpoint, imp, session
from snnc.tickets.balance import held, mean_utilisation
from snnc.tickets.checkpoint import Checkpoint
from snnc.tickets.session import Session
from snnc.tickets.training import Compute

ROUNDS = ["--rounds", "1", "--epochs", "3"]


def notes(path: Path, stage: str) -> list[dict[str, Any]]:
    return [entry for entry in checkpoint.read(path).log if entry["stage"] == stage]


def loihi() -> Target:
    found = families.load("loihi")
    assert isinstance(found, Target)
    return found


@pytest.fixture(scope="module")
def balanced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("balanced") / "t.pt"
    assert cli.run(["ticket", "mlp", "--sparsity", ".9", "--balance", "16", *ROUNDS, "-o", str(path)]) == 0
    return path


def test_the_image_of_a_balanced_ticket_is_as_its_search_said(
    balanced: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = balanced.parent / "out"
    assert cli.run(["compile", str(balanced), "-o", str(out)]) == 0
    said = re.search(r"mapping +as the ticket says +([\d.]+)% balanced", capsys.readouterr().out)
    assert said
    assert float(said[1]) >= 99
    image = Image.load(out / "image.snnc")
    (note,) = notes(balanced, "balance")
    assert note["cores"] == image.cores
    assert note["utilisation"] == mean_utilisation(held(image.network, image.mapping.core_of, image.usage).values())


def test_a_run_is_resumed_for_the_same_chip_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Session, "finish", interrupted)
    how: dict[str, Any] = {"sparsity": 0.5, "rounds": 1, "objective": "accuracy@synops", "out": tmp_path / "t.pt"}
    with pytest.raises(KeyboardInterrupt):
        tickets.find(MLP, **how, chip=workflow.chip("loihi"))
    for other in (workflow.chip("loihi2"), None):
        with pytest.raises(UsageError, match=r"other arguments: chip \(was loihi\)"):
            tickets.find(MLP, **how, chip=other, resume=True)


def found(path: Path, chip: Chip) -> Checkpoint:
    return tickets.find(MLP, schedule=(0.4, 0.6), objective="accuracy@synops", out=path, chip=chip)


def test_what_is_chosen_by_energy_costs_that_much_when_it_is_compiled(tmp_path: Path) -> None:
    made = found(tmp_path / "t.pt", workflow.chip("loihi"))
    first, second = notes(tmp_path / "t.pt", "choice")
    assert [first["sparsity"], second["sparsity"]] == [0.4, 0.6]
    (chosen,) = (note for note in (first, second) if note["chosen"])
    kept = sum(int(mask.sum()) for mask in made.masks.values()) / sum(mask.size for mask in made.masks.values())
    assert kept == pytest.approx(1 - chosen["sparsity"], abs=1e-3)
    document = workflow.compile_file(tmp_path / "t.pt", loihi(), tmp_path / "out")
    assert document.this.energy_pj is not None
    assert chosen["joules"] == pytest.approx(1e-12 * document.this.energy_pj, rel=1e-12)


def test_a_ticket_that_does_not_fit_is_never_the_cheapest(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imp, "MARGIN", 1.0)  # both are accurate enough
    small = few(1, synapse_bits=11500)  # they need 12,992 and 10,048
    with caplog.at_level(logging.WARNING):
        found(tmp_path / "t.pt", Chip(small))
    first, second = notes(tmp_path / "t.pt", "choice")
    assert math.isinf(first["joules"])
    assert second["joules"] < math.inf
    assert second["chosen"]
    assert caplog.text.count(f"a ticket does not fit {small.name}: ") == 1


@pytest.mark.parametrize(
    ("recipe", "options", "kind", "message"),
    [
        ("conv", {"balance": 4}, UsageError, "and layer 0 is Conv2d"),
        ("spikformer", {"objective": "accuracy@synops"}, InputError, "the product of spikes q k"),
        ("mlp", {"balance": 4, "data": "digits:encoding=direct"}, InputError, "takes spikes or whole numbers"),
    ],
)
def test_a_network_that_the_chip_is_not_for_is_refused_before_it_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: str, options: dict[str, Any], kind: Any, message: str
) -> None:
    monkeypatch.setattr(session, "fit", lambda *arguments, **options: pytest.fail("it was trained"))
    with pytest.raises(kind, match=message):
        tickets.find(models.recipe(recipe), **options, out=tmp_path / "t.pt", chip=workflow.chip("loihi"))


def test_chips_with_a_clock_are_refused() -> None:
    with pytest.raises(UsageError, match="chips of a mesh, and ranc is none"):
        workflow.chip("ranc")


def test_the_compiler_sees_what_a_compilation_sees(tmp_path: Path) -> None:
    """The recipe's width and the whole validation split; the mapper is asked for that many cores."""
    recipe = dataclasses.replace(MLP, bits=3)
    run = Session(
        recipe, {}, data=None, epochs=None, seed=0, out=tmp_path / "t.pt", resume=False, progress=None,
        compute=Compute(),
    )  # fmt: skip
    made = workflow.chip("loihi").compiler(run, 3)(run.fresh().eval(), None)
    assert made.cores >= 2
    assert max(int(abs(mantissas).max()) for mantissas in made.mantissas.values()) <= 4
