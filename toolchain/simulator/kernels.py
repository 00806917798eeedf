"""The event-driven integer kernel: a block of samples through the whole network in one call.

Bit for bit the arithmetic of :mod:`snnc.simulator.reference`; see there for the equations.
Work is per event and per neuron only: an event adds its weights to the inputs of its targets,
then all neurons of a population are updated in one vector loop. What the hardware would have
counted is added per spike (through the cores that a spike reaches) and per neuron, never per
synapse.

Numba is imported with this module, on the first simulation. Samples are independent, so the
engine runs blocks of them on its own threads (the kernel holds no lock): half the compile time of
a kernel that is parallel itself, no thread pool of numba's that a fork would break, and results
that cannot depend on the number of threads.
"""

from __future__ import annotations

import numpy as np

from snnc.jit import compiled
from snnc.simulator.counting import count_step, follow
from snnc.simulator.fans import FIRST, PHASE_X, PHASE_Y, PLAIN, SHIFT_X, SHIFT_Y, START, STOP
from snnc.simulator.prefetch import prefetch
from snnc.simulator.reference import DECAY, RANGE, UNIT
from snnc.simulator.tables import (
    CHANNELS,
    COLUMNS,
    CONV,
    FIRST_FAN,
    HEIGHT,
    LAG,
    PAD_X,
    PAD_Y,
    PRE,
    ROWS,
    STRIDE_X,
    STRIDE_Y,
    WIDTH,
)

LOW = (1 << DECAY) - 1

# Packed words in a line of cache.
LINE = 16


@compiled
def _add_plain(a: np.ndarray, first: int, weights: np.ndarray, start: int, stop: int) -> None:
    """Add weights[start:stop] to a[first:].

    No slices here and below: each counts references, which costs more than a short fan. Indices without
    sign, since numba tests others for being negative.
    """
    to, origin = np.uint64(first), np.uint64(start)
    for k in range(np.uint64(stop - start)):
        a[to + k] += weights[origin + k]


@compiled
def _add_packed(a: np.ndarray, first: int, words: np.ndarray, start: int, stop: int) -> None:
    """Add the weights in words[start:stop] to their targets in a[first:]."""
    to = np.uint64(first)
    for k in range(np.uint64(start), np.uint64(stop)):
        word = words[k]
        a[to + (word >> 16)] += np.int16(word)


@compiled
def _add_packed_and_fetch(a: np.ndarray, first: int, words: np.ndarray, start: int, stop: int, ahead: int) -> None:
    """As :func:`_add_packed`; for each of its lines, fetch a line of `words` from `ahead` on."""
    to = np.uint64(first)
    lines = (stop - start) // LINE
    for line in range(lines):
        prefetch(words, ahead + line * LINE)
        origin = np.uint64(start + line * LINE)
        # A loop of fixed length, which the compiler unrolls.
        for k in range(np.uint64(LINE)):
            word = words[origin + k]
            a[to + (word >> 16)] += np.int16(word)
    prefetch(words, ahead + lines * LINE)
    _add_packed(a, first, words, start + lines * LINE, stop)


@compiled
def _deliver_linear(
    a: np.ndarray,
    low: int,
    events: np.ndarray,
    fans: np.ndarray,
    first_fan: int,
    packed: np.ndarray,
    plain: np.ndarray,
) -> None:
    """Add what the events cause to the inputs of the population that begins at a[low]."""
    last = len(events) - 1
    for e in range(len(events)):
        f = first_fan + events[e]
        first, start, stop = low + fans[f, FIRST], fans[f, START], fans[f, STOP]
        if fans[f, PLAIN]:
            _add_plain(a, first, plain, start, stop)
        else:
            # Where the next fan is plain, or shorter, some lines are fetched in vain.
            ahead = fans[first_fan + events[min(e + 1, last)], START]
            _add_packed_and_fetch(a, first, packed, start, stop, ahead)


@compiled
def _deliver_graded(
    a: np.ndarray,
    low: int,
    events: np.ndarray,
    values: np.ndarray,
    fans: np.ndarray,
    first_fan: int,
    packed: np.ndarray,
    plain: np.ndarray,
) -> None:
    """As :func:`_deliver_linear`, each event with the weights times its value. For data only, so plain loops do."""
    for event in events:
        f, value = first_fan + event, values[event]
        first, start, stop = low + fans[f, FIRST], fans[f, START], fans[f, STOP]
        for k in range(start, stop):
            if fans[f, PLAIN]:
                a[first + k - start] += value * plain[k]
            else:
                a[first + (packed[k] >> 16)] += value * np.int16(packed[k])


