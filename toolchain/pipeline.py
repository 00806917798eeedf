"""The compiler as one tuple of passes, and the loop that runs them."""

from __future__ import annotations

import difflib
import logging
import time
from collections.abc import Callable
from collections.abc import Mapping as MappingType
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from snnc.compilation import Compilation, Options, Spent, Stopped
from snnc.dump import Folder
from snnc.errors import DoesNotFit, InputError, UsageError
from snnc.image import Image, Mapping
from snnc.network import Network
from snnc.passes import (
    approximate,
    bias,
    check,
    dissolve,
    lower,
    partition,
    place,
    profile,
    quantize,
    refine,
    route,
    trim,
    verify,
)
from snnc.quantization.grid import Tune
from snnc.samples import Samples
from snnc.target import Target
from snnc.version import VERSION

_logger = logging.getLogger(__name__)

Pass = Callable[[Compilation], Compilation]

PASSES: tuple[tuple[str, Pass], ...] = (
    ("dissolve", dissolve.run),
    ("lower", lower.run),
    ("approximate", approximate.run),
    ("bias", bias.run),
    ("check", check.operations),
    ("trim", trim.before),
    ("quantize", quantize.run),
    ("retrim", trim.after),
    ("profile", profile.run),
    ("partition", partition.run),
    ("fit", check.capacity),
    ("place", place.run),
    ("refine", refine.run),
    ("route", route.run),
    ("verify", verify.run),
)


Progress = Callable[[str, int, int], None]
Groups = MappingType[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Result:
    """A finished compilation. spent: of each pass; kept out of the image, which is deterministic."""

    image: Image
    spent: dict[str, Spent]


def compile(
    network: Network,
    target: Target,
    *,
    samples: Samples | None = None,
    options: Options | None = None,
    provenance: dict[str, Any] | None = None,
    tune: Tune | None = None,
    groups: Groups | None = None,
    progress: Progress | None = None,
    dump: Path | None = None,
) -> Result:
    """Run all passes.

    samples: calibration data for rates and accuracy. provenance: plain data on the source, kept in the
    image. tune: trains the integers (:func:`snnc.tickets.tuner`). groups: the core of each neuron by layers, instead of
    a search (:func:`snnc.tickets.groups`). progress: called with (pass, index, passes) before each pass. dump: a folder
    for the state after each pass. Raises DoesNotFit, VerificationError, InputError.
    """
    state, spent = run(start(network, target, samples, options, tune, groups), PASSES, progress, _folder(dump))
    assert state.core_of is not None
    assert state.site_of is not None
    options = state.options
    record = {
        "snnc": VERSION,
        "source": provenance or {},
        "options": asdict(options),
        "passes": dict(state.log),
    }
    return Result(Image(state.network, Mapping(state.core_of, state.site_of), target, record), spent)


def compile_until(
    last: str,
    network: Network,
    target: Target,
    *,
    samples: Samples | None = None,
    options: Options | None = None,
    tune: Tune | None = None,
    groups: Groups | None = None,
    progress: Progress | None = None,
    dump: Path | None = None,
) -> tuple[Compilation, dict[str, Spent]]:
    """Run the passes up to `last`, a name of :data:`PASSES`: the state after it, and what each took.

    Other arguments as for :func:`compile`. UsageError for a pass that does not exist.
    """
    return run(start(network, target, samples, options, tune, groups), until(last), progress, _folder(dump))


def check_only(network: Network, target: Target, options: Options | None = None) -> None:
    """The operation rules alone: DoesNotFit in a fraction of a second, without quantising or mapping."""
    compile_until("check", network, target, options=options)


def until(last: str) -> tuple[tuple[str, Pass], ...]:
    """The passes up to and with `last`; UsageError where there is none of that name."""
    names = [name for name, _ in PASSES]
    if last not in names:
        close = difflib.get_close_matches(last, names, n=1)
        hint = f"did you mean '{close[0]}'? " if close else ""
        raise UsageError(f"there is no pass '{last}'", fix=f"{hint}the passes: {', '.join(names)}")
    return PASSES[: names.index(last) + 1]


def start(
    network: Network,
    target: Target,
    samples: Samples | None,
    options: Options | None,
    tune: Tune | None = None,
    groups: Groups | None = None,
) -> Compilation:
    """The state before the first pass; InputError where the parts do not belong together."""
    if samples is not None and network.inputs:
        samples.expect(network.inputs[0].shape)
    for layer, group in (groups or {}).items():
        if layer not in network.rank or group.shape != (network[layer].size,):
            raise InputError(f"the groups name {group.size} neurons of layer '{layer}', which are not there")
    return Compilation(network, network, target, options or Options(), samples, tune, groups)


def _folder(path: Path | None) -> Folder | None:
    return None if path is None else Folder(path)


def run(
    state: Compilation, passes: tuple[tuple[str, Pass], ...], progress: Progress | None, dump: Folder | None = None
) -> tuple[Compilation, dict[str, Spent]]:
    """Run `passes` in order; returns the last state and what each took."""
    spent: dict[str, Spent] = {}
    if dump:
        dump.write(state, 0, "start")
    for index, (name, step) in enumerate(passes):
        if progress:
            progress(name, index, len(passes))
        begin = time.perf_counter()
        try:
            state = step(state)
        except Exception as error:
            if isinstance(error, DoesNotFit):
                error.stopped = Stopped(name, state, spent)
            if dump:
                _logger.info("pass '%s' failed; the last good state is %s", name, dump.path / f"{dump.last}.txt")
            raise
        spent[name] = Spent.since(begin)
        if dump:
            dump.write(state, index + 1, name)
    return state, spent
