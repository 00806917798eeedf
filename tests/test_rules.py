"""Each rule fires on the network that breaks it, and says what, where, how much and the cure."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from float_networks import chain, conv, lif, mlp
from small_chips import chip

from snnc import pipeline, rules
from snnc.errors import DoesNotFit, Violation
from snnc.network import Network, Population, Semantics
from snnc.ops import Linear, canonical
from snnc.passes.lower import lower
from snnc.passes.quantize import Limits, quantize
from snnc.resources import usage
from snnc.target import Target


def with_population(network: Network, name: str, **changes: object) -> Network:
    populations = tuple(replace(p, **changes) if p.name == name else p for p in network.populations)
    return replace(network, populations=populations)


def with_params(network: Network, name: str, **values: float) -> Network:
    params = dict(network[name].params)
    params |= {key: np.full(network[name].shape, value) for key, value in values.items()}
    return with_population(network, name, params=params)


def emptied() -> Network:
    populations = [Population("input", (4,), "input"), lif("out", (3,))]
    return chain(populations, [(Linear(canonical(np.zeros((3, 4)))),)])


def delayed() -> Network:
    network = mlp()
    return replace(network, projections=(replace(network.projections[0], delay=63), *network.projections[1:]))


def two_inputs() -> Network:
    network = mlp()
    return replace(network, populations=(Population("more", (3,), "input"), *network.populations))


BROKEN = {
    "inputs": two_inputs(),
    "reset": with_population(mlp(), "fc1", semantics=Semantics(reset="subtract")),
    "compare": with_population(mlp(), "fc2", semantics=Semantics(compare=">=")),
    "decay": with_params(mlp(), "fc1", tau=1e-4),
    "delay": delayed(),
    "empty": emptied(),
}


def test_a_layer_that_only_its_bias_drives_can_spike() -> None:
    (projection,) = emptied().projections
    driven = replace(projection, ops=(replace(projection.op, bias=np.ones(3)),))
    pipeline.check_only(replace(emptied(), projections=(driven,)), chip())


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_rule_is_named(name: str) -> None:
    with pytest.raises(DoesNotFit) as caught:
        pipeline.check_only(BROKEN[name], chip())
    (violation,) = caught.value.violations
    assert violation.rule == name
    assert violation.where
    assert violation.message
    assert violation.fix
    assert caught.value.exit_code == 4


def test_reset_to_another_value_than_zero_is_refused() -> None:
    with pytest.raises(DoesNotFit, match="v_reset != 0"):
        pipeline.check_only(with_params(mlp(), "fc1", v_reset=0.5), chip())


@pytest.mark.parametrize("network", [mlp(bias=True), conv()], ids=["mlp", "conv"])
def test_a_sound_network_breaks_none(network: Network) -> None:
    pipeline.check_only(network, chip())


def test_a_chip_that_is_too_small_says_by_how_much() -> None:
    (violation,) = too_large(mlp((10, 300, 5)), chip(neurons=2), chips=1)
    assert violation.rule == "cores"
    assert violation.message == "it needs 153 cores, 2 chips of 128; --chips allows 1"
    assert violation.fix.startswith("allow --chips 2, or prune it: its synapses alone fill")


def test_a_board_that_is_too_small_says_by_how_much() -> None:
    (violation,) = too_large(mlp((10, 5000, 5), density=0.5), chip(neurons=1))
    assert violation.message == "it needs 5,005 cores; loihi has 4,096 on 32 chips"
    assert violation.fix.startswith("prune it")
    (violation,) = too_large(mlp((10, 5000, 5), density=0.5), chip(neurons=1), chips=40)
    assert "has 4,096 on 32 chips" in violation.message
    alone = msgspec.structs.replace(chip(neurons=2), board=None)
    (violation,) = too_large(mlp((10, 300, 5)), alone)
    assert violation.message == "it needs 153 cores; loihi has 128"


def too_large(network: Network, target: Target, chips: int | None = None) -> list[Violation]:
    """The breaches of capacity with neurons in order, as many on each core as it holds."""
    network = lowered(network)
    inputs, per_core = network.inputs[0].size, target.core.neurons.value
    core_of = np.concatenate([np.full(inputs, -1), np.arange(network.size - inputs) // per_core]).astype(np.int32)
    return rules.check_capacity(network, usage(network, core_of, target), core_of, target, chips)


def lowered(network: Network) -> Network:
    limits = Limits(weight=127, exponent=0, threshold=2**17 - 1, bias=2**12 - 1, one=4096)
    return quantize(lower(network), "cuba_fixed", limits)[0]


def test_every_rule_documents_itself() -> None:
    for rule in (*rules.OPERATION_RULES, *rules.CAPACITY_RULES):
        assert rule.text.endswith(".")
        assert len(rule.text) < 120
