"""Work in a child: its result, its exception, its limits and what it took."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest

from snnc.errors import InputError
from tests.instances.child import Failed, call, metered

MIB = 1 << 20


def twice(value: int) -> int:
    return 2 * value


def refuse() -> None:
    raise InputError("no")


def die() -> None:
    os._exit(7)


def sleep() -> None:
    time.sleep(60)


def fill(mebibytes: int) -> int:
    return int(np.ones(mebibytes * MIB, np.uint8).sum())


def measure(mebibytes: int) -> tuple[int, int]:
    held = np.ones(200 * MIB, np.uint8)  # what was there before
    passing = np.ones(300 * MIB, np.uint8)
    del passing
    with metered() as meter:
        fill(mebibytes)
    return meter.peak, meter.whole - int(held[0])


def test_it_returns_or_raises_what_the_function_does() -> None:
    assert call(twice, 21, seconds=60) == 42
    with pytest.raises(InputError, match="no"):
        call(refuse, seconds=60)


def test_a_child_that_dies_or_lingers_has_failed() -> None:
    assert call(die, seconds=60) == Failed("broke off (exit code 7)")
    begin = time.monotonic()
    assert call(sleep, seconds=0.2) == Failed("took more than 0 min")
    assert time.monotonic() - begin < 30


def test_memory_is_limited_and_measured() -> None:
    assert call(fill, 16 * 1024, seconds=60, gib=4) == Failed("needs more than 4 GiB")
    peak, whole = call(measure, 100, seconds=60)
    assert 95 * MIB < peak < 130 * MIB
    assert whole > 295 * MIB
