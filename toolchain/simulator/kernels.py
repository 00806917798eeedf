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

from snnc.jit import lean
from snnc.simulator.counting import BUSY, count_step, end_step, follow
from snnc.simulator.fans import FIRST, PHASE_X, PHASE_Y, PLAIN, SHIFT_X, SHIFT_Y, START, STOP
from snnc.simulator.instructions import different_bytes, lowest_bit, prefetch
from snnc.simulator.state import Record, Scratch, State
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
    Places,
)
from snnc.simulator.timing import ACTIVE
from snnc.simulator.updates import update, update_rich

# Synapses added in a loop of fixed length; entries of 3 or 4 bytes that a line of cache holds for sure; how many
# events after the present one is the one whose memory is asked for.
RUN, LINE, AHEAD = 64, 16, 2


@lean
def _add_plain(a: np.ndarray, first: int, weights: np.ndarray, start: int, stop: int) -> None:
    """Add weights[start:stop] to a[first:].

    No slices here and below: each counts references, which costs more than a short fan. Indices without
    sign, since numba tests others for being negative.
    """
    to, origin = np.uint64(first), np.uint64(start)
    for k in range(np.uint64(stop - start)):
        a[to + k] += weights[origin + k]


@lean
def _add_packed(a: np.ndarray, first: int, packed: np.ndarray, start: int, stop: int) -> None:
    """Add the weights in packed[start:stop] to their targets in a[first:]."""
    to = np.uint64(first)
    for k in range(np.uint64(start), np.uint64(stop)):
        synapse = packed[k]
        a[to + np.uint64(synapse.target)] += synapse.weight


@lean
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


@lean
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


@lean
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


@lean
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


@lean
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


@lean
def _collect(fired: np.ndarray, events: np.ndarray) -> int:
    """Indices of the non-zero entries of `fired`, which are bytes or int32; returns how many."""
    found = 0
    start = 0
    if fired.itemsize == 1:
        start = len(fired) // 64 * 64
        for first in range(0, start, 64):
            bits = different_bytes(fired, 0, first)
            while bits:
                events[np.uint64(found)] = np.uint64(first) + lowest_bit(bits)
                bits &= bits - np.uint64(1)
                found += 1
    # Without branches: nothing to mispredict. So it writes once past the last.
    for i in range(start, len(fired)):
        events[found] = i
        found += fired[i] != 0
    return found


