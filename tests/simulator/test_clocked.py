"""Units that wake one another, and small cases whose cycles can be counted by hand."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snnc.errors import InputError
from snnc.simulator.clocked import agenda, crossbar, fifo, grid, log

# Compiling the kernels takes seconds and falls into the first example.
several = settings(deadline=None, max_examples=100)


@several
@given(st.lists(st.tuples(st.sampled_from(["schedule", "wake", "next"]), st.integers(0, 4), st.integers(0, 50))))
def test_the_agenda_hands_out_the_earliest_edge(asked: list[tuple[str, int, int]]) -> None:
    """As a dictionary does that is searched anew every time; on one edge in the order of units."""
    real, due = agenda.idle(5), dict[int, int]()
    for what, unit, edge in asked:
        if what == "schedule":
            agenda.schedule(real, unit, edge)
            due[unit] = edge
        elif what == "wake":
            agenda.wake(real, unit, edge)
            due[unit] = min(edge, due.get(unit, edge))
        elif due:
            first = min(due, key=lambda u: (due[u], u))
            assert agenda.earliest(real, due[first])[0] == agenda.NEVER
            assert agenda.earliest(real, agenda.NEVER) == (due.pop(first), first)
        else:
            assert agenda.earliest(real, agenda.NEVER)[0] == agenda.NEVER


@several
@given(st.lists(st.tuples(st.integers(0, 2), st.one_of(st.none(), st.integers(0, 1 << 40)))))
def test_queues_are_first_in_first_out(asked: list[tuple[int, int | None]]) -> None:
    depths = [1, 2, 4]
    real, model = fifo.empty(np.array(depths)), [deque[int]() for _ in depths]
    for queue, word in asked:
        assert fifo.full(real, queue) == (len(model[queue]) == depths[queue])
        if word is None and model[queue]:
            assert fifo.pop(real, queue) == model[queue].popleft()
        elif word is not None and len(model[queue]) < depths[queue]:
            fifo.push(real, queue, word)
            model[queue].append(word)


def test_a_log_grows() -> None:
    book = log.blank(2, 128)
    for k in range(1000):
        book.rows[log.added(book)] = k, k * k
        book = log.enlarged(book)
    assert np.array_equal(log.rows(book), np.stack([np.arange(1000), np.arange(1000) ** 2], axis=1))


def one_core(neurons: int = 8, **changes: object) -> crossbar.Crossbar:
    """A crossbar without weights whose neurons spike at 5."""
    zero = np.zeros(neurons, np.int64)
    chip = crossbar.Crossbar(
        np.zeros((neurons, neurons), np.int64), zero, zero + 5, zero, zero > 0, neurons - 1, open_loop=True
    )
    return replace(chip, **changes)


def virtual(neuron: int, weight: int) -> int:
    """The event of a spike of a weight to a neuron."""
    return 0x200 + ((weight & 15) << 4) + neuron


@several
@given(st.integers(0, 2**32), st.booleans())
def test_a_host_that_waits_begins_anew_at_rest(seed: int, open_loop: bool) -> None:
    """One run in which events wait is a run for each part, one after the other."""
    rng = np.random.default_rng(seed)
    weights = rng.integers(-8, 4, (8, 8))
    chip = one_core(weights=weights, leak=rng.integers(0, 2, 8), open_loop=open_loop)
    events = np.where(rng.random(40) < 0.2, 0x1FF, rng.integers(0, 8, 40))
    waits = rng.random(40) < 0.3
    whole = crossbar.run(chip, events, waits=waits)
    cycle, spikes, resumed, reads = 0, [], [], 0
    for number, part in enumerate(np.split(events, np.flatnonzero(waits))):
        if not len(part):
            continue
        got = crossbar.run(chip, part)
        spikes += [(cycle + at, neuron) for at, neuron in got.spikes.tolist()]
        resumed += [cycle] if number else []
        reads += got.neuron_reads
        cycle += got.done
        chip = replace(chip, potential=got.potential)
    assert whole.spikes.tolist() == [list(spike) for spike in spikes]
    assert (whole.resumed.tolist(), whole.done, whole.neuron_reads) == (resumed, cycle, reads)
    assert np.array_equal(whole.potential, chip.potential)


@several
@given(st.lists(st.tuples(st.integers(0, 7), st.integers(-8, 7)), max_size=300), st.integers(0, 9))
def test_a_neuron_adds_and_resets_at_its_threshold(sent: list[tuple[int, int]], threshold: int) -> None:
    v, spikes = [0] * 8, []
    for neuron, weight in sent:
        v[neuron] = max(-2048, min(2047, v[neuron] + weight))
        if v[neuron] >= 0 and v[neuron] >= threshold:
            v[neuron] = 0
            spikes.append(neuron)
    chip = one_core(threshold=np.full(8, threshold))
    run = crossbar.run(chip, np.array([virtual(n, w) for n, w in sent], np.int64))
    assert run.potential.tolist() == v
    assert run.spikes[:, 1].tolist() == spikes
    assert run.neuron_writes == len(sent)
    assert np.all(np.diff(run.spikes[:, 0]) > 0)


def test_membranes_saturate_and_leak_towards_zero() -> None:
    chip = one_core(
        potential=np.array([-2047, 2047, 3, -3, 0, 0, 0, 0]), leak=np.full(8, 7), threshold=np.full(8, 4000)
    )
    run = crossbar.run(chip, np.array([virtual(0, -8), virtual(1, 7)]))
    assert run.potential[:2].tolist() == [-2048, 2047]
    run = crossbar.run(chip, np.array([0x1FF]))
    assert run.potential[:4].tolist() == [-2040, 2040, 0, 0]


def test_a_visit_of_all_neurons_takes_two_cycles_each() -> None:
    """The queued event is acknowledged in cycle 4; the controller is free in cycle 7; one cycle takes the event."""
    run = crossbar.run(one_core(), np.array([3]))
    assert run.acknowledged.tolist() == [4]
    assert run.done == 7 + 1 + 2 * 8 + 1
    assert (run.synapse_reads, run.neuron_reads, run.neuron_writes) == (2, 8, 8)


def test_each_spike_takes_six_cycles_more() -> None:
    weights = np.zeros((8, 8), np.int64)
    weights[3, [1, 6]] = 7
    quiet, loud = (crossbar.run(one_core(weights=w), np.array([3])) for w in (0 * weights, weights))
    assert loud.spikes.tolist() == [[7 + 1 + 2 * 2, 1], [7 + 1 + 2 * 7 + 6, 6]]
    assert loud.done - quiet.done == 2 * 6
    assert loud.neuron_reads - quiet.neuron_reads == 2 * 6


def test_a_disabled_neuron_resets_and_says_nothing() -> None:
    chip = one_core(disabled=np.arange(8) == 2)
    run = crossbar.run(chip, np.array([virtual(2, 7), virtual(3, 7)]))
    assert run.spikes[:, 1].tolist() == [3]
    assert run.potential[2] == 0


def test_spikes_come_back_where_the_loop_is_closed() -> None:
    """Neuron 0 makes 1 spike, which makes 2 spike."""
    weights = np.zeros((8, 8), np.int64)
    weights[0, 1] = weights[1, 2] = 5
    assert crossbar.run(one_core(weights=weights), np.array([0])).spikes[:, 1].tolist() == [1]
    assert crossbar.run(one_core(weights=weights, open_loop=False), np.array([0])).spikes[:, 1].tolist() == [1, 2]


def test_spikes_that_find_the_queue_full_are_lost() -> None:
    """Seven neurons spike at once; the queue has four places, of which one is the event's that is worked off."""
    weights = np.zeros((8, 8), np.int64)
    weights[0, 1:] = 5
    run = crossbar.run(one_core(weights=weights, open_loop=False, depth=4), np.array([0]))
    assert run.spikes[:, 1].tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert run.lost == 4
    assert run.neuron_writes == (1 + 3) * 8


