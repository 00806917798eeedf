"""The timing model: each rule by hand, and bounds of the fast executor held against every message's way."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from integer_networks import chain, images, networks, place, recordings

from snnc import target as targets
from snnc.costs import Barrier, Timing
from snnc.image import Image
from snnc.quantities import Quantity
from snnc.samples import Samples
from snnc.simulator import simulate, timing, timing_events

several = settings(deadline=None, max_examples=60)


def number(value: float) -> Quantity:
    return Quantity(value, "davies2018")


def changed(image: Image, **fields: Any) -> Image:
    """The image with other rules or constants of time."""
    chip = image.target
    numbers = {k: number(v) if isinstance(v, (int, float)) else v for k, v in fields.items()}
    costs = msgspec.structs.replace(chip.costs[chip.default], timing=msgspec.structs.replace(chip.timing, **numbers))
    return dataclasses.replace(image, target=msgspec.structs.replace(chip, costs={chip.default: costs}))


def followed(image: Image, spikes: np.ndarray) -> np.ndarray:
    """Nanoseconds of each step of each sample, event by event. Which updates are active is not up to the state here."""
    assert image.target.timing.updates != "changing"
    names = [p.name for p in image.network.populations]
    run = simulate(image, Samples(spikes), rasters=names)
    samples, steps = spikes.shape[:2]
    fired = np.concatenate([run.rasters[n].reshape(samples, steps, -1) for n in names], axis=2)
    reads = np.concatenate([np.full(p.size, p.neuron == "cuba_li_fixed") for p in image.network.populations])
    fired = (fired != 0) & ~reads
    nobody = np.zeros(image.cores, np.int64)
    return np.array([[timing_events.step_ps(image, step, nobody) / 1000 for step in sample] for sample in fired])


# Every constant another number of picoseconds, so that none can stand in for another.
PRIMES = {
    "synop_ns": 3.1,
    "synop_dense_ns": 3.7,
    "synop_kernel_ns": 2.9,
    "neuron_active_ns": 8.3,
    "neuron_inactive_ns": 5.3,
    "spike_ns": 2.3,
    "message_out_ns": 1.9,
    "message_in_ns": 6.1,
    "hop_x_ns": 4.1,
    "hop_y_ns": 6.7,
    "crossing_ns": 151.0,
    "barrier_doubling_ns": 0.0,
}


@st.composite
def timed(draw: st.DrawFn, **fields: Any) -> tuple[Image, np.ndarray]:
    """An image with any rules, on sites of a small corner of the mesh, and spikes."""
    network = draw(networks())
    image = draw(images(network))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    near = np.concatenate([np.arange(24), 128 + np.arange(8)])  # some on the chip beside it
    sites = rng.permutation(near)[: image.cores].astype(np.int32)
    multicast = msgspec.structs.replace(image.target.mesh, multicast=draw(st.booleans()))
    image = dataclasses.replace(
        image,
        mapping=dataclasses.replace(image.mapping, site_of=sites),
        target=msgspec.structs.replace(image.target, mesh=multicast),
    )
    rules = {
        "pipeline": draw(st.sampled_from(["serial", "overlapped"])),
        "messages": draw(st.sampled_from(["live", "buffered"])),
        "updates": draw(st.sampled_from(["spiking", "every"])),
        "link_ns": draw(st.sampled_from([0.3, 50.0])),
    }
    return changed(image, **(PRIMES | rules | fields)), draw(recordings(network.inputs[0].shape))


@several
@given(timed())
def test_every_step_lies_between_the_bounds(case: tuple[Image, np.ndarray]) -> None:
    image, spikes = case
    run, true = simulate(image, Samples(spikes)), followed(image, spikes)
    assert np.all(run.step_ns <= true)
    assert np.all(true <= run.latest_ns)


@several
@given(timed(messages="buffered", link_ns=0.0))
def test_without_contention_both_executors_agree_to_the_picosecond(case: tuple[Image, np.ndarray]) -> None:
    image, spikes = case
    run, true = simulate(image, Samples(spikes)), followed(image, spikes)
    np.testing.assert_array_equal(run.step_ns, true)
    np.testing.assert_array_equal(run.latest_ns, true)


@several
@given(st.data())
def test_on_one_serial_core_both_executors_agree_to_the_picosecond(data: st.DataObject) -> None:
    image, spikes = data.draw(timed(pipeline="serial"))
    core_of = np.minimum(image.mapping.core_of, 0)
    image = place_again(image, core_of)
    run, true = simulate(image, Samples(spikes)), followed(image, spikes)
    np.testing.assert_array_equal(run.step_ns, true)
    np.testing.assert_array_equal(run.latest_ns, true)


def place_again(image: Image, core_of: np.ndarray) -> Image:
    return Image(
        image.network,
        dataclasses.replace(image.mapping, core_of=core_of, site_of=np.array([9], np.int32)),
        image.target,
    )


@pytest.mark.parametrize(("constants", "most", "mean"), [("davies2018", 0.01, 0.001), ("boyle2025", 0.15, 0.12)])
def test_the_difference_on_a_mesh_is_known(constants: str, most: float, mean: float) -> None:
    """Loihi as it is: 300 neurons on 12 cores of six tiles, of which 80 spike in a step.

    A step is longer than the lower bound, which is what snnc reports, by so much: found were 0.6 % at most and 0.01 %
    on average; and, where a core receives beside updating and so waits more, 12 % and 10 %. The upper bound is 12 %
    to 20 % above.
    """
    network = chain(40, 100, 100, 100, threshold=60, density=0.3)
    image = place(network, [-1] * 40 + [k // 25 for k in range(300)], np.arange(12) * 2)
    image = changed(image.using(constants), updates="spiking")
    spikes = (np.random.default_rng(0).random((4, 20, 40)) < 0.3).astype(np.uint8)
    run, true = simulate(image, Samples(spikes)), followed(image, spikes)
    assert run.spikes[:, 40:].sum() / 80 > 80
    assert np.all(run.step_ns <= true)
    assert np.all(true <= run.latest_ns)
    more = true / run.step_ns - 1
    assert 0 < more.max() < most
    assert more.mean() < mean
    assert np.max(run.latest_ns / true) < 1.25


def example(**fields: Any) -> Image:
    """Two inputs to a neuron on core 0, it to three on core 1, at tiles (0, 0) and (2, 1). All spike always."""
    image = place(chain(2, 1, 3, threshold=-1000), [-1, -1, 0, 1, 1, 1], [0, 40])
    barrier = Barrier((1,), (1000.0,), "davies2018")
    numbers = PRIMES | {"synop_dense_ns": 3.1, "barrier": barrier, "link_ns": 0.0, "updates": "every"}
    return changed(image, **(numbers | fields))


# Core 0 receives two messages of one synapse, updates, sends one; core 1 receives one message of three synapses,
# updates three neurons, which reach nobody.
RECEIVE, UPDATE, SEND = (2 * (6.1 + 3.1), 6.1 + 3 * 3.1), (8.3, 3 * 8.3), (2.3 + 1.9, 3 * 2.3)
TRAVEL = 2 * 4.1 + 6.7


@pytest.mark.parametrize(
    ("pipeline", "messages", "expected"),
    [
        ("serial", "buffered", max(RECEIVE[0] + UPDATE[0] + SEND[0] + TRAVEL, RECEIVE[1] + UPDATE[1] + SEND[1])),
        ("overlapped", "buffered", max(UPDATE[0] + SEND[0] + TRAVEL, UPDATE[1] + SEND[1])),
        # Core 1 is still updating when the message arrives.
        ("serial", "live", UPDATE[1] + SEND[1] + RECEIVE[1]),
        ("overlapped", "live", UPDATE[0] + SEND[0] + TRAVEL + RECEIVE[1]),
    ],
)
def test_the_rules_by_hand(pipeline: str, messages: str, expected: float) -> None:
    image = example(pipeline=pipeline, messages=messages)
    ones = np.ones((1, 3, 2), np.uint8)
    assert followed(image, ones) == pytest.approx(np.full((1, 3), expected + 1000), abs=1e-9)


def test_a_held_link_makes_the_next_message_wait() -> None:
    """Two neurons on one core send a message each over the same link, the second 4.2 ns after the first."""
    image = place(chain(1, 2, 1, threshold=-1000), [-1, 0, 0, 1], [0, 4])
    numbers = PRIMES | {"synop_dense_ns": 3.1, "updates": "every", "pipeline": "overlapped", "messages": "buffered"}
    # Sent after 4.2 and 8.4 ns; the second waits until the first has left the link, or not at all.
    for hold, waits in ((4.2, 0.0), (30.0, 30.0 - 4.2), (1.0, 0.0)):
        found = followed(changed(image, **numbers, link_ns=hold), np.ones((1, 1, 1), np.uint8))
        barrier = image.target.timing.barrier_ns(2, 1)
        assert found == pytest.approx(2 * 8.3 + 8.4 + waits + 4.1 + barrier, abs=1e-3)


@pytest.mark.parametrize(("updates", "active"), [("every", 350), ("spiking", 12), ("changing", 200)])
def test_which_updates_are_active_is_the_targets_to_say(updates: Any, active: int) -> None:
    base = targets.load("loihi").timing
    chosen = msgspec.structs.replace(base, updates=updates)
    found = timing.update_ps(chosen, np.array([350]), np.array([200]), np.array([12]))
    assert found.tolist() == [350 * 5300 + active * 3100]


def test_the_serial_sum_meets_the_published_measurement() -> None:
    """Sequential MNIST on one Loihi core: 4.67 us per step on silicon for 754.8 SynOps, 12.5 spikes, 350 updates."""
    loihi = targets.load("loihi")
    update = timing.update_ps(loihi.timing, np.array(350), np.array(350), np.array(12.5)) / 1000
    found = 754.8 * 3.5 + update + 12.5 * 2.1 + loihi.timing.barrier_ns(1, 1)
    assert found == pytest.approx(4670, rel=0.01)


def barrier(timing: Timing, *tiles: int) -> list[float]:
    return [timing.barrier_ns(n, 1) for n in tiles]


def test_the_barrier_between_what_is_known_is_a_line_or_a_step() -> None:
    loihi = targets.load("loihi")
    assert barrier(loihi.timing, 1, 2, 32) == pytest.approx([113, 113 + (465 - 113) / 31, 465])
    fitted = loihi.using("boyle2025").timing
    assert barrier(fitted, 1, 2, 3, 4, 10, 29, 32, 0) == [600, 1000, 1000, 1400, 1400, 1800, 1800, 600]


def test_the_barrier_over_chips_meets_the_published_ones() -> None:
    """Frady et al. 2020: 14.3 us on 256 chips, which is fitted, and 16.2 us on 768, which is not."""
    loihi = targets.load("loihi")
    several_chips = {n: loihi.timing.barrier_ns(40, n) for n in (2, 4, 256, 768)}
    assert several_chips[256] == pytest.approx(14_300, abs=5)
    assert several_chips[768] == pytest.approx(16_200, rel=0.06)
    assert several_chips[2] == 465 + 1729
    assert several_chips[4] - several_chips[2] == 1729
