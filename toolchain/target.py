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

from snnc.costs import Barrier, Costs, Energy, Timing
from snnc.errors import InputError, UsageError
from snnc.quantities import Count, Quantity, Widths

MESH = "mesh"
"""The family of chips that this module describes; :mod:`snnc.families` has the others."""


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

    threshold_bits, bias_bits: widths of the mantissas, unsigned and signed. resets: what a spike may do. moments: when
    a subtraction may act (:class:`snnc.network.Semantics`, `when`). membranes: whether they can be read, so that
    neurons that never spike are a read-out. joins: whether the membrane of one compartment can be added to another's,
    so that neurons can adapt. graded: whether spikes can carry values. refractory_limit: most steps for which a neuron
    can rest after a spike; none, if not given.
    """

    model: Literal["cuba_fixed"]
    decay_bits: Count
    threshold_bits: Count
    bias_bits: Count
    resets: tuple[str, ...]
    moments: tuple[str, ...] = ("now",)
    membranes: bool = False
    joins: bool = False
    graded: bool = False
    refractory_limit: Count | None = None


class Synapse(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How synapses are stored: per source, blocks of up to `block` synapses, each block
    `n * (weight + delay + tag [+ index]) + header` bits rounded up to whole words of `word` bits.

    delay_bits: 0 is the width of synapses without delay. delay_limit: most steps that a spike can be held back.

    weight_limit: largest magnitude of a weight, in the unit of thresholds and biases. exponent_limit: how often it
    may be doubled for weights that are all multiples of that power of two.
    formats: those of :data:`snnc.resources.FORMATS` that the chip has.
    """

    weight_bits: Widths
    weight_limit: Count
    exponent_limit: Count
    index_bits: Widths
    delay_bits: Widths
    delay_limit: Count
    tag_bits: Count
    block: Count
    header_bits: Count
    word_bits: Count
    formats: tuple[Literal["dense", "sparse", "bitmap", "kernel"], ...]


class Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A chip, and the board it is on; without one it is alone.

    costs: sets of constants by name. default: that in use, see :meth:`using`. sources: key -> full citation, every
    `source` is one of the keys.
    """

    schema: Literal[2]
    name: str
    title: str
    core: Core
    mesh: Mesh
    neuron: Neuron
    synapse: Synapse
    default: str
    costs: dict[str, Costs]
    sources: dict[str, str]
    board: Board | None = None
    family: Literal["mesh"] = "mesh"

    @property
    def energy(self) -> Energy:
        """Of the set of constants in use."""
        return self.costs[self.default].energy

    @property
    def timing(self) -> Timing:
        """Of the set of constants in use."""
        return self.costs[self.default].timing

    def using(self, name: str | None) -> Target:
        """The target with another set of constants in use; None: as it is. UsageError where there is no such set."""
        if name is None:
            return self
        if name not in self.costs:
            raise UsageError(
                f"{self.name} has no constants '{name}'", fix=f"known: {', '.join(self.costs)}", topic="timing"
            )
        return msgspec.structs.replace(self, default=name)

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
        for section in ("core", "mesh", "board", "neuron", "synapse"):
            part = getattr(self, section)
            for name in () if part is None else part.__struct_fields__:
                value = getattr(part, name)
                if isinstance(value, (Quantity, Count, Widths)):
                    yield f"{section}.{name}", value
        for key, costs in self.costs.items():
            yield from ((f"{key}.{name}", number) for name, number in costs.numbers())


def parse(text: str, where: str) -> Target:
    """A target from TOML text; InputError names file and field."""
    try:
        target = msgspec.toml.decode(text, type=Target)
    except msgspec.DecodeError as error:  # ValidationError is a DecodeError
        raise InputError(f"bad target description: {error}", where=where) from None
    target = _complete(target, where)
    for name, number in target.numbers():
        if number.source not in target.sources:
            raise InputError(f"{name} cites '{number.source}', which [sources] does not list", where=where)
    return target


def _complete(target: Target, where: str) -> Target:
    """The target, if it has what its board asks for and its barriers are curves; InputError otherwise."""
    if target.default not in target.costs:
        raise InputError(f"default names '{target.default}', which is not in [costs]", where=where)
    if target.board is not None and min(target.board.columns.value, target.board.rows.value) < 1:
        raise InputError("a board has at least one chip", where=where)
    for key, costs in target.costs.items():
        _complete_barrier(costs.timing.barrier, f"costs.{key}.timing.barrier", where)
        for section, name in (("energy", "crossing_pj"), ("timing", "crossing_ns"), ("timing", "barrier_doubling_ns")):
            if target.chips > 1 and getattr(getattr(costs, section), name) is None:
                raise InputError(f"a board of {target.chips} chips needs costs.{key}.{section}.{name}", where=where)
    return target


def _complete_barrier(barrier: Barrier, name: str, where: str) -> None:
    if len(barrier.tiles) != len(barrier.ns) or not barrier.tiles:
        raise InputError(f"{name} needs as many tiles as ns, and at least one", where=where)
    if list(barrier.tiles) != sorted(set(barrier.tiles)):
        raise InputError(f"{name}.tiles must ascend, got {list(barrier.tiles)}", where=where)


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
