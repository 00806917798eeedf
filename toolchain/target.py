"""Target: a chip as frozen data, read from TOML.

Everything the compiler, the simulator and the energy model may know of a chip is
here, each number with its source and its kind. What a user chooses for one
compilation (bits, seed, mapping) is not.

Chips come with the package ``snnc.targets`` and with any package that declares an
entry point in the group ``snnc.targets`` whose value is a package holding TOML files.
A path to a ``.toml`` file works as well.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path
from typing import Any, Literal

import msgspec

from snnc.errors import InputError, UsageError

Kind = Literal["published", "measured", "assumed"]
MESH = "mesh"
"""The family of chips that this module describes; :mod:`snnc.families` has the others."""


class Quantity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A number of a chip. source: a key of the target's `sources`. kind: how it is known."""

    value: float
    source: str
    kind: Kind = "published"
    note: str = ""


class Count(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole number of a chip; fields as in :class:`Quantity`."""

    value: int
    source: str
    kind: Kind = "published"
    note: str = ""


class Widths(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A set of allowed bit widths; other fields as in :class:`Quantity`."""

    value: tuple[int, ...]
    source: str
    kind: Kind = "published"
    note: str = ""

    def holding(self, bits: int) -> int:
        """The narrowest allowed width of at least `bits` (the widest, if none is enough)."""
        return min((w for w in self.value if w >= bits), default=max(self.value))


class Core(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits of one core.

    neurons; in_axons: sources with a synapse in the core; out_axons: (neuron, target core) pairs;
    synapse_bits: synaptic memory; neuron_groups: distinct sets of shared neuron parameters.
    """

    neurons: Count
    in_axons: Count
    out_axons: Count
    synapse_bits: Count
    neuron_groups: Count


class Mesh(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Tiles in a grid, several cores a tile, dimension-ordered XY routes.

    multicast: whether a spike for several cores travels once along what their routes share; else it is sent
    once for each core.
    """

    columns: Count
    rows: Count
    cores_per_tile: Count
    multicast: bool = False

    @property
    def cores(self) -> int:
        """Cores of one chip."""
        return self.columns.value * self.rows.value * self.cores_per_tile.value


class Board(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Chips in a grid over which the mesh goes on: the last tiles of a chip are linked to the first of the next."""

    columns: Count
    rows: Count


@dataclass(frozen=True)
class Grid:
    """All tiles that a target has, of all its chips, as plain numbers.

    Sites are numbered chip by chip, in a chip tile by tile, row by row as chips and tiles both are; several sites
    are in one tile. columns, rows: of tiles in a chip. chip_columns, chip_rows: of chips on the board.
    crossing: how many hops the step over a chip's border costs beyond being one.
    """

    columns: int
    rows: int
    cores_per_tile: int
    chip_columns: int = 1
    chip_rows: int = 1
    crossing: float = 0.0
    multicast: bool = False

    @property
    def chip_cores(self) -> int:
        return self.columns * self.rows * self.cores_per_tile

    @property
    def chips(self) -> int:
        return self.chip_columns * self.chip_rows

    @property
    def cores(self) -> int:
        """Cores of all chips."""
        return self.chip_cores * self.chips

    @property
    def width(self) -> int:
        """Columns of tiles of the whole board."""
        return self.columns * self.chip_columns

    @property
    def height(self) -> int:
        """Rows of tiles of the whole board."""
        return self.rows * self.chip_rows


class Neuron(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The integer neuron: its model (a key of ``snnc.network.NEURONS``) and register widths in bits.

    threshold_bits, bias_bits: widths of the mantissas, unsigned and signed. resets: what a spike may do. membranes:
    whether they can be read, so that neurons that never spike are a read-out.
    """

    model: Literal["cuba_fixed"]
    decay_bits: Count
    threshold_bits: Count
    bias_bits: Count
    resets: tuple[str, ...]
    membranes: bool = False


class Synapse(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How synapses are stored: per source, blocks of up to `block` synapses, each block
    `n * (weight + delay + tag [+ index]) + header` bits rounded up to whole words of `word` bits.

    delay_bits: 0 is the width of synapses without delay. delay_limit: most steps that a spike can be held back.

    weight_limit: largest magnitude of a weight after its exponent, in the unit of thresholds and biases.
    formats: those of :data:`snnc.resources.FORMATS` that the chip has.
    """

    weight_bits: Widths
    weight_limit: Count
    index_bits: Widths
    delay_bits: Widths
    delay_limit: Count
    tag_bits: Count
    block: Count
    header_bits: Count
    word_bits: Count
    formats: tuple[Literal["dense", "sparse", "bitmap", "kernel"], ...]


class Energy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Picojoule per event.

    crossing_pj: of a hop from chip to chip, beyond that of any hop; required where there are several chips.
    static_mw: static power of a chip, where a source gives it.
    """

    synop_pj: Quantity
    neuron_active_pj: Quantity
    neuron_inactive_pj: Quantity
    spike_pj: Quantity
    hop_x_pj: Quantity
    hop_y_pj: Quantity
    crossing_pj: Quantity | None = None
    static_mw: Quantity | None = None


class Timing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Nanoseconds per event; the barrier grows linearly from one tile to all of a chip.

    Required where there are several chips: crossing_ns, of a hop from chip to chip beyond that of any hop;
    barrier_doubling_ns, by which the barrier grows when the chips become twice as many.
    """

    synop_ns: Quantity
    neuron_active_ns: Quantity
    neuron_inactive_ns: Quantity
    spike_ns: Quantity
    hop_x_ns: Quantity
    hop_y_ns: Quantity
    barrier_min_ns: Quantity
    barrier_max_ns: Quantity
    crossing_ns: Quantity | None = None
    barrier_doubling_ns: Quantity | None = None


class Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A chip, and the board it is on; without one it is alone.

    sources: key -> full citation, every `source` above is one of the keys.
    """

    schema: Literal[1]
    name: str
    title: str
    core: Core
    mesh: Mesh
    neuron: Neuron
    synapse: Synapse
    energy: Energy
    timing: Timing
    sources: dict[str, str]
    board: Board | None = None
    family: Literal["mesh"] = "mesh"

    @property
    def chips(self) -> int:
        return 1 if self.board is None else self.board.columns.value * self.board.rows.value

    @property
    def grid(self) -> Grid:
        """The tiles of all chips, with the extra cost of a crossing by energy."""
        energy, mesh, board = self.energy, self.mesh, self.board
        hop = (energy.hop_x_pj.value + energy.hop_y_pj.value) / 2
        extra = 0.0 if energy.crossing_pj is None else energy.crossing_pj.value
        return Grid(
            mesh.columns.value,
            mesh.rows.value,
            mesh.cores_per_tile.value,
            1 if board is None else board.columns.value,
            1 if board is None else board.rows.value,
            extra / hop if hop else 0.0,
            mesh.multicast,
        )

    def numbers(self) -> Iterator[tuple[str, Quantity | Count | Widths]]:
        """All numbers as (dotted field name, number), in the order of the file."""
        for section in ("core", "mesh", "board", "neuron", "synapse", "energy", "timing"):
            part = getattr(self, section)
            for name in () if part is None else part.__struct_fields__:
                value = getattr(part, name)
                if isinstance(value, (Quantity, Count, Widths)):
                    yield f"{section}.{name}", value


def parse(text: str, where: str) -> Target:
    """A target from TOML text; InputError names file and field."""
    try:
        target = msgspec.toml.decode(text, type=Target)
    except msgspec.DecodeError as error:  # ValidationError is a DecodeError
        raise InputError(f"bad target description: {error}", where=where) from None
    for name, number in target.numbers():
        if number.source not in target.sources:
            raise InputError(f"{name} cites '{number.source}', which [sources] does not list", where=where)
    return _complete(target, where)


def _complete(target: Target, where: str) -> Target:
    """The target, if it has what its board asks for; InputError otherwise."""
    if target.board is not None and min(target.board.columns.value, target.board.rows.value) < 1:
        raise InputError("a board has at least one chip", where=where)
    if target.chips > 1:
        for section, name in (("energy", "crossing_pj"), ("timing", "crossing_ns"), ("timing", "barrier_doubling_ns")):
            if getattr(getattr(target, section), name) is None:
                raise InputError(f"a board of {target.chips} chips needs {section}.{name}", where=where)
    return target


def to_json(target: Target) -> bytes:
    """JSON from which :func:`from_json` makes an equal target; the form inside an image."""
    return msgspec.json.encode(target, order="deterministic")


def from_json(data: bytes, where: str) -> Target:
    """Inverse of :func:`to_json`; InputError names file and field."""
    try:
        target = msgspec.json.decode(data, type=Target)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"bad target description: {error}", where=where) from None
    return _complete(target, where)


class _Family(msgspec.Struct):
    """What descriptions of all families have."""

    family: str = MESH


def family(text: str, where: str) -> str:
    """The family of the chip that TOML text describes; InputError where it is no TOML."""
    try:
        return msgspec.toml.decode(text, type=_Family).family
    except msgspec.DecodeError as error:
        raise InputError(f"bad target description: {error}", where=where) from None


def names() -> list[str]:
    """Names of all installed targets, sorted."""
    return sorted(name for name, file in files().items() if family(file.read_text(encoding="utf-8"), name) == MESH)


def load(name: str) -> Target:
    """The target of that name, or from the file, if `name` ends in ``.toml``. UsageError if there is none."""
    text, where = find(name)
    if (kind := family(text, where)) != MESH:
        raise UsageError(f"this is a chip of the family '{kind}', and a mesh is needed", where=where)
    return parse(text, where)


def find(name: str) -> tuple[str, str]:
    """The description of the chip of that name, of any family, and the file it is in; errors as of :func:`load`."""
    if name.endswith(".toml"):
        try:
            return Path(name).read_text(encoding="utf-8"), name
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"cannot read the target: {error}", where=name) from None
    found = files()
    if name not in found:
        close = difflib.get_close_matches(name, found, n=1)
        hint = f"did you mean '{close[0]}'? " if close else ""
        raise UsageError(
            f"unknown target '{name}'", fix=f"{hint}known: {', '.join(sorted(found))} (snnc targets)", topic="target"
        )
    return found[name].read_text(encoding="utf-8"), f"{name}.toml"


def files() -> dict[str, Any]:
    """Name of each installed chip, of any family -> its file."""
    packages = ["snnc.targets", *(e.value for e in metadata.entry_points(group="snnc.targets"))]
    return {
        file.name.removesuffix(".toml"): file
        for package in packages
        for file in resources.files(package).iterdir()
        if file.name.endswith(".toml")
    }
