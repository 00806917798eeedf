"""What can be asked of a search: defaults, and a cure for whatever cannot be done."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_runs import MLP, WEIGHTS, watched

from snnc import tickets
from snnc.errors import UsageError
from snnc.tickets.imp import schedule
from snnc.tickets.search import CONTROLS, METHODS, Search

# A sensible value of each option.
VALUES: dict[str, Any] = {
    "sparsity": 0.5, "rounds": 2, "rate": 0.2, "schedule": (0.5, 0.7), "scope": "layer", "rewind": 0,
    "early_time": True, "balance": 4, "objective": "accuracy", "penalty": 1.0, "patches": 0.5, "selector": "sample",
    "score": "rate", "binary": True,
}  # fmt: skip
ALL = "imp, early-bird, conns, binw-conns, patchs, ecpt"


@pytest.mark.parametrize(
    ("method", "filled"),
    [
        ("imp", {"sparsity": 0.95, "scope": "global"}),
        ("early-bird", {"sparsity": 0.9, "scope": "global"}),
        ("conns", {"sparsity": 0.5}),
        ("binw-conns", {"sparsity": 0.95}),
        ("patchs", {"patches": 0.31, "selector": "fixed", "score": "rate"}),
        ("ecpt", {"sparsity": 0.5, "patches": 0.31, "selector": "fixed", "score": "rate"}),
    ],
)
def test_what_is_left_open_gets_the_default_of_the_method(method: str, filled: dict[str, Any]) -> None:
    assert Search(method).checked() == Search(method, **filled)
    assert Search(method, **filled).checked().checked() == Search(method, **filled)


def test_what_is_given_stays() -> None:
    asked = Search("imp", sparsity=0.7, rate=0.2, scope="layer", rewind=0, early_time=True, control="reinit")
    assert asked.checked() == asked
    assert Search("imp", schedule=(0.5, 0.8)).checked() == Search(
        "imp", schedule=(0.5, 0.8), sparsity=0.8, scope="global"
    )


def test_each_option_belongs_to_a_method_and_all_others_refuse_it() -> None:
    assert set(VALUES) == {field.name for field in fields(Search)} - {"method", "control"}
    for option, value in VALUES.items():
        fitting = [name for name, method in METHODS.items() if option in method.options]
        assert fitting
        for name in METHODS:
            if name in fitting:
                assert getattr(Search(name, **{option: value}).checked(), option) == value
                continue
            with pytest.raises(UsageError) as caught:
                Search(name, **{option: value}).checked()
            assert caught.value.message == f"method '{name}' takes no {option.replace('_', ' ')}"
            assert caught.value.fix == f"methods that do: {', '.join(fitting)}"


def test_each_control_belongs_to_a_method_and_all_others_refuse_it() -> None:
    for name, method in METHODS.items():
        for control in CONTROLS:
            if control in method.controls:
                assert Search(name, control=control).checked().control == control
                continue
            with pytest.raises(UsageError) as caught:
                Search(name, control=control).checked()
            assert caught.value.message == f"method '{name}' has no control '{control}'"
            assert all(known in caught.value.fix for known in method.controls or ("it has no controls",))


@pytest.mark.parametrize(
    ("options", "message", "fix"),
    [
        ({"method": "conn"}, "there is no method 'conn'", "did you mean 'conns'?"),
        ({"method": "x"}, "there is no method 'x'", f"methods: {ALL}"),
        ({"control": "random"}, "there is no control 'random'", "did you mean 'random-mask'?"),
        ({"control": "x"}, "there is no control 'x'", f"controls: {', '.join(CONTROLS)}"),
        ({"scope": "layers"}, "there is no scope 'layers'", "did you mean 'layer'?"),
        ({"scope": "x"}, "there is no scope 'x'", "scopes: global, layer"),
        ({"objective": "accuracy@synop"}, "there is no objective 'accuracy@synop'", "did you mean 'accuracy@synops'?"),
        ({"objective": "x"}, "there is no objective 'x'", "objectives: accuracy, accuracy@synops"),
        ({"method": "patchs", "selector": "samples"}, "there is no selector 'samples'", "did you mean 'sample'?"),
        ({"sparsity": 0.0}, "sparsity is the share of weights to remove, between 0 and 1; got 0", "for instance 0.9"),
        ({"sparsity": 1.0}, "sparsity is the share of weights to remove, between 0 and 1; got 1", "for instance 0.9"),
        ({"sparsity": 95}, "sparsity is the share of weights to remove, between 0 and 1; got 95", "for 95 % give 0.95"),
        ({"sparsity": 250}, "sparsity is the share of weights to remove, between 0 and 1; got 250", "for instance 0.9"),
        ({"sparsity": float("nan")}, "sparsity is the share of weights to remove, between 0 and 1; got nan", "for"),
        ({"method": "patchs", "patches": 31.0}, "patches is the share of patches to remove", "for 31 % give 0.31"),
        ({"rate": 25}, "rate is the share of weights in each round to remove", "for 25 % give 0.25"),
        ({"rate": 0.0}, "rate is the share of weights in each round to remove, between 0 and 1; got 0", "for instance"),
        ({"rounds": 0}, "there must be at least one round, got 0", ""),
        ({"rounds": 2, "rate": 0.2}, "the rate follows from the number of rounds", "give --rounds or --rate, not both"),
        ({"rewind": -1}, "rewind is a number of epochs, got -1", "0 is back to the initial weights"),
        ({"balance": 1}, "connections are balanced over at least 2 cores, got 1", ""),
        ({"penalty": 0.0}, "the penalty must be a positive number, got 0", "for instance 3"),
        ({"penalty": -1.0}, "the penalty must be a positive number, got -1", "for instance 3"),
        ({"penalty": float("nan")}, "the penalty must be a positive number, got nan", "for instance 3"),
        ({"penalty": float("inf")}, "the penalty must be a positive number, got inf", "for instance 3"),
        ({"schedule": (0.5, 0.4)}, "a schedule goes up from round to round, got 0.5, 0.4", "0.5,0.8,0.9"),
        ({"schedule": (0.5, 0.5)}, "a schedule goes up from round to round, got 0.5, 0.5", "0.5,0.8,0.9"),
        ({"schedule": ()}, "a schedule goes up from round to round, got none", "0.5,0.8,0.9"),
        ({"schedule": (0.5, 90)}, "each step of the schedule is the share of weights to remove", "for 90 % give 0.9"),
        ({"schedule": (0.5,), "sparsity": 0.9}, "the schedule says how much is pruned", "leave out sparsity"),
        ({"schedule": (0.5,), "rounds": 1, "rate": 0.1}, "the schedule says how much", "leave out rounds, rate"),
    ],
)
def test_an_impossible_search_is_refused_with_a_cure(
    options: dict[str, Any], message: str, fix: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as caught:
        tickets.find(MLP, out=tmp_path / "a.pt", **options)
    assert caught.value.message.startswith(message)
    assert caught.value.fix.startswith(fix)
    assert bool(caught.value.fix) == bool(fix)
    assert list(tmp_path.iterdir()) == []


def test_a_search_and_its_fields_are_not_given_together(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="give a search or its fields, not both: sparsity, rounds"):
        tickets.find(MLP, Search("imp"), sparsity=0.5, rounds=1, out=tmp_path / "a.pt")


@pytest.mark.parametrize(
    ("options", "plan"),
    [
        ({"schedule": (0.3, 0.6, 0.7)}, (0.3, 0.6, 0.7)),
        ({"sparsity": 0.784, "rate": 0.4}, (0.4, 0.64, 0.784)),
        ({"sparsity": 0.7, "rate": 0.4}, (0.4, 0.64, 0.7)),  # the last round removes what is missing
        ({"sparsity": 0.75, "rounds": 2}, (0.5, 0.75)),
        ({"sparsity": 0.7}, (0.36, 0.59, 0.7)),
    ],
)
def test_each_round_prunes_to_the_schedule(options: dict[str, Any], plan: tuple[float, ...], tmp_path: Path) -> None:
    asked = Search(**options)
    if asked.schedule is None:
        assert asked.sparsity is not None
        assert schedule(asked.sparsity, asked.rounds, asked.rate) == pytest.approx(plan)
    with watched() as spy:
        tickets.find(MLP, asked, out=tmp_path / "a.pt")
    pruned = [masks for _, masks in spy.stages if masks]
    assert [sum(int(m.sum()) for m in each.values()) for each in pruned] == [round((1 - s) * WEIGHTS) for s in plan]


def test_a_rate_removes_the_same_share_in_each_round() -> None:
    for rate in (0.1, 0.25, 0.5):
        plan = np.array([0.0, *schedule(0.9, rate=rate)])
        shares = 1 - (1 - plan[1:]) / (1 - plan[:-1])
        assert shares[:-1] == pytest.approx(rate)
        assert 0 < shares[-1] <= rate + 1e-9