def test_a_loop_that_never_comes_to_rest_is_told() -> None:
    weights = np.zeros((8, 8), np.int64)
    weights[0, 0] = 5
    with pytest.raises(InputError, match="not at rest after 10,000 cycles"):
        crossbar.run(one_core(weights=weights, open_loop=False), np.array([0]), longest=10_000)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"weights": np.full((8, 8), 8)}, "weights has 8"),
        ({"leak": np.full(8, -1)}, "leak has -1"),
        ({"leak": np.full(8, 128)}, "leak has 128"),
        ({"threshold": np.full(8, 4096)}, "threshold has 4096"),
        ({"threshold": np.zeros(7, np.int64)}, "threshold has the shape"),
        ({"potential": np.full(8, 2048)}, "potential has 2048"),
        ({"potential": np.zeros(8)}, "whole numbers"),
        ({"last": 8}, "last has 8"),
        ({"depth": 0}, "depth has 0"),
    ],
)
def test_a_crossbar_that_cannot_be_is_told(changes: dict[str, object], word: str) -> None:
    with pytest.raises(InputError, match=word):
        one_core(**changes)


@pytest.mark.parametrize("event", [8, 0x108, virtual(8, 1), 0x400, -1])
def test_an_event_for_nobody_is_told(event: int) -> None:
    with pytest.raises(InputError, match="event"):
        crossbar.run(one_core(), np.array([event]))


