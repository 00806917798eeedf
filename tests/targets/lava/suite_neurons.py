"""Neurons beyond the plain one, values and read-outs."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from integer_chains import conv, dense, layer
from integer_graphs import graph
from integer_networks import adaptive, read_out
from suite_case import Rng, case, mixed

from snnc.network import Network, Population, Semantics
from snnc.ops import Shape


def values(name: str, shape: Shape, **params: Any) -> Population:
    """Neurons whose spikes carry their membrane."""
    return replace(layer(name, shape, **params), neuron="graded_fixed")


def subtracts(population: Population, when: str = "now") -> Population:
    """The same neurons, whose spikes take the threshold off the membrane at that moment."""
    return replace(population, semantics=Semantics("subtract", when=when))


def resting(name: str, shape: Shape, steps: Any, **params: Any) -> Population:
    """Neurons that rest for so many steps after a spike."""
    plain = layer(name, shape, **params)
    rest = np.broadcast_to(np.asarray(steps, np.int32), shape).copy()
    return replace(plain, params={**plain.params, "refractory": rest})


def one_layer(*populations: Population, rng: Rng, inputs: int = 24) -> Network:
    """The input into the first of the populations, and each into the next."""
    made = (Population("in", (inputs,), "input"), *populations)
    links = [(a.name, b.name, dense(rng.integers(-90, 120, (b.size, a.size)))) for a, b in pairwise(made)]
    return graph((inputs,), populations, *links)


@case("own thresholds", net="threshold differs between neurons", quick=True)
def own_thresholds(rng: Rng) -> Network:
    """A threshold for each neuron."""
    return one_layer(
        layer("a", (16,), threshold=rng.integers(0, 500, 16)),
        layer("b", (8,), threshold=rng.integers(50, 300, 8)),
        rng=rng,
    )


@case("own decays", "cuba", net="u_decay differs")
def own_decays(rng: Rng) -> Network:
    """Decays for each neuron, both ends among them."""
    ends = [0, 1, 4095, 4096]
    return one_layer(
        layer("a", (16,), u_decay=[*ends, *rng.integers(0, 4097, 12)], v_decay=rng.permutation([*ends, *range(12)])),
        layer("b", (8,), v_decay=rng.integers(0, 4097, 8)),
        rng=rng,
    )


@case("conv", "own thresholds", "own decays", "own biases", net="differs", rate=0.3)
def own_everything(rng: Rng) -> Network:
    """All registers differ from neuron to neuron, of an image."""
    shape = (3, 4, 5)
    registers = {
        "u_decay": rng.integers(0, 4097, shape),
        "v_decay": rng.integers(0, 4097, shape),
        "threshold": rng.integers(0, 400, shape),
        "bias": rng.integers(-60, 60, shape),
    }
    return graph(
        (2, 5, 6),
        (layer("a", shape, **registers), layer("b", (6,))),
        ("in", "a", conv(mixed(rng, 3, 2, 2, 2))),
        ("a", "b", dense(mixed(rng, 6, 60))),
    )


@case("refractory", net="rest after a spike", rate=0.4, steps=12, quick=True)
def refractory(rng: Rng) -> Network:
    """Neurons that rest, each for its own number of steps, beyond a sample's end."""
    return one_layer(resting("a", (16,), np.arange(16)), resting("b", (8,), 1, threshold=100), rng=rng)


@case("refractory", "cuba", "recurrent", "own thresholds", net="rest after a spike", rate=0.3, samples=3)
def refractory_loop(rng: Rng) -> Network:
    """Currents go on while neurons rest, and feed them again."""
    thresholds = rng.integers(100, 300, 16)
    return graph(
        (20,),
        (
            resting("a", (16,), rng.integers(0, 4, 16), u_decay=600, threshold=thresholds),
            layer("b", (8,), threshold=90),
        ),
        ("in", "a", dense(mixed(rng, 16, 20))),
        ("a", "a", dense(mixed(rng, 16, 16))),
        ("a", "b", dense(mixed(rng, 8, 16))),
    )


@case("adaptive", net="adapt", rate=0.4, steps=14, quick=True)
def adapting(rng: Rng) -> Network:
    """Second compartments that spikes push down, with decays and jumps of their own."""
    jumps = {"w_decay": rng.integers(0, 4097, 16), "w_jump": rng.integers(0, 200, 16)}
    return one_layer(adaptive("a", (16,), v_decay=128, **jumps), layer("b", (8,), threshold=90), rng=rng)


