"""The specification, held against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from integer_networks import chain, population

from snnc.errors import InputError
from snnc.network import Network, Population, Projection, Semantics
from snnc.ops import Conv2d, Flatten, Linear, canonical
from snnc.simulator import reference

U = 1 << 23


def step(u: int = 0, v: int = 0, a: int = 0, **params: int) -> tuple[int, int, bool]:
    full = {"u_decay": 4096, "v_decay": 4096, "threshold": (1 << 17) - 1, "bias": 0} | params
    out = reference.step({k: np.array([x]) for k, x in full.items()}, *(np.array([[x]]) for x in (u, v, a)))
    return int(out[0][0, 0]), int(out[1][0, 0]), bool(out[2][0, 0])


def test_decay_rounds_towards_zero() -> None:
    # 100 * 3000 / 4096 = 73.2, and the same below zero; a floor would give -74.
    assert step(u=100, u_decay=1096)[0] == 73
    assert step(u=-100, u_decay=1096)[0] == -73
    assert step(v=-100, v_decay=1096)[1] == -73
    assert step(v=1, v_decay=1)[1] == 0


def test_input_and_bias_count_in_units_of_64() -> None:
    assert step(a=5, bias=-2)[:2] == (320, 192)


def test_u_wraps_once() -> None:
    full = {"u_decay": 0, "v_decay": 4096}
    assert step(u=U, **full)[0] == U
    assert step(u=U, a=1, **full)[0] == U + 64 - 2 * U
    assert step(u=-U + 64, a=-1, **full)[0] == U
    assert step(u=-U + 65, a=-1, **full)[0] == -U + 1
    # Beyond two ranges a single wrap is not enough, as in Lava.
    assert step(a=1 << 20)[0] == (1 << 26) - 2 * U


def test_v_saturates() -> None:
    assert step(v=U - 1, v_decay=0, bias=1, threshold=1 << 20)[1] == U - 1
    assert step(v=-U + 1, v_decay=0, bias=-1)[1] == -U + 1


def test_the_threshold_is_strict_and_a_spike_resets_v_only() -> None:
    assert step(a=10, threshold=10) == (640, 640, False)
    assert step(a=10, bias=1, threshold=10) == (640, 0, True)
    assert step(v=641, v_decay=0, threshold=10) == (0, 0, True)


def one_to_one(weight: int) -> Linear:
    return Linear(canonical(np.array([[weight]], np.int16)))


def pulse(steps: int) -> np.ndarray:
    """One input spike in the first step."""
    return np.eye(1, steps, dtype=np.uint8).reshape(1, steps, 1)


def times(network: Network, name: str, steps: int = 8) -> list[int]:
    return np.flatnonzero(reference.simulate(network, pulse(steps))[name]).tolist()


def relay(*projections: Projection) -> Network:
    """in, a, b: neurons that spike exactly where something arrives."""
    layers = [population(name, (1,), v_decay=4096, threshold=50) for name in "ab"]
    return Network((Population("in", (1,), "input"), *layers), projections, ("b",), 1e-3)


def test_a_chain_is_crossed_within_the_step() -> None:
    network = relay(Projection("p", "in", "a", (one_to_one(60),)), Projection("q", "a", "b", (one_to_one(60),)))
    assert times(network, "in") == times(network, "a") == times(network, "b") == [0]


def test_a_delay_adds_whole_steps() -> None:
    network = relay(
        Projection("p", "in", "a", (one_to_one(60),), delay=2), Projection("q", "a", "b", (one_to_one(60),), delay=1)
    )
    assert times(network, "a") == [2]
    assert times(network, "b") == [3]


def test_recurrence_and_feedback_arrive_one_step_later() -> None:
    forward = Projection("p", "in", "a", (one_to_one(60),)), Projection("q", "a", "b", (one_to_one(60),))
    assert times(relay(*forward, Projection("r", "a", "a", (one_to_one(60),))), "a", 4) == [0, 1, 2, 3]
    assert times(relay(*forward, Projection("r", "b", "a", (one_to_one(60),), delay=2)), "a", 8) == [0, 3, 6]


def test_two_paths_add_up() -> None:
    half = one_to_one(30)
    network = relay(
        Projection("p", "in", "a", (one_to_one(60),)),
        Projection("q", "in", "b", (half,)),
        Projection("r", "a", "b", (half,)),
    )
    assert times(network, "b") == [0]


def test_shapes_are_kept() -> None:
    kernel = np.ones((3, 2, 2, 2), np.int16)
    network = Network(
        (Population("in", (2, 4, 5), "input"), population("c", (3, 3, 4), threshold=3)),
        (Projection("p", "in", "c", (Conv2d(kernel),)),),
        ("c",),
        1e-3,
    )
    result = reference.simulate(network, np.ones((2, 3, 2, 4, 5), np.uint8))
    assert result["in"].shape == (2, 3, 2, 4, 5)
    assert result["c"].shape == (2, 3, 3, 3, 4)
    assert result["c"].dtype == bool


def bad(**changes: object) -> Network:
    params = dict(population("a", (1,)).params) | {k: v for k, v in changes.items() if k != "ops"}
    return Network(
        (Population("in", (1,), "input"), Population("a", (1,), "cuba_fixed", params)),
        (Projection("p", "in", "a", changes.get("ops", (one_to_one(60),))),),
        ("a",),
        1e-3,
    )


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (bad(u_decay=np.array([5000], np.int32)), "u_decay must be 0..4096"),
        (bad(v_decay=np.array([-1], np.int32)), "v_decay must be 0..4096"),
        (bad(bias=np.array([0.5])), "bias is float64"),
        (bad(ops=(one_to_one(60), Flatten())), "one Linear or Conv2d"),
        (bad(ops=(Linear(canonical(np.ones((1, 1)))),)), "float64, not int16"),
        (bad(ops=(Linear(one_to_one(60).weight, np.ones(1)),)), "its bias belongs"),
    ],
)
def test_what_is_not_an_integer_network_is_refused(network: Network, message: str) -> None:
    with pytest.raises(InputError, match=message):
        reference.simulate(network, pulse(3))


def test_a_float_neuron_is_refused_with_its_layer() -> None:
    zero = np.zeros(1)
    layer = Population("a", (1,), "if", {"r": zero, "v_threshold": zero, "v_reset": zero}, Semantics())
    network = Network((Population("in", (1,), "input"), layer), (), ("a",), 1e-3)
    with pytest.raises(InputError, match="'if' is not an integer neuron") as caught:
        reference.simulate(network, pulse(3))
    assert "'a'" in caught.value.where


def test_data_of_another_shape_and_a_second_input_are_refused() -> None:
    with pytest.raises(InputError, match="shape"):
        reference.simulate(chain(4, 3), np.ones((1, 2, 5), np.uint8))
    two = Network((Population("x", (1,), "input"), Population("y", (1,), "input")), (), ("y",), 1e-3)
    with pytest.raises(InputError, match="'x', 'y'"):
        reference.simulate(two, pulse(3))
