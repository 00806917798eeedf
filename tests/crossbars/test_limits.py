"""What does not fit a chip with a clock: the rule, the layer, the amounts and the cure."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from clocked_networks import ODIN, RANC, mlp, network, neurons, synapses, trains
from float_networks import cuba, lif
from float_networks import mlp as lifs

from snnc import families
from snnc.compilation import Options
from snnc.crossbars.compiler import compile
from snnc.crossbars.running import agreement, run
from snnc.errors import DoesNotFit, UsageError
from snnc.families import ClockedChip
from snnc.network import Network, Population, Projection, Semantics
from snnc.samples import Samples

ALONE = synapses("in", "h1", np.array([[1.0, 1.0]]))


def broken(net: Network, chip: ClockedChip, **options: object) -> DoesNotFit:
    with pytest.raises(DoesNotFit) as caught:
        compile(net, chip, options=Options(**options))
    for violation in caught.value.violations:
        assert violation.fix
        if violation.limit:
            assert violation.limit in dict(chip.numbers()) or violation.limit.startswith("neuron."), violation
    return caught.value


BOTH = pytest.mark.parametrize("chip", [ODIN, RANC], ids=["crossbar", "grid"])


@BOTH
def test_a_share_that_is_lost_is_no_amount(chip: ClockedChip) -> None:
    error = broken(lifs((4, 5, 3)), chip)
    assert [(v.rule, v.where) for v in error.violations] == [("leak", "layer 'fc1'"), ("leak", "layer 'fc2'")]
    assert "10.0% per step" in error.message
    assert "beta=1" in error.fix


@BOTH
@pytest.mark.parametrize(
    ("parts", "rule", "says"),
    [
        ((cuba("h1", (1,)), ALONE), "neuron", "synaptic current"),
        ((neurons("h1", 1, -1.0), ALONE), "threshold", "not positive"),
        ((replace(neurons("h1", 1), semantics=Semantics("none", ">=")), ALONE), "reset", "'none'"),
        ((replace(neurons("h1", 1), semantics=Semantics("zero", ">=", output="next")), ALONE), "updates", "late"),
        ((neurons("h1", 1), synapses("in", "h1", np.array([[1.0, 1]]), delay=15)), "delay", "wait 15 steps"),
        ((neurons("h1", 1), synapses("in", "h1", np.zeros((1, 2)))), "empty", "no synapses"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_operations(chip: ClockedChip, parts: tuple, rule: str, says: str) -> None:
    error = broken(network(*parts, size=2), chip)
    assert [v.rule for v in error.violations] == [rule]
    assert says in error.message
    assert error.where.endswith("'h1'" if rule != "delay" else "'in-h1'")


def test_a_reset_by_subtraction_is_for_a_grid() -> None:
    net = mlp(4, 3, reset="subtract")
    assert broken(net, ODIN).topic == "reset"
    compile(net, RANC)


def test_two_inputs() -> None:
    net = network(neurons("h1", 1), ALONE, size=2)
    two = replace(net, populations=(Population("other", (3,), "input"), *net.populations))
    assert broken(two, ODIN).topic == "inputs"


def test_too_many_addresses() -> None:
    error = broken(mlp(200, 60, 10, bias=True), ODIN)
    assert error.topic == "addresses"
    assert "271 addresses (200 of the input, 60 of layer 'h1', 10 of layer 'h2', 1 of the biases)" in error.message
    assert "narrower by 15" in error.fix
    compile(mlp(185, 60, 10, bias=True), ODIN)
    # Without synapses between neurons, inputs and neurons have the same addresses.
    compile(mlp(255, 200, bias=True), ODIN)
    assert "257 addresses (256 of the input, 1 of the biases)" in broken(mlp(256, 200, bias=True), ODIN).message


def test_too_many_axons_of_a_neuron() -> None:
    error = broken(mlp(180, 10, 3), RANC)
    assert (error.topic, error.where) == ("axons", "layer 'h1'")
    assert "256" in error.message
    assert "--bits" in error.fix
    compile(mlp(180, 10, 3), RANC, options=Options(bits=2))


def test_too_many_cores() -> None:
    error = broken(mlp(60, 60, 60, 60, 60, 60, 60, 60, 60, 60, 60, 60, 60, 60, 60, 60, 60, 5), RANC)
    assert error.topic == "cores"
    assert "15 cores" in error.message


def test_too_many_outputs() -> None:
    error = broken(mlp(8, 257), RANC, bits=1)
    assert error.topic == "outputs"


def test_feedback_over_layers_takes_its_time() -> None:
    rng = np.random.default_rng(0)

    def net(delay: int) -> Network:
        return network(
            neurons("h1", 4),
            neurons("h2", 3),
            synapses("in", "h1", rng.normal(0.3, 0.3, (4, 5))),
            synapses("h1", "h2", rng.normal(0.3, 0.3, (3, 4))),
            synapses("h2", "h1", rng.normal(-0.2, 0.3, (4, 3)), delay=delay),
            size=5,
        )

    error = broken(net(0), RANC)
    assert (error.topic, error.where) == ("feedback", "projection 'h2-h1'")
    assert "a step more" in error.fix
    data = Samples(trains(net(1)))
    image = compile(net(1), RANC)
    assert not any(a.differing for a in agreement(image, run(image, data), data)[0])


def test_delays_are_held_back_on_a_grid() -> None:
    """Of all lengths that there may be, beside a short cut that waits for a layer."""
    rng = np.random.default_rng(1)
    for delay in (1, 7, 13):
        net = network(
            neurons("h1", 4),
            neurons("h2", 3),
            synapses("in", "h1", rng.normal(0.3, 0.3, (4, 5)), delay=14),
            synapses("in", "h2", rng.normal(0.3, 0.3, (3, 5)), delay=delay),
            synapses("h1", "h2", rng.normal(0.3, 0.3, (3, 4))),
            size=5,
        )
        data = Samples(trains(net, steps=40))
        image = compile(net, RANC)
        ran = run(image, data)
        assert not any(a.differing for a in agreement(image, ran, data)[0])
        assert ran.spikes["h2"].any()


@pytest.mark.parametrize(("bias", "fits"), [(0.5, True), (-0.5, True), (30.0, False), (-30.0, False)])
def test_a_bias_acts_before_a_late_layer_begins(bias: float, fits: bool) -> None:
    """Layers that start late begin as far off; where the register or the threshold does not allow it, that is told."""
    parts: list[Population | Projection] = []
    for k in range(1, 11):
        parts.append(neurons(f"h{k}", 2, 50.0 if k == 10 else 1.0))
        before = "in" if k == 1 else f"h{k - 1}"
        added = np.full(2, bias) if k == 10 else None
        parts.append(synapses(before, f"h{k}", np.ones((2, 2)), added))
    net = network(*parts, size=2)
    if not fits:
        error = broken(net, RANC)
        assert (error.topic, error.where) == ("leak", "layer 'h10'")
        return
    data = Samples(trains(net, steps=60, rate=0.9))
    image = compile(net, RANC)
    ran = run(image, data)
    assert not any(a.differing for a in agreement(image, ran, data)[0])
    assert ran.spikes["h10"].any()


def test_weights_that_vanish_beside_the_threshold() -> None:
    net = network(neurons("h1", 2, 600.0), synapses("in", "h1", np.full((2, 2), 1.0)), size=2)
    error = broken(net, RANC)
    assert (error.topic, error.where) == ("weights", "layer 'h1'")
    assert "600 times" in error.message
    assert "255" in error.message
    compile(net, ODIN)


@pytest.mark.parametrize(("name", "value"), [("balance", True), ("cores", 2), ("map", "layers"), ("chips", 1)])
def test_options_of_a_mesh(name: str, value: object) -> None:
    with pytest.raises(UsageError, match=f"--{name}"):
        compile(mlp(3, 2), ODIN, options=Options(**{name: value}))


def test_a_larger_grid_takes_what_a_smaller_does_not(tmp_path: Path) -> None:
    from importlib import resources

    text = (resources.files("snnc.targets") / "ranc.toml").read_text()
    for name, old, new in (("columns", 4, 2), ("rows", 4, 1), ("port_x", 3, 1), ("port_y", 3, 0)):
        text = text.replace(f"{name} = {{ value = {old}", f"{name} = {{ value = {new}")
    (tmp_path / "small.toml").write_text(text)
    small = families.load(str(tmp_path / "small.toml"))
    net = mlp(60, 60, 5)
    assert broken(net, small).topic == "cores"
    compile(mlp(20, 20, 5), small)
    compile(net, RANC)


def test_lif_of_one_that_never_decays_is_an_if() -> None:
    params = {k: v * 2.0**60 if k in ("tau", "r") else v for k, v in lif("h1", (2,), beta=0).params.items()}
    net = network(replace(lif("h1", (2,)), params=params), synapses("in", "h1", np.ones((2, 2)) / 2), size=2)
    compile(net, ODIN)