def mesh(columns: int = 3, rows: int = 3, neurons: int = 2, axons: int = 4, **changes: object) -> grid.Grid:
    """A grid whose port is its last core; neuron 0 of each core listens to all axons, and spikes at 1."""
    cores = columns * rows
    zero = np.zeros((cores, neurons), np.int64)
    synapses = np.zeros((cores, neurons, axons), np.bool_)
    synapses[:, 0] = True
    chip = grid.Grid(
        columns=columns,
        rows=rows,
        port=cores - 1,
        depth=4,
        synapses=synapses,
        axon_type=np.zeros((cores, axons), np.int64),
        weights=np.ones((cores, neurons, 4), np.int64),
        leak=zero,
        positive=zero + 1,
        negative=zero - 256,
        reset=zero,
        subtract=zero > 0,
        potential=zero,
        dx=zero,
        dy=zero,
        axon=zero,
        delay=zero,
    )
    return replace(chip, **changes)


def packet(dx: int, dy: int, axon: int = 0, delay: int = 0, bits: int = 2) -> int:
    """A packet to a core so far away."""
    return (((dx & 511) << 9 | dy & 511) << bits | axon) << 4 | delay


NO_TICKS, NO_PACKETS = np.zeros(0, np.int64), np.zeros((0, 2), np.int64)


@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (2, 0), (0, 1), (1, 2), (2, 1)])
def test_a_packet_takes_two_cycles_a_hop_and_six(dx: int, dy: int) -> None:
    run = grid.run(mesh(), NO_TICKS, np.array([[5, packet(dx, dy, 3, 2)]]), 100)
    assert run.arrivals.tolist() == [[5 + 6 + 2 * (dx + dy), dx + 3 * dy, 3, 2, 2, 0]]
    assert len(run.hops) == 2 + dx + dy


def test_a_pass_visits_all_axons_of_all_neurons() -> None:
    """It ends (A + 2) N + 2 cycles after the tick, and the next tick is taken from the cycle after that on."""
    neurons, axons = 2, 4
    period = (axons + 2) * neurons + 3
    run = grid.run(mesh(), np.array([10, 10 + period, 10 + 2 * period - 1]), NO_PACKETS, 200)
    assert run.passes[:8].tolist() == [[10 + period - 1, core] for core in range(8)]
    assert len(run.passes) == 16
    assert run.refused.tolist() == [[10 + 2 * period - 1, core] for core in range(8)]


def test_a_tick_may_be_refused_by_more_cores_than_a_log_has_spare() -> None:
    """143 cores refuse at once when 92 rows of the log are free."""
    run = grid.run(mesh(12, 12, neurons=8), np.arange(10, 60), NO_PACKETS, 60)
    expected = np.array([[cycle, core] for cycle in range(11, 60) for core in range(143)])
    assert len(expected) > 4096
    assert np.array_equal(run.refused, expected)


