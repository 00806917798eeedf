"""Masks that are balanced over groups: exact counts, seeds, and how evenly groups are used."""

from __future__ import annotations

import numpy as np
import pytest

from snnc.errors import UsageError
from snnc.tickets.balance import balance, counts, mean_utilisation, settled, shares, utilisation
from snnc.tickets.masks import Masks

ROWS, COLUMNS = 24, 30


def masks_of(seed: int, density: float = 0.2) -> Masks:
    generator = np.random.default_rng(seed)
    return {"a": generator.random((ROWS, COLUMNS)) < density, "b": generator.random((10, ROWS)) < density}


GROUPS = {
    "a": (np.arange(ROWS) // 5).astype(np.int32),  # 5, 5, 5, 5 and 4 rows
    "b": np.array([7, 7, 2, 2, 2, 2, 2, 7, 7, 7], np.int32),
}


# --- balance -------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["random", "magnitude"])
@pytest.mark.parametrize("seed", range(5))
def test_counts_differ_by_one_at_most_and_their_sum_stays(how: str, seed: int) -> None:
    masks = masks_of(seed)
    values = {name: np.random.default_rng(9).normal(size=mask.shape) for name, mask in masks.items()}
    before = {name: mask.copy() for name, mask in masks.items()}
    found = balance(masks, GROUPS, seed=seed, how=how, weights=values)
    for name, counted in counts(found, GROUPS).items():
        assert np.ptp(counted) <= 1
        assert list(counted) == sorted(counted)  # the last ones take the rest
        assert counted.sum() == masks[name].sum() == found[name].sum()
        assert np.array_equal(masks[name], before[name])
    assert np.ptp(counts(masks, GROUPS)["a"]) > 1  # there was something to do


def test_a_core_only_loses_or_only_recovers() -> None:
    masks = masks_of(0)
    found = balance(masks, GROUPS, seed=0)
    for name, group in GROUPS.items():
        for core in np.unique(group):
            before, after = (m[name][group == core] for m in (masks, found))
            assert not (np.any(before & ~after) and np.any(after & ~before))


def test_the_seed_decides_alone() -> None:
    masks = masks_of(0)
    first, again, other = (balance(masks, GROUPS, seed=seed) for seed in (1, 1, 2))
    assert all(np.array_equal(first[name], again[name]) for name in masks)
    assert not np.array_equal(first["a"], other["a"])
    # One layer does not depend on what another holds.
    changed = balance(masks | {"a": ~masks["a"]}, GROUPS, seed=1)
    assert np.array_equal(first["b"], changed["b"])


def test_by_magnitude_the_smallest_go_and_the_largest_come_back() -> None:
    masks = {"w": np.array([[1, 1, 1, 1], [0, 0, 0, 0]], bool)}
    values = {"w": np.array([[0.1, -0.9, 0.4, 0.2], [0.3, -0.8, 0.5, 0.0]])}
    groups = {"w": np.array([0, 1], np.int32)}
    found = balance(masks, groups, seed=0, how="magnitude", weights=values)
    assert found["w"].astype(int).tolist() == [[0, 1, 1, 0], [0, 1, 1, 0]]


def test_what_is_closed_is_not_recovered_and_others_share_the_rest() -> None:
    masks = masks_of(3)
    open_to = {name: np.ones_like(mask) for name, mask in masks.items()}
    open_to["a"][:5] = masks["a"][:5]  # the first core cannot get any back
    open_to["a"][:, 4] = False  # nor any from this source
    masks["a"][:, 4] = False
    masks["a"][2:5] = open_to["a"][2:5] = False
    found = balance(masks, GROUPS, seed=0, open_to=open_to)["a"]
    assert not np.any(found & ~open_to["a"])
    counted = counts({"a": found}, {"a": GROUPS["a"]})["a"]
    assert counted[0] == masks["a"][:5].sum() < counted[1:].min()
    assert np.ptp(counted[1:]) <= 1
    assert counted.sum() == masks["a"].sum()


def test_a_layer_may_be_given_another_number_of_connections() -> None:
    masks = masks_of(4)
    found = balance(masks, GROUPS, seed=0, totals={"a": 201, "b": 10**6})
    assert counts(found, GROUPS)["a"].tolist() == [40, 40, 40, 40, 41]
    assert found["b"].all()


def test_a_layer_without_groups_stays() -> None:
    masks = masks_of(5)
    found = balance(masks, {"b": GROUPS["b"]}, seed=0)
    assert np.array_equal(found["a"], masks["a"])
    assert found["a"] is not masks["a"]


def test_impossible_requests() -> None:
    with pytest.raises(UsageError, match="cannot be balanced by 'size'"):
        balance(masks_of(0), GROUPS, seed=0, how="size")
    with pytest.raises(UsageError, match="takes weights"):
        balance(masks_of(0), GROUPS, seed=0, how="magnitude")


@pytest.mark.parametrize(
    ("total", "room", "found"),
    [
        (10, [9, 9, 9], [3, 3, 4]),
        (11, [9, 9, 9], [3, 4, 4]),
        (10, [9, 1, 9], [4, 1, 5]),
        (10, [0, 2, 100], [0, 2, 8]),
        (10, [3, 3, 3], [3, 3, 3]),
        (0, [3, 3], [0, 0]),
        (5, [], []),
    ],
)
def test_shares(total: int, room: list[int], found: list[int]) -> None:
    assert shares(total, np.array(room, np.int64)).tolist() == found


# --- utilisation ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counted", "expected"),
    [
        ([7, 7, 7], 1.0),
        ([12, 0, 0, 0], 0.0),  # one does all
        ([10, 5], 0.5),  # 1 - 2.5 / 10 * 2
        ([4, 3, 2], 0.625),  # 1 - 1 / 4 * 3 / 2
        ([9], 1.0),
        ([0, 0], 1.0),
        ([], 1.0),
    ],
)
def test_utilisation(counted: list[int], expected: float) -> None:
    assert utilisation(np.array(counted, np.int64)) == pytest.approx(expected)


def test_layers_weigh_as_much_as_they_hold() -> None:
    assert mean_utilisation([np.array([10, 5]), np.array([15, 15, 15])]) == pytest.approx((15 * 0.5 + 45) / 60)
    assert mean_utilisation([np.zeros(3, np.int64)]) == 1.0


def test_splinters_go_to_the_emptiest_cores() -> None:
    group = np.array([4] * 10 + [1] * 8 + [6] + [-1] * 2, np.int32)
    found = settled({"w": group})["w"]
    assert np.array_equal(found[:18], group[:18])
    assert found[18:].tolist() == [1, 1, 1]
    kept = settled({"w": group}, splinters=True)["w"]
    assert kept[18:].tolist() == [6, 6, 6]
    assert settled({"w": np.full(3, -1, np.int32)})["w"].tolist() == [0, 0, 0]
