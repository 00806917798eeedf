"""Integer networks beyond what a ``.net`` holds, for the tests of the bridge to Lava."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from integer_chains import chain, conv, dense, layer

from snnc.network import NEURONS, Network, Population, Projection
from snnc.ops import Conv2d, Linear, Shape

Rng = np.random.Generator
Build = Callable[[Rng], Network]


def graph(
    shape: Shape, layers: Sequence[Population], *projections: tuple[str, str, Linear | Conv2d] | tuple
) -> Network:
    """Projections are (pre, post, operation) and, where there is one, the delay; the input is "in", the last layer the
    output.
    """
    made = tuple(
        Projection(f"{pre}-{post}-{k}", pre, post, (op,), *delay)
        for k, (pre, post, op, *delay) in enumerate(projections)
    )
    return Network((Population("in", shape, "input"), *layers), made, (layers[-1].name,), 1e-3, "graph")


def weight(rng: Rng, *shape: int, density: float = 1.0, low: int = -80, high: int = 128) -> Linear:
    """A matrix (outputs, inputs)."""
    return dense(rng.integers(low, high, shape) * (rng.random(shape) < density))


def kernel(rng: Rng, *shape: int, low: int = -80, high: int = 128, **options: object) -> Conv2d:
    """A kernel (outputs, inputs, rows, columns)."""
    return conv(rng.integers(low, high, shape), **options)


def as_kind(population: Population, neuron: str, **params: object) -> Population:
    """The same neurons with more, or fewer, registers."""
    more = {k: np.broadcast_to(np.asarray(v), population.shape).astype(np.int32) for k, v in params.items()}
    kept = {k: v for k, v in population.params.items() if k in NEURONS[neuron]}
    return replace(population, neuron=neuron, params={**kept, **more})


def branches(rng: Rng) -> Network:
    """Short cuts past one and two layers, which must wait for them."""
    layers = tuple(layer(name, (n,), threshold=250) for name, n in (("a", 20), ("b", 16), ("c", 12)))
    return graph(
        (30,),
        layers,
        ("in", "a", weight(rng, 20, 30), 0),
        ("a", "b", weight(rng, 16, 20), 0),
        ("b", "c", weight(rng, 12, 16), 0),
        ("in", "c", weight(rng, 12, 30, density=0.2), 0),
        ("a", "c", weight(rng, 12, 20), 0),
    )


def residual(rng: Rng) -> Network:
    """Convolutions with a short cut, that is, a convolution that waits behind relays."""
    layers = tuple(layer(name, (4, 6, 7), threshold=300) for name in ("a", "b", "c"))
    return graph(
        (2, 6, 7),
        (*layers, layer("out", (5,), threshold=300)),
        ("in", "a", kernel(rng, 4, 2, 3, 3, padding=(1, 1)), 0),
        ("a", "b", kernel(rng, 4, 4, 3, 3, padding=(1, 1)), 0),
        ("b", "c", kernel(rng, 4, 4, 3, 3, padding=(1, 1)), 0),
        ("a", "c", kernel(rng, 4, 4, 1, 1), 0),
        ("in", "c", kernel(rng, 4, 2, 3, 3, padding=(1, 1)), 0),
        ("c", "out", weight(rng, 5, 168, density=0.2), 0),
        ("a", "out", weight(rng, 5, 168, density=0.5), 0),
    )


def delayed_conv(rng: Rng) -> Network:
    """Delays of convolutions: of the input, of a layer, and of both besides an undelayed one."""
    return graph(
        (2, 5, 6),
        (layer("a", (3, 5, 6), threshold=300), layer("b", (2, 3, 3), threshold=300)),
        ("in", "a", kernel(rng, 3, 2, 3, 3, padding=(1, 1)), 2),
        ("in", "a", kernel(rng, 3, 2, 1, 1), 0),
        ("a", "b", kernel(rng, 2, 3, 3, 2, stride=(2, 2), padding=(1, 0)), 1),
        ("a", "b", kernel(rng, 2, 3, 1, 2, stride=(2, 2)), 4),
    )


def recurrent(rng: Rng) -> Network:
    """A layer that feeds itself, at once and later."""
    return graph(
        (30,),
        (layer("a", (20,), threshold=300), layer("b", (8,), threshold=150)),
        ("in", "a", weight(rng, 20, 30), 0),
        ("a", "a", weight(rng, 20, 20, low=-100, high=60), 0),
        ("a", "a", weight(rng, 20, 20, density=0.1), 3),
        ("a", "b", weight(rng, 8, 20), 0),
    )


def recurrent_conv(rng: Rng) -> Network:
    """A kernel from an image of neurons to itself."""
    return graph(
        (1, 6, 6),
        (layer("a", (2, 6, 6), threshold=200), layer("b", (4,), threshold=200)),
        ("in", "a", kernel(rng, 2, 1, 3, 3, padding=(1, 1)), 0),
        ("a", "a", kernel(rng, 2, 2, 3, 3, padding=(1, 1), low=-60, high=40), 0),
        ("a", "b", weight(rng, 4, 72), 0),
    )


def feedback(rng: Rng) -> Network:
    """From the second layer back to the first, with just the delay that a pipeline takes."""
    return graph(
        (30,),
        (layer("a", (20,), threshold=300), layer("b", (10,), threshold=250), layer("c", (6,), threshold=200)),
        ("in", "a", weight(rng, 20, 30), 0),
        ("a", "b", weight(rng, 10, 20), 0),
        ("b", "c", weight(rng, 6, 10), 0),
        ("b", "a", weight(rng, 20, 10), 1),
        ("c", "a", weight(rng, 20, 6), 2),
    )


def long_delay(rng: Rng) -> Network:
    """Delays as long as samples, and longer, of which nothing may arrive in the next one; and the longest of all."""
    return graph(
        (20,),
        (layer("a", (10,), threshold=200), layer("b", (6,), threshold=150)),
        ("in", "a", weight(rng, 10, 20), 1),
        ("in", "a", weight(rng, 10, 20), 4),
        ("in", "a", weight(rng, 10, 20), 7),
        ("a", "b", weight(rng, 6, 10), 0),
        ("a", "b", weight(rng, 6, 10), 2),
        ("a", "b", weight(rng, 6, 10, density=0.2), 62),
    )


def biased_early(rng: Rng) -> Network:
    """Layers that spike by their bias while the pipeline fills, with synapses that would carry this into a sample."""
    return graph(
        (12,),
        (
            layer("a", (10,), threshold=300),
            layer("b", (10,), threshold=200, bias=np.arange(10) * 15),
            layer("c", (8,), threshold=100, u_decay=600),
        ),
        ("in", "a", weight(rng, 10, 12), 0),
        ("a", "b", weight(rng, 10, 10), 0),
        ("b", "b", weight(rng, 10, 10), 1),
        ("b", "c", weight(rng, 8, 10, low=0), 0),
        ("b", "c", weight(rng, 8, 10), 2),
        ("c", "c", weight(rng, 8, 8, density=0.3), 0),
    )


def without_input(rng: Rng) -> Network:
    """Neurons that only have a bias, feed others, and are fed by nothing but themselves."""
    return graph(
        (12,),
        (
            layer("clock", (5,), threshold=np.arange(5) * 40 + 90, bias=40),
            layer("alone", (4,), threshold=500, bias=70),
            layer("a", (10,), threshold=200),
            layer("b", (6,), threshold=200),
        ),
        ("in", "a", weight(rng, 10, 12), 0),
        ("clock", "clock", weight(rng, 5, 5), 0),
        ("clock", "a", weight(rng, 10, 5), 0),
        ("clock", "b", weight(rng, 6, 5), 0),
        ("a", "b", weight(rng, 6, 10), 0),
        ("alone", "b", weight(rng, 6, 4), 0),
        ("in", "alone", dense(np.zeros((4, 12))), 0),
    )


def apart(rng: Rng) -> Network:
    """Layers that nothing joins with the input: one alone, two that feed each other, and one that ends the network."""
    return graph(
        (2, 3, 4),
        (
            layer("alone", (5,), threshold=np.arange(5) * 40 + 90, bias=40),
            layer("a", (3, 3, 4), threshold=200),
            layer("b", (4,), threshold=300, bias=70),
            layer("c", (6,), threshold=200),
        ),
        ("in", "a", kernel(rng, 3, 2, 3, 3, padding=(1, 1)), 0),
        ("b", "b", weight(rng, 4, 4), 2),
        ("b", "c", weight(rng, 6, 4), 0),
    )


def per_neuron(rng: Rng) -> Network:
    """Every register of every neuron its own, flat and in images."""

    def registers(shape: Shape) -> dict[str, np.ndarray]:
        return {
            "u_decay": rng.integers(0, 4097, shape),
            "v_decay": rng.integers(0, 4097, shape),
            "threshold": rng.integers(50, 600, shape),
            "bias": rng.integers(-40, 80, shape),
        }

    return graph(
        (2, 4, 5),
        (layer("a", (3, 4, 5), **registers((3, 4, 5))), layer("b", (12,), **registers((12,)))),
        ("in", "a", kernel(rng, 3, 2, 3, 3, padding=(1, 1)), 0),
        ("a", "b", weight(rng, 12, 60), 0),
    )


def integrators(rng: Rng) -> Network:
    """Slow decays of small numbers of both signs, where each step is rounded."""
    registers = {
        "u_decay": rng.integers(1, 40, (40,)),
        "v_decay": rng.integers(0, 40, (40,)),
        "threshold": rng.integers(10, 60, (40,)),
    }
    return graph(
        (10,),
        (layer("a", (40,), **registers),),
        ("in", "a", weight(rng, 40, 10, low=-4, high=5), 0),
    )


def adaptive(rng: Rng) -> Network:
    """Two joined compartments, in a layer that also feeds itself."""
    params = {"w_decay": rng.integers(0, 2000, (20,)), "w_jump": rng.integers(0, 300, (20,))}
    return graph(
        (30,),
        (as_kind(layer("a", (20,), threshold=300), "alif_fixed", **params), layer("b", (8,), threshold=150)),
        ("in", "a", weight(rng, 20, 30), 0),
        ("a", "a", weight(rng, 20, 20), 0),
        ("a", "b", weight(rng, 8, 20), 0),
    )


def resting(rng: Rng) -> Network:
    """Neurons that rest after a spike."""
    rests = rng.integers(0, 5, (20,))
    return graph(
        (30,),
        (as_kind(layer("a", (20,), threshold=200), "cuba_fixed", refractory=rests), layer("b", (8,), threshold=100)),
        ("in", "a", weight(rng, 20, 30), 0),
        ("a", "b", weight(rng, 8, 20), 0),
    )


def values(rng: Rng) -> Network:
    """Spikes that carry values: into a matrix, past a layer, and back."""
    return graph(
        (30,),
        (
            as_kind(layer("a", (20,), threshold=200, v_decay=300), "graded_fixed"),
            layer("b", (8,), threshold=9000),
            layer("c", (8,), threshold=9000, u_decay=1000),
        ),
        ("in", "a", weight(rng, 20, 30), 0),
        ("a", "a", weight(rng, 20, 20, low=-2, high=1), 0),
        ("a", "b", weight(rng, 8, 20, low=-30, high=60), 0),
        ("a", "c", weight(rng, 8, 20, density=0.2, low=-30, high=60), 1),
        ("b", "c", weight(rng, 8, 8), 0),
    )


def values_many(rng: Rng) -> Network:
    """So many large values at once that 32 bits do not hold their sum, which is positive."""
    drive = 128 * np.repeat(rng.integers(200, 256, (120, 1)), 6, axis=1)
    last = rng.integers(100, 128, (4, 120))
    last[:, 0] = -1
    return graph(
        (6,),
        (
            as_kind(layer("a", (120,), threshold=90_000, v_decay=0), "graded_fixed"),
            layer("b", (4,), threshold=100),
        ),
        ("in", "a", dense(drive), 0),
        ("a", "b", dense(last), 0),
    )


def values_conv(rng: Rng) -> Network:
    """Values into kernels: one that Lava's Conv can sum up, one that it cannot, one that waits."""
    return graph(
        (1, 5, 6),
        (
            as_kind(layer("a", (2, 5, 6), threshold=200, v_decay=300), "graded_fixed"),
            layer("b", (2, 5, 6), threshold=3000),
            layer("c", (2, 4, 5), threshold=6000),
        ),
        ("in", "a", kernel(rng, 2, 1, 3, 3, padding=(1, 1)), 0),
        ("a", "b", kernel(rng, 2, 2, 1, 3, padding=(0, 1), low=0, high=9), 0),
        ("a", "c", kernel(rng, 2, 2, 2, 2), 0),
        ("b", "c", kernel(rng, 2, 2, 2, 2), 0),
    )


