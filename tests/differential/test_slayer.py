"""The profile "lava-dl" means what SLAYER does: blocks of lava-dl, as Lava's environment has it, in every spike.

Weights are multiples of 2^-14, whose sums are exact in SLAYER's float32: they lie between the steps of its state
(2^-12), so that its rounding shows, and none decides a spike by how it is added up.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import nir
import numpy as np
import pytest
from peers import DT, LAYERS, Rng, assert_agree, graph, rounded, spikes

from snnc.frontends.nir import read
from snnc.frontends.reading import Reading
from snnc.simulator.floating import simulate

READING = Reading(semantics="lava-dl", dt=DT)
SCRIPT = Path(__file__).with_name("slayer_run.py")


def lif(rng: Rng, n: int) -> nir.LIF:
    every = (tau := DT / rng.uniform(0.05, 0.5), tau / DT, 0, rng.uniform(0.8, 1.2), 0)
    return nir.LIF(*(np.full(n, value) for value in every))


def if_(rng: Rng, n: int) -> nir.IF:
    return nir.IF(*(np.full(n, value) for value in (1.0, rng.uniform(0.8, 1.6), 0.0)))


def cuba(rng: Rng, n: int) -> nir.CubaLIF:
    current, membrane = DT / rng.uniform(0.1, 0.9), DT / rng.uniform(0.05, 0.5)
    every = (current, membrane, membrane / DT, 0, rng.uniform(1.2, 2.5), 0, current / DT)
    return nir.CubaLIF(*(np.full(n, value) for value in every))


def whole(rng: Rng, n: int) -> nir.IF:
    """With weights in quarters it often meets its threshold."""
    return nir.IF(np.ones(n), np.ones(n), np.zeros(n))


# name: neurons, whether the first layer feeds itself back, what weights are multiples of
NETWORKS: dict[str, tuple[Callable[[Rng, int], nir.NIRNode], bool, float]] = {
    **{
        f"{name} {form} {seed}": (neurons, form == "recurrent", 2.0**-14)
        for name, neurons in (("lif", lif), ("if", if_), ("cuba", cuba))
        for form in ("forward", "recurrent")
        for seed in range(3)
    },
    "at the threshold": (whole, False, 0.25),
}


@dataclass(frozen=True)
class Ran:
    """A network that SLAYER has run: its file, what went in, and the spikes of each layer."""

    path: Path
    spikes: np.ndarray
    found: dict[str, np.ndarray]


@pytest.fixture(scope="module")
def ran(lava: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ran]:
    """All networks, in one run of SLAYER."""
    folder = tmp_path_factory.mktemp("slayer")
    tell = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = subprocess.run([lava, "-c", tell], check=True, capture_output=True, text=True).stdout.strip()
    arrays, inputs = {}, {}
    for number, (name, (neurons, recurrent, unit)) in enumerate(NETWORKS.items()):
        built = rounded(graph(np.random.default_rng(number), neurons, recurrent=recurrent, plain=()), unit)
        nir.write(folder / f"{name}.nir", built)
        inputs[name] = spikes(number)
        arrays |= {f"{name}/{key}": value for key, value in _arrays(built, inputs[name])}
    np.savez(folder / "in.npz", **arrays)
    command = [sys.executable, SCRIPT, packages, folder / "in.npz", folder / "out.npz"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    out = np.load(folder / "out.npz")
    return {
        name: Ran(folder / f"{name}.nir", x, {layer: out[f"{name}/{layer}"] for layer in LAYERS})
        for name, x in inputs.items()
    }


def _arrays(built: nir.NIRGraph, x: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    yield "spikes", x
    for k, layer in enumerate(LAYERS, 1):
        node, dense = built.nodes[layer], built.nodes[f"fc{k}"]
        current = DT / node.tau_syn[0] if isinstance(node, nir.CubaLIF) else 1.0
        voltage = DT / node.tau_mem[0] if isinstance(node, nir.CubaLIF) else 0.0
        if isinstance(node, nir.LIF):
            voltage = DT / node.tau[0]
        yield f"{layer}/neuron", np.array([node.v_threshold[0], current, voltage])
        yield f"{layer}/weight", dense.weight
        yield f"{layer}/bias", dense.bias
    if "rec" in built.nodes:
        yield "lif1/recurrent", built.nodes["rec"].weight
        yield "lif1/recurrent_bias", built.nodes["rec"].bias


@pytest.mark.parametrize("name", NETWORKS)
def test_every_spike_of_slayer(ran: dict[str, Ran], name: str) -> None:
    run = ran[name]
    assert_agree(run.found, read(run.path, READING), run.spikes)


def test_membranes_meet_their_thresholds(ran: dict[str, Ran]) -> None:
    """If they did not, a threshold between two quarters would change nothing."""
    run = ran["at the threshold"]
    network = read(run.path, READING)
    first = network.layers[0]
    lower = replace(first, params={**first.params, "v_threshold": first.params["v_threshold"] - 2.0**-6})
    moved = replace(network, populations=tuple(lower if p is first else p for p in network.populations))
    assert np.any(simulate(moved, run.spikes)["lif1"] != run.found["lif1"])
