"""Talks to the worker: Lava's interpreter as a process of its own, JSON lines over pipes, a limit on its silence."""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from snnc.errors import SnncError, UsageError
from snnc.targets.lava import environment

WORKER = Path(__file__).parent / "worker" / "worker.py"

GRACE = 5.0
"""Seconds between asking the worker's processes to end and forcing them."""


class LavaError(SnncError):
    """Lava's process failed. What it printed is attached as notes."""

    topic = "lava"


class Worker:
    """A running worker. Made by :func:`worker`."""

    def __init__(self, process: subprocess.Popen[bytes], log: IO[str], timeout: float) -> None:
        self._process, self._log, self._timeout = process, log, timeout
        self._rest = b""

    def ask(self, request: dict[str, Any], progress: Callable[[int, int], None]) -> dict[str, Any]:
        """Send a request (see worker.py) and return its last answer.

        progress: called with (steps done, steps in all). Raises LavaError where Lava fails, UsageError where it stays
        silent for too long; the worker is of no use then.
        """
        with contextlib.suppress(BrokenPipeError):  # a worker that died at once has left its reason in the log
            assert self._process.stdin
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        answer: dict[str, Any] = {}
        for line in self._lines():
            try:
                answer = json.loads(line)
            except ValueError:
                raise self._failure(f"its process said {line.decode(errors='replace')!r}, which is no answer") from None
            if "done" in answer:
                progress(answer["done"], answer["of"])
            if "seconds" in answer:
                return answer
        raise self._failure(answer.get("error"), answer.get("traceback", ""))

    def _lines(self) -> Iterator[bytes]:
        """Answers, until every process that could give one has ended."""
        assert self._process.stdout
        pipe, ready = self._process.stdout.fileno(), select.poll()
        ready.register(pipe, select.POLLIN)
        while True:
            while b"\n" in self._rest:
                line, _, self._rest = self._rest.partition(b"\n")
                yield line
            if not ready.poll(max(1, min(self._timeout * 1000, (1 << 31) - 1))):
                raise UsageError(
                    f"Lava gave no sign of life within {self._timeout:g} s",
                    fix="allow more time, or run a smaller network",
                )
            piece = os.read(pipe, 1 << 16)
            if not piece:
                return
            self._rest += piece

    def _failure(self, reason: str | None, traceback: str = "") -> LavaError:
        """One clear error out of the worker's last answer and what Lava printed."""
        self._log.seek(0)
        log = self._log.read()
        lines = [line for line in log.splitlines() if line.strip()]
        reason = reason or (lines[-1] if lines else "its process ended without a word")
        error = LavaError(f"Lava failed: {reason}", where="Lava's process", fix=environment.CURE)
        for note in (traceback, log):
            if note:
                error.add_note(note)
        return error


@contextlib.contextmanager
def worker(interpreter: Path, timeout: float) -> Iterator[Worker]:
    """A worker in a session of its own, so that it can be ended with all processes Lava forks.

    timeout: seconds for which it may stay silent; a run tells about twice a second how far it is.
    """
    if not 0 < timeout < math.inf:
        raise UsageError(f"the time limit must be a positive, finite number of seconds, got {timeout}")
    # -E and -s keep the caller's PYTHON* variables and packages out, -u loses nothing of what Lava prints.
    # Lava runs one process per layer; threads on top of that only fight over the cores.
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    with tempfile.TemporaryFile("w+") as log:
        try:
            process = subprocess.Popen(
                [str(interpreter), "-Esu", str(WORKER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                bufsize=0,
                env=os.environ | threads,
                start_new_session=True,
            )
        except OSError as error:
            raise UsageError(
                f"Lava's Python does not start: {error.strerror}", where=str(interpreter), fix=environment.CURE
            ) from None
        with process:
            try:
                yield Worker(process, log, timeout)
            finally:
                _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the worker and all that Lava forked from it.

    SIGTERM spares the one process that then removes the shared memory of the others.
    """
    end = time.monotonic() + GRACE
    _signal(process, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(GRACE)
    # Children hold the pipe of answers open, and outlive their parent.
    assert process.stdout
    pipe, ready = process.stdout.fileno(), select.poll()
    ready.register(pipe, select.POLLIN)
    while ready.poll(max(0.0, end - time.monotonic()) * 1000):
        if not os.read(pipe, 1 << 16):
            break
    _signal(process, signal.SIGKILL)


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
