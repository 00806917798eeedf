"""Tickets of every method reach the chip, or it is said what keeps them from it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from small_runs import MLP

from snnc import cli, frontends, models, tickets, workflow
from snnc.network import identical

SEARCHES: dict[str, dict[str, Any]] = {
    "imp": {"sparsity": 0.6, "rounds": 2},
    "early-bird": {"method": "early-bird", "sparsity": 0.6},
    "conns": {"method": "conns", "sparsity": 0.5},
    "binw-conns": {"method": "binw-conns", "sparsity": 0.6},
    "balanced": {"sparsity": 0.6, "rounds": 1, "balance": 4},
    "objective": {"schedule": (0.4, 0.6), "objective": "accuracy@synops"},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a ticket of each kind."""
    folder = tmp_path_factory.mktemp("tickets")
    for name, search in SEARCHES.items():
        chip = workflow.chip("loihi") if name in ("balanced", "objective") else None
        tickets.find(MLP, **search, out=folder / f"{name}.pt", chip=chip)
    return folder


@pytest.mark.parametrize("name", SEARCHES)
def test_a_ticket_compiles_and_its_image_is_exact(made: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = made / name
    assert cli.run(["compile", str(made / f"{name}.pt"), "-o", str(out)]) == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    assert ("as the ticket says" in said) == (name == "balanced")
    assert ("saved" in said) == (name not in ("conns", "binw-conns"))  # which have no dense parent
    assert cli.run(["verify", str(out / "image.snnc"), "--samples", "20"]) == 0
    assert capsys.readouterr().out.startswith("0 of ")


@pytest.mark.parametrize("name", SEARCHES)
def test_a_ticket_is_the_same_network_after_nir(made: Path, name: str) -> None:
    assert cli.run(["export", str(made / f"{name}.pt"), "-o", str(made / f"{name}.nir")]) == 0
    network, about = frontends.load(made / f"{name}.nir")
    assert identical(network, frontends.load(made / f"{name}.pt")[0])
    assert about["data"] == "digits:steps=4,encoding=rate,seed=0"


def test_exact_weights_are_not_trained_on(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tuned, plain = made / "tuned", made / "untuned"
    assert cli.run(["compile", str(made / "binw-conns.pt"), "--finetune", "--epochs", "1", "-o", str(tuned)]) == 0
    assert "finetuned    nothing, as every weight is exact" in capsys.readouterr().out
    assert cli.run(["compile", str(made / "binw-conns.pt"), "-o", str(plain)]) == 0
    images = [workflow.open_compiled(folder).image for folder in (tuned, plain)]
    assert images[0] is not None
    assert images[1] is not None
    assert identical(images[0].network, images[1].network)


ATTENTION = "blocks.0.attention: the product of spikes q k^T v"
SAMPLE = "patches: a choice of patches made anew for each sample"


@pytest.mark.parametrize(
    ("search", "obstacles"),
    [
        ({"method": "patchs"}, [ATTENTION]),
        ({"method": "patchs", "selector": "sample"}, [SAMPLE, ATTENTION]),
        ({"method": "ecpt"}, [ATTENTION]),
        ({"method": "ecpt", "selector": "sample", "binary": True}, [SAMPLE, ATTENTION]),
    ],
    ids=str,
)
def test_what_of_a_transformer_no_chip_can_do_is_listed_whole(
    tmp_path: Path, search: dict[str, Any], obstacles: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = dataclasses.replace(models.recipe("spikformer"), epochs=2)
    tickets.find(recipe, **search, out=tmp_path / "t.pt")
    assert cli.run(["compile", str(tmp_path / "t.pt"), "-o", str(tmp_path / "out")]) == 3
    error = capsys.readouterr().err.splitlines()[0]
    assert error.endswith(": " + "; ".join(obstacles))
    assert not (tmp_path / "out").exists()
