"""Sums and delays leave no trace in what a network computes: random graphs spike alike before and after.

Weights are multiples of 1/8, so that sums are exact in any order.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from float_networks import DT, lif
from hypothesis import given, settings
from hypothesis import strategies as st

from snnc.errors import InputError
from snnc.network import Network, Population, Projection
from snnc.ops import Conv2d, Delay, Linear, Op, Scale, canonical
from snnc.passes.dissolve import PARALLEL, dissolve
from snnc.passes.lower import lower
from snnc.simulator.floating import simulate

N, STEPS = 4, 25


def dense(rng: np.random.Generator, bias: bool) -> Linear:
    weight = rng.integers(-3, 9, (N, N)) * (rng.random((N, N)) < 0.6)
    return Linear(canonical(weight / 8), rng.integers(-2, 3, N) / 8 if bias else None)


def quarter(name: str) -> Population:
    """v = 3/4 v + x."""
    return lif(name, (N,), beta=0.75)


@st.composite
def graphs(draw: st.DrawFn) -> Network:
    """Up to six populations, each a sum or neurons, joined forward at random, and back with a step of delay."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = draw(st.integers(2, 6))
    names = [f"p{k}" for k in range(count)]
    sums = draw(st.lists(st.booleans(), min_size=count, max_size=count))
    populations = [Population("input", (N,), "input")]
    populations += [Population(n, (N,), "sum") if s else quarter(n) for n, s in zip(names, sums, strict=True)]
    projections = []

    def join(pre: str, post: str) -> None:
        ops: list[Op] = []
        kinds = draw(st.sampled_from(["", "", "scale", "delay", "delays", "linear"]))
        if kinds == "scale":
            ops.append(Scale(rng.integers(1, 9, N) / 8))
        elif kinds == "delay":
            ops.append(Delay(np.full(N, int(rng.integers(1, 4)))))
        elif kinds == "delays":
            ops.append(Delay(rng.integers(0, 4, N)))
        elif kinds == "linear":
            ops.append(dense(rng, bias=False))
        if draw(st.booleans()):
            ops.append(dense(rng, bias=draw(st.booleans())))
        start = draw(st.integers(0, 2)) if any(getattr(o, "bias", None) is not None for o in ops) else 0
        delay = draw(st.sampled_from([0, 0, 1, 2]))
        name = f"{len(projections)} {pre}-{post}"
        projections.append(Projection(name, pre, post, tuple(ops), delay, bias_start=start))

    known = ["input"]
    for name, is_sum in zip(names, sums, strict=True):
        for pre in draw(st.lists(st.sampled_from(known), min_size=1, max_size=3)):
            join(pre, name)
        if not is_sum and draw(st.booleans()):
            join(name, name)
        known.append(name)
    if not sums[-1] and draw(st.booleans()):  # one more loop; one of sums alone would need ever more digits
        join(names[-1], names[0])
    return Network(tuple(populations), tuple(projections), (names[-1],), DT, "graph")


def run(network: Network) -> dict[str, np.ndarray]:
    spikes = np.random.default_rng(0).random((2, STEPS, N)) < 0.5
    return simulate(network, spikes)


@settings(deadline=None, max_examples=150)
@given(graphs())
def test_the_network_computes_the_same(network: Network) -> None:
    before = run(network)
    try:
        after = lower(dissolve(network))
    except InputError as error:  # two combinations of biases and delays are named and left out
        if "are not joined" in error.message or "are not lowered" in error.message:
            return
        raise
    assert all(len(p.ops) == 1 and isinstance(p.op, Linear) for p in after.projections)
    for name, spikes in run(after).items():
        np.testing.assert_array_equal(spikes, before[name], err_msg=name)
    left = [p.name for p in after.populations if p.neuron == "sum"]
    for name in left:
        assert name in network.outputs or any(p.pre == name for p in after.into(name))


