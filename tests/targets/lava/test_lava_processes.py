"""The plan of a network as Lava processes: what is chosen for which layer, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from integer_chains import LIF, chain, conv, dense, layer
from integer_graphs import GRAPHS, as_kind, graph

from snnc.errors import InputError
from snnc.network import Network, Population, Projection, Semantics
from snnc.ops import Linear
from snnc.targets.lava.processes import SPARSE_BELOW, Plan, Synapses, plan
from snnc.targets.lava.sums import LARGEST_VALUE, WORD
from snnc.targets.lava.weights import Encoding, encode


def planned(name: str) -> Plan:
    build, _, _ = GRAPHS[name]
    return plan(build(np.random.default_rng(0)))


def joint(made: Plan, pre: str, post: str, which: int = 0) -> Synapses:
    return [s for s in made.synapses if (s.pre, s.post) == (pre, post)][which]


def test_branches_wait_for_each_other() -> None:
    made = planned("branches")
    assert {n.population.name: n.late for n in made.neurons} == {"a": 1, "b": 2, "c": 3}
    assert [s.delay for s in made.synapses] == [0, 0, 0, 2, 1]
    assert [s.lag for s in made.synapses] == [0] * 5


def test_loops_take_the_step_that_connections_cost() -> None:
    made = planned("recurrent")
    assert [(s.delay, s.lag) for s in made.synapses if s.pre == s.post] == [(0, 1), (3, 4)]
    made = planned("feedback")
    assert [joint(made, pre, "a").delay for pre in ("b", "c")] == [0, 0]


@pytest.mark.parametrize(("density", "kind"), [(0.1, "sparse"), (SPARSE_BELOW - 0.01, "sparse"), (0.5, "dense")])
def test_few_weights_are_sparse(density: float, kind: str) -> None:
    weight = np.zeros(1000, int)
    weight[: int(1000 * density)] = 1
    made = plan(chain((25,), (dense(weight.reshape(40, 25)), LIF)))
    assert [s.kind for s in made.synapses] == [kind]


NEEDS = {
    "threshold differs between neurons": layer("a", (4,), threshold=[1, 2, 3, 4]),
    "u_decay differs between neurons": layer("a", (4,), u_decay=[1, 2, 3, 4]),
    "v_decay differs between neurons": layer("a", (4,), v_decay=[1, 2, 3, 4]),
    "a second compartment": as_kind(layer("a", (4,)), "alif_fixed", w_decay=0, w_jump=5),
    "spikes that carry values": as_kind(layer("a", (4,)), "graded_fixed"),
    "rest after a spike": as_kind(layer("a", (4,)), "cuba_fixed", refractory=[0, 0, 0, 1]),
    "reset by subtraction": replace(layer("a", (4,)), semantics=Semantics("subtract")),
    "": layer("a", (4,), bias=[1, 2, 3, 4]),
    "nothing, for it never rests": as_kind(layer("a", (4,)), "cuba_fixed", refractory=0),
    "nothing, for it is read out": as_kind(layer("a", (4,)), "cuba_li_fixed"),
}


@pytest.mark.parametrize("words", NEEDS)
def test_lavas_own_neurons_serve_where_they_can(words: str) -> None:
    made = plan(graph((3,), (NEEDS[words], layer("b", (2,))), ("in", "b", dense(np.ones((2, 3))), 0)))
    assert made.neurons[0].needs == (() if not words or "nothing" in words else (words,))
    assert made.neurons[1].needs == ()


def test_large_sums_need_more_than_lavas_neuron() -> None:
    """A thousand values of 2^17 - 1 are more than the 32 bits in which LIF shifts them."""
    made = plan(
        graph(
            (1000,),
            (as_kind(layer("a", (1000,)), "graded_fixed"), layer("b", (2,)), layer("c", (2,))),
            ("in", "a", dense(np.eye(1000)), 0),
            ("a", "b", dense(np.ones((2, 1000))), 0),
            ("a", "c", dense(np.eye(2, 1000)), 0),
        )
    )
    assert [n.needs for n in made.neurons] == [("spikes that carry values",), ("sums of more than 24 bits",), ()]


def test_neurons_that_spike_before_their_first_step() -> None:
    made = planned("biased-early")
    assert {n.population.name: n.early for n in made.neurons} == {"a": False, "b": True, "c": True}
    assert [(s.pre, s.pass_early) for s in made.synapses if s.lag] == [("b", True), ("b", True), ("c", True)]
    assert not any(n.early for n in planned("recurrent").neurons)


def test_kernels_that_conv_cannot_hold_are_matrices() -> None:
    made = planned("values-conv")
    assert [s.kind for s in made.synapses] == ["conv", "conv", "sparse", "conv"]
    assert [s.values for s in made.synapses] == [False, True, True, False]
    made = planned("exponents")
    assert made.synapses[0].kind == "sparse"
    assert [s.encoding for s in made.synapses] == [
        Encoding("MIXED", 2),
        Encoding("MIXED", 1),
        Encoding("EXCITATORY", 7),
        Encoding("INHIBITORY", 2),
    ]


def test_large_sums_of_values_are_taken_in_parts() -> None:
    """200 x 127 x (2^17 - 1) is more than 2^31, and less than twice that."""
    network = too_many_values(-127)
    made = plan(network)
    parts = [s for s in made.synapses if s.pre == "a"]
    assert [s.name for s in parts] == [f"a-b-1, part {k} of 2" for k in (1, 2)]
    whole = network.projections[1].op.weight.toarray()
    assert np.array_equal(sum(s.op.weight.toarray() for s in parts), whole)
    assert max(abs(s.op.weight.astype(int)).sum(axis=1).max() for s in parts) * LARGEST_VALUE <= WORD


def test_synapses_without_weights_are_left_out() -> None:
    made = planned("one-signed")
    assert [(s.pre, s.post) for s in made.synapses] == [("in", "a"), ("a", "b"), ("b", "c")]


def test_the_largest_input() -> None:
    """The smallest of: 2^24 - 1 of a LIF's sum, 2^31 - 1 of a matrix, 2^23 - 1 of a kernel; over its largest row."""
    one = dense(np.array([[100, 100, -55], [1, 2, 3]]))
    assert plan(chain((3,), (one, LIF))).largest_input == ((1 << 24) - 1) // 255
    varied = {**LIF, "threshold": [1, 2]}
    assert plan(chain((3,), (one, varied))).largest_input == (1 << 17) - 1
    many = dense(np.full((2, 300), 255))
    assert plan(chain((300,), (many, varied))).largest_input == ((1 << 31) - 1) // (300 * 255)
    kernel = conv(np.full((1, 3, 1, 1), 100))
    assert plan(chain((3, 2, 2), (kernel, LIF))).largest_input == ((1 << 23) - 1) // 300
    assert planned("delayed-conv").largest_input == 1