@compiled
def _deliver_conv(
    a: np.ndarray,
    low: int,
    events: np.ndarray,
    order: np.ndarray,
    geometry: np.ndarray,
    channels: np.ndarray,
    fans: np.ndarray,
    packed: np.ndarray,
    plain: np.ndarray,
) -> None:
    """As :func:`_deliver_linear`, for a convolution.

    Row r of the output reads input row r * stride - pad + offset. With both sides divided by the stride,
    remainders must agree and quotients give r; the offsets' are in the table.
    """
    height, width, rows, columns = geometry[HEIGHT], geometry[WIDTH], geometry[ROWS], geometry[COLUMNS]
    stride_y, stride_x, pad_y, pad_x = geometry[STRIDE_Y], geometry[STRIDE_X], geometry[PAD_Y], geometry[PAD_X]
    together = geometry[CHANNELS]
    for event in events:
        neuron = order[event]
        channel, place = neuron // (height * width), neuron % (height * width)
        y, x = place // width + pad_y, place % width + pad_x
        shift_y, phase_y, shift_x, phase_x = y // stride_y, y % stride_y, x // stride_x, x % stride_x
        for f in range(channels[channel], channels[channel + 1]):
            row, column = shift_y - fans[f, SHIFT_Y], shift_x - fans[f, SHIFT_X]
            inside = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
            if inside & (fans[f, PHASE_Y] == phase_y) & (fans[f, PHASE_X] == phase_x):
                first = low + (row * columns + column) * together + fans[f, FIRST]
                if fans[f, PLAIN]:
                    _add_plain(a, first, plain, fans[f, START], fans[f, STOP])
                else:
                    _add_packed(a, first, packed, fans[f, START], fans[f, STOP])


@compiled
def _update(
    a: np.ndarray,
    u: np.ndarray,
    v: np.ndarray,
    keep_u: np.ndarray,
    keep_v: np.ndarray,
    bias: np.ndarray,
    threshold: np.ndarray,
    fired: np.ndarray,
    busy: np.ndarray,
) -> int:
    """One step of neurons; clears `a`, writes `fired` and `busy` (active). Returns how many were active.

    |x| * keep >> 12 is taken in two halves, (|x| >> 12) * keep + ((|x| & 4095) * keep >> 12): the same
    number, and it stays within 32 bits. The casts keep numba from widening, so that the loop fills
    whole vectors.
    """
    t = u.dtype.type
    active = 0
    for i in range(len(a)):
        old_u, old_v, drive = u[i], v[i], a[i]
        works = (old_u != 0) | (old_v != 0) | (drive != 0) | (bias[i] != 0)
        active += works
        busy[i] = works
        size = t(abs(old_u))
        kept = t(t(t(size >> DECAY) * keep_u[i]) + t(t(t(size & LOW) * keep_u[i]) >> DECAY))
        new_u = t((kept if old_u >= 0 else t(-kept)) + t(drive << UNIT))
        if new_u > RANGE:
            new_u = t(new_u - 2 * RANGE)
        elif new_u <= -RANGE:
            new_u = t(new_u + 2 * RANGE)
        size = t(abs(old_v))
        kept = t(t(t(size >> DECAY) * keep_v[i]) + t(t(t(size & LOW) * keep_v[i]) >> DECAY))
        new_v = t(t((kept if old_v >= 0 else t(-kept)) + new_u) + bias[i])
        new_v = t(min(max(new_v, t(-RANGE + 1)), t(RANGE - 1)))
        spike = new_v > threshold[i]
        a[i] = 0
        u[i] = new_u
        v[i] = t(0) if spike else new_v
        fired[i] = spike
    return active


@compiled
def _collect(fired: np.ndarray, events: np.ndarray) -> int:
    """Indices of the non-zero entries; returns how many. Without branches: nothing to mispredict."""
    found = 0
    for i in range(len(fired)):
        events[found] = i
        found += fired[i] != 0
    return found


