"""Weights: signs, widths and gaps, up to where eight bits hold them and beyond."""

from __future__ import annotations

import numpy as np
from integer_chains import chain, dense
from suite_case import Rng, case, mixed, ticket

from snnc.network import Network


@case("even above 127", "mixed")
def mlp_even_weights(rng: Rng) -> Network:
    """Both signs beyond seven bits: even weights only."""
    return chain(
        (30,),
        (dense(2 * rng.integers(-128, 128, (20, 30))), {"threshold": 300}),
        (dense(2 * rng.integers(-128, 128, (10, 20))), {"threshold": 200}),
    )


@case("mixed", "all positive", sparse=True)
def mlp_few_levels(rng: Rng) -> Network:
    """Weights that share powers of two, which netx turns into fewer bits and an exponent."""
    return chain(
        (30,),
        (dense(16 * rng.integers(-3, 4, (20, 30))), {"threshold": 60}),
        (dense(rng.integers(-1, 2, (20, 20))), {"threshold": 1}),
        (dense(64 * rng.integers(0, 2, (10, 20))), {"threshold": 300}),
    )


@case("mixed", "even above 127")
def ends_of_mixed_weights(rng: Rng) -> Network:
    """The outermost weights of both signs: -256 and 254, and -128 and 127."""
    return chain(
        (30,),
        (dense(rng.choice([-256, 254, 2, 0], (20, 30))), {"threshold": 200}),
        (dense(rng.choice([-128, 127, 1, 0], (10, 20))), {"threshold": 100}),
    )


@case("sparse", rate=0.2, steps=12, sparse=True, quick=True)
def pruned(rng: Rng) -> Network:
    """A ticket: one weight in ten."""
    return chain(
        (80,), (dense(ticket(rng, 40, 80)), {"threshold": 90}), (dense(ticket(rng, 10, 40)), {"threshold": 30})
    )


@case("sparse", "bias", sparse=True)
def pruned_to_nothing(rng: Rng) -> Network:
    """Rows and columns without a weight: neurons that only their bias drives, and inputs that nothing reads."""
    first, second = ticket(rng, 20, 40, density=0.2), ticket(rng, 10, 20, density=0.2)
    first[::4], second[:, ::3], second[0] = 0, 0, 0
    return chain((40,), (dense(first), {"threshold": 90, "bias": 20}), (dense(second), {"threshold": 60, "bias": 25}))


@case("sparse", sparse=True, rate=0.5)
def one_to_one(rng: Rng) -> Network:
    """A diagonal: a synapse each."""
    return chain(
        (20,),
        (dense(np.diag(rng.integers(50, 120, 20))), {"threshold": 90}),
        (dense(np.diag(rng.permutation(np.arange(-10, 90, 5)))), {"threshold": 30}),
    )


@case("all positive", "odd above 127", quick=True)
def all_positive(rng: Rng) -> Network:
    """Weights of one sign use the sign's bit: up to 255, odd ones too."""
    return chain(
        (30,),
        (dense(rng.integers(0, 256, (20, 30))), {"threshold": 1200}),
        (dense(rng.integers(1, 200, (10, 20))), {"threshold": 900}),
    )


@case("all negative", "odd above 127", "bias", quick=True)
def all_negative(rng: Rng) -> Network:
    """Nowhere positive, minimum not a power of two; spikes come from the bias."""
    return chain(
        (30,),
        (dense(-rng.integers(0, 102, (20, 30))), {"bias": 400, "threshold": 500}),
        (dense(np.minimum(-rng.integers(0, 256, (10, 20)), -3)), {"bias": 1500, "threshold": 1500}),
    )


@case("all negative", "odd above 127", net="must be even")
def all_negative_with_gaps(rng: Rng) -> Network:
    """Nothing positive, odd weights below -128 and gaps, which netx takes for a layer of mixed signs."""
    weight = -rng.integers(128, 256, (20, 30)) * (rng.random((20, 30)) < 0.5)
    return chain(
        (30,), (dense(weight), {"bias": 500, "threshold": 700}), (dense(mixed(rng, 10, 20)), {"threshold": 150})
    )


@case("only -2^k", "all negative", "bias", net="is a power of two, which netx computes wrongly", quick=True)
def only_minus_64(rng: Rng) -> Network:
    """Every weight is -64."""
    return chain(
        (30,),
        (dense(np.full((20, 30), -64)), {"bias": rng.integers(300, 500, 20), "threshold": 300}),
        (dense(mixed(rng, 10, 20)), {"threshold": 150}),
    )


@case("only -2^k", "bias", net="is a power of two, which netx computes wrongly")
def only_minus_powers(rng: Rng) -> Network:
    """Powers of two below zero, and gaps."""
    return chain(
        (30,),
        (dense(-(1 << rng.integers(0, 8, (20, 30))) * rng.integers(0, 2, (20, 30))), {"bias": 200, "threshold": 250}),
        (dense(-rng.integers(0, 2, (10, 20))), {"bias": 10, "threshold": 25}),
    )


@case("all zero", "bias", net="zero everywhere, on which netx crashes", quick=True)
def all_zero(rng: Rng) -> Network:
    """A layer from which pruning took every weight: its neurons spike by their bias."""
    return chain(
        (30,),
        (dense(np.zeros((20, 30))), {"bias": np.arange(20, 60, 2), "threshold": 100}),
        (dense(mixed(rng, 10, 20)), {"threshold": 90}),
    )


@case("odd above 127", "mixed", net="must be even", program="must be even", quick=True)
def odd_above_127(rng: Rng) -> Network:
    """Both signs and odd weights beyond seven bits: no encoding of the chip holds them."""
    weight = mixed(rng, 20, 30)
    weight[3, 5] = 129
    return chain((30,), (dense(weight), {}), (dense(mixed(rng, 10, 20)), {}))


@case("all positive", "odd above 127", net="weight spans", program="must be even")
def beyond_eight_bits(rng: Rng) -> Network:
    """A weight of 256 among odd ones of one sign."""
    weight = rng.integers(1, 257, (20, 30))
    weight[0, 0] = 256
    return chain((30,), (dense(weight), {"threshold": 1500}), (dense(mixed(rng, 10, 20)), {}))


@case("mixed", "all positive", "all negative", "even above 127", net="weight spans")
def shared_powers(rng: Rng) -> Network:
    """Weights far beyond eight bits, which share a power of two that a layer of the chip has and netx does not set."""
    return chain(
        (30,),
        (dense(8 * mixed(rng, 20, 30)), {"threshold": 800}),
        (dense(128 * rng.integers(0, 256, (15, 20))), {"threshold": 20_000}),
        (dense(-4 * rng.integers(0, 256, (8, 15)) * (rng.random((8, 15)) < 0.2)), {"threshold": 3000, "bias": 4000}),
    )


@case("all positive", "odd above 127", net="weight spans", program="weight spans")
def beyond_all_powers(rng: Rng) -> Network:
    """The largest weight that another chip would hold."""
    return chain((30,), (dense(np.full((6, 30), 32767)), {"threshold": 90_000}))
