"""Families of chips: a mesh of cores without a clock, and two of crossbars with one.

A description says which it is (``family``); without a word it is a mesh, :class:`snnc.target.Target`.

- ``crossbar``: one core; a sequential scheduler works off events, each of which visits the neurons one after the other.
- ``grid``: cores with crossbars that work in ticks, on a mesh of routers with finite queues.

Both are simulated cycle by cycle (:mod:`snnc.simulator.clocked`) and compiled for by :mod:`snnc.crossbars`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from snnc import target as meshes
from snnc.errors import InputError
from snnc.quantities import Count, Quantity
from snnc.target import Target


class CrossbarCore(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """neurons: addresses, of sources as well as of neurons. queue: events that wait."""

    neurons: Count
    queue: Count


class CrossbarNeuron(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The integer neuron and the widths of its registers in bits.

    potential_bits: with sign. threshold_bits, leak_bits: without; the leak is towards zero. resets: what a spike may
    do. moments: when it may subtract.
    """

    model: Literal["linear_fixed"]
    potential_bits: Count
    threshold_bits: Count
    leak_bits: Count
    resets: tuple[str, ...]
    moments: tuple[str, ...] = ("now",)


class CrossbarSynapse(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """weight_bits: with sign. delay_limit: most steps that a spike can be held back."""

    weight_bits: Count
    delay_limit: Count


class GridCore(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """axons, neurons: of a core. types: of axons, each of which every neuron has a weight for."""

    axons: Count
    neurons: Count
    types: Count


class GridMesh(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Cores in a grid. port_x, port_y: the place without a core, whose router hands packets to the host.

    queue: words of each queue of a router.
    """

    columns: Count
    rows: Count
    port_x: Count
    port_y: Count
    queue: Count


class GridNeuron(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The integer neuron.

    bits: of the potential and of all parameters, with sign. resets: what a spike may do. moments: when it may subtract.
    """

    model: Literal["linear_fixed"]
    bits: Count
    resets: tuple[str, ...]
    moments: tuple[str, ...] = ("now",)


class GridSynapse(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """delay_limit: most ticks that a packet can be held back in a scheduler, beyond the one that it takes."""

    delay_limit: Count


class Clock(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """period_ns: of a cycle."""

    period_ns: Quantity


class _Clocked(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What both have. sources: key -> full citation; every `source` is one of the keys."""

    schema: Literal[1]
    name: str
    title: str
    clock: Clock
    sources: dict[str, str]

    def numbers(self) -> Iterator[tuple[str, Quantity | Count]]:
        """All numbers as (dotted field name, number), in the order of the file."""
        for section in ("core", "mesh", "neuron", "synapse", "clock"):
            part = getattr(self, section, None)
            for name in () if part is None else part.__struct_fields__:
                value = getattr(part, name)
                if isinstance(value, Quantity | Count):
                    yield f"{section}.{name}", value


class CrossbarChip(_Clocked, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="family", tag="crossbar"):
    """A chip of one crossbar."""

    core: CrossbarCore
    neuron: CrossbarNeuron
    synapse: CrossbarSynapse

    @property
    def cores(self) -> int:
        return 1


class GridChip(_Clocked, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="family", tag="grid"):
    """A chip of crossbars on a mesh of routers."""

    core: GridCore
    mesh: GridMesh
    neuron: GridNeuron
    synapse: GridSynapse

    @property
    def cores(self) -> int:
        """Cores, without the place of the port."""
        return self.mesh.columns.value * self.mesh.rows.value - 1

    @property
    def port(self) -> int:
        """Number of the place without a core: x + y * columns."""
        return self.mesh.port_x.value + self.mesh.port_y.value * self.mesh.columns.value


ClockedChip = CrossbarChip | GridChip
Chip = Target | CrossbarChip | GridChip


def load(name: str) -> Chip:
    """The chip of that name, or from the file, if `name` ends in ``.toml``; errors as of :func:`snnc.target.load`."""
    return parse(*meshes.find(name))


def names() -> list[str]:
    """Names of all installed chips of all families, sorted."""
    return sorted(meshes.files())


def parse(text: str, where: str) -> Chip:
    """A chip from TOML text; InputError names file and field."""
    if meshes.family(text, where) == meshes.MESH:
        return meshes.parse(text, where)
    try:
        chip: ClockedChip = msgspec.toml.decode(text, type=ClockedChip)
    except msgspec.DecodeError as error:
        raise InputError(f"bad target description: {error}", where=where) from None
    for field, number in chip.numbers():
        if number.source not in chip.sources:
            raise InputError(f"{field} cites '{number.source}', which [sources] does not list", where=where)
    return _complete(chip, where)


def to_json(chip: ClockedChip) -> bytes:
    """JSON from which :func:`from_json` makes an equal chip; the form inside an image."""
    return msgspec.json.encode(chip, order="deterministic")


def from_json(data: bytes, where: str) -> ClockedChip:
    """Inverse of :func:`to_json`; InputError names file and field."""
    try:
        chip: ClockedChip = msgspec.json.decode(data, type=ClockedChip)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"bad target description: {error}", where=where) from None
    return _complete(chip, where)


def _complete(chip: ClockedChip, where: str) -> ClockedChip:
    """The chip, if its numbers make sense; InputError otherwise."""
    for field, number in chip.numbers():
        least = 0 if field.endswith(("delay_limit", "port_x", "port_y")) else 1
        if not number.value >= least:
            raise InputError(f"{field} is {number.value}, but the least is {least}", where=where)
    if isinstance(chip, GridChip):
        for port, size in (("port_x", "columns"), ("port_y", "rows")):
            if _value(chip, port) >= _value(chip, size):
                raise InputError(f"mesh.{port} is {_value(chip, port)}, outside the mesh", where=where)
        if chip.cores < 1:
            raise InputError("beside the port there is no place for a core", where=where)
    return chip


def _value(chip: GridChip, name: str) -> Any:
    return getattr(chip.mesh, name).value
