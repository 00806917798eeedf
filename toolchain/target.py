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
from importlib import metadata, resources
from pathlib import Path
from typing import Any, Literal

import msgspec

from snnc.errors import InputError, UsageError

Kind = Literal["published", "measured", "assumed"]


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
    """Tiles in a grid, several cores a tile, dimension-ordered XY routes."""

    columns: Count
    rows: Count
    cores_per_tile: Count

    @property
    def cores(self) -> int:
        return self.columns.value * self.rows.value * self.cores_per_tile.value


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
    """Picojoule per event. static_mw: static power of a chip, where a source gives it."""

    synop_pj: Quantity
    neuron_active_pj: Quantity
    neuron_inactive_pj: Quantity
    spike_pj: Quantity
    hop_x_pj: Quantity
    hop_y_pj: Quantity
    static_mw: Quantity | None = None


class Timing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Nanoseconds per event; the barrier grows linearly from one tile to all of them."""

    synop_ns: Quantity
    neuron_active_ns: Quantity
    neuron_inactive_ns: Quantity
    spike_ns: Quantity
    hop_x_ns: Quantity
    hop_y_ns: Quantity
    barrier_min_ns: Quantity
    barrier_max_ns: Quantity


class Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A chip. sources: key -> full citation, every `source` above is one of the keys."""

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

    def numbers(self) -> Iterator[tuple[str, Quantity | Count | Widths]]:
        """All numbers as (dotted field name, number), in the order of the file."""
        for section in ("core", "mesh", "neuron", "synapse", "energy", "timing"):
            for name in (part := getattr(self, section)).__struct_fields__:
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
    return target


def to_json(target: Target) -> bytes:
    """JSON from which :func:`from_json` makes an equal target; the form inside an image."""
    return msgspec.json.encode(target, order="deterministic")


def from_json(data: bytes, where: str) -> Target:
    """Inverse of :func:`to_json`; InputError names file and field."""
    try:
        return msgspec.json.decode(data, type=Target)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"bad target description: {error}", where=where) from None


def names() -> list[str]:
    """Names of all installed targets, sorted."""
    return sorted(_files())


def load(name: str) -> Target:
    """The target of that name, or from the file, if `name` ends in ``.toml``. UsageError if there is none."""
    if name.endswith(".toml"):
        try:
            return parse(Path(name).read_text(encoding="utf-8"), name)
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"cannot read the target: {error}", where=name) from None
    files = _files()
    if name not in files:
        close = difflib.get_close_matches(name, files, n=1)
        hint = f"did you mean '{close[0]}'? " if close else ""
        raise UsageError(
            f"unknown target '{name}'", fix=f"{hint}known: {', '.join(sorted(files))} (snnc targets)", topic="target"
        )
    return parse(files[name].read_text(encoding="utf-8"), f"{name}.toml")


def _files() -> dict[str, Any]:
    packages = ["snnc.targets", *(e.value for e in metadata.entry_points(group="snnc.targets"))]
    return {
        file.name.removesuffix(".toml"): file
        for package in packages
        for file in resources.files(package).iterdir()
        if file.name.endswith(".toml")
    }
