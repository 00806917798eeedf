"""Lava's interpreter, for the tests that run Lava itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from snnc.targets.lava import environment


@pytest.fixture(scope="session")
def lava() -> Path:
    """The interpreter that has Lava; without one, fails where it is required and skips elsewhere."""
    python = environment.python()
    if python is None:
        reason = f"needs Lava: {environment.CURE}"
        if os.environ.get("CI") or os.environ.get("SNNC_REQUIRE_LAVA"):
            pytest.fail(reason)
        pytest.skip(reason)
    return python
