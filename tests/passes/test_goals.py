"""What a mapping is made for: few cores, little traffic, short steps, even loads; never beyond a limit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from core_counts import count
from small_chips import chip

from snnc import ops
from snnc.compilation import Options
from snnc.mapping import multilevel, portfolio, problem, refinement, search, state
from snnc.network import Network
from snnc.passes import partition
from snnc.resources import usage
from snnc.target import Target
from tests.instances.families import join
from tests.passes.test_optimum import random_network


def mapped(network: Network, rates: np.ndarray, target: Target, **options: object) -> tuple[np.ndarray, float]:
    core_of, found, _, even = partition.partition(network, target, rates, Options(**options))
    assert found.over == 0
    assert not count(network, core_of, target).broken(target)
    return core_of, even


@pytest.fixture(scope="module")
def net() -> tuple[Network, np.ndarray]:
    return random_network(5, (40, 60, 30), 0.15)


def test_balance_evens_out_synapses(net: tuple[Network, np.ndarray]) -> None:
    target = chip(neurons=30)
    plain, before = mapped(*net, target)
    core_of, even = mapped(*net, target, balance=True)
    assert core_of.max() == plain.max()
    synapses = usage(net[0], core_of, target).effective.sum(axis=0)
    assert even == pytest.approx(synapses.mean() / synapses.max())
    assert even > max(before, 0.9)


def test_short_steps_take_more_cores_with_less_work_each(net: tuple[Network, np.ndarray]) -> None:
    network, rates = net
    few, _ = mapped(network, rates, chip(), optimize="traffic")
    fast, _ = mapped(network, rates, chip(), optimize="latency")
    assert few.max() == 0
    assert fast.max() > 0
    busiest = [(rates @ usage(network, c, chip()).effective).max() for c in (few, fast)]
    assert busiest[1] < busiest[0] / 2


def test_as_many_cores_as_asked_for(net: tuple[Network, np.ndarray]) -> None:
    assert mapped(*net, chip(), cores=5)[0].max() + 1 == 5
    assert mapped(*net, chip(neurons=30), optimize="cores")[0].max() + 1 == -(-130 // 30)


@pytest.mark.parametrize("fewest", [20, 21, 27, 40, 79, 80, 81])
def test_the_fewest_cores_that_work_are_found_in_few_tries(fewest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a mapping kept the limits on `fewest` cores or more, of 20 to 80."""
    tried = []

    def as_if(_: multilevel.Ladder, start: refinement.Found | None, cores: int, seed: int, work: float) -> Any:
        tried.append(cores)
        return refinement.Found(np.zeros(1, np.int64), cores, 1.0, float(cores < fewest), "as if")

    monkeypatch.setattr(portfolio, "multilevel", as_if)
    network, rates = random_network(5, (4, 4), 1)
    task = problem.build(network, rates, chip(), {})
    start = refinement.Found(np.zeros(task.atoms, np.int64), 90, 1.0, 0.0, "layer order")
    found = portfolio._fewest(multilevel.Ladder.of(task, 20, 0), start, list(range(20, 81)), "auto", 0, True)
    assert [f.cores for f in found] == tried
    assert min((f.cores for f in found if f.over == 0), default=81) == fewest
    assert len(tried) <= 16


@pytest.mark.parametrize(("density", "cores"), [(0.2, 4), (0.9, 30)])
def test_the_state_of_the_search_is_what_the_mapping_uses(density: float, cores: int) -> None:
    """After hundreds of random moves every count and the cost are those that the finished mapping has."""
    network, rates = random_network(7, (30, 40, 20), density, loop=0.1)
    target = chip(neurons=40)
    task = problem.build(network, rates, target, {})
    rng = np.random.default_rng(0)
    s = refinement.placed(task, rng.integers(0, cores, task.atoms), cores)
    for atom, core in zip(rng.integers(0, task.atoms, 300), rng.integers(0, cores, 300), strict=True):
        state.move(task.graph, task.limits, s, int(atom), int(core))
    assert bool(s.reach_len.max() > state._NEAR) == (cores > 16)  # beyond the slots that lie together
    used, own = usage(network, task.core_of(s.core), target), task.core_of(s.core)
    for k, name in enumerate(("neurons", "in_axons", "out_axons", "synapse_bits", "neuron_groups")):
        assert np.array_equal(s.used[:, k], getattr(used, name)), name
    flows = count(network, own, target).flows(own, rates)
    assert s.total[state.COST] == pytest.approx(flows.sum())
    over = sum(np.maximum(0, s.used[:, k] / task.limits.most[k] - 1).sum() for k in range(5))
    assert s.total[state.OVERLOAD] == pytest.approx(over)


def test_the_same_mapping_every_time(net: tuple[Network, np.ndarray]) -> None:
    first, second = (mapped(*net, chip(neurons=30), seed=3)[0] for _ in range(2))
    assert np.array_equal(first, second)


@pytest.mark.parametrize("alike", [True, False])
@pytest.mark.parametrize("loop", [0.0, 0.1])
def test_what_all_moves_of_a_neuron_save_is_told_at_once(loop: float, alike: bool) -> None:
    """Equal to what a move's gain is for each core alone; and nothing is skipped that would save something."""
    network, rates = random_network(7, (30, 40, 20), 0.2, loop=loop)
    task = problem.build(network, rates, chip(neurons=40), {})
    cores, idle, rng = 6, 0, np.random.default_rng(0)
    price = None if alike else np.where(np.eye(cores) > 0, 0, 1 + rng.integers(0, 4, (cores, cores))).astype(float)
    s = refinement.placed(task, rng.integers(0, cores - 1, task.atoms), cores, price)
    visit = 0
    for atom in range(task.atoms):
        met = search.nothing_met(cores)
        others = [core for core in range(cores) if core != s.core[atom]]
        visit, found, base = search.meet(task.graph, s, atom, visit, met)
        gains = [state.gain(task.graph, s, atom, core) for core in others]
        saved = [search.saving(s, met, found, base, core) for core in others]
        assert np.allclose(saved, gains, rtol=0, atol=1e-9)  # sums of the same in another order
        assert set(np.flatnonzero(met.attracts)) <= set(met.listed[:found])
        if alike and not search.may_gain(task.graph, s, atom):
            idle += 1
            assert max(gains) <= 1e-9
    assert (0 < idle < task.atoms) is alike


