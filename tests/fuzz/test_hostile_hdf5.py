"""Hostile files of HDF5: NIR, and lava-dl's .net."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness import check_all, check_by_command

KINDS = ("nir", "net")


@pytest.mark.parametrize("kind", KINDS)
def test_every_file_is_refused_or_read(kind: str) -> None:
    check_all(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_the_command_itself(kind: str, tmp_path: Path) -> None:
    check_by_command(kind, tmp_path)
