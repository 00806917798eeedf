"""Quantities with their units, as they are printed."""

from __future__ import annotations


def memory(bits: float) -> str:
    """Bits as kibibytes."""
    return f"{bits / 8192:,.1f} KiB"


def duration(ns: float) -> str:
    """Nanoseconds as micro- or milliseconds."""
    return f"{ns / 1e6:,.2f} ms" if ns >= 1e6 else f"{ns / 1e3:,.2f} us"


def energy(pj: float) -> str:
    """Picojoules as nano- or microjoules."""
    return f"{pj / 1e6:,.3f} uJ" if pj >= 1e6 else f"{pj / 1e3:,.2f} nJ"
