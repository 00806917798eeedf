"""Layers that never spike and whose membranes are read out: from floats to the chip, with one kind of prediction."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from float_networks import DT, chain, lif, linear
from float_networks import spikes as random_spikes
from small_chips import chip

import snnc
from snnc import pipeline, report, runs, verification
from snnc.compare import compare
from snnc.compilation import Options
from snnc.errors import DoesNotFit, InputError
from snnc.image import Image
from snnc.network import READ_OUT, Network, Population, Projection, Semantics
from snnc.ops import Conv2d, Flatten, Linear, canonical
from snnc.samples import Samples
from snnc.simulator import reference, simulate
from snnc.simulator.floating import batches
from snnc.simulator.reference import RANGE
from snnc.targets import lava as bridge

MODELS = ("sum", "i", "li", "cuba_li")


def last(kind: str, shape: tuple[int, ...] = (5,), leak: float = 0.0, **semantics: str) -> Population:
    one = np.ones(shape)
    params = {
        "sum": {},
        "i": {"r": one * 0.5},
        "li": {"tau": one * 8 * DT, "r": one * 3, "v_leak": one * leak},
        "cuba_li": {
            "tau_syn": one * 4 * DT,
            "tau_mem": one * 8 * DT,
            "r": one * 3,
            "v_leak": one * leak,
            "w_in": one * 2,
        },
    }[kind]
    return Population("out", shape, kind, params, Semantics(**semantics))


def network(kind: str, seed: int = 0, bias: bool = False, leak: float = 0.0) -> Network:
    rng = np.random.default_rng(seed)
    layers = [Population("input", (12,), "input"), lif("hidden", (30,), beta=0.5), last(kind, leak=leak)]
    return chain(layers, [(linear(rng, 30, 12),), (linear(rng, 5, 30, bias=bias),)])


def float_counts(net: Network, data: Samples) -> np.ndarray:
    """What the output of the float network comes to over all steps."""
    return batches.counts(net, {"input": data.spikes}, ["out"])["out"]


def labelled(net: Network, samples: int = 60, steps: int = 25) -> Samples:
    """Random spikes, with the float network's predictions as labels."""
    data = Samples(random_spikes(net, samples, steps, rate=0.4, seed=1))
    return replace(data, labels=float_counts(net, data).argmax(axis=1))


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("bias", [False, True])
def test_integers_predict_what_floats_do(kind: str, bias: bool) -> None:
    net = network(kind, bias=bias, leak=0.25 if bias else 0.0)
    data = labelled(net)
    assert len(np.unique(data.labels)) > 2
    image = snnc.compile(net, data=data)
    assert image.network["out"].neuron == READ_OUT
    run = simulate(image, data)
    assert run.accuracy is not None
    assert run.accuracy >= 0.9
    log = image.provenance["passes"]
    assert log["verify"]["accuracy_float"] == 1
    assert log["verify"]["same_prediction"] == run.accuracy
    # In units of the membrane the sums are those of the float network; a spike that moves costs more than rounding.
    scale = next(layer["scale"] for layer in log["quantize"]["layers"] if layer["layer"] == "out")
    exact = float_counts(net, data)
    assert np.corrcoef(exact.ravel(), run.outputs.ravel())[0, 1] > 0.99
    assert np.abs(run.outputs / (64 * np.mean(scale)) - exact).max() < 0.15 * np.abs(exact).max()
    assert not run.spikes[:, -5:].any()


def test_membranes_stay_inside_their_register() -> None:
    """An integrator of 400 steps: weights that fill the grid would take it 20 times over the end."""
    rng = np.random.default_rng(0)
    layers = [Population("input", (300,), "input"), last("i", (2,))]
    net = chain(layers, [(Linear(canonical(rng.random((2, 300)))),)])
    data = Samples(random_spikes(net, 3, 400, rate=0.5))
    image = snnc.compile(net, data=data)
    membranes = simulate(image, data, rasters=["out"]).rasters["out"]
    assert membranes.dtype == np.int32
    assert RANGE / 3 < np.abs(membranes).max() < RANGE - 1
    without = snnc.compile(net)
    assert np.abs(simulate(without, data, rasters=["out"]).rasters["out"]).max() == RANGE - 1


@pytest.mark.parametrize("kind", MODELS)
def test_the_rest_of_the_toolchain_takes_them(kind: str, tmp_path: Path) -> None:
    """Image, reports, energy, verification; a read-out costs synapses and updates, and sends nothing."""
    net = network(kind, bias=True)
    data = labelled(net, 8, 12)
    image = snnc.compile(net, chip(neurons=8), data=data)
    image.save(tmp_path / "image.snnc")
    image = Image.load(tmp_path / "image.snnc")
    assert verification.verify(image, data).equal
    run = simulate(image, data, rasters=["out"])
    np.testing.assert_array_equal(run.rasters["out"].sum(axis=1), run.outputs)
    document = report.build(image, run)
    layer = document.layers[-1] if document.layers[-1].name == "out" else document.layers[-2]
    assert (layer.threshold, layer.spikes, layer.messages) == (None, 0, 0)
    assert layer.synops
    assert layer.neuron_updates == 5 * 12
    report.summary(document)
    assert report.samples_csv(image, run).splitlines()[1].split(",")[2] == str(run.outputs[0].argmax())
    found = runs.simulate_network(image.network, {"input": data})
    assert found.outputs["out"] == run.outputs.tolist()
    assert found.accuracy == run.accuracy


