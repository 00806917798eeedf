"""Branches and loops, of which a ``.net`` holds hardly any."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from integer_chains import conv, dense, layer
from integer_graphs import graph
from suite_case import Rng, case, mixed, ticket

from snnc.network import Network, Population, Projection

CHAINS = "netx runs chains"
BACK = "back to '.*'; in netx"


# Branches and joins.


@case("short cut", "join", "branch", net=CHAINS, quick=True)
def short_cut(rng: Rng) -> Network:
    """The input also reaches the last layer directly, two layers early."""
    return graph(
        (20,),
        (layer("a", (16,)), layer("b", (16,)), layer("c", (8,), threshold=180)),
        ("in", "a", dense(mixed(rng, 16, 20))),
        ("a", "b", dense(mixed(rng, 16, 16))),
        ("b", "c", dense(mixed(rng, 8, 16))),
        ("in", "c", dense(ticket(rng, 8, 20, density=0.3))),
    )


@case("branch", "join", net=CHAINS)
def diamond(rng: Rng) -> Network:
    """Two branches of equal length that meet."""
    return graph(
        (20,),
        (layer("a", (12,)), layer("b", (10,)), layer("c", (8,))),
        ("in", "a", dense(mixed(rng, 12, 20))),
        ("in", "b", dense(mixed(rng, 10, 20))),
        ("a", "c", dense(mixed(rng, 8, 12))),
        ("b", "c", dense(mixed(rng, 8, 10))),
    )


@case("branch", "join", "short cut", net=CHAINS, samples=2, steps=14)
def uneven_branches(rng: Rng) -> Network:
    """Branches of one, two and three layers that meet, and go on together."""
    return graph(
        (16,),
        tuple(layer(name, (10,), threshold=70) for name in "abcde"),
        ("in", "a", dense(mixed(rng, 10, 16))),
        ("a", "b", dense(mixed(rng, 10, 10))),
        ("b", "c", dense(mixed(rng, 10, 10))),
        ("in", "d", dense(mixed(rng, 10, 16))),
        ("c", "d", dense(mixed(rng, 10, 10))),
        ("a", "d", dense(mixed(rng, 10, 10))),
        ("d", "e", dense(mixed(rng, 10, 10))),
        ("a", "e", dense(ticket(rng, 10, 10, density=0.2))),
    )


@case("branch", net=CHAINS)
def fork(rng: Rng) -> Network:
    """Two layers beside each other, both of them outputs."""
    made = graph(
        (20,),
        (layer("a", (12,)), layer("b", (6,), threshold=120), layer("c", (7,), threshold=120)),
        ("in", "a", dense(mixed(rng, 12, 20))),
        ("a", "b", dense(mixed(rng, 6, 12))),
        ("a", "c", dense(mixed(rng, 7, 12))),
    )
    return replace(made, outputs=("b", "c", "a"))


@case("conv", "branch", "join", "short cut", "padding", net=CHAINS, rate=0.3, quick=True)
def residual(rng: Rng) -> Network:
    """A block of two convolutions, around which its input is added."""
    shape = (3, 5, 6)
    kernel = np.zeros((3, 3, 1, 1), int)
    kernel[range(3), range(3)] = 100
    return graph(
        (2, 5, 6),
        tuple(layer(name, shape, threshold=160) for name in "abc"),
        ("in", "a", conv(mixed(rng, 3, 2, 3, 3), padding=(1, 1))),
        ("a", "b", conv(mixed(rng, 3, 3, 3, 3), padding=(1, 1))),
        ("b", "c", conv(mixed(rng, 3, 3, 3, 3), padding=(1, 1))),
        ("a", "c", conv(kernel)),
    )


@case("conv", "sparse", "flatten", "join", net=CHAINS, rate=0.3)
def conv_beside_dense(rng: Rng) -> Network:
    """Kernels and single synapses into the same neurons."""
    return graph(
        (2, 5, 5),
        (layer("a", (3, 4, 4)), layer("b", (2, 3, 3), threshold=250)),
        ("in", "a", conv(mixed(rng, 3, 2, 2, 2))),
        ("a", "b", conv(mixed(rng, 2, 3, 2, 2))),
        ("in", "b", dense(ticket(rng, 18, 50, density=0.2))),
    )


@case("line", "join", "short cut", net=CHAINS, rate=0.3)
def line_beside_dense(rng: Rng) -> Network:
    """The same of images of one row."""
    return graph(
        (2, 12),
        (layer("a", (3, 10)), layer("b", (2, 9), threshold=200)),
        ("in", "a", conv(mixed(rng, 3, 2, 1, 3), line=True)),
        ("a", "b", conv(mixed(rng, 2, 3, 1, 2), line=True)),
        ("in", "b", dense(ticket(rng, 18, 24, density=0.2))),
    )


@case("conv", net="cannot follow a dense layer", rate=0.3)
def conv_after_dense(rng: Rng) -> Network:
    """A dense layer whose neurons are arranged as an image."""
    return graph(
        (20,),
        (layer("a", (2, 4, 5)), layer("b", (3, 3, 4), threshold=120)),
        ("in", "a", dense(mixed(rng, 40, 20))),
        ("a", "b", conv(mixed(rng, 3, 2, 2, 2))),
    )


@case("conv", "sparse", "parallel", net="side by side")
def parallel(rng: Rng) -> Network:
    """Two convolutions and a matrix between the same two layers."""
    return graph(
        (2, 5, 5),
        (layer("a", (2, 4, 4), threshold=250),),
        ("in", "a", conv(mixed(rng, 2, 2, 2, 2))),
        ("in", "a", conv(mixed(rng, 2, 2, 4, 4), padding=(1, 1))),
        ("in", "a", dense(ticket(rng, 32, 50, density=0.1))),
    )


@case("delay", "short cut", "join", net=CHAINS, steps=14, samples=2)
def delayed_short_cut(rng: Rng) -> Network:
    """A short cut that waits for the layers it passes and for its own delay besides."""
    return graph(
        (20,),
        (layer("a", (12,)), layer("b", (8,))),
        ("in", "a", dense(mixed(rng, 12, 20)), 1),
        ("a", "b", dense(mixed(rng, 8, 12))),
        ("in", "b", dense(ticket(rng, 8, 20, density=0.3)), 4),
    )


@case("unfed", "bias", net=CHAINS)
def driven_by_bias(rng: Rng) -> Network:
    """Neurons without synapses, whose bias alone makes them spike, join the input's."""
    return graph(
        (20,),
        (layer("clock", (4,), bias=np.array([30, 50, 90, 210])), layer("a", (8,))),
        ("in", "a", dense(mixed(rng, 8, 20))),
        ("clock", "a", dense(mixed(rng, 8, 4))),
    )


