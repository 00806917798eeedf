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
from snnc.simulator.fans import BLOCK, FIRST, PHASE_X, PHASE_Y, PLAIN, SHIFT_X, SHIFT_Y, START, STOP
from snnc.simulator.instructions import lowest_bit, nonzero_bytes, prefetch
from snnc.simulator.reference import DECAY, RANGE, UNIT
from snnc.simulator.tables import (
    CHANNELS,
    COLUMNS,
    CONV,
    DENSE,
    FROM,
    HEIGHT,
    INDEX,
    LAG,
    MOST,
    PAD_X,
    PAD_Y,
    PRE,
    ROWS,
    SPAN,
    STRIDE_X,
    STRIDE_Y,
    WIDTH,
    WORTH,
)

LOW = (1 << DECAY) - 1

# Neurons of a segment, on average, below which a population is updated as a whole and its active neurons are counted
# apart: a call takes as long as the update of a hundred neurons.
SHORT = 64

# Synapses added in a loop of fixed length; entries of 3 or 4 bytes that a line of cache holds for sure; how many
# events after the present one is the one whose memory is asked for.
RUN, LINE, AHEAD = 64, 16, 2


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
def _add_packed(a: np.ndarray, first: int, packed: np.ndarray, start: int, stop: int) -> None:
    """Add the weights in packed[start:stop] to their targets in a[first:]."""
    to = np.uint64(first)
    for k in range(np.uint64(start), np.uint64(stop)):
        synapse = packed[k]
        a[to + np.uint64(synapse.target)] += synapse.weight


@compiled
def _add_packed_and_fetch(a: np.ndarray, first: int, packed: np.ndarray, start: int, stop: int, ahead: int) -> None:
    """As :func:`_add_packed`; for as many synapses, fetch those of `packed` from `ahead` on."""
    to = np.uint64(first)
    runs = (stop - start) // RUN
    for run in range(runs):
        for line in range(0, RUN, LINE):
            prefetch(packed, ahead + run * RUN + line)
        origin = np.uint64(start + run * RUN)
        # A loop of fixed length, which the compiler unrolls.
        for k in range(np.uint64(RUN)):
            synapse = packed[origin + k]
            a[to + np.uint64(synapse.target)] += synapse.weight
    for line in range(runs * RUN, stop - start, LINE):
        prefetch(packed, ahead + line)
    _add_packed(a, first, packed, start + runs * RUN, stop)


@compiled
def _deliver_linear(
    a: np.ndarray,
    low: int,
    events: np.ndarray,
    block: np.ndarray,
    near: np.ndarray,
    index: np.ndarray,
    packed: np.ndarray,
    plain: np.ndarray,
) -> None:
    """Add what the events cause to the inputs of the targets of a block, in a population that begins at a[low].

    near: int16, zeros before and after. Where there is enough to do it is done in these, which stay in the first
    cache, and added to `a` before any could overflow.
    """
    low += block[FROM]
    first, dense = block[INDEX], block[DENSE]
    if len(events) < block[WORTH]:
        _add_fans(a, low, events, index, first, dense, packed, plain)
        return
    most = block[MOST]
    for begin in range(0, len(events), most):
        _add_fans(near, 0, events[begin : begin + most], index, first, dense, packed, plain)
        for k in range(np.uint64(block[SPAN])):
            a[np.uint64(low) + k] += near[k]
            near[k] = 0


@compiled
def _add_fans(
    a: np.ndarray,
    low: int,
    events: np.ndarray,
    index: np.ndarray,
    first: int,
    dense: int,
    packed: np.ndarray,
    plain: np.ndarray,
) -> None:
    """Add the fans of the events to a[low:]; first: of the block, in `index`."""
    last = len(events) - 1
    for e in range(len(events)):
        source = np.uint64(first + events[e])
        start, stop = index[source], index[source + np.uint64(1)]
        if dense:
            _add_plain(a, low, plain, start, stop)
        else:
            # Where the other fan is shorter, some lines are fetched in vain.
            ahead = index[np.uint64(first + events[min(e + AHEAD, last)])]
            _add_packed_and_fetch(a, low, packed, start, stop, ahead)


