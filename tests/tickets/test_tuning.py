"""Fine-tuning: what is trained is what runs, masks stay, the best epoch is kept, the test split is never seen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from float_networks import conv, cuba, lif, linear, spikes
from small_runs import MLP

import snnc
from snnc import datasets, pipeline, tickets, workflow
from snnc import target as chips
from snnc.compilation import Options
from snnc.errors import UsageError
from snnc.network import Network, Population, Projection, identical
from snnc.passes.lower import lower
from snnc.passes.quantize import quantize
from snnc.quantization.grid import Gridded, Layer, Limits, Tune, rounded
from snnc.quantization.scales import plain
from snnc.simulator import reference
from snnc.tickets import tuning

LOIHI = chips.load("loihi")
VALIDATION = "digits:steps=4"


@pytest.fixture(scope="module")
def ticket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ticket") / "ticket.pt"
    tickets.find(replace(MLP, epochs=4), sparsity=0.6, rounds=1, out=path)
    return path


def compiled(path: Path, tune: Tune | None, bits: int = 2) -> pipeline.Result:
    samples = datasets.samples(VALIDATION, "validation")
    return pipeline.compile(
        snnc.load(path), LOIHI, samples=samples, options=Options(bits=bits, map="layers"), tune=tune
    )


def gridded(network: Network, bits: int) -> list[Gridded]:
    limits = Limits.of(LOIHI, bits)
    found = []
    for population in network.layers:
        layer = Layer.of(network, population.name)
        scale = plain(layer, limits)
        found.append(Gridded(layer, scale, limits, rounded(layer, scale, limits, "cuba_fixed").mantissas))
    return found


def looped() -> Network:
    """A recurrent layer with currents, a branch that passes a layer, and biases."""
    rng = np.random.default_rng(0)
    populations = (Population("in", (8,), "input"), cuba("a", (12,)), lif("b", (6,)))
    projections = (
        Projection("in-a", "in", "a", (linear(rng, 12, 8),)),
        Projection("a-a", "a", "a", (linear(rng, 12, 12, density=0.3),)),
        Projection("a-b", "a", "b", (linear(rng, 6, 12, bias=True),)),
        Projection("in-b", "in", "b", (linear(rng, 6, 8, density=0.5),), 2),
    )
    return lower(Network(populations, projections, ("b",), 1e-3))


@pytest.mark.parametrize("bits", [2, 8])
@pytest.mark.parametrize("network", [looped(), lower(conv())], ids=["looped", "conv"])
def test_what_is_trained_is_what_runs(network: Network, bits: int) -> None:
    """In torch and in integers the same network spikes alike, convolutions, loops, delays and biases included."""
    data = spikes(network, samples=16, steps=12)
    layers = gridded(network, bits)
    module = tuning._Integers(network, layers)
    with torch.no_grad():
        counts = module(torch.from_numpy(data)).numpy()
    for layer, mantissas in zip(layers, module.mantissas(), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(layer.mantissas, mantissas, strict=True))
    integers, _ = quantize(network, "cuba_fixed", Limits.of(LOIHI, bits))
    (output,) = network.outputs
    wanted = reference.simulate(integers, data)[output].sum(axis=1)
    assert wanted.sum() > 50
    # States are rounded in integers and not in torch.
    assert np.abs(counts - wanted).sum() <= 0.03 * wanted.sum()


def test_masks_stay_and_the_best_epoch_is_kept(ticket: Path) -> None:
    result = compiled(ticket, tickets.tuner(ticket, epochs=3))
    untuned = compiled(ticket, None)
    tuned = result.image.provenance["passes"]["quantize"]["tuned"]
    assert [entry["epoch"] for entry in tuned["log"]] == [0, 1, 2, 3]
    best = max(tuned["log"], key=lambda e: (e["validation"], -e["validation_loss"]))
    assert tuned["best"] == best["epoch"]
    # What torch and the chip make of the validation split is the same but for the rounding of states.
    assert tuned["accuracy_before"] == pytest.approx(tuned["log"][0]["validation"], abs=0.03)
    assert tuned["accuracy_after"] == pytest.approx(best["validation"], abs=0.03)
    assert tuned["accuracy_after"] >= tuned["accuracy_before"]
    assert not identical(result.image.network, untuned.image.network)
    for before, after in zip(lower(snnc.load(ticket)).projections, result.image.network.projections, strict=True):
        assert not np.any(after.op.weight.toarray()[before.op.weight.toarray() == 0])
        assert len(np.unique(np.abs(after.op.weight.data))) == 1
    for layer in untuned.image.network.layers:  # scales stay, and so do the registers
        assert identical(layer, result.image.network[layer.name])


def test_the_same_seed_gives_the_same_integers(ticket: Path) -> None:
    networks = [compiled(ticket, tickets.tuner(ticket, epochs=1, seed=s)).image.network for s in (0, 0, 1)]
    assert identical(networks[0], networks[1])
    assert not identical(networks[0], networks[2])


def test_the_test_split_is_never_seen(ticket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from snnc.models import data

    load = data.load
    monkeypatch.setattr(data, "load", lambda spec: replace(load(spec), test=None))
    assert "tuned" in compiled(ticket, tickets.tuner(ticket, epochs=1)).image.provenance["passes"]["quantize"]


def test_what_makes_things_worse_is_not_kept(ticket: Path) -> None:
    def spoil(network: Network, layers: Any) -> Any:
        return [[-m for m in layer.mantissas] for layer in layers], {"epochs": 1, "best": 1}

    result, untuned = compiled(ticket, spoil), compiled(ticket, None)
    tuned = result.image.provenance["passes"]["quantize"]["tuned"]
    assert not tuned["kept"]
    assert tuned["accuracy_after"] < tuned["accuracy_before"]
    assert identical(result.image.network, untuned.image.network)


def test_the_report_shows_both_accuracies(ticket: Path, tmp_path: Path) -> None:
    stages: list[str] = []
    document = workflow.compile_file(
        ticket, LOIHI, tmp_path, options=Options(bits=2), finetune=2, progress=lambda k, n, note: stages.append(note)
    )
    steps, tuned = document.steps, document.passes["quantize"]["tuned"]
    assert steps is not None
    assert steps.untuned == tuned["accuracy_before"]
    assert steps.quantized == max(tuned["accuracy_before"], tuned["accuracy_after"])
    assert "2 epochs of training on the grid" in snnc.report.summary(document)
    assert any(note.startswith("finetune validation") for note in stages)


def test_only_our_checkpoints_can_be_tuned(ticket: Path, tmp_path: Path) -> None:
    from snnc.frontends import nir

    nir.write(snnc.load(ticket), tmp_path / "ticket.nir")
    with pytest.raises(UsageError, match="only a checkpoint of snnc"):
        workflow.compile_file(tmp_path / "ticket.nir", LOIHI, tmp_path / "out", finetune=1)
    with pytest.raises(UsageError, match="at least 1"):
        tickets.tuner(ticket, epochs=0)
    with pytest.raises(UsageError, match="negative"):
        tickets.tuner(ticket, seed=-1)
