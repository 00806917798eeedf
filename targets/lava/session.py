"""Runs an integer network in Lava, in a process of its own, and brings the spikes back."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from snnc.errors import SnncError, UsageError
from snnc.network import READ_OUT, Network
from snnc.samples import Samples
from snnc.targets.lava import environment
from snnc.targets.lava.chain import chain
from snnc.targets.lava.netx import export, frame

WORKER = Path(__file__).parent / "worker" / "worker.py"

GRACE = 5.0
"""Seconds between asking the worker's processes to end and forcing them."""


class LavaError(SnncError):
    """Lava's process failed. What it printed is attached as notes."""

    topic = "lava"


def run(
    network: Network,
    samples: Samples,
    *,
    timeout: float = 600.0,
    sparse: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, np.ndarray]:
    """Spikes of every layer as Lava's bit-accurate ``fixed_pt`` simulation fires them.

    network: after quantisation, a chain. samples: run back to back with a reset in between, which does not reach
    spikes that are under way: with delays or recurrence, each sample is a run of its own.
    timeout: seconds for the whole run. sparse: use Lava's Sparse process instead of Dense for
    dense layers. progress: called with (steps done, steps in all).

    Returns name of layer -> bool (samples, steps, *shape), or of a read-out its membranes, in model time: a layer
    answers in the step of its input; the input population is not included. Raises InputError where the
    network is not one that Lava runs or the samples do not fit it, UsageError where Lava is
    not set up or the time is up, LavaError where Lava fails.
    """
    feed, layers = chain(network)
    samples.expect(feed.shape)
    samples.require_spikes()
    interpreter = environment.require()
    with tempfile.TemporaryDirectory(prefix="snnc-lava-") as name:
        folder = Path(name)
        export(network, folder / "network.net", samples.steps)
        request = {
            "net": str(folder / "network.net"),
            "spikes": str(folder / "spikes.npy"),
            "steps": samples.steps,
            "sparse": sparse,
            "membranes": layers[-1].population.neuron == READ_OUT,
            "folder": str(folder),
        }
        apart = 1 if any(layer.delay is not None or layer.recurrent is not None for layer in layers) else len(samples)
        end = time.monotonic() + timeout
        parts: list[list[np.ndarray]] = []
        for start in range(0, len(samples), apart):
            block = samples.spikes[start : start + apart]
            np.save(folder / "spikes.npy", block.reshape(-1, *frame(feed.shape)))
            told = _share(progress, start // apart, len(samples) // apart)
            # A limit that makes no sense is refused there; one that is over is not one of these.
            left = timeout if not start else max(1e-3, end - time.monotonic())
            _converse(interpreter, request, left, told, allowed=timeout)
            parts.append([np.load(folder / f"{k}.npy") for k in range(1, len(layers) + 1)])
    return {
        layer.population.name: np.concatenate(rasters).reshape(len(samples), samples.steps, *layer.population.shape)
        for layer, rasters in zip(layers, zip(*parts, strict=True), strict=True)
    }


def _share(progress: Callable[[int, int], None] | None, run: int, runs: int) -> Callable[[int, int], None]:
    """Progress of one of several equal runs as that of all."""
    return lambda done, total: progress(run * total + done, runs * total) if progress else None


def _converse(
    interpreter: Path,
    request: dict[str, Any],
    timeout: float,
    progress: Callable[[int, int], None],
    *,
    allowed: float,
) -> None:
    """Send `request` to a new worker and follow its answers to the end; see worker.py for both.

    timeout: of what the user `allowed`, the seconds that are left.
    """
    if not 0 < timeout <= threading.TIMEOUT_MAX:
        raise UsageError(f"the time limit must be a positive, finite number of seconds, got {timeout}")
    last: dict[str, Any] = {}
    late, over = threading.Event(), threading.Event()
    with tempfile.TemporaryFile("w+") as log, _worker(interpreter, log) as worker:

        def stop() -> None:
            late.set()
            _signal(worker, signal.SIGTERM)
            if not over.wait(GRACE):
                _signal(worker, signal.SIGKILL)

        timer = threading.Timer(timeout, stop)
        timer.start()
        try:
            for line in _ask(worker, request):
                last = json.loads(line)
                if "done" in last:
                    progress(last["done"], last["of"])
        finally:
            over.set()
            timer.cancel()
        if late.is_set():
            raise UsageError(f"Lava did not finish within {allowed:g} s", fix="allow more time, or run fewer samples")
        if "seconds" not in last:
            log.seek(0)
            raise _failure(last, log.read())


@contextlib.contextmanager
def _worker(interpreter: Path, log: IO[str]) -> Iterator[subprocess.Popen[str]]:
    """A worker in a session of its own, so that it can be ended with all processes Lava forks."""
    # -E and -s keep the caller's PYTHON* variables and packages out, -u loses nothing of what Lava prints.
    # Lava runs one process per layer; threads on top of that only fight over the cores.
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    try:
        worker = subprocess.Popen(
            [str(interpreter), "-Esu", str(WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=os.environ | threads,
            start_new_session=True,
        )
    except OSError as error:
        raise UsageError(
            f"Lava's Python does not start: {error.strerror}", where=str(interpreter), fix=environment.CURE
        ) from None
    with worker:
        try:
            yield worker
        finally:
            _signal(worker, signal.SIGTERM)
            try:
                worker.wait(GRACE)
            except subprocess.TimeoutExpired:
                _signal(worker, signal.SIGKILL)


def _ask(worker: subprocess.Popen[str], request: dict[str, Any]) -> Iterator[str]:
    """Send the only request; yield answers until every process that could give one has ended."""
    if worker.stdin and worker.stdout:
        with contextlib.suppress(BrokenPipeError):  # a worker that died at once has left its reason in the log
            worker.stdin.write(json.dumps(request) + "\n")
            worker.stdin.close()
        yield from worker.stdout


def _signal(worker: subprocess.Popen[str], number: signal.Signals) -> None:
    """Signal the worker and all that Lava forked from it.

    SIGTERM spares the one process that then removes the shared memory of the others.
    """
    with contextlib.suppress(ProcessLookupError):
        os.killpg(worker.pid, number)


def _failure(answer: dict[str, Any], log: str) -> LavaError:
    """One clear error out of the worker's last answer and what Lava printed."""
    lines = [line for line in log.splitlines() if line.strip()]
    message = answer.get("error") or (lines[-1] if lines else "its process ended without a word")
    error = LavaError(f"Lava failed: {message}", where="Lava's process", fix=environment.CURE)
    for note in (answer.get("traceback", ""), log):
        if note:
            error.add_note(note)
    return error