@compiled
def _deliver_graded(
    a: np.ndarray,
    low: int,
    events: np.ndarray,
    values: np.ndarray,
    block: np.ndarray,
    index: np.ndarray,
    packed: np.ndarray,
    plain: np.ndarray,
) -> None:
    """As :func:`_deliver_linear`, each event with the weights times its value. For data only, so plain loops do."""
    low += block[FROM]
    for event in events:
        source, value = block[INDEX] + event, values[event]
        start, stop = index[source], index[source + 1]
        for k in range(start, stop):
            if block[DENSE]:
                a[low + k - start] += value * plain[k]
            else:
                a[low + packed[k].target] += value * packed[k].weight


@compiled
def _deliver_conv(
    a: np.ndarray,
    low: int,
    events: np.ndarray,
    order: np.ndarray,
    geometry: np.ndarray,
    index: np.ndarray,
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
        for f in range(index[geometry[INDEX] + channel], index[geometry[INDEX] + channel + 1]):
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
) -> int:
    """One step of neurons; clears `a`, writes `fired`. Returns how many were active.

    |x| * keep >> 12 is taken in two halves, (|x| >> 12) * keep + ((|x| & 4095) * keep >> 12): the same
    number, and it stays within 32 bits. The casts keep numba from widening, so that the loop fills
    whole vectors.
    """
    t = u.dtype.type
    active = 0
    for i in range(len(a)):
        old_u, old_v, drive = u[i], v[i], a[i]
        active += (old_u != 0) | (old_v != 0) | (drive != 0) | (bias[i] != 0)
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
def _count_active(
    active: np.ndarray,
    segments: np.ndarray,
    begin: int,
    end: int,
    a: np.ndarray,
    u: np.ndarray,
    v: np.ndarray,
    bias: np.ndarray,
) -> None:
    """Count, per core, the neurons of segments begin:end that are active, as :func:`_update` does on its way."""
    for s in range(begin, end):
        found = 0
        for i in range(np.uint64(segments[s, 0]), np.uint64(segments[s, 1])):
            found += (u[i] | v[i] | a[i] | bias[i]) != 0
        active[np.uint64(segments[s, 2])] += found


@compiled
def _visit(
    synapses: np.ndarray,
    events: np.ndarray,
    order: np.ndarray,
    axon_ptr: np.ndarray,
    axon_core: np.ndarray,
    axon_synapses: np.ndarray,
) -> None:
    """Count, per core, the synapses that the events visit; order and axon_ptr: from the population's first neuron on.

    Axons into consecutive cores are counted as vectors.
    """
    last = len(events) - 1
    for e in range(len(events)):
        neuron = np.uint64(order[np.uint64(events[e])])
        start, stop = axon_ptr[neuron], axon_ptr[neuron + np.uint64(1)]
        if start == stop:
            continue
        # As much as this one has: the axons of a population are alike.
        ahead = axon_ptr[np.uint64(order[np.uint64(events[min(e + AHEAD, last)])])]
        prefetch(axon_core, ahead)
        for k in range(0, stop - start, LINE):
            prefetch(axon_synapses, ahead + k)
        first = axon_core[np.uint64(start)]
        if axon_core[np.uint64(stop - 1)] - first == stop - 1 - start:
            to, origin = np.uint64(first), np.uint64(start)
            for k in range(np.uint64(stop - start)):
                synapses[to + k] += axon_synapses[origin + k]
        else:
            for k in range(np.uint64(start), np.uint64(stop)):
                synapses[np.uint64(axon_core[k])] += axon_synapses[k]


