"""Dead neurons in a compilation: what the report says, and that the places of what is left lead back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from float_networks import chain, conv, lif, linear, mlp
from float_networks import spikes as random_spikes

import snnc
from snnc import pipeline, report, verification
from snnc.compilation import Options
from snnc.network import Network, Population
from snnc.ops import Linear, canonical
from snnc.passes.trim import trim
from snnc.report.text import versus
from snnc.samples import Samples
from snnc.simulator import floating, simulate
from snnc.target import Target, load


def ticket(seed: int = 0) -> Network:
    """Pruned so far that neurons of both hidden layers are dead."""
    return mlp((20, 40, 40, 5), density=0.06, seed=seed)


def compiled(network: Network, target: Target | str = "loihi", **options: object) -> snnc.image.Image:
    data = Samples(random_spikes(network, samples=6, rate=0.5), np.arange(6) % 5, "random")
    return snnc.compile(network, target, data=data, **options)


def test_a_compilation_removes_what_rounding_killed_and_the_report_says_so() -> None:
    network = ticket()
    image = compiled(network, bits=3)
    first, second = (image.provenance["passes"][name] for name in ("trim", "retrim"))
    before = trim(network)
    assert first["neurons"] == sum(before.silent.values()) + sum(before.unread.values()) > 0
    assert second["neurons"] > 0
    neurons, synapses = first["neurons"] + second["neurons"], first["synapses"] + second["synapses"]
    sizes = {p.name: p.size for p in network.populations}
    for log in (first, second):
        for entry in log["layers"]:
            kept = sum(b - a for a, b in entry["kept"])
            assert kept == sizes[entry["layer"]] - entry["silent"] - entry["unread"]
            sizes[entry["layer"]] = kept
    assert sizes == {p.name: p.size for p in image.network.populations}
    document = report.build(image)
    line = next(row for row in report.summary(document).splitlines() if row.startswith("trimmed"))
    assert f"removed {neurons} dead neurons ({synapses} synapses)" in line
    assert len(line) <= 80
    assert sum(layer.silent + layer.unread for layer in document.layers) == neurons
    assert document.this.neurons == network.size - 20 - neurons
    rows = versus(document.this, report.side(compiled(mlp((20, 40, 40, 5)))))
    assert any(row.startswith("neurons") and str(document.this.neurons) in row for row in rows)


def test_the_kept_places_lead_back_to_the_network_as_it_was_read() -> None:
    """Neuron by neuron the trimmed integer network follows the float one."""
    network = ticket()
    image = compiled(network)
    data = random_spikes(network, samples=8, steps=30, rate=0.5, seed=3)
    exact = floating.simulate(network, data)
    run = simulate(image, Samples(data), rasters=["fc1", "fc2"])
    passes = image.provenance["passes"]
    last = {entry["layer"]: entry["kept"] for name in ("trim", "retrim") for entry in passes[name]["layers"]}
    assert set(last) == {"fc1", "fc2"}
    for name, places in last.items():
        kept = np.concatenate([np.arange(a, b) for a, b in places])
        ours, theirs = (r.sum(axis=(0, 1)) for r in (run.rasters[name], exact[name]))
        theirs = theirs[kept]
        assert theirs.sum() > 50
        assert np.abs(ours - theirs).sum() <= 0.05 * theirs.sum()
        assert np.abs(ours[::-1] - theirs).sum() > 0.3 * theirs.sum()


def test_places_lead_back_to_both_float_networks() -> None:
    """Weights of 3 bits: of what is left of the lowered network, some neurons die by rounding."""
    network = ticket()
    state = pipeline.start(network, load("loihi"), None, Options(bits=3))
    last = [name for name, _ in pipeline.PASSES].index("retrim")
    state, _ = pipeline.run(state, pipeline.PASSES[: last + 1], None)
    assert state.lowered is not None
    for name in ("fc1", "fc2"):
        read, lowered = state.places(name), state.places(name, lowered=True)
        assert len(read) == len(lowered) == state.network[name].size < state.lowered[name].size < network[name].size
        np.testing.assert_array_equal(state.lowered_kept[name][lowered], read)
    np.testing.assert_array_equal(state.places("fc3"), np.arange(5))


def test_the_drift_of_approximations_leaves_out_what_was_trimmed() -> None:
    network = ticket()
    changed = tuple(
        replace(p, semantics=replace(p.semantics, compare=">=")) if p.neuron == "lif" else p
        for p in network.populations
    )
    log = compiled(replace(network, populations=changed), approximate=True).provenance["passes"]
    assert log["trim"]["neurons"] > 0
    layers = log["verify"]["drift"]["layers"].values()
    assert sum(layer["spikes_exact"] for layer in layers) > 50
    for layer in layers:
        assert layer["spikes_exact"] == layer["spikes_approximated"]  # no membrane is just at its threshold


def test_a_layer_that_died_wholly_is_gone(caplog: pytest.LogCaptureFixture) -> None:
    """Its only weights inhibit: the next layer has synapses, but never a spike."""
    rng = np.random.default_rng(0)
    layers = [Population("input", (4,), "input"), lif("a", (5,)), lif("b", (3,)), lif("out", (2,))]
    inhibit = Linear(canonical(-np.ones((3, 5))))
    image = compiled(chain(layers, [(linear(rng, 5, 4),), (inhibit,), (linear(rng, 2, 3),)]))
    assert [p.name for p in image.network.populations] == ["input", "out"]
    assert "no spike reaches layer 'out'" in caplog.text
    document = report.build(image)
    assert document.layers[1].operation == "none"
    assert {e["layer"]: (e["silent"], e["unread"]) for e in image.provenance["passes"]["trim"]["layers"]} == {
        "a": (0, 5),
        "b": (3, 0),
    }
    assert not simulate(image, Samples(np.ones((1, 5, 4), np.uint8))).spikes[:, 4:].any()


@pytest.mark.parametrize("kind", ["mlp", "conv"])
def test_what_is_left_equals_lava(kind: str, lava: Path) -> None:
    """Layers that became flat or lost channels go to netx as any others."""
    network = ticket()
    if kind == "conv":
        network = conv()
        for k, channels in ((0, [1]), (1, [0, 4])):
            network.projections[k].ops[-1].weight[channels] = -0.01
    image = compiled(network)
    log = image.provenance["passes"]["trim"]
    assert log["neurons"] > 0
    data = Samples(random_spikes(network, samples=3, steps=30, rate=0.5, seed=5))
    result = verification.verify(image, data, on="lava")
    assert result.equal, result.first
    assert sum(result.spikes.values()) > 100