@lean
def run(
    spikes: np.ndarray,
    begin: int,
    interval: int,
    state: State,
    scratch: Scratch,
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
    rich: np.ndarray,
    keep_w: np.ndarray,
    jump: np.ndarray,
    refractory: np.ndarray,
    values_at: np.ndarray,
    resets: np.ndarray,
    places: Places,
    counts: np.ndarray,
    sums: np.ndarray,
    totals: np.ndarray,
    lengths: np.ndarray,
    step_work: np.ndarray,
    layer_active: np.ndarray,
    record: Record,
) -> None:
    """Simulate steps `begin`, `begin` + 1, ... of a block of samples, from `state` on, and leave theirs in it.

    spikes: uint8 (samples, steps, inputs); or int32 values, of which each delivers that many times its weights, and
    the input's projections are Linear in the tables. interval: the state is cleared in every step that it divides,
    and so in step 0. A state of one recording alone serves for whole recordings, one after the other.
    feed .. resets: see :class:`snnc.simulator.tables.Tables`.

    Added to, and so carried on from piece to piece: counts: int32 (samples, neurons), spikes. sums: int64 (samples,
    neurons of read-outs), of their membranes. layer_active: int64 (samples, populations), active neuron updates.
    Of these steps alone, and to arrive as zeros: totals: int64 (samples, 3, cores), stored synapses visited, active
    updates and spikes fired. lengths: int64 (samples, steps, 2), picoseconds, earliest and latest end, see
    :mod:`snnc.simulator.timing`. step_work: int64 (samples, steps, LANES), the columns of
    :attr:`snnc.simulator.run.Run.step_work` and zeros. record.spikes. Written: the rest of record. Without an image
    there are no totals and lengths, and of step_work only active updates.
    """
    samples, steps, _ = spikes.shape
    counted = len(places.send_ps) > 0
    populations = len(first) - 1
    a, near, fired, busy, was, working, work, times = scratch
    active = work[ACTIVE]
    for n in range(samples):
        r = n % len(state.u)
        u, v, w, rests = state.u[r], state.v[r], state.w[r], state.rests[r]
        events, found, past = state.events[r], state.found[r], state.past[r]
        # From nobody on, wherever a piece begins.
        was[:] = 0
        working[:] = 0
        for step in range(steps):
            now = (begin + step) % depth
            if (begin + step) % interval == 0:
                u[:] = 0
                v[:] = 0
                w[:] = 0
                rests[:] = 0
                found[:] = 0
            for p in range(populations):
                low, high = first[p], first[p + 1]
                if p == feed:
                    number = _collect(spikes[n, step], events[now, low : high + 1])
                    if values_at[p] >= 0:
                        for i in range(high - low):
                            past[now, values_at[p] + i] = spikes[n, step, i]
                else:
                    for q in range(into[p], into[p + 1]):
                        row = projections[q]
                        # Before the first step there is silence: `found` of those slots is still 0.
                        slot = (begin + step - row[LAG]) % depth
                        pre = row[PRE]
                        arrived = events[slot, first[pre] : first[pre] + found[slot, pre]]
                        if values_at[pre] >= 0:
                            values = past[slot, values_at[pre] :]
                            _deliver_graded(a, low, arrived, values, row, index, packed, plain)
                        elif row[CONV]:
                            _deliver_conv(a, low, arrived, order[first[pre] :], row, index, fans, packed, plain)
                        else:
                            _deliver_linear(a, low, arrived, row, near, index, packed, plain)
                    if rich[p] >= 0:
                        i, j = rich[p], rich[p] + high - low
                        start, stop = (values_at[p], values_at[p] + high - low) if values_at[p] >= 0 else (0, 0)
                        working_here = update_rich(
                            a[low:high],
                            u[low:high],
                            v[low:high],
                            w[i:j],
                            rests[i:j],
                            keep_u[low:high],
                            keep_v[low:high],
                            keep_w[i:j],
                            bias[low:high],
                            threshold[low:high],
                            jump[i:j],
                            refractory[i:j],
                            fired[low:high],
                            busy[low:high],
                            past[now, start:stop],
                            resets[p],
                        )
                    else:
                        working_here = update(
                            a[low:high],
                            u[low:high],
                            v[low:high],
                            keep_u[low:high],
                            keep_v[low:high],
                            bias[low:high],
                            threshold[low:high],
                            fired[low:high],
                            busy[low:high],
                            resets[p],
                        )
                    layer_active[n, p] += working_here
                    step_work[n, step, BUSY] += working_here
                    if counted and places.alone[p] >= 0:
                        active[places.alone[p]] += np.int32(working_here)
                    elif counted:
                        follow(busy[low:high], was[low:high], places.core_at[low:high], working)
                    number = _collect(fired[low:high], events[now, low : high + 1])
                    if reads[p] >= 0:
                        for i in range(low, high):
                            sums[n, reads[p] + order[i]] += v[i]
                    if record.u_at[p] >= 0:
                        for i in range(low, high):
                            record.u[n, step, record.u_at[p] + order[i]] = u[i]
                    if record.v_at[p] >= 0:
                        for i in range(low, high):
                            record.v[n, step, record.v_at[p] + order[i]] = v[i]
                found[now, p] = number
                for k in range(np.uint64(low), np.uint64(low + number)):
                    place = np.uint64(low) + np.uint64(events[now, k])
                    counts[n, np.uint64(low) + np.uint64(order[place])] += 1
                if record.spikes_at[p] >= 0:
                    for event in events[now, low : low + number]:
                        record.spikes[n, step, record.spikes_at[p] + order[low + event]] = 1
            if counted:
                for core in range(np.uint64(len(working))):
                    active[core] += working[core]
                count_step(events[now], found[now], first, feed, places, work, times, step_work[n, step])
                end_step(places, work, times, step_work[n, step], totals[n], lengths[n, step])
