"""Image: the compiled network, one deterministic file that every executor takes.

An ``image.snnc`` is a zip of ``manifest.json`` (structure, provenance, a SHA-256 of each
other member), ``target.json`` (the chip as it was at compilation) and one ``.npy`` per
array. The same image has the same bytes on every machine. Nothing in it is executed.

An image from a file is believed nothing: its checksums tell damage, and the limits of its target are checked again,
since whoever edits an image by hand can make new checksums. Widths of weights and registers are checked on loading;
what cores hold, as soon as it is counted (:attr:`Image.usage`), which takes longer than to load a large image.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from scipy import sparse

from snnc import rules
from snnc import target as targets
from snnc.errors import InputError, Violation
from snnc.files import atomic, sniff
from snnc.network import Network, Population, Projection, Semantics
from snnc.ops import Conv2d, Linear, Pair
from snnc.resources import FORMATS, Usage, rows_at, usage
from snnc.target import Target
from snnc.traffic import Links, Routes, chip_of, links, routes

VERSION = 3
CLOCKED = "snnc-clocked-image"
"""The form of images of chips with a clock (:mod:`snnc.crossbars.image`)."""
# More than any chip's memory; a damaged or hostile file cannot make us allocate more.
MAX_MEMBER_BYTES = 2 << 30
MAX_TOTAL_BYTES = 8 << 30
_EPOCH = (1980, 1, 1, 0, 0, 0)


def is_image(path: Path) -> bool:
    """Whether a file is an image, or is called one; InputError where there is no file."""
    if path.suffix == ".snnc" or not sniff(path).startswith(b"PK"):
        return path.suffix == ".snnc"
    try:
        with zipfile.ZipFile(path) as archive:
            return "manifest.json" in archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False


def is_clocked(path: Path) -> bool:
    """Whether a file is an image of a chip with a clock."""
    if not sniff(path).startswith(b"PK"):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return msgspec.json.decode(archive.read("manifest.json"), type=Version).format == CLOCKED
    except (zipfile.BadZipFile, OSError, KeyError, ValueError, RuntimeError, NotImplementedError):
        return False


@dataclass(frozen=True, eq=False)
class Mapping:
    """Where neurons live.

    core_of: int32 (neurons,), -1 for inputs. site_of: int32 (cores,), the physical core of each
    logical one: chip by chip, tile by tile, row by row.
    """

    core_of: np.ndarray
    site_of: np.ndarray


@dataclass(frozen=True, eq=False)
class Image:
    """An integer network on the cores of a target.

    provenance: plain data on how it came to be (source, options, what each pass found). origin: the file it was
    read from, else empty.
    """

    network: Network
    mapping: Mapping
    target: Target
    provenance: dict[str, Any] = field(default_factory=dict)
    origin: str = ""

    @cached_property
    def usage(self) -> Usage:
        """What each core holds; InputError where that of an image from a file is more than the target's cores can."""
        found = usage(self.network, self.mapping.core_of, self.target)
        if self.origin:
            _refuse(rules.check_capacity(self.network, found, self.mapping.core_of, self.target), self.origin)
        return found

    @cached_property
    def routes(self) -> Routes:
        return routes(self.usage.stored, self.mapping.core_of, self.mapping.site_of, self.target.grid)

    @cached_property
    def links(self) -> Links:
        return links(self.usage.stored, self.mapping.core_of, self.mapping.site_of, self.target.grid)

    @cached_property
    def sends(self) -> np.ndarray:
        """Messages that a core sends out for one spike of each neuron, int64 (neurons,).

        One to each core that it reaches, its own included, or a single one if the mesh multicasts; inputs are outside.
        """
        reached = np.diff(self.usage.stored.indptr)
        sent = np.minimum(reached, 1) if self.target.mesh.multicast else reached
        return np.where(self.mapping.core_of < 0, 0, sent).astype(np.int64)

    def synapses_as(self, form: str) -> np.ndarray:
        """Stored synapses in a format that one spike of each neuron visits, int64 (neurons,)."""
        total = np.zeros(self.network.size, np.int64)
        for projection in self.network.projections:
            here = self.usage.formats[projection.name] == FORMATS.index(form)
            start = self.network.offsets[projection.pre]
            visits = self.usage.visits_of[projection.name]
            total[start : start + visits.shape[1]] += visits.T @ here.astype(np.int64)
        return total

    def stored_as(self, form: str) -> sparse.csr_array:
        """As `usage.stored`, of the synapses in one of :data:`snnc.resources.FORMATS` alone, CSR (neurons, cores)."""
        total = sparse.csr_array((self.network.size, self.cores), dtype=np.int64)
        for projection in self.network.projections:
            here = self.usage.formats[projection.name] == FORMATS.index(form)
            if here.any():
                visits = sparse.csr_array(self.usage.visits_of[projection.name] * here[:, None])
                total = total + rows_at(visits, self.network.offsets[projection.pre], self.network.size)
        return total.tocsr()

    def using(self, costs: str | None) -> Image:
        """The image with another of the target's sets of constants, see :meth:`snnc.target.Target.using`."""
        return self if costs is None else replace(self, target=self.target.using(costs))

    def check(self) -> None:
        """InputError where an image from a file is more than its target holds. Costs what :attr:`usage` costs, once."""
        _ = self.usage

    @property
    def cores(self) -> int:
        return len(self.mapping.site_of)

    @property
    def tiles(self) -> int:
        """Tiles with at least one core in use."""
        return len(np.unique(self.mapping.site_of // self.target.mesh.cores_per_tile.value))

    @property
    def chips(self) -> int:
        """Chips with at least one core in use."""
        return len(np.unique(chip_of(self.mapping.site_of, self.target.grid)))

    def save(self, path: Path) -> None:
        """Write the image; the file appears whole or not at all."""
        members = Members()
        manifest = _Manifest(
            format="snnc-image",
            version=VERSION,
            network=pack(self.network, members),
            core_of=members.add(self.mapping.core_of),
            site_of=members.add(self.mapping.site_of),
            provenance=self.provenance,
            sha256={},
        )
        members.files["target.json"] = targets.to_json(self.target)
        members.save(path, manifest)

    @classmethod
    def load(cls, path: Path) -> Image:
        """Read an image; InputError naming the file and what is wrong with it."""
        return _unpack(read_members(path), str(path))


def read_members(path: Path) -> dict[str, bytes]:
    """Name -> content of the members of an image of any form; InputError where it is no archive, or holds too much."""
    sniff(path)
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
            if max(i.file_size for i in infos) > MAX_MEMBER_BYTES or (
                sum(i.file_size for i in infos) > MAX_TOTAL_BYTES
            ):
                raise InputError("it declares more data than any image holds", where=str(path))
            return {i.filename: archive.read(i) for i in infos}
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, RuntimeError) as error:
        raise InputError(f"this is not an image: {error}", where=str(path), fix="snnc compile writes one") from None


class _Op(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    kind: str
    shape: tuple[int, ...]
    arrays: dict[str, str]
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    line: bool = False


class _Population(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    name: str
    shape: tuple[int, ...]
    neuron: str
    params: dict[str, str]
    reset: str
    compare: str
    when: str = "now"


class _Projection(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    pre: str
    post: str
    op: _Op
    delay: int
    bits: int | None


class PackedNetwork(msgspec.Struct, forbid_unknown_fields=True):
    """A network in a manifest; arrays are named by their members."""

    name: str
    dt: float
    outputs: tuple[str, ...]
    populations: list[_Population]
    projections: list[_Projection]


class _Manifest(msgspec.Struct, forbid_unknown_fields=True):
    format: str
    version: int
    network: PackedNetwork
    core_of: str
    site_of: str
    provenance: dict[str, Any]
    sha256: dict[str, str]


class Version(msgspec.Struct):
    """What every version of the manifest has."""

    format: str = ""
    version: int = 0


class Members:
    """Collects arrays as numbered .npy members."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def add(self, array: np.ndarray) -> str:
        name = f"arrays/{len(self.files):05d}.npy"
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
        self.files[name] = buffer.getvalue()
        return name

    def save(self, path: Path, manifest: Any) -> None:
        """Write all members and a manifest, whose `sha256` is filled in; the file appears whole or not at all."""
        manifest.sha256.update({n: hashlib.sha256(data).hexdigest() for n, data in self.files.items()})
        text = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
        with atomic(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
            for name, data in [("manifest.json", text), *self.files.items()]:
                info = zipfile.ZipInfo(name, _EPOCH)
                info.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(info, data)


def pack(network: Network, members: Members) -> PackedNetwork:
    """A lowered network as plain data, its arrays among the members."""
    populations = [
        _Population(
            p.name,
            p.shape,
            p.neuron,
            {k: members.add(v) for k, v in p.params.items()},
            p.semantics.reset,
            p.semantics.compare,
            p.semantics.when,
        )
        for p in network.populations
    ]
    projections = []
    for p in network.projections:
        op = p.op
        if isinstance(op, Linear):
            parts = {"data": op.weight.data, "indices": op.weight.indices, "indptr": op.weight.indptr}
            packed = _Op("linear", op.weight.shape, {k: members.add(v) for k, v in parts.items()})
        else:
            packed = _Op(
                "conv2d",
                op.weight.shape,
                {"weight": members.add(op.weight)},
                op.stride,
                op.padding,
                op.dilation,
                op.groups,
                op.line,
            )
        projections.append(_Projection(p.name, p.pre, p.post, packed, p.delay, p.bits))
    return PackedNetwork(network.name, network.dt, network.outputs, populations, projections)


def _unpack(files: dict[str, bytes], where: str) -> Image:
    try:
        version = msgspec.json.decode(files.get("manifest.json", b"{}"), type=Version)
        if version.format == CLOCKED:
            raise InputError("this image is of a chip with a clock", fix="snnc simulate runs it")
        if version.format != "snnc-image":
            raise InputError("this is not an image", where=where, fix="snnc compile writes one")
        if version.version != VERSION:
            raise InputError(
                f"the image has format version {version.version}, this snnc reads {VERSION}",
                where=where,
                fix="compile it again, or use the snnc that wrote it",
            )
        manifest = msgspec.json.decode(files["manifest.json"], type=_Manifest)
        for name, digest in manifest.sha256.items():
            if hashlib.sha256(files[name]).hexdigest() != digest:
                raise InputError(f"'{name}' was changed after the image was written", where=where)
        arrays = {n: member(files[n], n) for n in manifest.sha256 if n.endswith(".npy")}
        network = restore(manifest.network, arrays)
        mapping = Mapping(arrays[manifest.core_of], arrays[manifest.site_of])
        _check_mapping(network, mapping)
        target = targets.from_json(files["target.json"], where)
        if np.any(mapping.site_of >= target.grid.cores):
            raise ValueError("the mapping names sites that the target does not have")
    except KeyError as error:
        raise InputError(f"the image lacks {error}", where=where) from None
    except (msgspec.DecodeError, ValueError) as error:
        raise InputError(f"this image is damaged: {error}", where=where) from None
    except InputError as error:
        raise InputError(error.message, where=f"{where} {error.where}".strip(), fix=error.fix) from None
    _refuse(rules.check_widths(network, target), where)
    return Image(network, mapping, target, manifest.provenance, where)


def _refuse(violations: list[Violation], where: str) -> None:
    """InputError if an image from a file breaks rules of its target."""
    if violations:
        first = violations[0]
        more = f" (and {len(violations) - 1} more breaches)" if len(violations) > 1 else ""
        raise InputError(
            f"this image was changed by hand, or written by another program: {first.message} ({first.limit}){more}",
            where=f"{where}: {first.where}",
            fix="compile the network again",
        )


def member(data: bytes, name: str) -> np.ndarray:
    """An array from .npy bytes whose header is not believed before it matches the length."""
    file = io.BytesIO(data)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError(f"{name} is of an unknown .npy version")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    body = data[file.tell() :]
    if fortran or dtype.hasobject or int(np.prod(shape, dtype=object)) * dtype.itemsize != len(body):
        raise ValueError(f"{name} does not hold what its header says")
    return np.frombuffer(body, dtype).reshape(shape)


def restore(packed: PackedNetwork, arrays: dict[str, np.ndarray]) -> Network:
    """Inverse of :func:`pack`; InputError where the parts do not fit together."""
    populations = tuple(
        Population(
            p.name,
            p.shape,
            p.neuron,
            {k: arrays[a] for k, a in p.params.items()},
            Semantics(p.reset, p.compare, p.when),
        )
        for p in packed.populations
    )
    projections = []
    for p in packed.projections:
        parts = {k: arrays[a] for k, a in p.op.arrays.items()}
        op: Linear | Conv2d
        if p.op.kind == "linear":
            rows, columns = p.op.shape
            op = Linear(_csr(parts, (rows, columns), p.name))
        elif p.op.kind == "conv2d":
            op = Conv2d(parts["weight"], None, p.op.stride, p.op.padding, p.op.dilation, p.op.groups, p.op.line)
        else:
            raise InputError(f"projection '{p.name}' has an unknown operation '{p.op.kind}'")
        projections.append(Projection(p.name, p.pre, p.post, (op,), p.delay, p.bits))
    return Network(populations, tuple(projections), packed.outputs, packed.dt, packed.name)


def _csr(parts: dict[str, np.ndarray], shape: tuple[int, int], name: str) -> sparse.csr_array:
    matrix = sparse.csr_array((parts["data"], parts["indices"], parts["indptr"]), shape=shape)
    matrix.check_format(full_check=True)  # ValueError unless every index is inside
    if not matrix.has_canonical_format:
        raise ValueError(f"the synapses of projection '{name}' are not in canonical order")
    return matrix


def _check_mapping(network: Network, mapping: Mapping) -> None:
    core_of, site_of = mapping.core_of, mapping.site_of
    if core_of.shape != (network.size,) or core_of.dtype != np.int32 or site_of.dtype != np.int32:
        raise ValueError("the mapping does not belong to the network")
    inputs = np.concatenate([np.full(p.size, p.neuron == "input") for p in network.populations])
    if np.any(core_of[inputs] != -1) or np.any(core_of[~inputs] < 0) or np.any(core_of >= len(site_of)):
        raise ValueError("the mapping names cores that do not exist")
    if len(np.unique(site_of)) != len(site_of) or np.any(site_of < 0):
        raise ValueError("the mapping places two cores on one site")