def read_out(rng: Rng) -> Network:
    """Membranes that are read, with one decay and with many; the first feeds on currents that last."""
    return replace(
        graph(
            (20,),
            (
                layer("a", (16,), threshold=200),
                as_kind(layer("r1", (5,), u_decay=900, bias=-7), "cuba_li_fixed"),
                as_kind(layer("r2", (2, 2, 3), v_decay=np.arange(12).reshape(2, 2, 3) * 99), "cuba_li_fixed"),
            ),
            ("in", "a", weight(rng, 16, 20), 0),
            ("a", "r1", weight(rng, 5, 16), 0),
            ("a", "r2", weight(rng, 12, 16), 0),
            ("in", "r2", weight(rng, 12, 20), 1),
        ),
        outputs=("r1", "r2", "a"),
    )


def read_out_conv(rng: Rng) -> Network:
    """An image of membranes that are read."""
    return graph(
        (1, 5, 6),
        (layer("a", (2, 5, 6), threshold=200), as_kind(layer("r", (3, 2, 2)), "cuba_li_fixed")),
        ("in", "a", kernel(rng, 2, 1, 3, 3, padding=(1, 1)), 0),
        ("a", "r", kernel(rng, 3, 2, 3, 3, stride=(2, 2)), 0),
    )


def exponents(rng: Rng) -> Network:
    """Weights that share a power of two: of both signs, of one, and in a kernel."""
    even = weight(rng, 16, 54, low=-255, high=255)
    return graph(
        (1, 5, 6),
        (
            layer("a", (3, 3, 6), threshold=1000),
            layer("b", (16,), threshold=1000),
            layer("c", (8,), threshold=60_000),
            layer("d", (6,), threshold=1500, bias=700),
        ),
        ("in", "a", conv(8 * rng.integers(-80, 128, (3, 1, 3, 3)), padding=(0, 1)), 0),
        ("a", "b", dense(even.weight.toarray() // 2 * 4), 0),
        ("b", "c", dense(128 * rng.integers(0, 256, (8, 16))), 0),
        ("c", "d", dense(-4 * rng.integers(0, 256, (6, 8))), 0),
    )


def one_signed(rng: Rng) -> Network:
    """What netx gets wrong: nowhere positive with a power of two, odd and beyond 127 beside zeros, and no weight."""
    return graph(
        (30,),
        (
            layer("a", (12,), threshold=300, bias=200),
            layer("b", (8,), threshold=200, bias=300),
            layer("c", (8,), threshold=500),
        ),
        ("in", "a", dense(-64 * (rng.random((12, 30)) < 0.4)), 0),
        ("a", "b", dense(-rng.integers(0, 256, (8, 12)) * (rng.random((8, 12)) < 0.6)), 0),
        ("b", "c", dense(rng.integers(0, 256, (8, 8))), 0),
        ("in", "c", dense(np.zeros((8, 30))), 0),
    )


def shapes(rng: Rng) -> Network:
    """Kernels behind matrices, matrices behind kernels, both on the input, and a kernel into a flat layer."""
    return graph(
        (2, 4, 5),
        (
            layer("a", (3, 4, 5), threshold=300),
            layer("b", (24,), threshold=300),
            layer("c", (2, 3, 4), threshold=200),
            layer("d", (2, 12), threshold=60),
            layer("e", (2, 10), threshold=60),
        ),
        ("in", "a", kernel(rng, 3, 2, 3, 3, padding=(1, 1)), 0),
        ("in", "a", weight(rng, 60, 40, density=0.1), 0),
        ("a", "b", kernel(rng, 2, 3, 2, 2), 0),
        ("b", "c", weight(rng, 24, 24), 0),
        ("a", "c", kernel(rng, 2, 3, 2, 2), 0),
        ("c", "d", kernel(rng, 2, 2, 1, 1, low=0), 0),
        ("d", "e", kernel(rng, 2, 2, 1, 3, line=True), 0),
    )


def wide(rng: Rng) -> Network:
    """More columns, rows, strides and groups than Lava's Conv counts to, and a padding that does so twice."""
    return graph(
        (1, 130, 140),
        (
            layer("a", (130, 1, 4), threshold=200),
            layer("b", (130, 1, 4), threshold=100),
            layer("c", (1, 1, 67), threshold=100),
        ),
        ("in", "a", kernel(rng, 130, 1, 1, 2, stride=(130, 40), dilation=(1, 9), low=0), 0),
        ("a", "b", kernel(rng, 130, 1, 1, 1, low=20, groups=130), 0),
        ("b", "c", kernel(rng, 1, 130, 1, 4, padding=(0, 66), stride=(1, 2), low=0), 0),
    )


def names(rng: Rng) -> Network:
    """Names that are no names in Python, are taken there, or become alike."""
    made = chain(
        (12,),
        (weight(rng, 10, 12), {"threshold": np.arange(10) * 9 + 90}),
        (weight(rng, 8, 10), {}),
        (weight(rng, 8, 8), {}),
        (weight(rng, 6, 8), {}),
    )
    new = {"in": 'a "b" \\', "l1": "1.fc", "l2": "class", "l3": "weights", "l4": "1-fc"}
    return Network(
        tuple(replace(p, name=new[p.name]) for p in made.populations),
        tuple(
            replace(p, name=name, pre=new[p.pre], post=new[p.post])
            for p, name in zip(made.projections, ("steps", "n1_fc", "é", "a\tb"), strict=True)
        ),
        ("1-fc",),
        1e-3,
        '"""',
    )


GRAPHS: dict[str, tuple[Build, float, int]] = {
    # name: (network, input rate, steps)
    "branches": (branches, 0.2, 10),
    "residual": (residual, 0.2, 9),
    "delayed-conv": (delayed_conv, 0.2, 12),
    "recurrent": (recurrent, 0.2, 10),
    "recurrent-conv": (recurrent_conv, 0.2, 10),
    "feedback": (feedback, 0.2, 12),
    "long-delay": (long_delay, 0.3, 5),
    "biased-early": (biased_early, 0.2, 8),
    "without-input": (without_input, 0.2, 10),
    "apart": (apart, 0.2, 10),
    "per-neuron": (per_neuron, 0.3, 10),
    "integrators": (integrators, 0.2, 60),
    "adaptive": (adaptive, 0.2, 14),
    "resting": (resting, 0.3, 14),
    "values": (values, 0.2, 14),
    "values-many": (values_many, 0.3, 10),
    "values-conv": (values_conv, 0.2, 14),
    "read-out": (read_out, 0.2, 10),
    "read-out-conv": (read_out_conv, 0.2, 10),
    "exponents": (exponents, 0.2, 12),
    "one-signed": (one_signed, 0.2, 10),
    "shapes": (shapes, 0.2, 10),
    "wide": (wide, 0.3, 6),
    "names": (names, 0.3, 10),
}
