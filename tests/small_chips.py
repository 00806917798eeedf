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


def few(cores: int, **limits: int) -> Target:
    """The same with so many cores, all in one tile."""
    base = chip(**limits)
    counts = {"columns": 1, "rows": 1, "cores_per_tile": cores}
    mesh = {name: msgspec.structs.replace(getattr(base.mesh, name), value=n) for name, n in counts.items()}
    return msgspec.structs.replace(base, mesh=msgspec.structs.replace(base.mesh, **mesh), board=None)
