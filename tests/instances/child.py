"""Work in a process of its own: with limits on time and memory, and a meter that nothing else disturbs."""

from __future__ import annotations

import gc
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

GIB = 1 << 30
UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes


@dataclass(frozen=True)
class Failed:
    """Why a piece of work came to nothing."""

    reason: str


def call(function: Callable[..., Any], *arguments: Any, seconds: float | None, gib: float | None = None) -> Any:
    """What `function` returns in a fresh process, or Failed where it takes too long, too much, or breaks off.

    gib: of address space. What it raises is raised here.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(theirs, gib, function, arguments))
    process.start()
    theirs.close()
    try:
        if not ours.poll(seconds):
            return Failed(f"took more than {(seconds or 0) / 60:.0f} min")
        done, value = ours.recv()
    except EOFError:
        process.join()
        return Failed(f"broke off (exit code {process.exitcode})")
    finally:
        process.kill()
        process.join()
        ours.close()
    if isinstance(value, MemoryError):
        return Failed(f"needs more than {gib:g} GiB" if gib else "out of memory")
    if not done:
        raise value
    return value


def _work(pipe: Connection, gib: float | None, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    if gib:
        resource.setrlimit(resource.RLIMIT_AS, (int(gib * GIB), int(gib * GIB)))
    try:
        result = (True, function(*arguments))
    except Exception as error:  # carried over, to be raised there
        result = (False, error)
    pipe.send(result)


@dataclass
class Meter:
    """What a piece of work took: seconds; at the worst moment, bytes beyond those held before, and in all."""

    seconds: float = 0
    peak: int = 0
    whole: int = 0


@contextmanager
def metered() -> Iterator[Meter]:
    """Measure the work inside; for a process that does nothing else."""
    gc.collect()
    # Linux can forget the peak so far; elsewhere that of making the network may hide what is measured.
    forget = Path("/proc/self/clear_refs")
    if forget.exists():
        forget.write_text("5")
    before, begin = _resident(), time.perf_counter()
    meter = Meter()
    yield meter
    meter.seconds = time.perf_counter() - begin
    meter.whole = _peak()
    meter.peak = max(0, meter.whole - before)


def _peak() -> int:
    status = Path("/proc/self/status")
    if status.exists():  # its peak can be forgotten; that of getrusage knows of the process that started this one
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT


def _resident() -> int:
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * resource.getpagesize() if statm.exists() else _peak()