# Loops. Several samples: nothing that is under way may reach the next one.


@case("recurrent", "spikes in the last step", rate=0.3, samples=4, quick=True)
def recurrent(rng: Rng) -> Network:
    """Synapses from a layer to itself, which arrive in the next step."""
    return graph(
        (20,),
        (layer("a", (16,)), layer("b", (8,), threshold=120)),
        ("in", "a", dense(mixed(rng, 16, 20))),
        ("a", "a", dense(mixed(rng, 16, 16))),
        ("a", "b", dense(mixed(rng, 8, 16))),
    )


@case("recurrent", "cuba", rate=0.3, samples=4, steps=9)
def recurrent_twice(rng: Rng) -> Network:
    """Two layers that each feed themselves, one by few synapses."""
    return graph(
        (20,),
        (layer("a", (16,), u_decay=900), layer("b", (12,), u_decay=2000, threshold=120)),
        ("in", "a", dense(mixed(rng, 16, 20))),
        ("a", "a", dense(ticket(rng, 16, 16, density=0.15))),
        ("a", "b", dense(mixed(rng, 12, 16))),
        ("b", "b", dense(mixed(rng, 12, 12))),
    )


@case("recurrent", "all positive", "all negative", "flatten", "bias", rate=0.3)
def recurrent_signs(rng: Rng) -> Network:
    """Loops behind an image and behind a dense layer; the second has weights of one sign, as has what feeds it."""
    return graph(
        (2, 5, 4),
        (layer("a", (20,), u_decay=1024, v_decay=400, threshold=600, bias=3), layer("b", (12,))),
        ("in", "a", dense(rng.integers(-100, 110, (20, 40)))),
        ("a", "a", dense(mixed(rng, 20, 20))),
        ("a", "b", dense(rng.integers(0, 60, (12, 20)))),
        ("b", "b", dense(rng.integers(-63, 1, (12, 12)))),
    )