@pytest.mark.parametrize("sign", [-1, 0, 1])
def test_no_bit_of_a_weight_is_lost(sign: int) -> None:
    """What is stored is a mantissa of the chip, and times its power of two the weight."""
    rng = np.random.default_rng(sign + 1)
    for _ in range(500):
        values = rng.integers(0, 1 << rng.integers(1, 9), 8) << rng.integers(0, 8)
        values = values * (sign or rng.choice([-1, 1], 8))
        try:
            found = encode(values, "", exponents=7)
        except InputError:  # eight bits and a sign
            assert sign == 0
            continue
        stored = found.stored(values).astype(int)
        assert np.array_equal(stored * 2.0**found.exponent, values)
        least, most = {"MIXED": (-256, 254), "EXCITATORY": (0, 255), "INHIBITORY": (-255, 0)}[found.sign]
        assert stored.min() >= least
        assert stored.max() <= most
        assert found.sign != "MIXED" or not np.any(stored % 2)


def only(weight: np.ndarray, **params: object) -> Network:
    return chain((weight.shape[1],), (dense(weight), params))


def delayed(steps: int) -> Network:
    made = only(np.ones((2, 3)))
    return replace(made, projections=(replace(made.projections[0], delay=steps),))


def backward(delay: int) -> Network:
    return graph(
        (3,),
        (layer("a", (2,)), layer("b", (2,)), layer("c", (2,))),
        ("in", "a", dense(np.ones((2, 3))), 0),
        ("a", "b", dense(np.ones((2, 2))), 0),
        ("b", "c", dense(np.ones((2, 2))), 0),
        ("c", "a", dense(np.ones((2, 2))), delay),
    )


