"""What is wrong with a network is said by name: of layer, of kind, and by how much."""

from __future__ import annotations

import numpy as np
import pytest
from float_networks import chain, lif, spikes

import snnc
from snnc.errors import VerificationError
from snnc.image import Image
from snnc.network import Network, Population
from snnc.ops import Linear, canonical
from snnc.quantization.diagnosis import of_weights, saturated
from snnc.report import build, summary
from snnc.samples import Samples


def one(weight: np.ndarray, threshold: float = 1.0, beta: float = 0.9, bias: np.ndarray | None = None) -> Network:
    out, into = weight.shape
    populations = [Population("input", (into,), "input"), lif("out", (out,), beta, threshold)]
    return chain(populations, [(Linear(canonical(weight), bias),)])


def kinds(image: Image) -> dict[str, str]:
    return {d["kind"]: d["text"] for d in image.provenance["passes"]["verify"]["diagnoses"]}


def data(network: Network, rate: float = 0.3) -> Samples:
    return Samples(spikes(network, samples=8, steps=20, rate=rate), np.zeros(8, int), "random")


def test_a_sound_network_has_no_diagnosis() -> None:
    network = one(np.random.default_rng(0).normal(0.1, 0.3, (5, 20)))
    image = snnc.compile(network, data=data(network))
    assert kinds(image) == {}
    assert "warning" not in summary(build(image))


def test_a_layer_that_falls_silent_is_named(caplog: pytest.LogCaptureFixture) -> None:
    """Forty small weights beside one that nothing ever uses: at 2 bits, without data, they are gone."""
    weight = np.full((4, 41), 0.01)
    weight += np.random.default_rng(0).normal(0, 1e-4, weight.shape)
    weight[:, 0] = -3
    network = one(weight, threshold=0.05)
    never = np.array(data(network, 0.6).spikes)
    never[..., 0] = 0
    silent = Samples(never, np.zeros(8, int), "random")
    sound = snnc.compile(network, data=silent, bits=8)
    assert "silent" not in kinds(sound)
    without = snnc.compile(network, bits=2)
    quiet = snnc.simulate(without, silent)
    assert quiet.spikes[:, 41:].sum() == 0
    # The same integers as if they were found on the data:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("snnc.passes.quantize.Calibration.of", lambda *_: None)
        image = snnc.compile(network, data=silent, bits=2)
    assert "never spikes, the float network" in kinds(image)["silent"]
    assert "layer 'out' is silent" in caplog.text
    assert "layer 'out' is silent" in summary(build(image))
    assert max(map(len, summary(build(image)).splitlines())) <= 80


def test_a_layer_that_always_fires_is_named() -> None:
    network = one(np.full((3, 20), 2.0) + np.random.default_rng(0).normal(0, 0.1, (3, 20)))
    image = snnc.compile(network, data=data(network, 0.9))
    assert "fires always: 100.0% of its neurons" in kinds(image)["always-firing"]


@pytest.mark.parametrize(("clipped", "told"), [(24, False), (31, True)])
def test_weights_that_were_cut_are_counted(clipped: int, told: bool) -> None:
    """A search cuts some on purpose; of more than a quarter the user hears."""
    note = {"layer": "fc", "weights": 90, "rounded_to_zero": 10, "clipped": clipped, "threshold": [7, 9]}
    found = list(of_weights([note], 100))
    assert len(found) == told
    assert all("31% of its weights are larger than the grid and were cut" in str(d) for d in found)


def test_membranes_at_the_end_of_their_range_are_counted() -> None:
    """Inhibition that never fades adds up to the lower end of the register."""
    network = one(np.array([[-5.0, -4.9, 0.01]]), threshold=900.0, beta=1 - 1e-9)
    image = snnc.compile(network, data=Samples(spikes(network, samples=4, steps=600, rate=0.9), None, "random"))
    assert "its membranes reach the lower end" in kinds(image)["membrane-limit"]


def test_currents_that_wrap_are_counted() -> None:
    """500,000 in one step are more than a current holds."""
    weight = np.full((1, 4000), 1.0) + np.random.default_rng(0).normal(0, 0.01, (1, 4000))
    network = one(weight, threshold=1.0)
    image = snnc.compile(network, data=data(network, 0.9))
    assert "its currents wrap around in" in kinds(image)["current-limit"]


def test_what_cannot_saturate_is_not_simulated(monkeypatch: pytest.MonkeyPatch) -> None:
    network = one(np.random.default_rng(0).normal(0.1, 0.3, (5, 20)))
    image = snnc.compile(network)
    run = snnc.simulate(image, data(network))
    monkeypatch.setattr("snnc.quantization.diagnosis.step", None)
    rasters = {"out": np.zeros((8, run.steps, 5), bool), "input": np.zeros((8, run.steps, 20), bool)}
    assert saturated(image.network, "out", rasters) == (0, 0, 8 * run.steps * 5)


def test_the_accuracy_is_told_step_by_step() -> None:
    network = one(np.random.default_rng(0).normal(0.1, 0.3, (5, 20)))
    labelled = data(network)
    image = snnc.compile(network, data=labelled, bits=4)
    document = build(image)
    assert document.steps is not None
    assert document.steps.quantized == document.steps.mapped == snnc.simulate(image, labelled).accuracy
    assert f"float {document.steps.floats:.1%}   4-bit {document.steps.quantized:.1%}" in summary(document)
    (layer,) = document.layers[1:]
    float_rate, rate = layer.rate_float, build(image, snnc.simulate(image, labelled)).layers[1].rate
    assert float_rate is not None
    assert rate is not None
    assert layer.rate_error == pytest.approx(rate / float_rate - 1)
    assert layer.misplaced is not None


@pytest.mark.parametrize(("drop", "passes"), [(100.0, True), (0.0, False)])
def test_the_gate_on_accuracy(drop: float, passes: bool) -> None:
    """At 2 bits, and with labels that are what the float network says, some are lost."""
    network = one(np.random.default_rng(0).normal(0.05, 0.3, (10, 30)))
    samples = Samples(spikes(network, samples=64, steps=12))
    from snnc.simulator.floating.batches import counts

    labels = counts(network, {"input": samples.spikes}, ["out"])["out"].argmax(axis=1)
    labelled = Samples(samples.spikes, labels, "random")
    if passes:
        assert snnc.simulate(snnc.compile(network, data=labelled, bits=2, max_drop=drop), labelled).accuracy < 1
        return
    with pytest.raises(VerificationError, match="accuracy falls from") as caught:
        snnc.compile(network, data=labelled, bits=2, max_drop=drop)
    assert caught.value.exit_code == 5
    assert "--bits" in caught.value.fix
