"""What happens on a chip in picojoule and nanoseconds, and by which rules a step takes its time.

A target has one or more sets of such constants, each from one line of sources; the user chooses one by name.
Numbers come from its TOML file, the rules they are used by are :mod:`snnc.simulator.energy` and
:mod:`snnc.simulator.timing`.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterator
from typing import Literal

import msgspec

from snnc.quantities import Kind, Quantity

Updates = Literal["changing", "spiking", "every"]
"""Which updates of neurons are active ones: of those whose current, membrane, bias or input is not zero, of those
that spike, or all."""


class Energy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Picojoule per event.

    synop_pj: a stored synapse visited, synop_dense_pj and synop_kernel_pj of one in these formats where they differ.
    updates: see :data:`Updates`. spike_pj: a spike fired, whatever it reaches. message_out_pj, message_in_pj: sent
    to a core and received by one, its own included. crossing_pj: a hop from chip to chip, beyond that of any hop;
    required where there are several chips. static_mw: static power of a chip, where a source gives it.
    """

    synop_pj: Quantity
    neuron_active_pj: Quantity
    neuron_inactive_pj: Quantity
    spike_pj: Quantity
    hop_x_pj: Quantity
    hop_y_pj: Quantity
    updates: Updates = "changing"
    synop_dense_pj: Quantity | None = None
    synop_kernel_pj: Quantity | None = None
    message_out_pj: Quantity | None = None
    message_in_pj: Quantity | None = None
    crossing_pj: Quantity | None = None
    static_mw: Quantity | None = None


class Barrier(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Nanoseconds by which the cores wait for each other, by tiles in use.

    tiles: ascending, those that are known; ns: of each. Between two of them it grows linearly, beyond the last the last
    line goes on; or, with `steps`, it stays what it is at the one before. Other fields as in Quantity.
    """

    tiles: tuple[int, ...]
    ns: tuple[float, ...]
    source: str
    steps: bool = False
    kind: Kind = "published"
    note: str = ""

    def at(self, tiles: int) -> float:
        """In ns, of so many tiles."""
        if self.steps or len(self.tiles) == 1 or tiles <= self.tiles[0]:
            return self.ns[max(0, bisect.bisect_right(self.tiles, tiles) - 1)]
        k = min(bisect.bisect_left(self.tiles, tiles), len(self.tiles) - 1)
        (low, high), (start, stop) = self.tiles[k - 1 : k + 1], self.ns[k - 1 : k + 1]
        return start + (stop - start) * (tiles - low) / (high - low)


class Timing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Nanoseconds per event, and the order in which a core works; see :mod:`snnc.simulator.timing`.

    pipeline: whether a core handles messages and updates its neurons one after the other ("serial") or side by side
    ("overlapped"). messages: whether a core handles what is sent in a step as it arrives ("live"), or finds all of
    it at the step's beginning ("buffered"). link_ns: how long a message holds a link. crossing_ns: of a hop from chip
    to chip beyond that of any hop; barrier_doubling_ns: by which the barrier grows when the chips become twice as
    many; both required where there are several chips. Others as in :class:`Energy`.
    """

    pipeline: Literal["serial", "overlapped"]
    messages: Literal["live", "buffered"]
    synop_ns: Quantity
    neuron_active_ns: Quantity
    neuron_inactive_ns: Quantity
    spike_ns: Quantity
    hop_x_ns: Quantity
    hop_y_ns: Quantity
    barrier: Barrier
    updates: Updates = "changing"
    synop_dense_ns: Quantity | None = None
    synop_kernel_ns: Quantity | None = None
    message_out_ns: Quantity | None = None
    message_in_ns: Quantity | None = None
    link_ns: Quantity | None = None
    crossing_ns: Quantity | None = None
    barrier_doubling_ns: Quantity | None = None

    def barrier_ns(self, tiles: int, chips: int) -> float:
        """Length of the barrier over `tiles` tiles of `chips` chips.

        Of several chips all take part: it grows from that of one whole chip with the logarithm of their number.
        """
        if chips == 1:
            return self.barrier.at(tiles)
        assert self.barrier_doubling_ns is not None  # a target of several chips has it
        return self.barrier.ns[-1] + self.barrier_doubling_ns.value * math.log2(chips)


class Costs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A set of constants. title: where they come from, in a few words."""

    title: str
    energy: Energy
    timing: Timing

    def numbers(self) -> Iterator[tuple[str, Quantity]]:
        """All numbers as (dotted name, number), in the order of the fields; the unit is the end of a name."""
        for section in ("energy", "timing"):
            part = getattr(self, section)
            for name in part.__struct_fields__:
                value = getattr(part, name)
                if isinstance(value, Quantity):
                    yield f"{section}.{name}", value
                elif isinstance(value, Barrier):
                    for tiles, ns in zip(value.tiles, value.ns, strict=True):
                        known = Quantity(ns, value.source, value.kind, value.note)
                        yield f"{section}.{name}_{tiles}_tiles_ns", known
