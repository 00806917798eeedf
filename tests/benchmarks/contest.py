"""A contest: children that run the same nets in turn, in several rounds; the parent's half.

Contenders are processes, so that each has its own packages, threads and memory, and none pays for another's imports.
They are kept alive and run one at a time. What they need to start, to read the net and to compile is not timed.
"""

from __future__ import annotations

import json
import math
import os
import selectors
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = Path(__file__).resolve().parent / "contenders"
ROUNDS = 5


@dataclass(frozen=True)
class Contender:
    """One who takes part.

    script: in `contenders`. python: the interpreter that has what it needs, or a word why there is none. most:
    synapses of the largest net that it is given. limit: seconds to get ready for a net, and for a run.
    """

    name: str
    script: str
    python: Path | str = Path(sys.executable)
    environment: Mapping[str, str] = field(default_factory=dict)
    most: float = math.inf
    limit: float = 90


@dataclass(frozen=True)
class Result:
    """What one contender did on one net: per round, or a word why there is nothing."""

    name: str
    net: str
    seconds: tuple[float, ...] = ()
    steps: int = 0
    synops: int = 0
    prepared: float = 0.0
    peak_bytes: int = 0
    figures: Mapping[str, float] = field(default_factory=dict)
    failed: str | None = None

    @property
    def rates(self) -> list[float]:
        """Synaptic operations per second, per round."""
        return [self.synops / s for s in self.seconds]

    @property
    def rate(self) -> float:
        return statistics.median(self.rates)

    @property
    def per_step(self) -> float:
        """Seconds, median."""
        return statistics.median(self.seconds) / self.steps


class Child:
    """A contender's process, as a context."""

    def __init__(self, contender: Contender) -> None:
        self.contender = contender

    def __enter__(self) -> Child:
        one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        # A group of its own, of which nothing is left when it ends: some contenders start processes.
        self.process = subprocess.Popen(
            [self.contender.python, SCRIPTS / self.contender.script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **one, "PYTHONPATH": path, **self.contender.environment},
            start_new_session=True,
            text=True,
        )
        return self

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer, or {"error": a word}."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return {"error": f"its process ended ({self.process.wait()})"}
        with selectors.DefaultSelector() as ready:
            ready.register(self.process.stdout, selectors.EVENT_READ)
            if not ready.select(self.contender.limit):
                return {"error": f"took more than {self.contender.limit:.0f} s"}
        line = self.process.stdout.readline()
        return json.loads(line) if line else {"error": f"its process ended ({self.process.wait()})"}

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with ExitStack() as last:
            last.callback(self.process.wait)
            if self.process.poll() is None:
                os.killpg(self.process.pid, 9)


def contest(
    net: str, folder: Path, contenders: Sequence[Contender], *, synapses: float = 0, rounds: int = ROUNDS
) -> list[Result]:
    """Let the contenders run the net in `folder`, one after the other, `rounds` times."""
    results = {c.name: Result(c.name, net, failed=word) for c in contenders if (word := _absent(c, synapses))}
    with ExitStack() as stack:
        children = [stack.enter_context(Child(c)) for c in contenders if c.name not in results]
        ready = [child.ask({"net": str(folder)}) for child in children]
        answers: list[list[dict[str, Any]]] = [[] for _ in children]
        for _ in range(rounds):
            for child, first, found in zip(children, ready, answers, strict=True):
                if "error" not in first and not any("error" in a for a in found):
                    found.append(child.ask({}))
    for child, first, found in zip(children, ready, answers, strict=True):
        results[child.contender.name] = _result(net, child.contender, first, found)
    return [results[c.name] for c in contenders]


def _absent(contender: Contender, synapses: float) -> str | None:
    """Why a contender does not take part, or None."""
    if isinstance(contender.python, str):
        return contender.python
    if synapses > contender.most:
        return f"not tried beyond {contender.most:,.0f} synapses"
    return None


def _result(net: str, contender: Contender, ready: dict[str, Any], answers: list[dict[str, Any]]) -> Result:
    for answer in (ready, *answers):
        if "error" in answer:
            return Result(contender.name, net, failed=answer["error"])
    last = answers[-1]
    return Result(
        contender.name,
        net,
        tuple(a["seconds"] for a in answers),
        last["steps"],
        last["synops"],
        ready["prepared"],
        last["peak_bytes"],
        ready["figures"],
    )
