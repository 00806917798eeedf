"""Lava on the CPU, `fixed_pt`, with the start of its processes, which every run needs anew."""

import time

from child import Ready, serve
from engine import load_image

from snnc.samples import Samples
from snnc.targets import lava


def prepare(folder):
    image, spikes = load_image(folder)

    def timed(_):
        begin = time.perf_counter()
        lava.run(image.network, Samples(spikes))
        return time.perf_counter() - begin

    steps = spikes.shape[0] * spikes.shape[1]
    return Ready(timed, steps, lambda _: 0, unit=steps)


if __name__ == "__main__":
    serve(prepare)
