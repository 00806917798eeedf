"""Run the same samples on two executors and compare every spike of every layer."""

from __future__ import annotations

from collections.abc import Callable

from snnc.compare import Comparison, compare
from snnc.errors import UsageError
from snnc.image import Image
from snnc.samples import Samples
from snnc.simulator import reference, simulate

Progress = Callable[[int, int, str], None]
EXECUTORS = ("reference", "lava")


def verify(image: Image, samples: Samples, *, on: str = "reference", progress: Progress | None = None) -> Comparison:
    """Compare the engine with `on`, one of EXECUTORS.

    "reference" is the slow integer specification, "lava" is Intel's Lava on the CPU (fixed_pt models) in
    a process of its own. Raises UsageError for another name or where Lava is not set up.
    """
    if on not in EXECUTORS:
        raise UsageError(f"there is no executor '{on}'", fix=f"choose one of {', '.join(EXECUTORS)}")
    if on == "lava":
        from snnc.targets import lava

        def move(done: int, every: int) -> None:
            if progress is not None:
                progress(done, every, "steps")

        theirs = lava.run(image.network, samples, progress=move)
    else:
        theirs = reference.simulate(image.network, samples.spikes)
    names = [p.name for p in image.network.layers]
    ours = simulate(image.network, samples, rasters=names).rasters
    return compare(ours, {name: theirs[name] for name in names})
