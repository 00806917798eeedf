"""The child's half of a contest: one contender in a process of its own, told what to do line by line.

Imported by every contender's script, in whatever environment has what the contender needs: so this takes no more
than numpy, and no snnc. A request is a line of JSON on standard input, an answer one on what was standard output;
whatever libraries print goes to standard error. See :mod:`tests.benchmarks.contest` for the other half.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

# Seconds that one timed run should take; a contender that is slow runs fewer of the steps.
WANTED = 0.5


@dataclass(frozen=True)
class Net:
    """A chain of fully or sparsely connected layers of leaky neurons, and what is fed to it.

    spikes: uint8 (samples, steps, inputs). layers: per layer (indptr, targets, weights), rows are sources:
    int64 (sources + 1,), int32 and int8 (synapses,); sizes: neurons of all layers, the input first.
    u_decay, v_decay: of 4096. threshold: same unit as the weights.
    """

    sizes: tuple[int, ...]
    layers: tuple[tuple[np.ndarray, np.ndarray, np.ndarray], ...]
    spikes: np.ndarray
    u_decay: int
    v_decay: int
    threshold: int

    @property
    def stream(self) -> np.ndarray:
        """All samples one after the other, bool (samples * steps, inputs): for those who take one recording."""
        return self.spikes.reshape(-1, self.spikes.shape[-1]).astype(bool)

    def synops(self, spikes: np.ndarray) -> int:
        """Synapses that spikes of the input visit; spikes: (..., inputs)."""
        fired = np.count_nonzero(spikes.reshape(-1, spikes.shape[-1]), axis=0)
        return int(fired @ np.diff(self.layers[0][0]))

    @property
    def keep(self) -> tuple[float, float]:
        """The part of a current and of a membrane that is left after a step."""
        return 1 - self.u_decay / 4096, 1 - self.v_decay / 4096

    def sources(self, layer: int) -> np.ndarray:
        """The source of each synapse of a layer, int64."""
        indptr = self.layers[layer][0]
        return np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))


def load(folder: Path) -> Net:
    """Read what :func:`tests.benchmarks.nets.store` wrote; arrays stay on disk until they are read."""
    about = json.loads((folder / "net.json").read_text())
    layers = []
    for k in range(len(about["sizes"]) - 1):
        indptr, targets, weights = (
            np.load(folder / f"{name}{k}.npy", mmap_mode="r") for name in ("ptr", "targets", "weights")
        )
        layers.append((indptr, targets, weights))
    spikes = np.load(folder / "spikes.npy")
    return Net(tuple(about["sizes"]), tuple(layers), spikes, about["u_decay"], about["v_decay"], about["threshold"])


@dataclass(frozen=True)
class Ready:
    """A contender that has the net and all that it needs for it.

    timed: runs so many steps and returns the seconds that took. steps: the most of them, in all samples. unit: of
    which it runs a multiple. synops: synapses that the spikes of the input visit in so many steps. figures: more to
    report, by name.
    """

    timed: Callable[[int], float]
    steps: int
    synops: Callable[[int], int]
    unit: int = 1
    figures: dict[str, float] = field(default_factory=dict)


def stepwise(
    net: Net,
    run: Callable[[Any, int], object],
    *,
    before: Callable[[int], Any] = lambda steps: None,
    most: int | None = None,
) -> Ready:
    """A contender that takes all samples as one recording, or its first `most` steps.

    run(state, steps) is timed by the wall clock; state: what `before` made of the steps, which is not timed.
    """

    def timed(steps: int) -> float:
        state = before(steps)
        begin = time.perf_counter()
        run(state, steps)
        return time.perf_counter() - begin

    return Ready(timed, most or len(net.stream), lambda steps: net.synops(net.stream[:steps]))


def serve(prepare: Callable[[Path], Ready]) -> None:
    """Answer requests until there are none. prepare: of the folder of a net."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    ready, steps = None, 0
    for line in sys.stdin:
        request = json.loads(line)
        try:
            found: dict[str, Any]
            if "net" in request:
                begin = time.perf_counter()
                ready = prepare(Path(request["net"]))
                found = {"prepared": time.perf_counter() - begin, "figures": ready.figures}
                steps = _calibrate(ready)
            else:
                found = {"seconds": ready.timed(steps), "steps": steps, "synops": ready.synops(steps)}
            found["peak_bytes"] = peak_bytes()
        except Exception as error:  # of any library, for the parent to report
            traceback.print_exc()
            found = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
        answers.write(json.dumps(found) + "\n")
        answers.flush()


def peak_bytes() -> int:
    """The most memory that this process ever held. (ru_maxrss of a child begins with what its parent held.)"""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def _calibrate(ready: Ready) -> int:
    """Steps of a run of about WANTED seconds. The first run compiles and fills caches: it is not counted."""
    steps = min(4 * ready.unit, ready.steps)
    ready.timed(steps)
    while steps < ready.steps:
        took = ready.timed(steps)
        if took > WANTED / 2:
            break
        more = 2 * steps if took < WANTED / 8 else max(steps + ready.unit, int(steps * WANTED / took))
        steps = min(ready.steps, more // ready.unit * ready.unit)
    return steps