def skips(count: int) -> Network:
    """Sums behind sums, each of the one before and of that through a layer: 2^count paths."""
    rng = np.random.default_rng(1)
    populations = [Population("input", (N,), "input"), *(Population(f"s{k}", (N,), "sum") for k in range(count))]
    populations.append(quarter("out"))
    projections = []
    for a, b in pairwise(populations):
        projections.append(Projection(f"{a.name}-{b.name}", a.name, b.name, ()))
        scale = Scale(rng.integers(0, 2, N) / 2.0)
        projections.append(Projection(f"{a.name}={b.name}", a.name, b.name, (scale,)))
    return Network(tuple(populations), tuple(projections), ("out",), DT, "skips")


def test_paths_that_double_are_joined_into_few() -> None:
    network = skips(12)
    after = lower(dissolve(network))
    assert [p.name for p in after.populations] == ["input", "out"]
    assert len(after.projections) <= 2 * PARALLEL
    np.testing.assert_array_equal(run(after)["out"], run(network)["out"])


CASES: dict[str, Callable[[], Network]] = {
    "a bias that counts once": lambda: pair(bias_in=True, bias_out=True),
    "a late bias before the sum": lambda: pair(bias_in=True, bias_out=False, start=2),
    "two biases of different start": lambda: pair(bias_in=True, bias_out=True, start=2),
    "a delay behind the sum": lambda: pair(bias_in=True, bias_out=False, delay=3),
}


def pair(*, bias_in: bool, bias_out: bool, start: int = 0, delay: int = 0) -> Network:
    """Two layers into a sum, one layer out of it."""
    rng = np.random.default_rng(2)
    populations = (
        Population("input", (N,), "input"), quarter("a"), Population("s", (N,), "sum"), quarter("out"),
    )  # fmt: skip
    projections = (
        Projection("first", "input", "a", (dense(rng, bias=False),)),
        Projection("one", "input", "s", (dense(rng, bias_in),), bias_start=start if bias_in else 0),
        Projection("two", "a", "s", (dense(rng, bias=False),)),
        Projection("last", "s", "out", (dense(rng, bias_out),), delay),
        Projection("back", "out", "s", (dense(rng, bias_in),), bias_start=1 if bias_in else 0),
    )
    return Network(populations, projections, ("out",), DT, "pair")


@pytest.mark.parametrize("case", CASES)
def test_biases_and_delays_around_a_sum(case: str) -> None:
    network = CASES[case]()
    after = lower(dissolve(network))
    assert [p.name for p in after.populations] == ["input", "a", "out"]
    np.testing.assert_array_equal(run(after)["out"], run(network)["out"])
    assert 0.02 < run(network)["out"].mean() < 0.98


def test_parallel_convolutions_that_would_be_too_large_as_matrices() -> None:
    """1.7 billion synapses each: the sum is named, and no matrix made."""
    kernel = Conv2d(np.ones((64, 64, 5, 5), np.float32))
    shape, inner = (64, 128, 128), (64, 124, 124)
    populations = (Population("input", shape, "input"), Population("total", inner, "sum"), lif("out", inner))
    links = [Projection(f"conv{k}", "input", "total", (kernel,)) for k in range(PARALLEL + 1)]
    links.append(Projection("on", "total", "out", ()))
    with pytest.raises(InputError, match="synapses to join its operations") as caught:
        dissolve(Network(populations, tuple(links), ("out",), DT))
    assert caught.value.where == "layer 'total'"


def test_too_many_projections_to_join_each_with_each() -> None:
    """300 values that are added for 300 layers make 90,000 projections."""
    one = [lif(f"a{k}", (1,)) for k in range(300)]
    other = [lif(f"b{k}", (1,)) for k in range(300)]
    populations = (Population("input", (1,), "input"), *one, Population("total", (1,), "sum"), *other)
    links = [Projection(f"in-{p.name}", "input", p.name, ()) for p in one]
    links += [Projection(f"{p.name}-total", p.name, "total", ()) for p in one]
    links += [Projection(f"total-{p.name}", "total", p.name, ()) for p in other]
    with pytest.raises(InputError, match="300 projections are added here for 300 others") as caught:
        dissolve(Network(populations, tuple(links), tuple(p.name for p in other), DT))
    assert caught.value.where == "layer 'total'"
