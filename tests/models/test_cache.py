"""Where arrays are kept, and under which name."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from snnc.models.data import cache


def test_the_place_is_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SNNC_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.root() == tmp_path / ".cache" / "snnc"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.root() == tmp_path / "xdg" / "snnc"
    monkeypatch.setenv("SNNC_CACHE_DIR", str(tmp_path / "own"))
    assert cache.root() == tmp_path / "own"


def test_an_array_is_made_once_for_what_it_is_made_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNNC_CACHE_DIR", str(tmp_path / "cache"))
    file = tmp_path / "source"
    file.write_bytes(b"abc")
    made = 0

    def get(**what: int) -> int:
        """How many arrays were made until this one."""

        def make() -> np.ndarray:
            nonlocal made
            made += 1
            return np.full((2, 3), made, np.uint8)

        found = cache.kept(what, [file], make)
        assert found.shape == (2, 3)
        return int(found[0, 0])

    assert [get(steps=3), get(steps=3), get(steps=4), get(steps=3)] == [1, 1, 2, 1]
    time = file.stat().st_mtime_ns
    file.write_bytes(b"abcd")
    os.utime(file, ns=(time, time))
    assert get(steps=3) == 3  # another size
    os.utime(file, ns=(time, time + 1))
    assert get(steps=3) == 4  # another time
    monkeypatch.setattr(cache, "VERSION", cache.VERSION + 1)
    assert get(steps=3) == 5
