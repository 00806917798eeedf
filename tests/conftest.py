"""Fixtures for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with recordings and third-party files beside the checkout; skips where there is none."""
    path = ROOT.parent / "shared"
    if not path.is_dir():
        pytest.skip("needs the folder of recordings ../shared, which is not here")
    return path
