"""The bridge to Intel's Lava: writes netx ``.net`` files and programs, and runs networks in Lava's own process.

Lava lives in a private environment (:func:`setup`); nothing of it is ever imported here, and
nothing heavy is imported with this package.
"""

from __future__ import annotations

from snnc.targets.lava.environment import python, remove, setup, status
from snnc.targets.lava.netx import export
from snnc.targets.lava.program import export as export_program
from snnc.targets.lava.session import run

__all__ = ["export", "export_program", "python", "remove", "run", "setup", "status"]
