"""How long the executors of one image take for the same samples: ``python -m tests.benchmarks.executors IMAGE``.

Lava is timed as a user meets it, the start of its processes included.
"""

from __future__ import annotations

import sys
from pathlib import Path

import snnc
from snnc.image import Image
from snnc.samples import Samples
from snnc.simulator import reference, simulate
from snnc.targets import lava
from tests.benchmarks.timing import Timing, in_turn, table

UNIT = "the engine"


def measure(image: Image, samples: Samples) -> list[Timing]:
    """Time every executor of images on `samples`."""
    return in_turn(
        {
            "engine, 1 thread, all counts": lambda: simulate(image, samples, threads=1),
            "reference (numpy)": lambda: reference.simulate(image.network, samples.spikes),
            "Lava fixed_pt, start included": lambda: lava.run(image.network, samples),
        }
    )


if __name__ == "__main__":
    compiled = snnc.open_image(Path(sys.argv[1]))
    print("\n".join(table(measure(compiled, snnc.data("digits").first(100)), UNIT)))
