"""What would make a network fit: tried on this very network, the cheapest first.

After the capacity rules have said no, :func:`find` changes one thing at a time, runs the passes again up to those
rules and keeps what passes them: another mapping, more chips, fewer bits, another target, and pruning, by bisection to
the largest share of the weights with which it fits. Nothing is named that was not seen to fit. A trial begins only
while it can be expected to end in time; what was left out for that is said.

Pruning is by magnitude within each layer, without training: the training that must follow may find other weights, but
as many of them.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import sparse

from snnc import pipeline
from snnc import target as chips
from snnc.compilation import Compilation, Map, Options, Stopped
from snnc.errors import Cure, DoesNotFit
from snnc.network import Network
from snnc.ops import Conv1d, Conv2d, Linear, Op, canonical
from snnc.target import Target

_logger = logging.getLogger(__name__)

# The pass that asks the capacity rules, and the last one before mapping begins.
LAST, BEFORE_MAPPING = "fit", "profile"
# The mapping that takes least time; where it fits, the better of several does, too.
QUICK: Map = "layers"
# Seconds that a search may take if nobody says how many.
PATIENCE = 20.0
# The search for a share of the weights ends when it is known so well, absolutely or in proportion.
_CLOSE, _CLOSE_SHARE = 0.01, 0.03


@dataclass(frozen=True)
class Found:
    """Cures, the cheapest first. untried: in words, what there was no time for; failed: what did not make it fit."""

    cures: tuple[Cure, ...]
    untried: tuple[str, ...]
    failed: tuple[str, ...]


def find(error: DoesNotFit, *, seconds: float = PATIENCE, progress: Callable[[str], None] | None = None) -> Found:
    """Look for what makes the network of `error` fit, for about so many seconds. progress: called with each trial."""
    stopped = error.stopped
    if stopped is None or stopped.name != LAST or seconds <= 0:
        return Found((), (), ())
    return _Search(stopped, {v.rule for v in error.violations}, seconds, progress or (lambda what: None)).run()


def attach(error: DoesNotFit, *, seconds: float = PATIENCE, progress: Callable[[str], None] | None = None) -> None:
    """Look for cures and put what was found into the error, in place of the general advice of the rule."""
    found = find(error, seconds=seconds, progress=progress)
    error.cures = found.cures
    if found.cures:
        error.fix = "\nor ".join(f"{cure.action}: {cure.outcome}" for cure in found.cures)
    notes = []
    if found.failed and not found.cures:
        notes.append(f"tried, and not enough: {', '.join(found.failed)}")
    if found.untried:
        notes.append(f"not tried in {seconds:g} s: {', '.join(found.untried)} (longer: --cures SECONDS)")
    error.uncured = "; ".join(notes)


def applied(cure: Cure, network: Network, target: Target, options: Options) -> tuple[Network, Target, Options]:
    """The arguments of a compilation, changed as the cure says."""
    if cure.share is not None:
        network = pruned(network, cure.share, cure.layers)
    if cure.target is not None:
        target = chips.load(cure.target)
    return network, target, replace(options, **cure.options)


def pruned(network: Network, share: float, layers: Sequence[str]) -> Network:
    """The network with at most that share of the weights left in each operation into `layers`.

    The largest weights stay, of equal ones the first, and at least one.
    """
    return replace(
        network,
        projections=tuple(
            replace(p, ops=tuple(_pruned(op, share) for op in p.ops)) if p.post in layers else p
            for p in network.projections
        ),
    )


def _pruned(op: Op, share: float) -> Op:
    if not isinstance(op, Linear | Conv1d | Conv2d) or not op.taps:
        return op
    values = op.weight.data if isinstance(op, Linear) else op.weight.ravel()
    magnitudes = np.abs(values.astype(np.float64))
    count = max(1, math.floor(share * op.taps))
    least = np.partition(magnitudes, len(magnitudes) - count)[len(magnitudes) - count]
    kept = magnitudes > least
    kept[np.flatnonzero(magnitudes == least)[: count - np.count_nonzero(kept)]] = True
    left = np.where(kept, values, 0).astype(values.dtype)
    if isinstance(op, Linear):
        matrix = sparse.csr_array((left, op.weight.indices, op.weight.indptr), shape=op.weight.shape)
        return replace(op, weight=canonical(matrix))
    return replace(op, weight=left.reshape(op.weight.shape))


class _TooLong(Exception):
    """A trial would probably not end in time."""


class _Search:
    """The trials for one network that did not fit."""

    def __init__(self, stopped: Stopped, broken: set[str], seconds: float, progress: Callable[[str], None]) -> None:
        self.state: Compilation = stopped.state
        self.options = self.state.options
        self.broken = broken
        self.deadline = time.perf_counter() + seconds
        self.progress = progress
        self.untried: list[str] = []
        self.hurried = False
        # Seconds that a trial may take: of all passes, of all with a quick mapping, of that mapping alone.
        spent = {name: each.seconds for name, each in stopped.spent.items()}
        mapping = sum(spent[name] for name in _mapping_passes() if name in spent)
        self.expected = {
            "whole": sum(spent.values()),
            "quick": sum(spent.values()) - 0.9 * mapping,
            "map": 0.1 * mapping,
        }

    def run(self) -> Found:
        cures: list[Cure] = []
        failed = []
        with _silent():
            for words, applies, search in (
                ("another mapping", not self._alone(), self._by_mapping),
                ("more chips", "cores" in self.broken and self.options.chips is not None, self._by_chips),
                ("fewer bits", self._stores_too_much() and not self.state.source.integer, self._by_bits),
                ("other targets", True, self._by_target),
                ("pruning", True, self._by_pruning),
            ):
                if not applies:
                    continue
                found, before = [], len(self.untried)
                try:
                    found = list(search())
                except _TooLong:
                    self.untried.append(words)
                cures += found
                if not found and len(self.untried) == before:
                    failed.append(words)
        return Found(tuple(cures), tuple(self.untried), tuple(failed))

    def _by_mapping(self) -> Iterator[Cure]:
        for name, value, usual in (
            ("map", "auto", self.options.map if self.state.groups is None else None),
            ("optimize", "cores", self.options.optimize),
            ("cores", None, self.options.cores),
            ("balance", False, self.options.balance),
        ):
            if usual != value and (state := self._trial(options={name: value})):
                words = f"--{name} {value}" if isinstance(value, str) else f"without --{name}"
                yield Cure(words, _fits(state), {name: value})
                return

    def _by_chips(self) -> Iterator[Cure]:
        state = self._trial(options={"chips": None})
        if state is None:
            return
        assert state.usage is not None
        count = -(-state.usage.cores // state.target.mesh.cores)
        fewest = self._trial(options={"chips": count})
        if fewest is not None:
            yield Cure(f"--chips {count}", _fits(fewest), {"chips": count})
        else:
            yield Cure("without --chips", _fits(state), {"chips": None})

    def _by_bits(self) -> Iterator[Cure]:
        low, high = 1, self.options.bits - 1
        while low <= high:
            bits = (low + high + 1) // 2
            if self._trial("quick", options={"bits": bits}):
                low = bits + 1
            else:
                high = bits - 1
        # The mapping that was asked for may save more than the quick one.
        for bits in (high + 1, high) if self.options.map != QUICK else (high,):
            if 0 < bits < self.options.bits and (state := self._trial(options={"bits": bits})):
                yield Cure(f"--bits {bits}", _fits(state) + self._accuracy(state), {"bits": bits})
                return

    def _accuracy(self, state: Compilation) -> str:
        """What the other width does to the calibration samples, where they have labels."""
        now, then = (c.run.accuracy if c.run else None for c in (self.state, state))
        if now is None or then is None:
            return ""
        return f", and is right in {then:.1%} of the calibration samples, {now:.1%} at {self.options.bits} bits"

    def _by_target(self) -> Iterator[Cure]:
        for name in chips.names():
            if name != self.state.target.name and (state := self._trial(target=name)):
                yield Cure(f"--target {name}", _fits(state), target=name)

    def _by_pruning(self) -> Iterator[Cure]:
        layers = self._too_large()
        # Ever more exactly: with the scales and the rates of the whole network, from the start, as it was asked for.
        share, found = self._largest(lambda s: self._maps(s, layers), self._guess(), 1.0)
        rounded = _taps(self.state.network, layers) / max(1, _taps(self.state.lowered or self.state.network, layers))
        guess, most = (share * rounded, share * rounded + _CLOSE) if found else (0.05, 1.0)
        share, found = self._largest(lambda s: self._trial("quick", share=s, layers=layers), guess, most)
        if self.options.map != QUICK:
            guess, most = (share, 1.1 * share) if found else (0.05, 1.0)
            share, found = self._largest(lambda s: self._trial(share=s, layers=layers), guess, most)
        if found is not None:
            if self.hurried:
                self.untried.append("more of the weights")
            every = len(layers) > 1 and set(layers) >= {p.post for p in self.state.source.projections}
            which = "every layer" if every else ", ".join(f"'{name}'" for name in layers)
            whose = "its" if every or len(layers) == 1 else "their"
            sparsity = _sparsity(pruned(self.state.source, share, layers), layers)
            action = f"prune {which} to {100 * share:.3g} % of {whose} weights ({sparsity:.1%} sparse)"
            yield Cure(action, _fits(found), share=share, layers=layers)

    def _largest(
        self, attempt: Callable[[float], Compilation | None], guess: float, most: float
    ) -> tuple[float, Compilation | None]:
        """The largest share up to `most` with which an attempt succeeds, as good as known, and what it came to."""
        low, high, best = 0.0, most, None
        share = _round(min(guess, most))
        try:
            while low < share < high and high - low > max(_CLOSE, _CLOSE_SHARE * high):
                if state := attempt(share):
                    low, best = share, state
                else:
                    high = share
                share = _round((low + high) / 2 if low else 0.6 * high)
        except _TooLong:
            if best is None:
                raise
            self.hurried = True
        return low, best

    def _trial(
        self,
        kind: str = "whole",
        *,
        options: dict[str, Any] | None = None,
        target: str | None = None,
        share: float | None = None,
        layers: tuple[str, ...] = (),
    ) -> Compilation | None:
        """The state in which the changed network fits, or None. kind: "quick" maps in layer order, or "whole"."""
        cure = Cure("", "", {**(options or {}), **({"map": QUICK} if kind == "quick" else {})}, target, share, layers)

        def compiled() -> Compilation:
            source, chip, how = applied(cure, self.state.source, self.state.target, self.options)
            state = self.state
            # A ticket keeps its cores until something is asked of the mapping.
            groups = None if {"map", "optimize", "cores", "balance"} & set(options or {}) else state.groups
            return pipeline.compile_until(
                LAST, source, chip, samples=state.samples, options=how, tune=state.tune, groups=groups
            )[0]

        return self._timed(kind, compiled, ", ".join([*(options or ()), target or "", "pruning" if share else ""]))

    def _maps(self, share: float, layers: tuple[str, ...]) -> Compilation | None:
        """The same for the quantised network with that share of the weights of some layers, quickly mapped."""
        passes = tuple(each for each in pipeline.PASSES if each[0] in _mapping_passes())

        def mapped() -> Compilation:
            network = pruned(self.state.network, share, layers)
            smaller = replace(self.state, network=network, options=replace(self.options, map=QUICK))
            return pipeline.run(smaller, passes, None)[0]

        return self._timed("map", mapped, "pruning")

    def _timed(self, kind: str, job: Callable[[], Compilation], what: str) -> Compilation | None:
        """What the job came to, None if it does not fit; _TooLong where it would probably not end in time."""
        begin = time.perf_counter()
        if begin + self.expected[kind] > self.deadline:
            raise _TooLong
        self.progress(what.strip(", "))
        try:
            return job()
        except Exception as error:  # whatever is wrong with a cure, the diagnosis must come out
            _logger.debug("a cure failed: %r", error)
            return None
        finally:
            self.expected[kind] = time.perf_counter() - begin

    def _alone(self) -> bool:
        """Whether every core that is too full holds a single neuron, which no mapping can help."""
        usage = self.state.usage
        assert usage is not None
        return "cores" not in self.broken and bool(np.all(usage.neurons[self._full()] == 1))

    def _full(self) -> np.ndarray:
        """Whether a core uses more than it has of anything, bool (cores,)."""
        usage, core = self.state.usage, self.state.target.core
        assert usage is not None
        over = [
            getattr(usage, name) > getattr(core, name).value for name in core.__struct_fields__ if hasattr(usage, name)
        ]
        return np.any(over, axis=0)

    def _too_large(self) -> tuple[str, ...]:
        """The layers that are to be pruned: those on cores that are too full, or all where there are too many cores."""
        network, source = self.state.network, self.state.source
        assert self.state.core_of is not None
        names = list(dict.fromkeys(p.post for p in source.projections))
        if "cores" in self.broken:
            return tuple(names)
        full = set(np.flatnonzero(self._full()).tolist())
        start = network.offsets
        on = {p.name: set(self.state.core_of[start[p.name] : start[p.name] + p.size].tolist()) for p in network.layers}
        return tuple(name for name in names if on.get(name, set()) & full) or tuple(names)

    def _guess(self) -> float:
        """The share of the weights that would do if all that is used grew with it."""
        usage, target = self.state.usage, self.state.target
        assert usage is not None
        chips = min(self.options.chips or target.chips, target.chips)
        ratios = [target.mesh.cores * chips / usage.cores]
        for name in target.core.__struct_fields__:
            if hasattr(usage, name):
                ratios.append(getattr(target.core, name).value / max(1, int(getattr(usage, name).max())))
        return min(0.9, *ratios)

    def _stores_too_much(self) -> bool:
        return bool(self.broken & {"synapse-bits", "cores"})


def _mapping_passes() -> list[str]:
    """The passes behind the profile, up to the capacity rules."""
    names = [name for name, _ in pipeline.PASSES]
    return names[names.index(BEFORE_MAPPING) + 1 : names.index(LAST) + 1]


def _fits(state: Compilation) -> str:
    assert state.usage is not None
    return f"it fits on {state.usage.cores:,} core{'s' if state.usage.cores > 1 else ''}"


def _weighted(network: Network, layers: Sequence[str]) -> list[Linear | Conv1d | Conv2d]:
    """The operations into some layers that have weights."""
    into = (op for p in network.projections if p.post in layers for op in p.ops)
    return [op for op in into if isinstance(op, Linear | Conv1d | Conv2d)]


def _taps(network: Network, layers: Sequence[str]) -> int:
    return sum(op.taps for op in _weighted(network, layers))


def _sparsity(network: Network, layers: Sequence[str]) -> float:
    return 1 - _taps(network, layers) / sum(math.prod(op.weight.shape) for op in _weighted(network, layers))


def _round(share: float) -> float:
    """Down to hundredths, a small one to thousandths."""
    digits = 100 if share >= 0.1 else 1000
    return math.floor(share * digits + 1e-9) / digits


@contextmanager
def _silent() -> Iterator[None]:
    """Trials warn nobody."""
    logger = logging.getLogger("snnc")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
