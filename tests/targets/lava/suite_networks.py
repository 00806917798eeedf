"""All networks of the differential suite, by name."""

from __future__ import annotations

import suite_chains  # noqa: F401 - they register their networks
import suite_drawn  # noqa: F401
import suite_graphs  # noqa: F401
import suite_images  # noqa: F401
import suite_neurons  # noqa: F401
import suite_weights  # noqa: F401
from integer_graphs import GRAPHS
from suite_case import QUICK, REGISTERED, Case, case

for _name, (_build, _rate, _steps) in GRAPHS.items():
    if _name != "exponents":  # as shared-powers, where its last layer spikes
        case(rate=_rate, steps=_steps, net=None, name=f"wired-{_name}")(_build)

NAMES = tuple(REGISTERED)

__all__ = ["NAMES", "QUICK", "Case", "get"]


def get(name: str) -> Case:
    """The case of that name; made once."""
    return REGISTERED[name]()