@case("adaptive", "saturates below", net="adapt", rate=0.8, steps=14, samples=2)
def adapting_to_the_end(rng: Rng) -> Network:
    """Jumps so large that the second compartment saturates."""
    fixed = {"w_decay": 0, "w_jump": (1 << 17) - 1, "bias": 4000, "v_decay": 0}
    deep = adaptive("a", (6,), **{**fixed, "u_decay": 0, "w_decay": np.array([0, 1, 300, 2000, 4095, 4096])})
    return graph(
        (300,),
        (deep, layer("b", (5,), threshold=60)),
        ("in", "a", dense(rng.integers(0, 256, (6, 300)))),
        ("a", "b", dense(rng.integers(-60, 128, (5, 6)))),
    )


@case("adaptive", "recurrent", "refractory", net="feeds back to itself and has delays", rate=0.3, samples=3)
def adapting_loop(rng: Rng) -> Network:
    """The neurons of an LSNN: they adapt, rest, and feed themselves."""
    neurons = adaptive("a", (16,), v_decay=200, w_decay=60, w_jump=40, threshold=120)
    neurons = replace(neurons, params={**neurons.params, "refractory": np.full(16, 2, np.int32)})
    return graph(
        (20,),
        (neurons, read_out("out", (4,), v_decay=300)),
        ("in", "a", dense(mixed(rng, 16, 20))),
        ("a", "a", dense(mixed(rng, 16, 16)), 1),
        ("a", "out", dense(mixed(rng, 4, 16))),
    )


@case("subtract", "if", net="subtracts the threshold", rate=0.4, steps=12, quick=True)
def subtracting(rng: Rng) -> Network:
    """Spikes that take the threshold off the membrane; what is left can spike again, step after step."""
    return one_layer(
        subtracts(layer("a", (16,), v_decay=0, threshold=60)), subtracts(layer("b", (8,), threshold=90)), rng=rng
    )


@case("subtract", "own thresholds", "own decays", "saturates above", net="subtracts the threshold", rate=0.9, samples=2)
def subtracting_at_the_end(rng: Rng) -> Network:
    """Thresholds from nothing to the most, of membranes that saturate."""
    thresholds = np.array([0, 1, 500, 60_000, (1 << 17) - 2, (1 << 17) - 1])
    top = subtracts(layer("a", (6,), threshold=thresholds, u_decay=0, v_decay=np.array([0, 0, 1, 2, 0, 0])))
    return graph(
        (300,),
        (top, layer("b", (5,), threshold=60)),
        ("in", "a", dense(rng.integers(100, 256, (6, 300)))),
        ("a", "b", dense(rng.integers(-60, 128, (5, 6)))),
    )


@case("subtract", "subtract next", "cuba", "own thresholds", net="subtracts the threshold", rate=0.5, steps=14)
def subtracting_next(rng: Rng) -> Network:
    """The same in the step after the spike."""
    return _subtracting(rng, "next")


@case("subtract", "subtract recheck", "cuba", "own thresholds", net="subtracts the threshold", rate=0.5, steps=14)
def subtracting_recheck(rng: Rng) -> Network:
    """The same in the step after the spike, and at once where that was not enough."""
    return _subtracting(rng, "recheck")


def _subtracting(rng: Rng, when: str) -> Network:
    thresholds = rng.integers(0, 200, 16)
    return one_layer(
        subtracts(layer("a", (16,), u_decay=1500, v_decay=50, threshold=thresholds), when),
        subtracts(resting("b", (8,), [0, 0, 0, 0, 1, 1, 2, 3], threshold=90), when),
        rng=rng,
    )


@case("subtract", "refractory", "recurrent", "cuba", net="subtracts|rest", rate=0.3)
def subtracting_loop(rng: Rng) -> Network:
    """The same in a loop, where neurons rest, too, and lose what was left."""
    return graph(
        (20,),
        (subtracts(resting("a", (16,), rng.integers(0, 3, 16), u_decay=900)), layer("b", (8,), threshold=100)),
        ("in", "a", dense(mixed(rng, 16, 20))),
        ("a", "a", dense(mixed(rng, 16, 16))),
        ("a", "b", dense(mixed(rng, 8, 16))),
    )


@case("subtract", "conv", "pool", net="subtracts the threshold", rate=0.4)
def subtracting_image(rng: Rng) -> Network:
    """The same of images, sums over windows among them."""
    pooled = np.full((3, 1, 2, 2), 40)
    return graph(
        (2, 5, 5),
        (subtracts(layer("a", (3, 4, 4), threshold=120)), subtracts(layer("b", (3, 2, 2), threshold=50, v_decay=0))),
        ("in", "a", conv(mixed(rng, 3, 2, 2, 2))),
        ("a", "b", conv(pooled, stride=(2, 2), groups=3)),
    )


