"""Integer networks beyond chains, for the tests of the bridge to Lava."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from snnc.network import Network

Rng = np.random.Generator

GRAPHS: dict[str, tuple[Callable[[Rng], Network], float, int]] = {
    # name: (network, input rate, steps)
}
