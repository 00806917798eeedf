"""snnc's engine, everything counted."""

import os
import time

import numpy as np
from child import Ready, load, serve

from snnc.image import Image
from snnc.ops import Linear
from snnc.samples import Samples
from snnc.simulator import prepare as flatten
from snnc.simulator import simulate
from tests.benchmarks.images import chain, linear

THREADS = int(os.environ.get("CONTEST_THREADS", "1"))


def load_image(folder):
    """The image and the samples of a folder: of an image that was stored, or of a net."""
    if (folder / "image.snnc").exists():
        return Image.load(folder / "image.snnc"), np.load(folder / "spikes.npy")
    net = load(folder)
    params = {"u_decay": net.u_decay, "v_decay": net.v_decay, "threshold": net.threshold}
    ops = [linear(*layer, size) for layer, size in zip(net.layers, net.sizes[1:], strict=True)]
    return chain(net.sizes[:1], ops, [params] * len(ops)), net.spikes


def prepare(folder):
    begin = time.perf_counter()
    image, spikes = load_image(folder)
    visited = image.usage.stored[: image.network.inputs[0].size].sum(axis=1)  # the use of cores, which loading checks
    loaded = time.perf_counter()
    prepared = flatten(image)
    figures = {"loaded": loaded - begin, "flattened": time.perf_counter() - loaded, **sizes(prepared)}

    def part(steps):
        """The same part of every sample: samples are what threads share."""
        return spikes[:, : steps // len(spikes)]

    def timed(steps):
        samples = Samples(part(steps))
        begin = time.perf_counter()
        simulate(prepared, samples, threads=THREADS)
        return time.perf_counter() - begin

    def synops(steps):
        return int(np.count_nonzero(part(steps).reshape(-1, len(visited)), axis=0) @ visited)

    return Ready(timed, spikes.shape[0] * spikes.shape[1], synops, len(spikes), figures)


def sizes(prepared):
    """Bytes of the tables of synapses, and synapses in them: of a convolution those of its kernel."""
    tables = prepared.tables
    held = sum(array.nbytes for array in (tables.index, tables.fans, tables.packed, tables.plain))
    ops = [p.op for p in prepared.network.projections]
    return {
        "synapse_bytes": held,
        "synapses": sum(op.weight.nnz if isinstance(op, Linear) else np.count_nonzero(op.weight).item() for op in ops),
    }


if __name__ == "__main__":
    serve(prepare)
