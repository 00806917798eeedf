"""The cache of compiled kernels."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

OUTER = """
from inner import number
from snnc.jit import {decorator}

@{decorator}
def outer():
    return number()

print(outer(), sum(outer.stats.cache_hits.values()))
"""
INNER = "from snnc.jit import {decorator}\n\n@{decorator}\ndef number():\n    return {number}\n"


@pytest.mark.parametrize("decorator", ["compiled", "lean"])
def test_an_edit_of_a_kernel_that_another_calls_is_noticed(decorator: str, tmp_path: Path) -> None:
    def run(number: int) -> list[int]:
        inner = INNER.format(decorator=decorator, number=number)
        if not (tmp_path / "inner.py").exists() or (tmp_path / "inner.py").read_text() != inner:
            (tmp_path / "inner.py").write_text(inner)
        command = [sys.executable, str(tmp_path / "outer.py")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return [int(word) for word in done.stdout.split()]

    (tmp_path / "outer.py").write_text(OUTER.format(decorator=decorator))
    assert run(1) == [1, 0]
    assert run(1) == [1, 1]
    assert run(22) == [22, 0]
