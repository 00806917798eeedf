"""How long a step takes on the chip: the fast executor of the timing model, exact or a bound.

Chips of this kind have no clock: the cores work through a step independently and a barrier ends it. In a step each
core does three things, every one an item after the other:

    update    its neurons, each neuron_inactive_ns or neuron_active_ns (which are active: `updates`)
    send      its spikes in the order of its neurons, each spike_ns, and then message_out_ns for each core reached
    receive   what reaches it, its own messages included, each message_in_ns and for each stored synapse synop_ns

The target says how these come together. `pipeline`: "serial", all in a row, or "overlapped", receiving beside
updating and sending. `messages`: "live", a message is handled when it has arrived, after a serial core has sent; or
"buffered", a core finds all messages of the step at its beginning, as a chip does that handles them one step later,
and what is sent must arrive before the step ends. A message leaves when it is sent and travels hop_x_ns, hop_y_ns
and crossing_ns for each hop; each link of it is held for link_ns. Messages from outside are there from the start.
The barrier comes last.

:mod:`snnc.simulator.timing_events` follows every message by these rules. Here only sums over the step are known,
which the kernel counts per core (``WORK``, ``TIMES``) and makes lengths of (``end_step`` of
:mod:`snnc.simulator.counting`), so that time costs next to nothing:

    earliest   no core waits for anything but its own work, no message for another one
    latest     every core waits for the last message of all, and each message for all others on its way

Both are the same, to the picosecond, where nothing can wait: with "buffered" messages and free links, and on a single
serial core. All is counted in whole picoseconds.

A step is a step of the model: a pipelined chip works on population k of a chain k steps later, which moves work
between neighbouring steps and not in sum. A core's neurons are in the order of the network's populations, those that
receive a convolution by place and then channel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import sparse

from snnc import traffic
from snnc.costs import Timing
from snnc.image import Image
from snnc.quantities import Quantity
from snnc.resources import FORMATS

WORK = ("synops", "active", "spikes", "receive")
"""What the kernel counts per core and step: stored synapses visited, active updates, spikes fired, time of receiving
in units of :class:`Durations`, unless the synapses tell it."""

TIMES = ("send_ps", "arrive_ps")
"""The same: time of sending, and when the last message that the core sends arrives, after it began to send."""

TOTALS = WORK[:3]
"""What is added up over the steps."""

LENGTHS = ("earliest", "latest")
"""What is made of them, per step: its two ends, picoseconds."""

SYNOPS, ACTIVE, SPIKES, RECEIVE = range(len(WORK))
SEND, ARRIVE = range(len(TIMES))
EARLIEST, LATEST = range(len(LENGTHS))


def ps(quantity: Quantity | None) -> int:
    """Whole picoseconds of a number of nanoseconds; None is 0."""
    return 0 if quantity is None else round(quantity.value * 1000)


@dataclass(frozen=True, eq=False)
class Durations:
    """What one spike of each neuron takes; N neurons in the order of the network.

    unit: picoseconds. axon: CSR int64 (N, cores), units that receiving it takes a core; None where that is `unit` for
    each stored synapse that it visits. send: int64 (N,), ps, to send it to all that it reaches. arrive: int64 (N,), ps
    from the moment at which its sending begins until the last core has it. Both are 0 for inputs, which are outside.
    """

    unit: int
    axon: sparse.csr_array | None
    send: np.ndarray
    arrive: np.ndarray


def durations(image: Image) -> Durations:
    """The durations of an image, by the constants in use."""
    timing, stored, core_of = image.target.timing, image.usage.stored, image.mapping.core_of
    neuron = np.repeat(np.arange(len(core_of)), np.diff(stored.indptr))
    inside = core_of >= 0
    # Which of the messages of its neuron each is, from 1 on; with multicast all are one.
    turn = np.arange(len(neuron)) - stored.indptr[neuron] + 1
    number = np.diff(stored.indptr)
    if image.target.mesh.multicast:
        turn, number = np.ones_like(turn), np.minimum(number, 1)
    own = np.where(inside[neuron], core_of[neuron], stored.indices)
    travel = _travel_ps(image, own, stored.indices)
    out = ps(timing.message_out_ns)
    arrive = np.zeros(len(core_of), np.int64)
    np.maximum.at(arrive, neuron, ps(timing.spike_ns) + turn * out + travel)
    send = ps(timing.spike_ns) + number * out
    unit, axon = _axons(image)
    return Durations(
        unit=unit,
        axon=axon,
        send=np.where(inside, send, 0).astype(np.int64),
        arrive=np.where(inside, arrive, 0),
    )


def _travel_ps(image: Image, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """Picoseconds from cores `start` to cores `stop`, int64 (messages,)."""
    timing, cores = image.target.timing, image.cores
    every = cores**2 < len(start)  # then a table of all pairs is smaller than what is asked for
    pairs = np.divmod(np.arange(cores**2), cores) if every else (start, stop)
    x, y, crossings = traffic.legs(*pairs, image.mapping.site_of, image.target.grid)
    travel = x * ps(timing.hop_x_ns) + y * ps(timing.hop_y_ns) + crossings * ps(timing.crossing_ns)
    return travel[start * cores + stop] if every else travel


def synop_ps(timing: Timing) -> np.ndarray:
    """Picoseconds of a synapse in each of snnc.resources.FORMATS, int64 (formats,)."""
    return np.array([ps(getattr(timing, f"synop_{name}_ns", None) or timing.synop_ns) for name in FORMATS], np.int64)


def _axons(image: Image) -> tuple[int, sparse.csr_array | None]:
    """(unit, axon) of :class:`Durations`."""
    usage, timing = image.usage, image.target.timing
    message, each = ps(timing.message_in_ns), synop_ps(timing)
    if len(set(each)) == 1 and message == 0:
        return int(each[0]), None
    unit = math.gcd(message, *each.tolist()) or 1
    # Several projections may meet in an axon, each in a format of its own.
    result, cores = np.full(usage.stored.nnz, message // unit, np.int64), usage.cores
    key = np.repeat(np.arange(usage.stored.shape[0]), np.diff(usage.stored.indptr)) * cores + usage.stored.indices
    for projection in image.network.projections:
        visits = usage.visits_of[projection.name].tocoo()
        first = image.network.offsets[projection.pre]
        at = np.searchsorted(key, (visits.col + first) * cores + visits.row)
        np.add.at(result, at, visits.data * (each // unit)[usage.formats[projection.name][visits.row]])
    return unit, sparse.csr_array((result, usage.stored.indices, usage.stored.indptr), shape=usage.stored.shape)


class Rules(NamedTuple):
    """How the times of cores come together, in whole picoseconds; typed for numba.

    unit: of receiving. update: int64 (cores,), of all neurons, none of them active or spiking; active, spike: more for
    each that is. link: of a message on a link. serial, buffered: the pipeline, the messages.
    """

    unit: int
    update: np.ndarray
    active: int
    spike: int
    link: int
    barrier: int
    serial: bool
    buffered: bool


def rules(image: Image, unit: int) -> Rules:
    """The rules of an image, by the constants in use. unit: see :class:`Durations`."""
    timing, neurons = image.target.timing, image.usage.neurons
    one, none = np.array(1), np.array(0)
    return Rules(
        unit=unit,
        update=update_ps(timing, neurons, none, none).astype(np.int64),
        active=int(update_ps(timing, none, one, none)),
        spike=int(update_ps(timing, none, none, one)),
        link=ps(timing.link_ns),
        barrier=barrier_ps(image),
        serial=timing.pipeline == "serial",
        buffered=timing.messages == "buffered",
    )


def update_ps(timing: Timing, neurons: np.ndarray, active: np.ndarray, spikes: np.ndarray) -> np.ndarray:
    """Picoseconds that cores take to update all neurons, int64 (..., cores). active, spikes: of them, in the step."""
    known = {"changing": active, "spiking": spikes, "every": neurons}[timing.updates]
    more = ps(timing.neuron_active_ns) - ps(timing.neuron_inactive_ns)
    return np.asarray(neurons * ps(timing.neuron_inactive_ns) + known * more)


def barrier_ps(image: Image) -> int:
    """Picoseconds of the barrier over the tiles and chips in use."""
    return round(image.target.timing.barrier_ns(image.tiles, image.chips) * 1000)
