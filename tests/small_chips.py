"""Chips with limits so small that small networks meet them."""

from __future__ import annotations

import msgspec

from snnc import target
from snnc.target import Target


def chip(**limits: int) -> Target:
    """Loihi with other core limits, e.g. chip(neurons=8, in_axons=20)."""
    base = target.load("loihi")
    core = {name: msgspec.structs.replace(getattr(base.core, name), value=value) for name, value in limits.items()}
    return msgspec.structs.replace(base, core=msgspec.structs.replace(base.core, **core))


def multicasting(chip: Target) -> Target:
    """The same chip with a mesh that multicasts."""
    return msgspec.structs.replace(chip, mesh=msgspec.structs.replace(chip.mesh, multicast=True))
