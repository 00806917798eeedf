"""Networks of others, as they are: ``python -m tests.experiments.networks`` (about two minutes on two cores).

Needs the folder of recordings ../shared beside the checkout. Writes its part of docs/numbers.md.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

import snnc
from snnc import runs
from snnc.datasets import Excerpt
from snnc.frontends.reading import Reading
from snnc.network import Network
from snnc.processors import processors
from snnc.simulator.floating import simulate
from tests.benchmarks import floats
from tests.benchmarks.timing import ROUNDS, table
from tests.experiments import page

SHARED = page.ROOT.parent / "shared"
CNN = SHARED / "nir/A04_cnn_sinabs.nir"
RECORDINGS = f"nmnist={SHARED}/data/nmnist/Train:steps=300,window=1"

# Spikes of the hidden layer in one Braille sample, as the frameworks published them for these graphs.
PUBLISHED = (
    ("A07_braille_bias_zero", "nir", 119),
    ("A07_braille_bias_zero", "norse", 118),
    ("A07_braille_bias_zero", "spyx", 151),
    ("A07_braille_bias_zero", "lava-dl", 109),
    ("A08_braille_nobias_sub", "snntorch", 118),
    ("A08_braille_nobias_sub", "norse", 103),
    ("A08_braille_nobias_sub", "spyx", 120),
)


def main() -> None:
    """Run everything and write the part."""
    begin = time.perf_counter()
    rows = [*_published(), *_nmnist(), *_speed()]
    page.put("networks", "Networks of other frameworks", rows, time.perf_counter() - begin)


def _load(path: Path, dt: float, **reading: str) -> Network:
    return snnc.load(path, **vars(Reading(dt=dt, **reading)))  # type: ignore[arg-type]


def _published() -> list[str]:
    rows = ["### Spikes as published", "", "Recurrent Braille readers of the NIR paper, one sample, hidden layer.", ""]
    rows += ["| graph | semantics | published | `snnc simulate --float` |", "|---|---|---|---|"]
    sample = np.load(SHARED / "nir/braille_input.npy")[None]
    for file, semantics, published in PUBLISHED:
        network = _load(SHARED / f"nir/{file}.nir", 1e-4, semantics=semantics)
        rows.append(f"| {file} | {semantics} | {published} | {simulate(network, sample)['lif1.lif'].sum()} |")
    return [*rows, ""]


def _nmnist() -> list[str]:
    text = f"The CNN that sinabs exported, 1 ms frames, 300 steps, {processors()} cores; time without reading the data."
    rows = ["### N-MNIST", "", text, ""]
    rows += ["| option | recordings | accuracy | time |", "|---|---|---|---|"]
    for option in ({"reset": "subtract"}, {"semantics": "sinabs"}):
        network = _load(CNN, 1e-3, **option)
        data = runs.network_inputs(network, {}, RECORDINGS, Excerpt("all"))
        found = runs.simulate_network(network, data)
        ((name, value),) = option.items()
        rows.append(f"| `--{name} {value}` | {found.samples:,} | {found.accuracy:.1%} | {found.seconds:.0f} s |")
    return [*rows, ""]


def _speed() -> list[str]:
    samples = snnc.data(RECORDINGS, "all").first(16)
    timings, same = floats.measure(CNN, samples)
    text = (
        f"The same CNN, {len(samples)} recordings, {ROUNDS} rounds in turn; of the output counts {same:.1%} are equal."
    )
    return ["### Speed of the float executor", "", text, "", *table(timings, floats.UNIT)]


if __name__ == "__main__":
    main()
