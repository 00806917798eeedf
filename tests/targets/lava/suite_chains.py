"""Chains of dense layers: registers and their ends, delays, shapes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from integer_chains import chain, conv, cuba, dense, layer
from suite_case import Rng, case, mixed

from snnc.network import Network, Projection

TOP = (1 << 17) - 1  # the largest threshold


# Neurons and their registers.


@case("dense", "mixed", "lif", "several samples", "spikes in the last step", quick=True)
def mlp(rng: Rng) -> Network:
    """Three dense layers."""
    return chain(
        (30,),
        (dense(mixed(rng, 24, 30)), {"threshold": 200}),
        (dense(mixed(rng, 20, 24)), {"threshold": 200}),
        (dense(mixed(rng, 10, 20)), {"threshold": 150}),
    )


@case("dense", "if", rate=0.6, samples=4, steps=12)
def one_neuron(rng: Rng) -> Network:
    """The smallest network: one input, one synapse, one neuron."""
    return chain((1,), (dense(np.array([[70]])), {"threshold": 100, "v_decay": 0}))


@case("bias", "own biases", "one step", rate=0.4, samples=5, steps=1)
def mlp_one_step(rng: Rng) -> Network:
    """Samples of a single step: a reset in each."""
    return chain(
        (30,),
        (dense(mixed(rng, 20, 30)), {"bias": rng.integers(-200, 200, 20)}),
        (dense(mixed(rng, 10, 20)), {"bias": rng.integers(-500, 500, 10), "threshold": 150}),
    )


@case("bias", "own biases")
def mlp_bias(rng: Rng) -> Network:
    """A bias per neuron, up to both ends of its register."""
    return chain(
        (30,),
        (dense(mixed(rng, 20, 30)), {"bias": rng.integers(-200, 200, 20)}),
        (dense(mixed(rng, 10, 20)), {"bias": np.linspace(-4096, 4095, 10).astype(int), "threshold": 9000}),
    )


@case("if", quick=True)
def integrate_fire(rng: Rng) -> Network:
    """Membranes that lose nothing."""
    return chain(
        (30,),
        (dense(rng.integers(-90, 110, (20, 30))), {"v_decay": 0, "threshold": 300}),
        (dense(rng.integers(-90, 110, (10, 20))), {"v_decay": 0, "threshold": 200}),
    )


@case("lif")
def no_memory(rng: Rng) -> Network:
    """Neither current nor membrane is kept: v is the input of the step."""
    return chain(
        (30,),
        (dense(rng.integers(-100, 110, (20, 30))), {"v_decay": 4096}),
        (dense(rng.integers(-100, 110, (10, 20))), {"v_decay": 4096, "threshold": 60}),
    )


case("cuba", rate=0.1, steps=16, quick=True)(cuba)


@case("cuba", rate=0.1, steps=16)
def slowest_decays(rng: Rng) -> Network:
    """Decays of one part in 4096."""
    params = {"u_decay": 1, "v_decay": 1}
    return chain(
        (30,),
        (dense(mixed(rng, 20, 30)), {**params, "threshold": 900}),
        (dense(mixed(rng, 10, 20)), {**params, "threshold": 2000}),
    )


@case("cuba", rate=0.2, steps=12)
def fastest_decays(rng: Rng) -> Network:
    """Decays that leave one part in 4096, of which almost nothing survives rounding."""
    params = {"u_decay": 4095, "v_decay": 4095}
    return chain(
        (30,),
        (dense(mixed(rng, 20, 30)), {**params, "threshold": 100}),
        (dense(mixed(rng, 10, 20)), {**params, "threshold": 90}),
    )


@case("cuba", "wraps", rate=0.7, steps=16)
def integrated_currents(rng: Rng) -> Network:
    """Currents that are kept whole, so that membranes add them up twice and both leave their ranges."""
    params = {"u_decay": 0, "v_decay": 0}
    return chain(
        (400,),
        (dense(2 * rng.integers(-90, 127, (20, 400))), {**params, "threshold": 60_000}),
        (dense(mixed(rng, 10, 20)), {"threshold": 90}),
    )


@case("saturates above", "saturates below", rate=0.9, steps=6, quick=True)
def saturating(rng: Rng) -> Network:
    """Integrators whose v runs into both ends of its range; some spike at the top."""
    weight = np.where(np.arange(20)[:, None] % 2, 254, -256) * (rng.random((20, 600)) < 0.9)
    return chain(
        (600,),
        (dense(weight), {"v_decay": 0, "u_decay": 4096, "threshold": TOP, "bias": 4095}),
        (dense(mixed(rng, 10, 20)), {"threshold": 150}),
    )


@case("wraps", "all positive", rate=0.9, samples=2, steps=14)
def wrapping(rng: Rng) -> Network:
    """Integrated currents beyond 2^23, where u turns negative."""
    return chain(
        (600,),
        (dense(rng.integers(0, 256, (20, 600))), {"u_decay": 0, "v_decay": 4096, "threshold": 60_000}),
        (dense(mixed(rng, 10, 20)), {"threshold": 150}),
    )


@case("wraps", "all negative", rate=0.9, samples=2, steps=14)
def wrapping_below(rng: Rng) -> Network:
    """Integrated currents below -2^23, where u turns positive and its neurons spike."""
    return chain(
        (600,),
        (dense(-rng.integers(1, 256, (20, 600))), {"u_decay": 0, "v_decay": 4096, "threshold": 60_000}),
        (dense(mixed(rng, 10, 20)), {"threshold": 150}),
    )


@case("wraps", "leaves its range", rate=0.99, samples=2, steps=8)
def beyond_one_wrap(rng: Rng) -> Network:
    """So much input in one step that a single wrap does not bring u back into its range."""
    weight = np.concatenate([np.full((4, 1400), 255), rng.integers(100, 250, (4, 1400))])
    return chain(
        (1400,),
        (dense(weight), {"u_decay": 300, "v_decay": 4096, "threshold": 60_000}),
        (dense(mixed(rng, 6, 8)), {"threshold": 50}),
    )


@case("saturates above", rate=0.9, samples=2, steps=8)
def never_reached(rng: Rng) -> Network:
    """The largest threshold, which only a membrane at the end of its range passes."""
    weight = np.where(np.arange(10)[:, None] < 5, 255, 3) * np.ones((10, 200), int)
    return chain(
        (200,), (dense(weight), {"v_decay": 0, "threshold": TOP}), (dense(mixed(rng, 6, 10)), {"threshold": 9})
    )


@case("mixed", rate=0.1)
def no_threshold(rng: Rng) -> Network:
    """A threshold of zero: whatever is above spikes."""
    return chain(
        (30,), (dense(mixed(rng, 20, 30)), {"threshold": 0}), (dense(mixed(rng, 10, 20)), {"threshold": 0, "bias": -20})
    )


# Delays.


@case("delay", "delays differ", rate=0.3, samples=2, steps=16, quick=True)
def delayed(rng: Rng) -> Network:
    """A delay of a whole layer, and delays that differ from synapse to synapse."""
    return _delayed(rng)


@case("delay", "delays differ", rate=0.3, samples=2, steps=16, sparse=True)
def delayed_sparse(rng: Rng) -> Network:
    """The same in processes that store existing weights alone."""
    return _delayed(rng)


def _delayed(rng: Rng) -> Network:
    made = mlp(rng)
    first, second, third = made.projections
    steps = rng.choice([0, 1, 4], second.op.weight.shape)
    parts = tuple(
        replace(second, name=f"p2@{k}", delay=int(k), ops=(dense(second.op.weight.toarray() * (steps == k)),))
        for k in np.unique(steps)
    )
    return replace(made, projections=(replace(first, delay=2), *parts, third))


@case("delay", rate=0.3, samples=2, steps=70)
def longest_delay(rng: Rng) -> Network:
    """62 steps, the most that netx has."""
    made = chain((8,), (dense(mixed(rng, 8, 8)), {"threshold": 60}), (dense(mixed(rng, 5, 8)), {"threshold": 60}))
    first, second = made.projections
    return replace(made, projections=(replace(first, delay=62), second))


@case("delay", net="delay of 63 steps; netx cuts", rate=0.3, samples=2, steps=70)
def longest_delay_of_all(rng: Rng) -> Network:
    """63 steps, the most that six bits hold and one more than netx has."""
    made = chain((8,), (dense(mixed(rng, 8, 8)), {"threshold": 60}), (dense(mixed(rng, 5, 8)), {"threshold": 60}))
    first, second = made.projections
    return replace(made, projections=(first, replace(second, delay=63)))


@case("delay", "delays differ", net="two synapses join the same two neurons", steps=12)
def delayed_twice(rng: Rng) -> Network:
    """Each pair of neurons is joined twice, now and three steps later."""
    made = chain((20,), (dense(mixed(rng, 15, 20)), {}), (dense(mixed(rng, 8, 15)), {"threshold": 120}))
    first, second = made.projections
    late = replace(first, name="late", delay=3, ops=(dense(mixed(rng, 15, 20)),))
    return replace(made, projections=(first, late, second))


@case("delay", net="delay of 64 steps; netx cuts", program="must wait for 64 steps", steps=70)
def too_long_a_delay(rng: Rng) -> Network:
    """64 steps, for which no chip of Loihi's kind has room."""
    made = chain((8,), (dense(mixed(rng, 8, 8)), {"threshold": 60}))
    return replace(made, projections=(replace(made.projections[0], delay=64),))