def test_a_core_gets_rid_of_axons_that_its_neurons_share() -> None:
    """No neuron alone saves one: all of a group have to leave."""
    inputs = ops.Linear(ops.canonical(np.kron(np.eye(4, dtype=np.int16), np.ones((3, 5), np.int16))))
    network = join("groups", [(20,), (12,)], [inputs])  # four groups of three neurons, with five sources each
    task = problem.build(network, np.full(32, 0.1), chip(in_axons=12), {})
    together = np.where(np.arange(task.atoms) < 20, 0, 1)  # all sources on a core of their own, the rest on another
    s = refinement.placed(task, together, 3)
    assert s.used[1, state.IN_AXONS] == 20
    order, penalty = np.arange(task.atoms), refinement.penalty_of(task, s)
    assert not any(search._try(task.graph, task.limits, s, atom, 2, penalty, False) for atom in range(20, 32))
    search.spread(task, s, order, penalty)
    assert s.over.sum() == 0


def test_a_core_gets_rid_of_lists_that_end_on_whole_words() -> None:
    """No neuron alone makes a list of twelve synapses a word shorter: half of them have to leave."""
    network = join("lists", [(10,), (12,)], [ops.Linear(ops.canonical(np.full((12, 10), 100, np.int16)))])
    task = problem.build(network, np.full(22, 0.1), chip(synapse_bits=1000), {})
    together = np.where(np.arange(task.atoms) < 10, 0, 1)  # all sources on a core of their own, the rest on another
    s = refinement.placed(task, together, 3)
    assert s.used[1, state.BITS] > 1000
    order, penalty = np.arange(task.atoms), refinement.penalty_of(task, s)
    assert not any(search._try(task.graph, task.limits, s, atom, 2, penalty, False) for atom in range(10, 22))
    search.spread(task, s, order, penalty)
    assert s.over.sum() == 0


def test_layer_order_is_improved_where_no_other_search_keeps_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also on a few more cores than it takes; with few cores asked for, on no more."""

    def as_if(_: multilevel.Ladder, start: refinement.Found | None, cores: int, seed: int, *rest: Any) -> Any:
        over = float(start is None and cores <= base.cores)
        return refinement.Found(base.core, cores, 1.0 + cores if start is None else 50.0, over, str(start is None))

    network, rates = random_network(5, (40, 40), 0.2)
    task = problem.build(network, rates, chip(neurons=8, in_axons=16), {})
    base = portfolio.layer_order(task, 64)
    assert base.cores > 10  # as many as neurons alone would take
    monkeypatch.setattr(portfolio, "multilevel", as_if)
    for few, cores in ((False, int(1.1 * base.cores)), (True, base.cores)):
        chosen, found = portfolio.best_mapping(task, 64, how="auto", cores=None, seed=0, few=few)
        assert (chosen.cores, chosen.over) == (cores, 0.0)
        assert any(f.method == "False" for f in found)


def test_small_neurons_make_room_for_a_tile() -> None:
    """No core has room for a second tile, and yet there is enough on all of them together."""
    sources = ops.Linear(ops.canonical(np.ones((40, 40), np.int16)))
    network = join("tiles", [(40,), (40,)], [sources])
    name = network.layers[-1].name
    task = problem.build(network, np.full(network.size, 0.1), chip(neurons=30), {name: np.repeat([0, 1], 20)})
    large = np.diff(task.graph.member_ptr) == 20
    assert large.sum() == 2
    core = np.where(large, 0, 1 + np.cumsum(~large) % 2)
    s = refinement.placed(task, core, 3)
    order, penalty = np.arange(task.atoms), refinement.penalty_of(task, s)
    while search.spread(task, s, order, penalty):
        pass
    assert s.over.sum() > 0
    assert refinement._make_room(task, s, penalty)
    assert s.over.sum() == 0
    assert len(np.unique(s.core[large])) == 2


def test_smaller_problems_are_shared_by_numbers_of_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ladder for few cores holds that for many, and each level maps as the one before."""
    monkeypatch.setattr(multilevel, "_FEW", 10)
    monkeypatch.setattr(multilevel, "_PER_CORE", 4)
    network, rates = random_network(3, (60, 80, 40), 0.1)
    task = problem.build(network, rates, chip(), {})
    whole = multilevel.Ladder.of(task, 2, 0)
    assert len(whole.levels) > 2
    for cores in (2, 10, 20):
        part = whole.upto(cores)
        assert part.levels == whole.levels[: len(part.levels)]
        assert part.levels[-1].atoms <= max(10, 4 * cores) or part.levels[-1] is whole.levels[-1]
        assert len(part.levels) < 2 or part.levels[-2].atoms > max(10, 4 * cores)
    core = np.random.default_rng(0).integers(0, 3, whole.levels[-1].atoms)
    costs = [refinement.placed(whole.levels[-1], core, 3).total[state.COST]]
    for level, label in zip(whole.levels[-2::-1], whole.labels[::-1], strict=True):
        core = core[label]
        costs.append(refinement.placed(level, core, 3).total[state.COST])
    assert np.allclose(costs, costs[0])
