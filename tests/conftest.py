"""Fixtures for all tests."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import settings

from snnc.targets.lava import environment
from tests import lava_wheel
from tests.benchmarks.environments import UnavailableError

# Workers of one test run share the cores: each takes one thread, before torch counts them.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parents[1]

# A shared machine must give one verdict on one commit; elsewhere every run tries new examples.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nothing is kept in the user's cache, nor taken from there."""
    os.environ["SNNC_CACHE_DIR"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with recordings and third-party files beside the checkout; skips where there is none."""
    path = ROOT.parent / "shared"
    if not path.is_dir():
        pytest.skip("needs the folder of recordings ../shared, which is not here")
    return path


@pytest.fixture(scope="session")
def lava() -> Path:
    """The interpreter that has Lava; without one, fails where it is required and skips elsewhere."""
    python = environment.python()
    if python is None:
        _lack(f"needs Lava: {environment.CURE}")
    return python


@pytest.fixture(scope="session")
def intel() -> Path:
    """Networks and golden vectors with which Intel tests netx; without them, as without Lava."""
    try:
        return lava_wheel.folder()
    except UnavailableError as error:
        _lack(f"needs the wheel of lava-dl: {error}")


def _lack(reason: str) -> NoReturn:
    if os.environ.get("CI") or os.environ.get("SNNC_REQUIRE_LAVA"):
        pytest.fail(reason)
    pytest.skip(reason)
