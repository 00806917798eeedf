"""One step of neurons: the loops that the kernel runs for each population once its input is summed up.

Bit for bit the arithmetic of :mod:`snnc.simulator.reference`; see there for the equations.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from snnc.jit import lean
from snnc.simulator.reference import DECAY, RANGE, UNIT
from snnc.simulator.tables import NEXT, NOW, RECHECK, TO_ZERO

LOW = (1 << DECAY) - 1


def _updater(subtracts: bool) -> Callable[..., int]:
    """The loop over neurons that reset to zero, or over those that subtract, so that neither pays for the other.

    It takes what :func:`update` takes but for `reset`. late: whether a membrane that the step finds above the threshold
    loses that before it is compared (NEXT, RECHECK). seen: whether what it leaves is without that (NOW, RECHECK).
    """

    @lean
    def loop(
        a: np.ndarray,
        u: np.ndarray,
        v: np.ndarray,
        keep_u: np.ndarray,
        keep_v: np.ndarray,
        bias: np.ndarray,
        threshold: np.ndarray,
        fired: np.ndarray,
        busy: np.ndarray,
        late: bool,
        seen: bool,
    ) -> int:
        """One step of neurons.

        |x| * keep >> 12 is taken in two halves, (|x| >> 12) * keep + ((|x| & 4095) * keep >> 12): the same
        number, and it stays within 32 bits. The casts keep numba from widening, so that the loop fills
        whole vectors.
        """
        t = u.dtype.type
        active = np.int32(0)
        for i in range(len(a)):
            old_u, old_v, drive = u[i], v[i], a[i]
            works = ((old_u != 0) & (keep_u[i] != 0)) | (old_v != 0) | (drive != 0) | (bias[i] != 0)
            active = np.int32(active + works)
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
            again = (old_v > threshold[i]) & late
            if subtracts:
                new_v = t(new_v - (threshold[i] if again else t(0)))
            new_v = t(min(max(new_v, t(-RANGE + 1)), t(RANGE - 1)))
            spike = new_v > threshold[i]
            a[i] = 0
            u[i] = new_u
            if subtracts:
                off = threshold[i] if spike & seen else t(0)
                back = threshold[i] if again & seen else t(0)
                v[i] = t(t(new_v - off) + back)
            else:
                v[i] = t(0) if spike else new_v
            fired[i] = spike
        return int(active)

    return loop


_zeroing, _subtracting = _updater(False), _updater(True)


@lean
def update(
    a: np.ndarray,
    u: np.ndarray,
    v: np.ndarray,
    keep_u: np.ndarray,
    keep_v: np.ndarray,
    bias: np.ndarray,
    threshold: np.ndarray,
    fired: np.ndarray,
    busy: np.ndarray,
    reset: int,
) -> int:
    """One step of neurons; clears `a`, writes `fired` and `busy` (active). Returns how many were active.

    a, u, v, keep_u, keep_v, bias, threshold: (neurons,), see :class:`snnc.simulator.tables.Tables`. reset: one of
    TO_ZERO, NOW, NEXT, RECHECK.
    """
    if reset == TO_ZERO:
        return _zeroing(a, u, v, keep_u, keep_v, bias, threshold, fired, busy, False, False)
    late, seen = reset != NOW, reset != NEXT
    return _subtracting(a, u, v, keep_u, keep_v, bias, threshold, fired, busy, late, seen)


@lean
def update_rich(
    a: np.ndarray,
    u: np.ndarray,
    v: np.ndarray,
    w: np.ndarray,
    rests: np.ndarray,
    keep_u: np.ndarray,
    keep_v: np.ndarray,
    keep_w: np.ndarray,
    bias: np.ndarray,
    threshold: np.ndarray,
    jump: np.ndarray,
    refractory: np.ndarray,
    fired: np.ndarray,
    busy: np.ndarray,
    values: np.ndarray,
    reset: int,
) -> int:
    """As :func:`update`, of neurons that adapt, rest or send values. `busy` is 0, 1 or, of two compartments, 2.

    w: what the second compartment adds in this step; on return, what it adds in the next one, which is known once
    it is known which neurons spike. rests: steps for which each still rests. values: written where spikes carry
    them, else of no length.
    """
    active = 0
    graded = len(values) > 0
    late, seen = reset in (NEXT, RECHECK), reset in (NOW, RECHECK)
    for i in range(len(a)):
        second = w[i] != 0
        held = (u[i] != 0) & (keep_u[i] != 0)
        works = second + (held | (v[i] != 0) | (a[i] != 0) | (bias[i] != 0) | second)
        active += works
        busy[i] = works
        size = abs(np.int64(u[i]))
        new_u = (size * keep_u[i] >> DECAY) * (1 if u[i] >= 0 else -1) + (np.int64(a[i]) << UNIT)
        if new_u > RANGE:
            new_u -= 2 * RANGE
        elif new_u <= -RANGE:
            new_u += 2 * RANGE
        size = abs(np.int64(v[i]))
        new_v = (size * keep_v[i] >> DECAY) * (1 if v[i] >= 0 else -1) + new_u + w[i] + bias[i]
        again = late and rests[i] == 0 and v[i] > threshold[i]
        if again:
            new_v -= threshold[i]
        new_v = min(max(new_v, -RANGE + 1), RANGE - 1) if rests[i] == 0 else 0
        spike = rests[i] == 0 and (new_v >> UNIT > threshold[i] >> UNIT if graded else new_v > threshold[i])
        size = abs(np.int64(w[i]))
        new_w = (size * keep_w[i] >> DECAY) * (1 if w[i] >= 0 else -1) - (jump[i] if spike else 0)
        a[i] = 0
        u[i] = new_u
        if reset == TO_ZERO:
            v[i] = 0 if spike else new_v
        else:
            off, back = threshold[i] if spike and seen else 0, threshold[i] if again and seen else 0
            v[i] = new_v - off + back
        w[i] = min(max(new_w, -RANGE + 1), RANGE - 1)
        rests[i] = refractory[i] if spike else max(rests[i] - 1, 0)
        fired[i] = spike
        if graded:
            values[i] = new_v >> UNIT
    return active