@compiled
def run(
    spikes: np.ndarray,
    feed: int,
    depth: int,
    first: np.ndarray,
    order: np.ndarray,
    into: np.ndarray,
    projections: np.ndarray,
    channels: np.ndarray,
    fans: np.ndarray,
    packed: np.ndarray,
    plain: np.ndarray,
    keep_u: np.ndarray,
    keep_v: np.ndarray,
    bias: np.ndarray,
    threshold: np.ndarray,
    reads: np.ndarray,
    alone: np.ndarray,
    core_at: np.ndarray,
    causes: np.ndarray,
    windows: np.ndarray,
    axon_ptr: np.ndarray,
    axon_core: np.ndarray,
    axon_synapses: np.ndarray,
    raster_at: np.ndarray,
    trace_at: np.ndarray,
    counts: np.ndarray,
    work: np.ndarray,
    core_work: np.ndarray,
    step_work: np.ndarray,
    layer_active: np.ndarray,
    raster: np.ndarray,
    sums: np.ndarray,
    trace: np.ndarray,
) -> None:
    """Simulate a block of samples; adds into the arguments from `counts` on, which arrive as zeros.

    spikes: uint8 (samples, steps, inputs); or int32 values, of which each delivers that many times its weights, and
    the input's projections are Linear in the tables. feed .. reads: see :class:`snnc.simulator.tables.Tables`.
    alone .. causes: see :class:`snnc.simulator.tables.Placement`. windows .. axon_synapses: see
    :class:`snnc.simulator.axons.Axons`.
    raster_at, trace_at: int64 (populations,), first column of a population in `raster` and `trace`, or -1.
    counts: int32 (samples, neurons), spikes. work: int32 (samples, steps, 3, cores in whole LANES): synapses visited,
    active neuron updates, spikes fired. core_work: int64 (samples, 3, cores), their sums over the steps.
    Without an image neither holds anything. step_work: int64 (samples, steps, columns), see
    :attr:`snnc.simulator.run.Run.step_work`. layer_active: int64 (samples, populations), active neuron updates.
    raster: uint8 (samples, steps, columns). sums: int64 (samples, neurons of read-outs), of their membranes. trace:
    int32 (samples, steps, columns), membranes.
    """
    samples, steps, _ = spikes.shape
    graded = spikes.itemsize > 1
    counted = len(causes) > 0
    populations = len(first) - 1
    neurons = first[populations]
    u, v, a = np.empty_like(bias), np.empty_like(bias), np.zeros_like(bias)
    fired = np.empty(neurons, np.uint8)
    # One place more than neurons: _collect writes once past the last event.
    events = np.empty((depth, neurons + 1), np.int32)
    found = np.zeros((depth, populations), np.int64)
    busy, was = np.empty(neurons, np.uint8), np.empty(neurons, np.uint8)
    working = np.empty(work.shape[3], np.int32)
    for n in range(samples):
        u[:] = 0
        v[:] = 0
        found[:] = 0
        was[:] = 0
        working[:] = 0
        for step in range(steps):
            now = step % depth
            active = work[n, step, 1]
            for p in range(populations):
                low, high = first[p], first[p + 1]
                if p == feed:
                    number = _collect(spikes[n, step], events[now, low : high + 1])
                else:
                    for q in range(into[p], into[p + 1]):
                        row = projections[q]
                        # Before the first step there is silence: `found` of those slots is still 0.
                        slot = (step - row[LAG]) % depth
                        pre, start = row[PRE], row[FIRST_FAN]
                        arrived = events[slot, first[pre] : first[pre] + found[slot, pre]]
                        if graded and pre == feed:
                            if step >= row[LAG]:
                                _deliver_graded(a, low, arrived, spikes[n, step - row[LAG]], fans, start, packed, plain)
                        elif row[CONV]:
                            _deliver_conv(
                                a, low, arrived, order[first[pre] :], row, channels[start:], fans, packed, plain
                            )
                        else:
                            _deliver_linear(a, low, arrived, fans, start, packed, plain)
                    active_here = _update(
                        a[low:high],
                        u[low:high],
                        v[low:high],
                        keep_u[low:high],
                        keep_v[low:high],
                        bias[low:high],
                        threshold[low:high],
                        fired[low:high],
                        busy[low:high],
                    )
                    layer_active[n, p] += active_here
                    if alone[p] >= 0:
                        active[alone[p]] += np.int32(active_here)
                    else:
                        follow(busy[low:high], was[low:high], core_at[low:high], working)
                    number = _collect(fired[low:high], events[now, low : high + 1])
                    if reads[p] >= 0:
                        for i in range(low, high):
                            sums[n, reads[p] + order[i]] += v[i]
                            if trace_at[p] >= 0:
                                trace[n, step, trace_at[p] + order[i]] = v[i]
                found[now, p] = number
                here = events[now, low : low + number]
                for event in here:
                    local = order[low + event]
                    counts[n, low + local] += 1
                    if raster_at[p] >= 0:
                        raster[n, step, raster_at[p] + local] = 1
            active += working
            if counted:
                count_step(
                    events,
                    found,
                    now,
                    first,
                    feed,
                    alone,
                    core_at,
                    causes,
                    windows,
                    axon_ptr,
                    axon_core,
                    axon_synapses,
                    work[n, step],
                    core_work[n],
                    step_work[n, step],
                )
