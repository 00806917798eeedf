"""Intel's recurrent network for sequential MNIST against Loihi: ``python -m tests.experiments.lsnn_smnist``.

140 leaky and 100 adaptive neurons read an image pixel by pixel in 840 steps. Intel published its integer weights,
what the chip answered to 200 images, its time and its power (github intel-nrc-ecosystem/models, notebooks on
sequential MNIST). The script compiles the network, runs the same images, and prints both, in about ten seconds on
two cores. Needs the folder ../shared beside the checkout: the weights and the test images of MNIST.

Time. On the chip a spike that the host sends reaches the network two steps later, and a spike of the network reaches
its read-out one step later. In the time of the model (:mod:`snnc.network`) both happen at once, so that 837 steps of
the model are 840 of the chip.
"""

from __future__ import annotations

import gzip
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

import snnc
from snnc.image import Image
from snnc.network import Network, Population, Projection
from snnc.ops import Linear, canonical
from snnc.samples import Samples
from snnc.simulator import estimate, simulate
from snnc.simulator.energy import Estimate
from snnc.simulator.run import Run
from tests.experiments import page

SHARED = page.ROOT.parent / "shared"
IMAGES = 200
STEPS = 840
PIPELINE = 3
"""Steps by which the chip is later than the model: two of the input, one of the read-out."""

LEAKY, ADAPTIVE, CLASSES = 140, 100, 10
DECAY = 204
"""Of all membranes: int(4096 / 20), a time constant of 20 steps."""

# What was measured on the chip.
WRONG = {"targets": (1, 3, 8, 0, 9, 8, 7, 3, 4, 4, 2), "answers": (7, 5, 5, 8, 3, 0, 9, 2, 8, 0, 3)}
STEP_NS = 4670.0
"""Spike processing, without the host."""
STEP_PJ = (26_400.0, 42_400.0)
"""1.5835 mW at 16.65 us a step, core dynamic; and active power of 2.73 mW a copy of the network, at 15.54 us a step."""


def network(folder: Path) -> Network:
    """The published network from its three files of weights."""
    w_in, w_rec, w_out = (np.load(folder / f"seqmnist_lsnn_w_{k}.npy").astype(np.int64) for k in ("in", "rec", "out"))
    # Weights onto adaptive neurons are shifted by two bits more on the chip, as are their thresholds.
    gain = np.repeat([1, 4], [LEAKY, ADAPTIVE])
    parts = {"leaky": slice(0, LEAKY), "adaptive": slice(LEAKY, None)}
    projections = []
    for post, to in parts.items():
        projections += _projections("in", post, (w_in * gain)[:, to])
        projections += [p for pre, of in parts.items() for p in _projections(pre, post, (w_rec * gain)[of, to])]
    projections += [p for pre, of in parts.items() for p in _projections(pre, "out", w_out[of])]
    common = {"u_decay": 4096, "v_decay": DECAY, "bias": 0}
    populations = (
        Population("in", (len(w_in),), "input"),
        _population("leaky", LEAKY, "cuba_fixed", common | {"threshold": 127}),
        _population("adaptive", ADAPTIVE, "alif_fixed", common | {"threshold": 508, "w_decay": 5, "w_jump": 6}),
        _population("out", CLASSES, "cuba_fixed", common | {"threshold": (1 << 17) - 1}),
    )
    return Network(populations, tuple(projections), ("out",), 1e-3, "lsnn_smnist")


def _population(name: str, size: int, neuron: str, params: dict[str, int]) -> Population:
    return Population(name, (size,), neuron, {k: np.full(size, v, np.int32) for k, v in params.items()})


def _projections(pre: str, post: str, weight: np.ndarray) -> list[Projection]:
    """weight: (pre, post), as published: 8 bits beside the sign, which the chip holds for one sign at a time.

    All recurrent spikes take a step; those that lead back in the order of the network do so anyhow.
    """
    delay = int((pre, post) == ("leaky", "adaptive"))
    parts = {"up": np.maximum(weight, 0), "down": np.minimum(weight, 0)}
    return [
        Projection(f"{pre}-{post}-{sign}", pre, post, (Linear(canonical(part.T.astype(np.int16))),), delay)
        for sign, part in parts.items()
    ]


