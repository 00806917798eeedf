"""The cores of a balanced ticket in its file, and what is refused there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_checkpoints import GROUPS, WEIGHT, dense, ticket

from snnc import models, tickets
from snnc.errors import InputError
from snnc.tickets import checkpoint
from snnc.tickets.checkpoint import Checkpoint, save_plain
from snnc.tickets.masks import plain_state


def grouped() -> Checkpoint:
    return replace(ticket(), groups=GROUPS)


def test_groups_come_back_and_others_have_none(tmp_path: Path) -> None:
    grouped().save(tmp_path / "a.pt")
    found = checkpoint.read(tmp_path / "a.pt").groups
    assert list(found) == list(GROUPS)
    assert all(np.array_equal(found[name], GROUPS[name]) and found[name].dtype == np.int32 for name in GROUPS)
    ticket().save(tmp_path / "b.pt")
    assert checkpoint.read(tmp_path / "b.pt").groups == {}
    assert tickets.groups(tmp_path / "b.pt") is None


INT = torch.int32
CASES = {
    "a list": (list(range(7)), f"the cores of '{WEIGHT}' are not an int32 for each of its 7 rows"),
    "too few": (torch.zeros(6, dtype=INT), f"the cores of '{WEIGHT}' are not an int32 for each of its 7 rows"),
    "a column": (torch.zeros(7, 1, dtype=INT), f"the cores of '{WEIGHT}' are not an int32 for each of its 7 rows"),
    "floats": (torch.zeros(7), f"the cores of '{WEIGHT}' are not an int32 for each of its 7 rows"),
    "64 bits": (torch.zeros(7, dtype=torch.int64), f"the cores of '{WEIGHT}' are not an int32 for each"),
    "expanded": (torch.zeros(1, dtype=INT).expand(7), f"the cores of '{WEIGHT}' are not an int32 for each"),
    "negative": (torch.full((7,), -1, dtype=INT), f"the cores of '{WEIGHT}' are not numbers from 0 to 9"),
    "huge": (torch.full((7,), 2**31 - 1, dtype=INT), f"the cores of '{WEIGHT}' are not numbers from 0 to 9"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_wrong_group_is_named(tmp_path: Path, case: str) -> None:
    value, message = CASES[case]
    refused_as(tmp_path, {WEIGHT: value, "layers.3.weight": torch.zeros(3, dtype=INT)}, message)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1], "the field 'groups' has the type list"),
        ({WEIGHT: torch.zeros(7, dtype=INT)}, f"there are cores for {WEIGHT}, but weights"),
        ({3: torch.zeros(7, dtype=INT)}, "there are cores for 3, but weights"),
    ],
)
def test_wrong_groups_are_refused(tmp_path: Path, value: object, message: str) -> None:
    refused_as(tmp_path, value, message)


def test_groups_of_convolutions_are_refused(tmp_path: Path) -> None:
    args = {"shape": [1, 8, 8], "classes": 3, "channels": [2]}
    state = plain_state(models.model("conv")(**args))
    groups = {"layers.0.weight": np.zeros(2, np.int32), "layers.5.weight": np.zeros(3, np.int32)}
    replace(dense(), model="conv", args=args, state_dict=state, groups=groups).save(tmp_path / "a.pt")
    with pytest.raises(InputError, match="the field 'groups' is wrong: only rows of fully connected layers"):
        checkpoint.read(tmp_path / "a.pt")


def refused_as(folder: Path, value: object, message: str) -> None:
    grouped().save(folder / "a.pt")
    plain = torch.load(folder / "a.pt", weights_only=True)
    save_plain(plain | {"groups": value}, folder / "a.pt")
    with pytest.raises(InputError) as caught:
        checkpoint.read(folder / "a.pt")
    assert message in caught.value.message
    assert caught.value.where == str(folder / "a.pt")
