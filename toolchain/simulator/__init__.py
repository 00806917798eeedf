"""Executors of a network, and what they count.

:mod:`reference` specifies the integer arithmetic, :func:`simulate` runs it quickly, :mod:`floating`
runs the float network it came from. :mod:`accounting`, :mod:`timing` and :mod:`energy` turn the
counts of a :class:`Run` into work, time and energy on the chip.
"""

from snnc.simulator.energy import Estimate, estimate
from snnc.simulator.engine import Prepared, prepare, simulate
from snnc.simulator.run import Run

__all__ = ["Estimate", "Prepared", "Run", "estimate", "prepare", "simulate"]