def samples(folder: Path) -> Samples:
    """The 200 test images as spikes, (images, steps of the model, 80 channels), and their labels.

    A pixel a step. Channels 2t and 2t + 1 spike where the grey level crosses the t-th of 40 thresholds on its way
    to the next pixel, up and down; channel 78 where it is white; 79 asks for the answer when all have been seen.
    """
    images, labels = (_idx(folder / f"t10k-{name}-ubyte.gz") for name in ("images-idx3", "labels-idx1"))
    chosen = np.random.RandomState(0).choice(10_000, IMAGES, replace=False)
    grey = images[chosen].reshape(IMAGES, -1)
    levels = np.linspace(0, 255, 40).astype(int)
    levels[0] = 1
    before, after, at = grey[:, :-1, None], grey[:, 1:, None], levels[1:39]
    spikes = np.zeros((IMAGES, STEPS, 80), np.uint8)
    pixels = grey.shape[1]
    spikes[:, : pixels - 1, 2:78:2] = (before < at) & (at <= after)
    spikes[:, : pixels - 1, 3:79:2] = (before >= at) & (at > after)
    spikes[:, :pixels, 78] = grey == 255
    spikes[:, pixels:, 79] = 1
    return Samples(spikes[:, : STEPS - PIPELINE], labels[chosen].astype(np.int64), "sequential MNIST")


def _idx(path: Path) -> np.ndarray:
    """An array of bytes in the idx format of MNIST."""
    data = gzip.decompress(path.read_bytes())
    sizes = np.frombuffer(data, ">u4", count=data[3], offset=4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(sizes)


def compiled() -> Image:
    """The network on the chip: one core, 350 compartments."""
    return snnc.compile(network(SHARED / "silicon/lsnn_smnist"), "loihi")


class Result(NamedTuple):
    """What the simulated chip did. answers: int64 (images,), the class of the highest membrane after the last step."""

    answers: np.ndarray
    run: Run
    estimate: Estimate


def simulated(image: Image, data: Samples) -> Result:
    """Run the images with the constants in use."""
    run = simulate(image, data, traces=[("v", "out")])
    return Result(run.traces["v", "out"][:, -1].argmax(axis=1), run, estimate(image, run))


def rows(image: Image, data: Samples) -> list[str]:
    """The comparison as a table."""
    found = simulated(image, data)
    wrong = np.flatnonzero(found.answers != data.labels)
    steps, synops = found.run.steps, found.run.core_synops.sum() / (IMAGES * found.run.steps)
    lines = [
        "| per step | Loihi 1 | simulated |",
        "|---|---|---|",
        f"| right answers | 189 of 200 | {IMAGES - len(wrong)} of {IMAGES} |",
        f"| wrong answers | {_list(WRONG['answers'])} | {_list(found.answers[wrong])} |",
        f"| where right is | {_list(WRONG['targets'])} | {_list(data.labels[wrong])} |",
        f"| synaptic operations, spikes | | {synops:.1f}, {found.run.core_spikes.sum() / (IMAGES * steps):.1f} |",
    ]
    for name in image.target.costs:
        cost = simulated(image.using(name), data).estimate
        low, high = (f"{pj / steps / 1000:.1f}" for pj in (cost.least_pj, cost.dynamic_pj))
        ns = cost.time_ns / steps
        energy = f"{low} to {high} nJ" if low != high else f"{high} nJ"
        measured = " and ".join(f"{pj / 1000:.1f}" for pj in STEP_PJ)
        lines.append(f"| time, {name} | {STEP_NS / 1000:.2f} us | {ns / 1000:.2f} us ({ns / STEP_NS - 1:+.1%}) |")
        lines.append(f"| energy, {name} | {measured} nJ | {energy} |")
    return lines


def _list(values: Iterable[int]) -> str:
    return " ".join(str(int(v)) for v in values)


def main() -> None:
    """Run everything and write the part of docs/numbers.md."""
    begin = time.perf_counter()
    text = rows(compiled(), samples(SHARED / "data/mnist"))
    print("\n".join(text))
    about = (
        "Intel's recurrent network of adaptive neurons for sequential MNIST, one core, 200 test images, 840 steps. "
        "The range of the energy: no update of a compartment active, and those active whose state changes. "
        "`python -m tests.experiments.lsnn_smnist`"
    )
    page.put("silicon", "Against Loihi 1", [about, "", *text], time.perf_counter() - begin)


if __name__ == "__main__":
    main()
