"""The compiler as one tuple of passes, and the loop that runs them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from snnc.compilation import Compilation, Options
from snnc.image import Image, Mapping
from snnc.network import Network
from snnc.passes import approximate, bias, check, dissolve, lower, partition, place, profile, quantize, route, verify
from snnc.samples import Samples
from snnc.target import Target
from snnc.version import VERSION

Pass = Callable[[Compilation], Compilation]

PASSES: tuple[tuple[str, Pass], ...] = (
    ("dissolve", dissolve.run),
    ("lower", lower.run),
    ("approximate", approximate.run),
    ("bias", bias.run),
    ("check", check.operations),
    ("quantize", quantize.run),
    ("profile", profile.run),
    ("partition", partition.run),
    ("fit", check.capacity),
    ("place", place.run),
    ("route", route.run),
    ("verify", verify.run),
)


@dataclass(frozen=True, eq=False)
class Result:
    """A finished compilation. seconds: wall time of each pass; kept out of the image, which is deterministic."""

    image: Image
    seconds: dict[str, float]


def compile(
    network: Network,
    target: Target,
    *,
    samples: Samples | None = None,
    options: Options | None = None,
    provenance: dict[str, Any] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Result:
    """Run all passes.

    samples: calibration data for rates and accuracy. provenance: plain data on the source, kept in the
    image. progress: called with (pass, index, passes) before each pass. Raises DoesNotFit,
    VerificationError, InputError.
    """
    state = start(network, target, samples, options)
    state, seconds = run(state, PASSES, progress)
    assert state.core_of is not None
    assert state.site_of is not None
    options = state.options
    record = {
        "snnc": VERSION,
        "source": provenance or {},
        "options": asdict(options),
        "passes": dict(state.log),
    }
    return Result(Image(state.network, Mapping(state.core_of, state.site_of), target, record), seconds)


def check_only(network: Network, target: Target, options: Options | None = None) -> None:
    """The operation rules alone: DoesNotFit in a fraction of a second, without quantising or mapping."""
    last = [name for name, _ in PASSES].index("check")
    run(start(network, target, None, options), PASSES[: last + 1], None)


def start(network: Network, target: Target, samples: Samples | None, options: Options | None) -> Compilation:
    """The state before the first pass; InputError where the parts do not belong together."""
    if samples is not None and network.inputs:
        samples.expect(network.inputs[0].shape)
    return Compilation(network, network, target, options or Options(), samples)


def run(
    state: Compilation, passes: tuple[tuple[str, Pass], ...], progress: Callable[[str, int, int], None] | None
) -> tuple[Compilation, dict[str, float]]:
    """Run `passes` in order; returns the last state and the seconds each took."""
    seconds = {}
    for index, (name, step) in enumerate(passes):
        if progress:
            progress(name, index, len(passes))
        begin = time.perf_counter()
        state = step(state)
        seconds[name] = time.perf_counter() - begin
    return state, seconds