@case("graded", net="carry values", quick=True)
def graded(rng: Rng) -> Network:
    """Spikes that carry the membrane, times each weight."""
    return one_layer(values("a", (12,), threshold=90), layer("b", (8,), threshold=6000), rng=rng)


@case("graded", "conv", "delay", "wraps", net="carry values|chains", rate=0.4, samples=2)
def graded_branches(rng: Rng) -> Network:
    """Values through a kernel, a matrix and a delay, so large that currents wrap."""
    return graph(
        (2, 5, 5),
        (
            values("a", (3, 4, 4), threshold=60, v_decay=0),
            layer("b", (2, 3, 3)),
            read_out("out", (5,), u_decay=0),
        ),
        ("in", "a", conv(mixed(rng, 3, 2, 2, 2))),
        ("a", "b", conv(mixed(rng, 2, 3, 2, 2))),
        ("a", "out", dense(mixed(rng, 5, 48)), 2),
        ("b", "out", dense(mixed(rng, 5, 18))),
    )


@case("values", net="zeros and ones")
def input_of_values(rng: Rng) -> tuple[Network, np.ndarray]:
    """Whole numbers of both signs as input."""
    network = one_layer(layer("a", (16,), threshold=2000), layer("b", (8,), threshold=120), rng=rng)
    data = rng.integers(-60, 61, (3, 10, 24)) * (rng.random((3, 10, 24)) < 0.3)
    return network, data.astype(np.int32)


@case("values", "conv", net="zeros and ones")
def image_of_values(rng: Rng) -> tuple[Network, np.ndarray]:
    """Grey values into a convolution, the same in every step."""
    network = graph(
        (1, 6, 6),
        (layer("a", (3, 4, 4), threshold=30_000, v_decay=0), layer("b", (5,))),
        ("in", "a", conv(mixed(rng, 3, 1, 3, 3))),
        ("a", "b", dense(rng.integers(-60, 128, (5, 48)))),
    )
    data = np.repeat(rng.integers(0, 256, (3, 1, 1, 6, 6)), 8, axis=1)
    return network, data.astype(np.int32)


# Read-outs.


@case("read-out", "bias", quick=True)
def read_membranes(rng: Rng) -> Network:
    """A last layer that never spikes."""
    return one_layer(layer("a", (16,)), read_out("out", (5,), v_decay=300, bias=7), rng=rng)


@case("read-out", "saturates above", "saturates below", net="threshold differs", rate=0.9, samples=2, steps=12)
def read_saturated(rng: Rng) -> Network:
    """Membranes that stay at the ends of their range."""
    weight = np.where(np.arange(6)[:, None] % 2, 254, -256) * np.ones((6, 150), int)
    return graph(
        (200,),
        (layer("a", (150,), threshold=rng.integers(4000, 9000, 150)), read_out("out", (6,), u_decay=0, v_decay=0)),
        ("in", "a", dense(rng.integers(0, 100, (150, 200)))),
        ("a", "out", dense(weight)),
    )


@case("read-out", "own decays", "cuba", net="v_decay differs")
def read_own_decays(rng: Rng) -> Network:
    """A read-out of decays that differ."""
    return one_layer(
        layer("a", (16,), u_decay=700, threshold=300), read_out("out", (6,), v_decay=np.arange(6) * 700), rng=rng
    )


@case("read-out", "branch", "join", net="netx runs chains")
def read_between(rng: Rng) -> Network:
    """Read-outs at two depths, one of them fed by two layers, and neurons behind the first."""
    made = graph(
        (20,),
        (layer("a", (12,)), read_out("early", (4,)), layer("b", (10,)), read_out("late", (4,), u_decay=500)),
        ("in", "a", dense(mixed(rng, 12, 20))),
        ("a", "early", dense(mixed(rng, 4, 12))),
        ("a", "b", dense(mixed(rng, 10, 12))),
        ("b", "late", dense(mixed(rng, 4, 10))),
        ("a", "late", dense(mixed(rng, 4, 12)), 1),
    )
    return replace(made, outputs=("early", "late"))


@case("read-out", "dense")
def read_at_once(rng: Rng) -> Network:
    """Nothing but a read-out."""
    return one_layer(read_out("out", (6,), u_decay=400, v_decay=90), rng=rng)