@compiled
def _collect(fired: np.ndarray, events: np.ndarray) -> int:
    """Indices of the non-zero entries of `fired`, which are bytes or int32; returns how many."""
    found = 0
    start = 0
    if fired.itemsize == 1:
        start = len(fired) // 64 * 64
        for first in range(0, start, 64):
            bits = nonzero_bytes(fired, first)
            while bits:
                events[np.uint64(found)] = np.uint64(first) + lowest_bit(bits)
                bits &= bits - np.uint64(1)
                found += 1
    # Without branches: nothing to mispredict. So it writes once past the last.
    for i in range(start, len(fired)):
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
    index: np.ndarray,
    fans: np.ndarray,
    packed: np.ndarray,
    plain: np.ndarray,
    keep_u: np.ndarray,
    keep_v: np.ndarray,
    bias: np.ndarray,
    threshold: np.ndarray,
    reads: np.ndarray,
    segments: np.ndarray,
    segment_ptr: np.ndarray,
    core_of: np.ndarray,
    axon_ptr: np.ndarray,
    axon_core: np.ndarray,
    axon_synapses: np.ndarray,
    raster_at: np.ndarray,
    trace_at: np.ndarray,
    counts: np.ndarray,
    work: np.ndarray,
    raster: np.ndarray,
    sums: np.ndarray,
    trace: np.ndarray,
) -> None:
    """Simulate a block of samples; adds into the last five arguments, which arrive as zeros.

    spikes: uint8 (samples, steps, inputs); or int32 values, of which each delivers that many times its weights, and
    the input's projections are Linear in the tables. feed .. reads: see :class:`snnc.simulator.tables.Tables`.
    segments .. axon_synapses: see :class:`snnc.simulator.tables.Placement`.
    raster_at, trace_at: int64 (populations,), first column of a population in `raster` and `trace`, or -1.
    counts: int32 (samples, neurons), spikes. work: int64 (samples, steps, 3, cores): synapses visited,
    active neuron updates, spikes fired. raster: uint8 (samples, steps, columns). sums: int64 (samples, neurons of
    read-outs), of their membranes. trace: int32 (samples, steps, columns), membranes.
    """
    samples, steps, _ = spikes.shape
    graded = spikes.itemsize > 1
    populations = len(first) - 1
    neurons = first[populations]
    u, v, a = np.empty_like(bias), np.empty_like(bias), np.zeros_like(bias)
    fired, near = np.empty(neurons, np.uint8), np.zeros(BLOCK, np.int16)
    # One place more than neurons: _collect writes once past the last event.
    events = np.empty((depth, neurons + 1), np.int32)
    found = np.zeros((depth, populations), np.int64)
    for n in range(samples):
        u[:] = 0
        v[:] = 0
        found[:] = 0
        for step in range(steps):
            now = step % depth
            synapses, active, emitted = work[n, step, 0], work[n, step, 1], work[n, step, 2]
            for p in range(populations):
                low, high = first[p], first[p + 1]
                if p == feed:
                    number = _collect(spikes[n, step], events[now, low : high + 1])
                else:
                    for q in range(into[p], into[p + 1]):
                        row = projections[q]
                        # Before the first step there is silence: `found` of those slots is still 0.
                        slot = (step - row[LAG]) % depth
                        pre = row[PRE]
                        arrived = events[slot, first[pre] : first[pre] + found[slot, pre]]
                        if graded and pre == feed:
                            if step >= row[LAG]:
                                _deliver_graded(a, low, arrived, spikes[n, step - row[LAG]], row, index, packed, plain)
                        elif row[CONV]:
                            _deliver_conv(a, low, arrived, order[first[pre] :], row, index, fans, packed, plain)
                        else:
                            _deliver_linear(a, low, arrived, row, near, index, packed, plain)
                    begin, end = segment_ptr[p], segment_ptr[p + 1]
                    if (end - begin) * SHORT > high - low:
                        _count_active(active, segments, begin, end, a, u, v, bias)
                        i, j = low, high
                        _update(a[i:j], u[i:j], v[i:j], keep_u[i:j], keep_v[i:j], bias[i:j], threshold[i:j], fired[i:j])
                        begin = end
                    for s in range(begin, end):
                        i, j = segments[s, 0], segments[s, 1]
                        active[segments[s, 2]] += _update(
                            a[i:j], u[i:j], v[i:j], keep_u[i:j], keep_v[i:j], bias[i:j], threshold[i:j], fired[i:j]
                        )
                    number = _collect(fired[low:high], events[now, low : high + 1])
                    if reads[p] >= 0:
                        for i in range(low, high):
                            sums[n, reads[p] + order[i]] += v[i]
                            if trace_at[p] >= 0:
                                trace[n, step, trace_at[p] + order[i]] = v[i]
                found[now, p] = number
                _visit(synapses, events[now, low : low + number], order[low:], axon_ptr[low:], axon_core, axon_synapses)
                for event in events[now, low : low + number]:
                    local = order[low + event]
                    neuron = low + local
                    counts[n, neuron] += 1
                    if core_of[neuron] >= 0:
                        emitted[core_of[neuron]] += 1
                    if raster_at[p] >= 0:
                        raster[n, step, raster_at[p] + local] = 1
