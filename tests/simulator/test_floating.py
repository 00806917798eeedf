"""The float executor against snntorch in float64, spike for spike, and against hand-made cases."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from float_networks import conv, spikes

from snnc.errors import InputError, UsageError
from snnc.network import Network, Population, Projection, Semantics
from snnc.ops import Conv2d, Flatten, Linear, Pool2d, canonical
from snnc.simulator import floating
from snnc.simulator.floating import batches

snntorch = pytest.importorskip("snntorch")
DT = 1e-3
ZERO = Semantics("zero", ">")


def neuron(name: str, shape: tuple[int, ...], kind: str, semantics: Semantics = ZERO, **params: Any) -> Population:
    full = {k: np.broadcast_to(np.asarray(v, np.float64), shape).copy() for k, v in params.items()}
    return Population(name, shape, kind, full, semantics)


def leaky(name: str, shape: tuple[int, ...], beta: Any, threshold: float) -> Population:
    tau = DT / (1 - np.asarray(beta))
    return neuron(name, shape, "lif", tau=tau, r=tau / DT, v_leak=0, v_threshold=threshold, v_reset=0)


def spikes_of(shape: tuple[int, ...], rate: float = 0.3) -> np.ndarray:
    return (np.random.default_rng(1).random(shape) < rate).astype(np.uint8)


def run_torch(layers: list[Any], spikes: np.ndarray) -> np.ndarray:
    """Spikes of the last layer of a stack of modules and snntorch neurons, (samples, steps, *shape)."""
    out = []
    state = {k: [n.reset_mem()] for k, n in enumerate(layers) if isinstance(n, snntorch.Leaky)}
    state |= {k: list(n.reset_mem()) for k, n in enumerate(layers) if isinstance(n, snntorch.Synaptic)}
    with torch.no_grad():
        for t in range(spikes.shape[1]):
            x = torch.as_tensor(spikes[:, t], dtype=torch.float64)
            for k, layer in enumerate(layers):
                if k in state:
                    x, *state[k] = layer(x, *state[k])
                else:
                    x = layer(x.double())
            out.append(x.numpy() != 0)
    return np.stack(out, axis=1)


@pytest.mark.parametrize("kind", ["leaky", "leaky, beta 1", "synaptic"])
def test_a_dense_layer_equals_snntorch(kind: str) -> None:
    torch.manual_seed(0)
    dense = torch.nn.Linear(30, 50, dtype=torch.float64)
    alpha, beta = (torch.rand(50, dtype=torch.float64) * 0.5 + low for low in (0.2, 0.5))
    a, b, threshold = alpha.numpy(), beta.numpy(), 0.5
    if kind == "leaky":
        module, layer = snntorch.Leaky(beta, threshold, reset_mechanism="zero"), leaky("h", (50,), b, threshold)
    elif kind == "leaky, beta 1":
        module = snntorch.Leaky(1.0, threshold, reset_mechanism="zero")
        layer = neuron("h", (50,), "if", r=1, v_threshold=threshold, v_reset=0)
    else:
        module = snntorch.Synaptic(alpha, beta, threshold, reset_mechanism="zero", reset_delay=False)
        syn, mem = DT / (1 - a), DT / (1 - b)
        layer = neuron(
            "h",
            (50,),
            "cuba_lif",
            tau_syn=syn,
            tau_mem=mem,
            r=mem / DT,
            v_leak=0,
            v_threshold=threshold,
            v_reset=0,
            w_in=syn / DT,
        )
    op = Linear(canonical(dense.weight.detach().numpy()), dense.bias.detach().numpy())
    network = Network((Population("in", (30,), "input"), layer), (Projection("p", "in", "h", (op,)),), ("h",), DT)
    spikes = spikes_of((4, 200, 30))
    expected = run_torch([dense, module], spikes)
    assert 0.05 < expected.mean() < 0.5
    np.testing.assert_array_equal(floating.simulate(network, spikes)["h"], expected)


@pytest.mark.parametrize(
    "options", [{}, {"stride": (2, 1), "padding": (1, 2)}, {"dilation": (2, 1), "padding": (2, 0)}, {"groups": 2}]
)
def test_a_convolutional_network_equals_snntorch(options: dict[str, Any]) -> None:
    """Convolution, pooling, flatten and a dense layer; two populations within one step."""
    torch.manual_seed(0)
    conv = torch.nn.Conv2d(2, 6, 3, dtype=torch.float64, **options)
    beta, threshold = 0.75, 0.25  # exact in float32, in which snntorch keeps them
    ops = Conv2d(conv.weight.detach().numpy(), conv.bias.detach().numpy(), **options)
    shape = ops.output_shape((2, 8, 9))
    pool = torch.nn.AvgPool2d(2)
    size = int(np.prod(Pool2d("average", (2, 2), (2, 2)).output_shape(shape)))
    dense = torch.nn.Linear(size, 10, dtype=torch.float64)
    chain = (
        Pool2d("average", (2, 2), (2, 2)),
        Flatten(),
        Linear(canonical(dense.weight.detach().numpy()), dense.bias.detach().numpy()),
    )
    network = Network(
        (Population("in", (2, 8, 9), "input"), leaky("c", shape, beta, threshold), leaky("d", (10,), beta, threshold)),
        (Projection("p", "in", "c", (ops,)), Projection("q", "c", "d", chain)),
        ("d",),
        DT,
    )
    first, second = (snntorch.Leaky(beta, threshold, reset_mechanism="zero") for _ in range(2))
    spikes = spikes_of((2, 40, 2, 8, 9))
    expected = run_torch([conv, first, pool, torch.nn.Flatten(), dense, second], spikes)
    assert expected.any()
    result = floating.simulate(network, spikes)
    np.testing.assert_array_equal(result["c"], run_torch([conv, first], spikes))
    np.testing.assert_array_equal(result["d"], expected)


def single(layer: Population, weight: float = 1.0) -> Network:
    op = Linear(canonical(np.array([[weight]])))
    return Network(
        (Population("in", (1,), "input"), layer), (Projection("p", "in", layer.name, (op,)),), (layer.name,), DT
    )


def times(network: Network, steps: int = 8) -> list[int]:
    return np.flatnonzero(floating.simulate(network, np.ones((1, steps, 1), np.uint8))["n"]).tolist()


@pytest.mark.parametrize(
    ("gain", "r", "expected"),
    [("step", 1.0, [2, 5]), ("step", 2.0, [1, 3, 5, 7]), ("time", 1 / DT, [2, 5]), ("time", 2 / DT, [1, 3, 5, 7])],
)
def test_the_gain_of_an_integrate_and_fire_neuron(gain: str, r: float, expected: list[int]) -> None:
    layer = neuron("n", (1,), "if", Semantics(gain=gain), r=r, v_threshold=2.5, v_reset=0)
    assert times(single(layer)) == expected


@pytest.mark.parametrize(
    ("semantics", "expected"),
    [
        (Semantics("zero", ">"), [2, 5]),  # 1 2 3! 1 2 3!
        (Semantics("zero", ">="), [1, 3, 5, 7]),  # 1 2! 1 2!
        (Semantics("value", ">"), [2, 4, 6]),  # 1 2 3! 2 3! 2 3!
        (Semantics("subtract", ">"), [2, 4, 6]),  # 1 2 3! (1) 2 3! (1) 2 3!
    ],
)
def test_reset_and_comparison(semantics: Semantics, expected: list[int]) -> None:
    assert times(single(neuron("n", (1,), "if", semantics, r=1, v_threshold=2, v_reset=1))) == expected


def test_subtraction_keeps_the_excess() -> None:
    # 1.5 3! (1) 2.5! (0.5) 2 3.5! ...; a reset to zero would fire in 1, 3, 5.
    layer = neuron("n", (1,), "if", Semantics("subtract"), r=1, v_threshold=2, v_reset=0)
    assert times(single(layer, 1.5), 6) == [1, 2, 4, 5]


def test_the_leak_reversal_drives_the_membrane() -> None:
    # No synapse: v = 4 (1 - 0.5^t) passes 3.2 in the third step (3.5).
    layer = neuron("n", (1,), "lif", tau=2 * DT, r=2, v_leak=4, v_threshold=3.2, v_reset=0)
    assert times(single(layer, 0.0), 5) == [2]


def test_recurrence_arrives_one_step_later() -> None:
    layer = neuron("n", (1,), "if", r=1, v_threshold=0.5, v_reset=0)
    one = Linear(canonical(np.ones((1, 1))))
    network = Network(
        (Population("in", (1,), "input"), layer),
        (Projection("p", "in", "n", (one,), delay=1), Projection("q", "n", "n", (one,), delay=1)),
        ("n",),
        DT,
    )
    pulse = np.eye(1, 6, dtype=np.uint8).reshape(1, 6, 1)
    assert np.flatnonzero(floating.simulate(network, pulse)["n"]).tolist() == [1, 3, 5]


def test_counts_do_not_depend_on_blocks_and_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples are run in blocks; how many fit into one must not show, in any layer."""
    network = conv()
    data = {"input": spikes(network, samples=7, steps=9)}
    whole = {k: v.sum(axis=1).reshape(7, -1) for k, v in floating.simulate(network, data).items()}
    seen: list[int] = []
    for block, threads in ((1, 2), (3, 1), (16, 2)):
        monkeypatch.setattr(batches, "BLOCK_SAMPLES", block)
        found = batches.counts(network, data, threads=threads, progress=lambda done, total: seen.append(done))
        assert found.keys() == whole.keys()
        for name, expected in whole.items():
            np.testing.assert_array_equal(found[name], expected)
        assert seen[-1] == 7
    with pytest.raises(UsageError, match="at least one thread"):
        batches.counts(network, data, threads=0)


def test_what_has_no_float_equation_is_refused() -> None:
    zero = np.zeros(1, np.int32)
    layer = Population("n", (1,), "cuba_fixed", dict.fromkeys(("u_decay", "v_decay", "threshold", "bias"), zero))
    with pytest.raises(InputError, match="'cuba_fixed' has no float equation"):
        floating.simulate(single(layer), np.ones((1, 2, 1), np.uint8))
    with pytest.raises(InputError, match="shape"):
        floating.simulate(single(layer), np.ones((1, 2, 3), np.uint8))