# Shapes.


@case("flatten", "dense")
def image_dense(rng: Rng) -> Network:
    """Dense layers straight on an image, without a convolution."""
    return chain((2, 5, 4), (dense(mixed(rng, 20, 40)), {}), (dense(mixed(rng, 10, 20)), {}))


@case("dense", "mixed", rate=0.4)
def narrow(rng: Rng) -> Network:
    """Through a neck of two neurons."""
    return chain(
        (20,),
        (dense(rng.integers(-60, 127, (2, 20))), {"threshold": 300}),
        (dense(rng.integers(20, 90, (15, 2))), {"threshold": 70}),
    )


@case("dense", samples=2, steps=12)
def deep(rng: Rng) -> Network:
    """Seven layers: the last one answers seven steps late."""
    return chain((12,), *((dense(rng.integers(-60, 128, (12, 12))), {"threshold": 100}) for _ in range(7)))


@case("several samples")
def silence_between(rng: Rng) -> tuple[Network, np.ndarray]:
    """A sample of nothing between two in which every input spikes in every step."""
    network = chain(
        (20,),
        (dense(rng.integers(-90, 110, (15, 20))), {"u_decay": 200, "threshold": 900}),
        (dense(mixed(rng, 8, 15)), {"u_decay": 200}),
    )
    data = np.ones((4, 10, 20), np.uint8)
    data[1] = 0
    return network, data


@case("sparse", "conv", "flatten", rate=0.6)
def values_in(rng: Rng) -> Network:
    """Neurons that the input feeds without synapses, as netx has them behind an image."""
    made = chain(
        (2, 5, 4),
        (conv(rng.integers(-100, 128, (3, 2, 3, 2))), {"threshold": 100}),
        (dense(rng.integers(-100, 128, (6, 27))), {"threshold": 90}),
    )
    values = layer("values", (2, 5, 4), threshold=1, v_decay=1000)
    first, *others = made.projections
    into = Projection("p0", "in", "values", (dense(np.eye(40)),))
    return replace(
        made,
        populations=(made["in"], values, *made.layers),
        projections=(into, replace(first, pre="values"), *others),
    )


@case("sparse", "cuba", rate=0.6)
def values_in_line(rng: Rng) -> Network:
    """The same behind 40 inputs in a row."""
    return chain(
        (40,),
        (dense(np.eye(40)), {"threshold": 1, "u_decay": 2000}),
        (dense(rng.integers(-100, 128, (10, 40))), {"threshold": 90}),
    )