def test_a_convolution_may_be_the_last() -> None:
    rng = np.random.default_rng(0)
    layers = [Population("input", (2, 6, 6), "input"), lif("hidden", (3, 6, 6)), last("li", (2, 3, 3))]
    kernel, second = rng.normal(0.1, 0.3, (3, 2, 3, 3)), rng.normal(size=(2, 3, 2, 2))
    net = chain(layers, [(Conv2d(kernel, padding=(1, 1)),), (Conv2d(second, stride=(2, 2)),)])
    data = Samples(random_spikes(net, 6, 10))
    image = snnc.compile(net, data=data)
    membranes = simulate(image, data, rasters=["out"]).rasters["out"]
    np.testing.assert_array_equal(membranes, reference.simulate(image.network, data.spikes)["out"])
    assert membranes.shape == (6, 10, 2, 3, 3)
    assert len(np.unique(membranes)) > 100


def behind(kind: str) -> Network:
    """A read-out that is read, and feeds neurons besides."""
    net = network(kind)
    rng = np.random.default_rng(0)
    more = Projection("on", "out", "more", (linear(rng, 3, 5),))
    return replace(
        net,
        populations=(*net.populations, lif("more", (3,))),
        projections=(*net.projections, more),
    )


@pytest.mark.parametrize("kind", ["i", "li", "cuba_li"])
def test_only_the_last_layer_may_never_spike(kind: str) -> None:
    for net in (behind(kind), replace(behind(kind), outputs=("more",))):
        with pytest.raises(DoesNotFit, match=f"'{kind}' never spikes and passes on its membrane") as caught:
            pipeline.check_only(net, chip())
        assert caught.value.violations[0].where == "layer 'out'"


def test_a_chip_whose_membranes_cannot_be_read() -> None:
    blind = msgspec.structs.replace(chip(), neuron=msgspec.structs.replace(chip().neuron, membranes=False))
    with pytest.raises(DoesNotFit) as caught:
        pipeline.check_only(network("li"), blind)
    assert caught.value.violations[0].limit == "neuron.membranes"


def test_what_starts_or_arrives_otherwise() -> None:
    """Where the membrane starts matters if its rest is not 0; a late read-out is another one."""
    rng = np.random.default_rng(0)

    def ending(population: Population) -> Network:
        return chain([Population("input", (12,), "input"), population], [(linear(rng, 5, 12),)])

    pipeline.check_only(ending(last("li", start="leak")), chip())
    for population, says in (
        (last("li", leak=0.5, start="leak"), "starts at its 'leak' potential"),
        (last("cuba_li", output="next"), "sends its spikes a step late"),
    ):
        with pytest.raises(DoesNotFit, match=says):
            pipeline.check_only(ending(population), chip())
        pipeline.check_only(ending(population), chip(), Options(approximate=True))


def test_a_read_out_cannot_send() -> None:
    net = snnc.compile(network("li")).network
    back = Projection("back", "out", "hidden", (Linear(net.projections[1].op.weight.T.tocsr()),))
    with pytest.raises(InputError, match="'out' never spikes and cannot send"):
        replace(net, projections=(*net.projections, back))


def test_differences_of_membranes_are_told_in_numbers() -> None:
    ours, theirs = np.zeros((1, 2, 3), np.int32), np.zeros((1, 2, 3), np.int64)
    theirs[0, 1, 2] = -70_000
    result = compare({"out": ours}, {"out": theirs})
    assert str(result.first) == "layer 'out', neuron (2), sample 0, step 1: v is 0 here, -70,000 there"


@pytest.mark.parametrize("kind", ["sum", "i", "li", "cuba_li"])
def test_membranes_equal_those_of_lava(kind: str, lava: Path) -> None:
    net = network(kind)
    data = labelled(net, 4, 10)
    image = snnc.compile(net, data=data)
    result = verification.verify(image, data, on="lava")
    assert result.equal, result.first
    assert result.spikes["out"] > 100
    found = runs.run_lava(image, data)
    assert found["accuracy"] == simulate(image, data).accuracy
    assert list(found["spikes"]) == ["hidden"]


def test_a_convolutional_read_out_of_lava(lava: Path) -> None:
    rng = np.random.default_rng(0)
    layers = [Population("input", (2, 5, 4), "input"), lif("hidden", (3, 5, 4)), last("li", (2, 2, 2))]
    kernel, second = rng.normal(0.1, 0.3, (3, 2, 3, 3)), rng.normal(size=(2, 3, 2, 2))
    net = chain(layers, [(Conv2d(kernel, padding=(1, 1)),), (Conv2d(second, stride=(2, 2)),)])
    data = Samples(random_spikes(net, 2, 8))
    image = snnc.compile(net, data=data)
    result = verification.verify(image, data, on="lava")
    assert result.equal, result.first
    assert result.spikes["out"] > 50


def test_a_net_file_with_a_read_out(tmp_path: Path) -> None:
    """Out, and in again; then it is compiled as it is."""
    net = network("li")
    data = labelled(net, 6, 10)
    image = snnc.compile(net, data=data)
    bridge.export(image.network, tmp_path / "a.net", 10)
    again = snnc.load(tmp_path / "a.net")
    assert [p.neuron for p in again.layers] == ["cuba_fixed", READ_OUT]
    other = snnc.compile(again, data=data)
    np.testing.assert_array_equal(simulate(other, data).outputs, simulate(image, data).outputs)


def test_a_pooled_flat_sum_is_read_out() -> None:
    """A network that ends in a linear layer without neurons: the sum of what arrives in each step."""
    rng = np.random.default_rng(0)
    layers = [Population("input", (2, 4, 4), "input"), last("sum", (3,))]
    net = chain(layers, [(Flatten(), linear(rng, 3, 32))])
    data = labelled(net, 20, 6)
    image = snnc.compile(net, data=data)
    params = image.network["out"].params
    assert set(params["u_decay"]) == set(params["v_decay"]) == {4096}
    assert simulate(image, data).accuracy == 1
