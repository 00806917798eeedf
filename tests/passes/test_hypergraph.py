"""The partitioner, which can be started once in a process."""

from __future__ import annotations

import functools
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from snnc.mapping import hypergraph


def test_threads_start_the_partitioner_once(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    def start() -> int:
        time.sleep(0.05)  # long enough for the other threads to ask for it
        started.append(1)
        return 7

    monkeypatch.setattr(hypergraph, "_started", functools.cache(start))
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: hypergraph._library(), range(4))) == [7] * 4
    assert len(started) == 1
