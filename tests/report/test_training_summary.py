"""What is told of a search for tickets is what its checkpoint holds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from small_checkpoints import WEIGHT, dense

from snnc.report import training
from snnc.tickets.checkpoint import Checkpoint, Parent
from snnc.tickets.search import Search

MASKS = {WEIGHT: np.arange(105).reshape(7, 15) % 5 == 0, "layers.3.weight": np.arange(21).reshape(3, 7) % 3 == 0}
KEPT = 21 + 7


def stage(name: str, sparsity: float, validation: float, **rates: float) -> dict[str, Any]:
    return {"stage": name, "sparsity": sparsity, "validation": validation, **{f"rate {n}": r for n, r in rates.items()}}


ROUNDS = [
    stage("dense", 0.0, 0.5, fc1=0.1),
    stage("round 1 of 2", 1 - KEPT / 126, 0.5, fc1=0.2),
    stage("round 2 of 2", 0.9, 0.25, fc1=0.3),
]


def ticket(*notes: dict[str, Any]) -> Checkpoint:
    parent = dense(1)
    ancestor = Parent(parent.state_dict, parent.args, 0.75, parent.log)
    epochs = [{"stage": "dense", "epoch": 1, "validation": 0.4}]
    return replace(dense(), masks=MASKS, parent=ancestor, log=[*epochs, *ROUNDS, *notes])


def choice(unit: str, *prices: float) -> list[dict[str, Any]]:
    return [
        {"stage": "choice", "sparsity": each["sparsity"], unit: price, "chosen": k == 0}
        for k, (each, price) in enumerate(zip(ROUNDS[1:], prices, strict=True))
    ]


@pytest.mark.parametrize(
    ("unit", "prices", "told"),
    [
        ("synops", (41234.4, 26696.0), ("41,234 SynOps  chosen", "26,696 SynOps")),
        ("joules", (1.5321e-6, 8.9892e-7), ("1.532 uJ  chosen", "898.92 nJ")),
        ("joules", (1e-6, float("inf")), ("1.000 uJ  chosen", "does not fit")),
    ],
)
def test_rounds_stand_beside_their_price(unit: str, prices: tuple[float, float], told: tuple[str, str]) -> None:
    text, data = training.summary(ticket(*choice(unit, *prices)), Search().checked())
    rows = text.splitlines()
    assert not rows[1].endswith(told)
    assert [row.endswith(words) for row, words in zip(rows[2:4], told, strict=True)] == [True, True]
    assert max(map(len, rows)) <= 80
    assert [note[unit] for note in data["choice"]] == list(prices)
    # Of the chosen round, not of the last one.
    assert data["rates"] == {"fc1": 0.2}
    assert data["sparsity"] == pytest.approx(1 - KEPT / 126)
    assert f"ticket       imp   {1 - KEPT / 126:.1%} sparse   {KEPT} weights" in rows
    assert "accuracy     validation 25.00%   test 12.50%   dense parent 75.00%" in rows


def test_a_dense_network_is_no_ticket() -> None:
    text, data = training.summary(replace(dense(), log=ROUNDS[:1]))
    assert text.splitlines()[2:] == ["accuracy     validation 25.00%   test 12.50%"]
    assert (data["method"], data["weights"], data["sparsity"], data["parent_accuracy"]) == (None, None, 0.0, None)


def test_a_control_is_called_one() -> None:
    text, data = training.summary(ticket(), Search(control="reinit").checked())
    assert "ticket       reinit, a control of imp   " in text
    assert data["control"] == "reinit"


def test_patches_and_what_choosing_them_costs() -> None:
    cost = {
        "selector synops": 3759.4,
        "selector updates": 3072.0,
        "selector additions": 703.1,
        "selector comparisons": 110.0,
    }
    found = {"stage": "patches", "kept": 11, "of": 16}
    text, data = training.summary(ticket({**found, **cost}), Search(method="patchs", selector="sample").checked())
    assert "patches      11 of 16   of each sample" in text
    assert "selector     3,759 SynOps   3,072 updates   703 additions   110 comparisons" in text
    assert max(map(len, text.splitlines())) <= 80
    assert data["patches"] == {**found, **cost}
    text, _ = training.summary(ticket({**found, **dict.fromkeys(cost, 0.0)}), Search(method="patchs").checked())
    assert "patches      11 of 16   of all samples" in text
    assert "selector" not in text


def test_a_balanced_ticket_tells_its_cores() -> None:
    note = {"stage": "balance", "cores": 15, "utilisation": 0.9981}
    text, data = training.summary(ticket(note), Search(balance=16).checked())
    assert text.endswith("mapping      15 cores   99.8% balanced")
    assert data["balance"] == note