def too_many_values(weight: int) -> Network:
    return graph(
        (200,),
        (as_kind(layer("a", (200,)), "graded_fixed"), layer("b", (1,))),
        ("in", "a", dense(np.eye(200)), 0),
        ("a", "b", dense(np.full((1, 200), weight)), 0),
    )


REFUSED: dict[str, tuple[Network, str, str]] = {
    # name: (network, layer or projection, words of the message)
    "weight-wide": (only(np.array([[129, -1, 0]])), "projection 'p1'", "holds the odd 129"),
    "weight-large": (
        only(np.array([[32767, -32767]])),
        "projection 'p1'",
        "weight spans .* Lava holds -32768 .. 32512",
    ),
    "weight-grain": (only(np.array([[1016, -3, 4]])), "projection 'p1'", "holds -3; .* multiples of 8, .* with sign"),
    "weight-one-sign": (only(np.array([[1020, 3, 4]])), "projection 'p1'", "holds 3; .* multiples of 4, .* 8 bits$"),
    "kernel-wide": (
        chain((1, 3, 3), (conv(np.array([131, -1]).reshape(1, 1, 1, 2)), {})),
        "projection 'p1'",
        "holds the odd 131",
    ),
    "threshold": (only(np.ones((2, 3)), threshold=1 << 17), "layer 'l1'", "threshold must lie within"),
    "bias": (only(np.ones((2, 3)), bias=4096), "layer 'l1'", "bias must lie within"),
    "jump": (
        graph((3,), (as_kind(layer("a", (2,)), "alif_fixed", w_decay=0, w_jump=1 << 17),)),
        "layer 'a'",
        "w_jump must lie within",
    ),
    "delay": (delayed(64), "projection 'p1'", "must wait for 64 steps; Lava's synapses hold 63"),
    "feedback": (backward(1), "projection 'c-a-3'", r"'c' \(layer 3\) back to 'a' \(layer 1\) within 2 steps"),
    "values": (too_many_values(255 << 7), "projection 'a-b-1'", "may sum up to 855,631,488,000, .* 32 bits hold"),
    "float": (
        Network(
            (
                Population("in", (2,), "input"),
                Population("l", (2,), "if", {k: np.ones(2) for k in ("r", "v_threshold", "v_reset")}),
            ),
            (Projection("p", "in", "l", (dense(np.ones((2, 2))),)),),
            ("l",),
            1e-3,
        ),
        "layer 'l'",
        "not an integer neuron",
    ),
    "float-weight": (
        replace(
            only(np.ones((2, 3))),
            projections=(Projection("p1", "in", "l1", (Linear(dense(np.ones((2, 3))).weight.astype(float)),)),),
        ),
        "projection 'p1'",
        "not int16",
    ),
    "no-layers": (Network((Population("in", (6,), "input"),), (), ("in",), 1e-3, "bare"), "bare", "no layers"),
    "two-inputs": (
        Network((Population("in", (6,), "input"), Population("in2", (3,), "input")), (), ("in",), 1e-3, "two"),
        "two",
        "one input population",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_lava_cannot_run_is_refused_by_name(case: str) -> None:
    network, where, words = REFUSED[case]
    with pytest.raises(InputError, match=words) as caught:
        plan(network)
    assert caught.value.where == where
    assert caught.value.fix or case in ("no-layers", "two-inputs")


@pytest.mark.parametrize("network", [delayed(63), backward(2), too_many_values(40)])
def test_the_ends_of_what_lava_can_are_planned(network: Network) -> None:
    assert plan(network).synapses
