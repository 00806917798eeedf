"""Neurons that move to nearer cores: shorter ways, limits and loads kept, and never for much traffic."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from core_counts import count
from small_chips import chip

from snnc.compilation import Compilation, Options
from snnc.passes import partition, place, refine, route
from snnc.resources import usage
from snnc.simulator import Run
from tests.passes.test_optimum import random_network


def before(**options: Any) -> Compilation:
    """A network that was partitioned and placed on some 13 cores."""
    network, rates = random_network(3, (60, 120, 60), 0.08, loop=0.04)
    run = Run(network.name, 1, rates[None], *[np.zeros((1, 0))] * 8, rasters={}, traces={})
    state = Compilation(network, network, chip(neurons=20), Options(**options), run=run)
    return place.run(partition.run(state))


@pytest.fixture(scope="module")
def placed() -> Compilation:
    return before()


def routed(c: Compilation) -> tuple[float, float]:
    log = route.run(c).log["route"]
    return log["messages_per_step"], log["hops_per_step"]


def test_ways_become_shorter_and_no_limit_is_broken(placed: Compilation) -> None:
    refined = refine.run(placed)
    assert refined.core_of is not None
    assert count(refined.network, refined.core_of, refined.target).broken(refined.target) == []
    messages, hops = routed(placed)
    fewer, shorter = routed(refined)
    assert fewer <= refine.MORE * messages
    assert shorter < 0.97 * hops  # some 10 % here; what descent to the next core over would not reach
    log = refined.log["refine"]
    assert log["moved"] > 0
    assert (log["tried"][-1]["traffic"], log["tried"][-1]["hops_per_step"]) == pytest.approx((fewer, shorter))


def test_the_state_fits_together(placed: Compilation) -> None:
    refined = refine.run(placed)
    assert refined.core_of is not None
    assert refined.site_of is not None
    assert refined.usage is not None
    cores = int(refined.core_of.max()) + 1
    assert np.array_equal(np.unique(refined.core_of), np.arange(cores))
    assert len(np.unique(refined.site_of)) == len(refined.site_of) == cores
    counted = usage(refined.network, refined.core_of, refined.target)
    assert np.array_equal(refined.usage.synapse_bits, counted.synapse_bits)
    assert np.array_equal(refined.usage.stored.toarray(), counted.stored.toarray())


def test_it_is_the_same_every_time(placed: Compilation) -> None:
    first, second = refine.run(placed), refine.run(placed)
    assert np.array_equal(first.core_of, second.core_of)
    assert np.array_equal(first.site_of, second.site_of)


@pytest.mark.parametrize("options", [{"map": "layers"}, {"optimize": "latency"}])
def test_what_was_asked_for_stays(options: dict[str, Any]) -> None:
    placed = before(**options)
    refined = refine.run(placed)
    assert refined.log["refine"] == {"moved": 0}
    assert refined.core_of is placed.core_of


@pytest.mark.parametrize("cores", [14, 16, 40])
def test_so_many_cores_stay_in_use(cores: int) -> None:
    placed = before(cores=cores)
    refined = refine.run(placed)
    assert placed.core_of is not None
    assert refined.core_of is not None
    assert refined.log["refine"]["moved"] > 0
    assert len(np.unique(placed.core_of[placed.core_of >= 0])) == cores
    assert len(np.unique(refined.core_of[refined.core_of >= 0])) == cores


def test_loads_stay_even() -> None:
    placed = before(balance=True)
    refined = refine.run(placed)
    assert placed.usage is not None
    assert refined.usage is not None
    assert refined.log["refine"]["moved"] > 0
    assert refined.usage.effective.sum(axis=0).max() <= placed.usage.effective.sum(axis=0).max()


def test_shorter_ways_for_much_more_traffic_are_not_taken(placed: Compilation, monkeypatch: pytest.MonkeyPatch) -> None:
    assert placed.core_of is not None
    scattered = np.random.default_rng(0).permutation(placed.core_of)
    monkeypatch.setattr(refine, "_moved", lambda c, hop: scattered)
    refined = refine.run(placed)
    assert refined.core_of is placed.core_of
    assert refined.site_of is placed.site_of
    assert refined.log["refine"]["moved"] == 0
    assert len(refined.log["refine"]["tried"]) == len(refine.HOPS)
    assert all(each["traffic"] > refine.MORE * routed(placed)[0] for each in refined.log["refine"]["tried"])