@case("recurrent", "delay", net="feeds back to itself and has delays", rate=0.3, samples=4)
def recurrent_late(rng: Rng) -> Network:
    """A loop of three steps."""
    return graph(
        (20,),
        (layer("a", (16,)), layer("b", (8,), threshold=120)),
        ("in", "a", dense(mixed(rng, 16, 20))),
        ("a", "a", dense(mixed(rng, 16, 16)), 2),
        ("a", "b", dense(mixed(rng, 8, 16))),
    )


@case("recurrent", "conv", "padding", net="which in netx dense layers do", rate=0.3)
def recurrent_conv(rng: Rng) -> Network:
    """A convolution from an image of neurons to itself."""
    return graph(
        (2, 5, 5),
        (layer("a", (2, 5, 5), threshold=250), layer("b", (4,))),
        ("in", "a", conv(mixed(rng, 2, 2, 3, 3), padding=(1, 1))),
        ("a", "a", conv(mixed(rng, 2, 2, 3, 3), padding=(1, 1))),
        ("a", "b", dense(mixed(rng, 4, 50))),
    )


@case("feedback", "delay", net=BACK, rate=0.3, samples=4, quick=True)
def feedback(rng: Rng) -> Network:
    """Synapses back to the layer before, late enough for a pipeline."""
    return graph(
        (20,),
        (layer("a", (16,)), layer("b", (10,))),
        ("in", "a", dense(mixed(rng, 16, 20))),
        ("a", "b", dense(mixed(rng, 10, 16))),
        ("b", "a", dense(mixed(rng, 16, 10)), 1),
    )


@case("feedback", "recurrent", "short cut", net=BACK, rate=0.3, samples=3, steps=12)
def feedback_far(rng: Rng) -> Network:
    """Back over three layers, with a loop and a short cut within."""
    return graph(
        (16,),
        tuple(layer(name, (10,), threshold=130) for name in "abc"),
        ("in", "a", dense(mixed(rng, 10, 16))),
        ("a", "b", dense(mixed(rng, 10, 10))),
        ("b", "c", dense(mixed(rng, 10, 10))),
        ("a", "c", dense(mixed(rng, 10, 10))),
        ("b", "b", dense(mixed(rng, 10, 10))),
        ("c", "a", dense(mixed(rng, 10, 10)), 3),
    )


@case("feedback", net=BACK, program="back to .* within", rate=0.3)
def feedback_at_once(rng: Rng) -> Network:
    """Synapses back that arrive in the next step, which no pipeline can keep."""
    return graph(
        (20,),
        (layer("a", (16,)), layer("b", (10,))),
        ("in", "a", dense(mixed(rng, 16, 20))),
        ("a", "b", dense(mixed(rng, 10, 16))),
        ("b", "a", dense(mixed(rng, 16, 10))),
    )


# What neither route holds.


@case("delay", "short cut", net="netx runs chains", program="must wait for 64 steps", rate=0.3, steps=70)
def waits_too_long(rng: Rng) -> Network:
    """A delay that synapses would hold, but not with the steps that a short cut waits besides."""
    return graph(
        (8,),
        [layer(name, (6,), threshold=90) for name in "abc"],
        ("in", "a", dense(mixed(rng, 6, 8))),
        ("a", "b", dense(mixed(rng, 6, 6))),
        ("b", "c", dense(mixed(rng, 6, 6))),
        ("in", "c", dense(mixed(rng, 6, 8)), 62),
    )


@case("dense", net="input population", program="input population")
def two_inputs(rng: Rng) -> tuple[Network, np.ndarray]:
    """Two populations that data would feed."""
    made = graph((24,), (layer("a", (8,)),), ("in", "a", dense(mixed(rng, 8, 24))))
    second = Projection("second", "in2", "a", (dense(mixed(rng, 8, 3)),))
    both = (made["in"], Population("in2", (3,), "input"), made["a"])
    return replace(made, populations=both, projections=(*made.projections, second)), np.ones((2, 8, 24), np.uint8)


@case("bias", net="bias must lie", program="bias must lie")
def bias_too_large(rng: Rng) -> Network:
    """A bias that 13 bits do not hold."""
    return graph((24,), (layer("a", (8,), bias=4096, threshold=9000),), ("in", "a", dense(mixed(rng, 8, 24))))


@case("dense", net="threshold must lie", program="threshold must lie")
def threshold_too_large(rng: Rng) -> Network:
    """A threshold that 17 bits do not hold."""
    thresholds = np.array([*[60] * 7, 1 << 17])
    return graph((24,), (layer("a", (8,), threshold=thresholds),), ("in", "a", dense(mixed(rng, 8, 24))))
