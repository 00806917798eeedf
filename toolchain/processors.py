"""How many processors this process may use."""

from __future__ import annotations

import os


def processors() -> int:
    """Processors that this process may use; where the system does not tell, those it has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
