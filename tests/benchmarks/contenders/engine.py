"""snnc's engine, everything counted: on cores of 1024 neurons in layer order, as a mapping of no search has them."""

import os
import time

import numpy as np
from child import Ready, load, serve
from scipy import sparse

from snnc.image import Image, Mapping
from snnc.network import Network, Population, Projection
from snnc.ops import Linear
from snnc.samples import Samples
from snnc.simulator import prepare as flatten
from snnc.simulator import simulate
from tests.small_chips import few

THREADS = int(os.environ.get("CONTEST_THREADS", "1"))
NEURONS_PER_CORE = 1024


def image_of(net):
    sizes = net.sizes[1:]
    layers = [
        Population(
            f"layer{k}",
            (size,),
            "cuba_fixed",
            {
                name: np.full(size, value, np.int32)
                for name, value in (
                    ("u_decay", net.u_decay),
                    ("v_decay", net.v_decay),
                    ("threshold", net.threshold),
                    ("bias", 0),
                )
            },
        )
        for k, size in enumerate(sizes)
    ]
    names = ["input", *(p.name for p in layers)]
    projections = []
    for k, (p, t, w) in enumerate(net.layers):
        into = sparse.csr_array((w.astype(np.int16), t, p), shape=(len(p) - 1, sizes[k])).T.tocsr()
        projections.append(Projection(f"synapses{k}", names[k], names[k + 1], (Linear(into),)))
    network = Network(
        (Population("input", net.sizes[:1], "input"), *layers), tuple(projections), (names[-1],), 1e-3, "contest"
    )
    return mapped(network)


def mapped(network):
    """On cores in layer order; a core holds neurons of one layer. The chip has enough of them."""
    core_of, cores = np.full(network.size, -1, np.int32), 0
    for population in network.populations:
        if population.neuron != "input":
            start = network.offsets[population.name]
            core_of[start : start + population.size] = cores + np.arange(population.size) // NEURONS_PER_CORE
            cores += -(-population.size // NEURONS_PER_CORE)
    return Image(network, Mapping(core_of, np.arange(cores, dtype=np.int32)), few(cores))


def load_image(folder):
    """The image and the samples of a folder: of an image that was stored, or of a net."""
    if (folder / "image.snnc").exists():
        return Image.load(folder / "image.snnc"), np.load(folder / "spikes.npy")
    net = load(folder)
    return image_of(net), net.spikes


def prepare(folder):
    begin = time.perf_counter()
    image, spikes = load_image(folder)
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

    visited = image.usage.stored[: image.network.inputs[0].size].sum(axis=1)

    def synops(steps):
        return int(np.count_nonzero(part(steps).reshape(-1, len(visited)), axis=0) @ visited)

    return Ready(timed, spikes.shape[0] * spikes.shape[1], synops, len(spikes), figures)


def sizes(prepared):
    """Bytes of the synapses' tables and synapses in them."""
    tables = prepared.tables
    held = sum(array.nbytes for array in (tables.fans, tables.channels, *synaptic(tables)))
    return {"synapse_bytes": held, "synapses": sum(count(p) for p in prepared.network.projections)}


def synaptic(tables):
    return [tables.packed, tables.plain]


def count(projection):
    op = projection.op
    return op.weight.nnz if isinstance(op, Linear) else int(np.count_nonzero(op.weight))


if __name__ == "__main__":
    serve(prepare)
