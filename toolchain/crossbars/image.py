"""Image of a chip with a clock: the integer network, the chip, and where its neurons are.

The file is made as that of :mod:`snnc.image` is. What is loaded into the chip is a function of these, and not stored.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from snnc import families
from snnc.crossbars import core, packets, rules, tiles
from snnc.crossbars.integers import Widths
from snnc.crossbars.steps import Register
from snnc.crossbars.tiles import Placement
from snnc.errors import DoesNotFit, InputError
from snnc.families import ClockedChip, CrossbarChip
from snnc.image import CLOCKED, Members, PackedNetwork, Version, member, pack, read_members, restore
from snnc.network import Network, Semantics
from snnc.ops import matrix
from snnc.simulator.clocked.crossbar import Crossbar

VERSION = 1
NOWHERE = Placement(np.zeros(0, np.int32), np.zeros(0, np.int32))
"""Of a chip with one core, where neurons have the addresses of their order."""


def widths(chip: ClockedChip, bits: int) -> Widths:
    """What the registers of a chip hold, with weights of at most so many bits."""
    return core.widths(chip, bits) if isinstance(chip, CrossbarChip) else tiles.widths(chip, bits)


def weight_bits(chip: ClockedChip) -> int:
    """The widest weights of a chip, with sign."""
    return chip.synapse.weight_bits.value if isinstance(chip, CrossbarChip) else chip.core.types.value


@dataclass(frozen=True, eq=False)
class Image:
    """An integer network in a chip with a clock.

    network: of neurons of the model `linear_fixed`. placement: of a grid. provenance: plain data on how it came to be.
    """

    network: Network
    chip: ClockedChip
    placement: Placement = NOWHERE
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def register(self) -> Register:
        """That of the membranes."""
        return widths(self.chip, 8).register

    @cached_property
    def loaded(self) -> Crossbar | packets.Loaded:
        """What is loaded into the chip."""
        if isinstance(self.chip, CrossbarChip):
            return core.loaded(self.network, self.chip)
        return packets.loaded(self.network, self.placement, self.chip)

    def usage(self) -> dict[str, tuple[int, int]]:
        """What the fullest core uses of each thing that a core has, and how much it has."""
        if isinstance(self.chip, CrossbarChip):
            return {"addresses": (core.rows(self.network).used, self.chip.core.neurons.value)}
        return tiles.usage(self.network, self.placement, self.chip)

    def save(self, path: Path) -> None:
        """Write the image; the file appears whole or not at all."""
        members = Members()
        manifest = _Manifest(
            format=CLOCKED,
            version=VERSION,
            network=pack(self.network, members),
            neuron=members.add(self.placement.neuron),
            core=members.add(self.placement.core),
            provenance=self.provenance,
            sha256={},
        )
        members.files["target.json"] = families.to_json(self.chip)
        members.save(path, manifest)

    @classmethod
    def load(cls, path: Path) -> Image:
        """Read an image; InputError naming the file and what is wrong with it."""
        files, where = read_members(path), str(path)
        try:
            version = msgspec.json.decode(files.get("manifest.json", b"{}"), type=Version)
            if (version.format, version.version) != (CLOCKED, VERSION):
                raise InputError(f"this is no image of a chip with a clock, version {VERSION}", fix="compile it again")
            manifest = msgspec.json.decode(files["manifest.json"], type=_Manifest)
            manifest.check(files)
            arrays = {n: member(files[n], n) for n in manifest.sha256 if n.endswith(".npy")}
            image = cls(
                restore(manifest.network, arrays),
                families.from_json(files["target.json"], where),
                Placement(arrays[manifest.neuron], arrays[manifest.core]),
                manifest.provenance,
            )
            _check(image)
        except KeyError as error:
            raise InputError(f"the image lacks {error}", where=where) from None
        except (msgspec.DecodeError, ValueError) as error:
            raise InputError(f"this image is damaged: {error}", where=where) from None
        except DoesNotFit as error:
            raise InputError(f"this image is damaged: {error.message}", where=f"{where} {error.where}") from None
        except InputError as error:
            raise InputError(error.message, where=f"{where} {error.where}".strip(), fix=error.fix) from None
        return image


class _Manifest(msgspec.Struct, forbid_unknown_fields=True):
    format: str
    version: int
    network: PackedNetwork
    neuron: str
    core: str
    provenance: dict[str, Any]
    sha256: dict[str, str]

    def check(self, files: dict[str, bytes]) -> None:
        """InputError where a member is not as it was written."""
        for name, digest in self.sha256.items():
            if hashlib.sha256(files[name]).hexdigest() != digest:
                raise InputError(f"'{name}' was changed after the image was written")


def _check(image: Image) -> None:
    """The limits of the chip, once more; ValueError, InputError or DoesNotFit."""
    network, chip, placed = image.network, image.chip, image.placement
    if any(p.neuron != "linear_fixed" for p in network.layers) or len(network.inputs) != 1:
        raise ValueError("its network is of another chip")
    if broken := [v for rule in rules.KEPT for v in rule.check(network, chip)]:
        raise DoesNotFit(broken)
    held = widths(chip, 8)
    for population in network.layers:
        if population.semantics != Semantics(population.semantics.reset, ">="):
            raise ValueError(f"layer '{population.name}' has other semantics than the chip")
        for name, low, high in (("threshold", 1, held.threshold), ("leak", 0, held.leak), ("bias", *held.bias)):
            _expect(f"{name} of layer '{population.name}'", population.params[name], low, high)
    for projection in network.projections:
        weight = matrix(projection.op, network[projection.pre].shape).data
        _expect(f"weights of projection '{projection.name}'", weight, *held.weight)
    if isinstance(chip, CrossbarChip):
        if found := core.violations(network, chip):
            raise DoesNotFit(found)
    else:
        tiles.check(network, chip, placed)


def _expect(name: str, values: np.ndarray, low: int, high: int) -> None:
    if values.dtype.kind not in "iu" or (values.size and (values.min() < low or values.max() > high)):
        raise ValueError(f"{name} are not whole numbers from {low} to {high}")
