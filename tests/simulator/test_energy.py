from __future__ import annotations

import dataclasses
import json

import msgspec
import numpy as np
import pytest
from integer_networks import chain, place

from snnc.quantities import Quantity
from snnc.samples import Samples
from snnc.simulator import accounting, energy, simulate


def test_the_sum_by_hand() -> None:
    network = chain(2, 2, 2, threshold=-1000)
    image = place(network, [-1, -1, 0, 1, 1, 1], [0, 40])  # tiles (0, 0) and (2, 1)
    run = simulate(image, Samples(np.ones((3, 5, 2), np.uint8)))
    synops = 5 * int(image.usage.stored.sum())
    active = int(run.core_active[0].sum())
    found = energy.estimate(image, run)
    assert found.samples == 3
    assert found.steps == 5
    # Davies et al. 2018: 23.6 pJ, 81 / 52 pJ, 1.7 pJ; 20 spikes; 5 messages of 2 hops along x (3 pJ), 1 along y (4 pJ).
    assert found.synapse_pj == pytest.approx(23.6 * synops)
    assert found.neuron_pj == pytest.approx(81 * active + 52 * (4 * 5 - active))
    assert found.spike_pj == pytest.approx(1.7 * 20)
    assert found.hop_pj == pytest.approx(5 * (2 * 3 + 4))
    assert found.dynamic_pj == pytest.approx(found.synapse_pj + found.neuron_pj + found.spike_pj + found.hop_pj)
    # Davies et al. name no cost of a message, and do not say which updates are active.
    assert found.message_pj == 0
    assert found.least_neuron_pj == pytest.approx(52 * 4 * 5)
    assert found.least_pj == pytest.approx(found.dynamic_pj - 29 * active)
    assert found.time_ns == pytest.approx(run.step_ns[0].sum())
    assert found.static_pj is None


def test_crossings_cost_more_than_hops() -> None:
    """Tile (2, 1) of chip 0 and tile (1, 0) of the chip below it: 1 hop back, 3 down, one of which crosses."""
    network = chain(2, 2, 2, threshold=-1000)
    image = place(network, [-1, -1, 0, 1, 1, 1], [40, 8 * 128 + 4])
    run = simulate(image, Samples(np.ones((3, 5, 2), np.uint8)))
    found = energy.estimate(image, run)
    assert accounting.account(image, run).totals.crossings.tolist() == [5] * 3
    assert found.hop_pj == pytest.approx(5 * (1 * 3 + 3 * 4))
    assert found.crossing_pj == pytest.approx(5 * 105)
    assert found.dynamic_pj == pytest.approx(
        found.synapse_pj + found.neuron_pj + found.spike_pj + found.hop_pj + found.crossing_pj
    )
    names = {c.name for c in found.constants}
    assert set(energy.BETWEEN_CHIPS) <= names
    alone = place(network, [-1, -1, 0, 1, 1, 1], [40, 4])
    assert not set(energy.BETWEEN_CHIPS) & {
        c.name for c in energy.estimate(alone, simulate(alone, samples())).constants
    }


def samples() -> Samples:
    return Samples(np.ones((1, 5, 2), np.uint8))


@pytest.mark.parametrize("costs", ["davies2018", "boyle2025"])
def test_layers_add_up(costs: str) -> None:
    network = chain(6, 5, 4, threshold=50)
    image = place(network, [-1] * 6 + [0, 1, 2] * 3, [0, 40, 299]).using(costs)
    spikes = (np.random.default_rng(0).random((4, 9, 6)) < 0.5).astype(np.uint8)
    run = simulate(image, Samples(spikes))
    found = energy.estimate(image, run)
    assert [layer.name for layer in found.layers] == ["l0", "l1", "l2"]
    account = accounting.account(image, run)
    for part in ("synapse_pj", "neuron_pj", "spike_pj", "message_pj", "hop_pj", "crossing_pj"):
        total = pytest.approx(getattr(found, part))
        assert sum(getattr(layer, part) for layer in found.layers) == total
        for counts in (account.cores, accounting.steps(image, run)):
            assert getattr(energy.kinds(image, counts), part).sum(axis=1).mean() == total
    assert sum(layer.total_pj for layer in found.layers) == pytest.approx(found.dynamic_pj)
    assert found.layers[0].spike_pj == found.layers[0].hop_pj == 0
    assert found.hop_pj > 0
    assert found.crossing_pj > 0


def test_static_energy_is_power_times_time() -> None:
    image = place(chain(2, 2), [-1, -1, 0, 0], [0], target="loihi2")
    run = simulate(image, Samples(np.ones((1, 5, 2), np.uint8)))
    found = energy.estimate(image, run)
    # 1 mW for 1 ns is 1 pJ.
    assert image.target.energy.static_mw is not None
    assert found.static_pj == pytest.approx(image.target.energy.static_mw.value * run.step_ns.sum())
    two = place(chain(2, 2), [-1, -1, 0, 1], [0, 128], target="loihi2")
    run = simulate(two, Samples(np.ones((1, 5, 2), np.uint8)))
    assert energy.estimate(two, run).static_pj == pytest.approx(2 * 232 * run.step_ns.sum())


def test_every_constant_carries_its_citation() -> None:
    image = place(chain(2, 2), [-1, -1, 0, 0], [0])
    found = energy.estimate(image, simulate(image, Samples(np.ones((1, 5, 2), np.uint8))))
    by_name = {c.name: c for c in found.constants}
    assert {"energy.synop_pj", "energy.hop_y_pj", "timing.synop_ns", "timing.barrier_32_tiles_ns"} <= set(by_name)
    synop = by_name["energy.synop_pj"]
    assert (synop.value, synop.unit, synop.kind) == (23.6, "pj", "published")
    assert "Davies" in synop.source
    json.dumps(dataclasses.asdict(found))


def test_totals_are_means_over_samples() -> None:
    network = chain(3, 4)
    image = place(network, [-1] * 3 + [0] * 4, [0])
    spikes = np.zeros((2, 5, 3), np.uint8)
    spikes[1] = 1
    run = simulate(image, Samples(spikes))
    synops = accounting.account(image, run).totals.synops
    assert synops[0] == 0
    assert energy.estimate(image, run).synapse_pj == pytest.approx(23.6 * synops[1] / 2)


def test_messages_are_paid_for_where_they_leave_and_where_they_arrive() -> None:
    """Two inputs to a neuron on core 0, it to three on core 1, all in each of five steps."""
    image = place(chain(2, 1, 3, threshold=-1000), [-1, -1, 0, 1, 1, 1], [0, 40])
    costs = image.target.costs["davies2018"]
    priced = msgspec.structs.replace(
        costs.energy, message_out_pj=Quantity(11.0, "davies2018"), message_in_pj=Quantity(7.0, "davies2018")
    )
    chip = msgspec.structs.replace(image.target, costs={"davies2018": msgspec.structs.replace(costs, energy=priced)})
    image = dataclasses.replace(image, target=chip)
    found = energy.estimate(image, simulate(image, samples()))
    # One message leaves core 0 in a step; it arrives, and those of the two inputs.
    assert found.message_pj == pytest.approx(5 * (11 + 3 * 7))
    assert [layer.message_pj for layer in found.layers] == pytest.approx([5 * 2 * 7, 5 * (11 + 7), 0])