def test_a_spike_goes_where_its_neuron_says() -> None:
    """A packet makes neuron 0 of core 0 spike, to the port at the far corner."""
    far = np.zeros((9, 2), np.int64)
    far[0, 0] = 2
    chip = mesh(dx=far, dy=far, axon=far, delay=far * 7)
    run = grid.run(chip, np.array([20]), np.array([[0, packet(0, 0)]]), 200)
    sent = 20 + 2 + 4 + 1
    assert run.spikes.tolist() == [[sent, 0, 0]]
    assert run.outputs.tolist() == [[sent + 6 + 2 * 4, 2, 14]]
    assert run.potentials.shape == (1, 9, 2)
    assert np.all(run.potentials[0, 8] == grid.UNFINISHED)


def test_a_packet_that_leaves_the_grid_blocks_what_is_behind_it() -> None:
    """Four wait in the last queue; a fifth is held in front of it, and the host's others wait for ever."""
    sent = np.array([[10 * k, packet(0, -1)] for k in range(12)])
    run = grid.run(mesh(), NO_TICKS, sent, 1000)
    assert len(run.arrivals) == 0
    assert len(run.reads) < 12
    assert np.array_equal(grid.run(mesh(), NO_TICKS, sent, 2000).reads, run.reads)


@several
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([(1, 2), (3, 2), (2, 3)]),
    st.integers(1, 3),
)
def test_no_packet_is_lost_on_the_way(seed: int, size: tuple[int, int], depth: int) -> None:
    """Spikes and the host's packets within the grid all arrive, each exactly once, where they were sent."""
    rng = np.random.default_rng(seed)
    columns, rows = size
    cores, neurons = columns * rows, 3
    x, y = np.arange(cores) % columns, np.arange(cores) // columns
    to = rng.integers(0, cores, (cores, neurons))
    chip = mesh(
        columns,
        rows,
        neurons,
        depth=depth,
        positive=np.zeros((cores, neurons), np.int64),  # all spike in every pass
        dx=x[to] - x[:, None],
        dy=y[to] - y[:, None],
        axon=rng.integers(0, 4, (cores, neurons)),
        delay=rng.integers(0, 15, (cores, neurons)),
    )
    goal = rng.integers(0, cores, 20)
    sent = np.array([[7 * k, packet(int(x[g]), int(y[g]), k % 4)] for k, g in enumerate(goal)])
    run = grid.run(chip, np.array([3, 1000]), sent, 5000)
    assert len(run.reads) == 20
    assert len(run.spikes) == 2 * neurons * (cores - 1)
    spiked = [(to[core, n], chip.axon[core, n], chip.delay[core, n]) for _, core, n in run.spikes]
    asked = sorted(map(tuple, [*spiked, *((g, k % 4, 0) for k, g in enumerate(goal))]))
    port = np.column_stack([np.full(len(run.outputs), chip.port), run.outputs[:, 1:]])
    assert sorted(map(tuple, np.concatenate([run.arrivals[:, 1:4], port]))) == asked


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"port": 9}, "port has 9"),
        ({"depth": 0}, "depth has 0"),
        ({"leak": np.full((9, 2), 256)}, "leak has 256"),
        ({"delay": np.full((9, 2), 16)}, "delay has 16"),
        ({"axon": np.full((9, 2), 4)}, "axon has 4"),
        ({"columns": 4}, "4 x 3 cores"),
        ({"axon_type": np.full((9, 4), 4)}, "axon_type has 4"),
        ({"synapses": np.zeros((9, 2), np.bool_)}, "synapses must be"),
    ],
)
def test_a_grid_that_cannot_be_is_told(changes: dict[str, object], word: str) -> None:
    with pytest.raises(InputError, match=word):
        replace(mesh(), **changes)


@pytest.mark.parametrize(
    ("ticks", "packets", "word"),
    [
        ([5, 5], [], "order"),
        ([], [[5, 0], [4, 0]], "order"),
        ([-1], [], "ticks has -1"),
        ([], [[0, 1 << 30]], "more bits"),
    ],
)
def test_input_that_cannot_be_is_told(ticks: list[int], packets: list[list[int]], word: str) -> None:
    with pytest.raises(InputError, match=word):
        grid.run(mesh(), np.array(ticks, np.int64), np.array(packets, np.int64).reshape(-1, 2), 10)
