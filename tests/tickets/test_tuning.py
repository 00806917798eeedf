"""Fine-tuning: what is trained is what runs, masks stay, the best epoch is kept, the test split is never seen."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from float_networks import DT, chain, conv, cuba, lif, linear, spikes
from small_chips import few
from small_runs import CONV, MLP

import snnc
from snnc import cures, datasets, pipeline, report, tickets, workflow
from snnc import target as chips
from snnc.compilation import Options
from snnc.errors import DoesNotFit, UsageError
from snnc.network import Network, Population, Projection, identical
from snnc.ops import Conv1d, Flatten, canonical
from snnc.passes.lower import lower
from snnc.quantization.grid import Gridded, Layer, Limits, Rounded, Scale, Tune, held, rounded
from snnc.quantization.scales import plain
from snnc.simulator import reference
from snnc.tickets import training, tuning

LOIHI = chips.load("loihi")


@pytest.fixture(scope="module")
def ticket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ticket") / "ticket.pt"
    # Slow training leaves something to do.
    tickets.find(replace(MLP, epochs=4, lr=5e-3), sparsity=0.6, rounds=1, out=path)
    return path


def compiled(
    path: Path, tune: Tune | None, network: Network | None = None, bits: int = 2, data: str = "digits:steps=4"
) -> pipeline.Result:
    samples = datasets.samples(data, "validation")
    options = Options(bits=bits, map="layers")
    return pipeline.compile(network or snnc.load(path), LOIHI, samples=samples, options=options, tune=tune)


def tuned(result: pipeline.Result) -> dict[str, Any]:
    found: dict[str, Any] = result.image.provenance["passes"]["quantize"]["tuned"]
    return found


def changed(network: Network, change: Callable[[str, np.ndarray], np.ndarray]) -> Network:
    """The network with other weights: change(layer, matrix)."""
    projections = []
    for p in network.projections:
        *before, op = p.ops
        weight = canonical(change(p.post, op.weight.toarray()))
        projections.append(replace(p, ops=(*before, replace(op, weight=weight))))
    return replace(network, projections=tuple(projections))


def gridded(network: Network, bits: int) -> list[Gridded]:
    """Layers on the grid as they round, every other channel with a scale of twice the size; a read-out has one."""
    limits = Limits.of(LOIHI, bits)
    found = []
    for population in network.layers:
        layer = Layer.of(network, population.name)
        scale = plain(layer, limits)
        if not layer.reads:
            scale = Scale(scale.factor * (1 + layer.channels % 2), scale.exponent)
        found.append(Gridded(layer, scale, limits, rounded(layer, scale, limits, "cuba_fixed"), False))
    return found


def assembled(network: Network, layers: Sequence[Rounded]) -> Network:
    parts = {p.name: p for layer in layers for p in (layer.population, *layer.incoming)}
    return replace(
        network,
        populations=tuple(parts.get(p.name, p) for p in network.populations),
        projections=tuple(parts[p.name] for p in network.projections),
    )


def looped() -> Network:
    """A recurrent layer with currents, a branch that passes a layer and is delayed, and biases."""
    rng = np.random.default_rng(0)
    populations = (Population("in", (8,), "input"), cuba("a", (12,)), lif("b", (6,)))
    projections = (
        Projection("in-a", "in", "a", (linear(rng, 12, 8),)),
        Projection("a-a", "a", "a", (linear(rng, 12, 12, density=0.3),)),
        Projection("a-b", "a", "b", (linear(rng, 6, 12, bias=True),)),
        Projection("in-b", "in", "b", (linear(rng, 6, 8, density=0.5),), 2),
    )
    return lower(Network(populations, projections, ("b",), DT))


def line() -> Network:
    """A convolution in one dimension, one without a tap, and a layer whose neurons nothing feeds."""
    rng = np.random.default_rng(0)
    kernel = rng.normal(0.2, 0.4, (4, 2, 3))
    kernel[1, 0, 1] = 0
    populations = [Population("in", (2, 10), "input"), lif("a", (4, 10)), lif("b", (5,))]
    weight = linear(rng, 5, 40).weight.toarray()
    weight[2] = 0
    return lower(chain(populations, [(Conv1d(kernel, padding=1),), (Flatten(), snnc.ops.Linear(canonical(weight)))]))


def read_out() -> Network:
    rng = np.random.default_rng(0)
    one = np.ones(3)
    last = Population("out", (3,), "li", {"tau": 8 * DT * one, "r": 3 * one, "v_leak": 0.1 * one})
    layers = [Population("in", (8,), "input"), lif("a", (12,)), last]
    return lower(chain(layers, [(linear(rng, 12, 8),), (linear(rng, 3, 12),)]))


def flooded() -> Network:
    """Currents so large that the registers wrap and saturate."""
    rng = np.random.default_rng(0)
    populations = [Population("in", (900,), "input"), cuba("a", (10,), alpha=0.95, beta=0.99), lif("b", (4,))]
    return lower(chain(populations, [(linear(rng, 10, 900),), (linear(rng, 4, 10),)]))


@pytest.mark.parametrize("bits", [1, 2, 8])
@pytest.mark.parametrize("make", [looped, lambda: lower(conv()), line, read_out, flooded])
def test_what_is_trained_is_what_runs(make: Callable[[], Network], bits: int) -> None:
    """In torch the very spikes of the specification: loops, delays, biases, kernels, scales of channels, read-outs."""
    network = make()
    data = spikes(network, samples=8, steps=12)
    layers = gridded(network, bits)
    module = tuning._Integers(network, layers)
    (output,) = network.outputs
    wanted = reference.simulate(assembled(network, [layer.integers for layer in layers]), data)[output].sum(axis=1)
    assert np.count_nonzero(wanted) > 10
    with training.one_thread(), torch.no_grad():
        counts = module(torch.from_numpy(data)).numpy()
    if layers[-1].layer.reads:
        counts = counts * layers[-1].scale.unit * 2**reference.UNIT
        np.testing.assert_allclose(counts, wanted, atol=1e-6)
    else:
        np.testing.assert_array_equal(counts, wanted)


def trained(network: Network, layers: list[Gridded]) -> tuple[tuning._Integers, torch.Tensor]:
    """The layers after some large steps, and what they were trained on."""
    module = tuning._Integers(network, layers)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.3)
    data = torch.from_numpy(spikes(network, samples=8, steps=12))
    with training.one_thread():
        for _ in range(4):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(module(data), torch.arange(8) % 3).backward()
            optimizer.step()
    return module, data


@pytest.mark.parametrize("exact", [0, 1])
def test_an_exact_layer_is_not_trained(exact: int) -> None:
    network = looped()
    layers = [replace(of, exact=k == exact) for k, of in enumerate(gridded(network, 1))]
    module, _ = trained(network, layers)
    for k, (layer, (scale, mantissas)) in enumerate(zip(layers, module.placed(), strict=True)):
        pairs = zip(layer.integers.mantissas, mantissas, strict=True)
        assert all(np.array_equal(before, after) for before, after in pairs) == (k == exact)
        assert np.array_equal(scale.factor, layer.scale.factor) == (k == exact)


@pytest.mark.parametrize("bits", [1, 3])
@pytest.mark.parametrize("make", [looped, lambda: lower(conv()), line, read_out])
def test_every_weight_learns_and_stays_on_the_grid(make: Callable[[], Network], bits: int) -> None:
    network = make()
    layers = gridded(network, bits)
    module, data = trained(network, layers)
    moved = 0
    for layer, (scale, mantissas) in zip(layers, module.placed(), strict=True):
        assert (scale.unit == layer.scale.unit).all() == layer.layer.reads
        for projection, before, after in zip(layer.layer.incoming, layer.integers.mantissas, mantissas, strict=True):
            assert after.dtype == np.int16
            assert np.abs(after).max() <= layer.limits.weight
            weight = projection.op.weight
            assert not after[(weight.data if hasattr(weight, "indptr") else weight.ravel()) == 0].any()
            moved += np.count_nonzero(before != after)
    assert moved > 10
    after = [
        held(of.layer, mantissas, scale, of.limits, "cuba_fixed")
        for of, (scale, mantissas) in zip(layers, module.placed(), strict=True)
    ]
    for of, integers in zip(layers, after, strict=True):
        assert integers.parameter_sets <= of.integers.parameter_sets
        for name, limit in (("threshold", of.limits.threshold), ("bias", of.limits.bias)):
            assert np.abs(integers.population.params.get(name, 0)).max() <= limit
    wanted = reference.simulate(assembled(network, after), data.numpy())[network.outputs[0]].sum(axis=1)
    with torch.no_grad():
        counts = module(data).numpy() * (layers[-1].scale.unit * 2**reference.UNIT if layers[-1].layer.reads else 1)
    np.testing.assert_allclose(counts, wanted, atol=1e-6)


def test_masks_stay_and_the_best_epoch_is_kept(ticket: Path) -> None:
    result = compiled(ticket, tickets.tuner(ticket, epochs=3))
    untuned = compiled(ticket, None)
    log = tuned(result)
    assert [entry["epoch"] for entry in log["log"]] == [0, 1, 2, 3]
    able = [entry for entry in log["log"] if entry["validation"] >= log["log"][0]["validation"]]
    best = min(able, key=lambda entry: entry["validation_loss"])
    assert log["best"] == best["epoch"] > 0
    # The calibration samples are the validation split, and torch knows exactly what the chip makes of it.
    assert (log["accuracy_before"], log["accuracy_after"]) == (log["log"][0]["validation"], best["validation"])
    assert log["accuracy_after"] > log["accuracy_before"]
    for before, after in zip(lower(snnc.load(ticket)).projections, result.image.network.projections, strict=True):
        assert not np.any(after.op.weight.toarray()[before.op.weight.toarray() == 0])
        assert len(np.unique(np.abs(after.op.weight.data))) == 1
        assert after.bits == 2
    for before, after in zip(untuned.image.network.layers, result.image.network.layers, strict=True):
        ratios = after.params["threshold"] / before.params["threshold"]  # a factor for each layer
        assert np.ptp(ratios) == 0
        assert ratios[0] != 1
        assert identical(*({k: v for k, v in p.params.items() if k != "threshold"} for p in (before, after)))


def test_neurons_that_were_removed_change_nothing(ticket: Path) -> None:
    """Trained behind `trim`, and before `retrim`."""

    def without(layer: str, weight: np.ndarray) -> np.ndarray:
        if layer == "fc1":
            weight[3] = 0
        else:
            weight[:, 5] = 0
        return weight

    network = changed(snnc.load(ticket), without)
    result = compiled(ticket, tickets.tuner(ticket, epochs=2), network)
    passes = result.image.provenance["passes"]
    assert passes["trim"]["neurons"] == 2
    (runs,) = (layer["kept"] for layer in (passes["retrim"]["layers"] or passes["trim"]["layers"]))
    kept = [k for first, last in runs for k in range(first, last)]
    assert not {3, 5} & set(kept)
    first, second = result.image.network.projections
    masks = [p.op.weight.toarray() != 0 for p in lower(network).projections]
    assert not np.any(first.op.weight.toarray()[~masks[0][kept]])
    assert not np.any(second.op.weight.toarray()[~masks[1][:, kept]])
    assert result.image.provenance["passes"]["verify"]["accuracy_integer"] == tuned(result)["accuracy_after"]


def test_a_binary_layer_stays_exact(ticket: Path) -> None:
    def signs(of: Sequence[str]) -> Callable[[str, np.ndarray], np.ndarray]:
        return lambda layer, weight: 0.3 * np.sign(weight) if layer in of else weight

    network = changed(snnc.load(ticket), signs(["fc1"]))
    result, untuned = (compiled(ticket, tune, network) for tune in (tickets.tuner(ticket, epochs=3), None))
    ours, theirs = result.image.network, untuned.image.network
    assert [p.bits for p in ours.projections] == [1, 2]
    assert identical(ours.projections[0], theirs.projections[0])
    assert identical(ours["fc1"], theirs["fc1"])
    assert not identical(ours.projections[1], theirs.projections[1])

    network = changed(snnc.load(ticket), signs(["fc1", "fc2"]))
    result, untuned = (compiled(ticket, tune, network) for tune in (tickets.tuner(ticket, epochs=1), None))
    assert identical(result.image.network, untuned.image.network)
    assert tuned(result)["epochs"] == 0
    assert "every weight is exact" in report.summary(report.build(result.image))


def test_convolutions_keep_their_kernels(tmp_path: Path) -> None:
    path = tmp_path / "conv.pt"
    tickets.find(replace(CONV, data="digits:steps=4", batch=64), sparsity=0.5, rounds=1, out=path)
    result, untuned = (compiled(path, tune, bits=8) for tune in (tickets.tuner(path, epochs=2), None))
    kernels = [n.image.network.projections[0].op.weight for n in (result, untuned)]
    pruned = lower(snnc.load(path)).projections[0].op.weight == 0
    assert pruned.any()
    assert not np.any(kernels[0][pruned])
    assert kernels[0].shape == kernels[1].shape
    assert np.any(kernels[0] != kernels[1])
    assert tuned(result)["accuracy_after"] >= tuned(result)["accuracy_before"]


def test_the_same_seed_gives_the_same_integers(ticket: Path) -> None:
    networks = [compiled(ticket, tickets.tuner(ticket, epochs=1, seed=s)).image.network for s in (0, 0, 1)]
    assert identical(networks[0], networks[1])
    assert not identical(networks[0], networks[2])


def test_the_test_split_is_never_seen(ticket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from snnc.models import data

    load = data.load
    monkeypatch.setattr(data, "load", lambda spec: replace(load(spec), test=None))
    assert tuned(compiled(ticket, tickets.tuner(ticket, epochs=1)))["epochs"] == 1


def test_what_makes_things_worse_is_not_kept(ticket: Path) -> None:
    def spoil(network: Network, layers: Sequence[Gridded]) -> Any:
        return [(of.scale, [-m for m in of.integers.mantissas]) for of in layers], {"epochs": 1, "best": 1}

    result, untuned = compiled(ticket, spoil), compiled(ticket, None)
    assert not tuned(result)["kept"]
    assert tuned(result)["accuracy_after"] < tuned(result)["accuracy_before"]
    assert identical(result.image.network, untuned.image.network)
    assert "1 epoch made nothing better" in report.summary(report.build(result.image))


def test_the_report_shows_accuracy_step_by_step(ticket: Path, tmp_path: Path) -> None:
    stages: list[str] = []
    document = workflow.compile_file(
        ticket, LOIHI, tmp_path, options=Options(bits=2), finetune=2, progress=lambda k, n, note: stages.append(note)
    )
    steps, log = document.steps, document.passes["quantize"]["tuned"]
    assert steps is not None
    assert (steps.quantized, steps.finetuned) == (log["accuracy_before"], log["accuracy_after"])
    assert steps.mapped == steps.finetuned
    lines = report.summary(document).splitlines()
    assert max(map(len, lines)) <= 80
    (line,) = (line for line in lines if line.startswith("calibrated"))
    shown = {
        "float": steps.floats, "2-bit": steps.quantized, "finetuned": steps.finetuned, "mapped": steps.mapped
    }  # fmt: skip
    assert line.split("   ")[1:] == [f"{k} {v:.1%}" for k, v in shown.items()]
    assert f"finetuned    2 epochs, number {log['best']} is the best   150 samples of digits" in lines
    # The dense parent, too, or the comparison would not be fair.
    assert len([note for note in stages if note.startswith("finetune validation")]) == 2 * 2

    partly = workflow.compile_partly(ticket, LOIHI, "quantize", options=Options(bits=2), finetune=2)
    assert partly["state"]["log"]["tuned"] == log
    other = workflow.compile_file(ticket, LOIHI, tmp_path / "other", options=Options(bits=2))
    rows = report.difference(report.Compiled("a", other, None), report.Compiled("b", document, None)).rows
    assert ("--finetune, epochs", None, 2) in [(row.label, row.a, row.b) for row in rows]


def test_only_our_checkpoints_can_be_tuned(ticket: Path, tmp_path: Path) -> None:
    from snnc.frontends import nir

    nir.write(snnc.load(ticket), tmp_path / "ticket.nir")
    for arguments, texts in (
        (["ticket.nir", "--finetune"], ["only a checkpoint of snnc", "ticket.nir", "fix    leave out --finetune"]),
        ([str(ticket), "--epochs", "3"], ["nothing is trained", "fix    add --finetune"]),
    ):
        command = [sys.executable, "-m", "snnc", "compile", *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=os.environ)
        assert done.returncode == 2, done.stderr
        assert done.stderr.startswith("error[usage]")
        assert "Traceback" not in done.stderr
        for text in texts:
            assert text in done.stderr
        assert not list(tmp_path.glob("ticket.loihi"))
    with pytest.raises(UsageError, match="at least 1"):
        tickets.tuner(ticket, epochs=0)
    with pytest.raises(UsageError, match="negative"):
        tickets.tuner(ticket, seed=-1)


def test_what_would_make_it_fit_is_trained_too(ticket: Path) -> None:
    """Training may bring weights back that had rounded to zero, so that only what was trained is known to fit."""
    train, calls = tickets.tuner(ticket, epochs=1), []

    def counted(network: Network, layers: Sequence[Gridded]) -> Any:
        calls.append(network)
        return train(network, layers)

    with pytest.raises(DoesNotFit) as caught:
        pipeline.compile(snnc.load(ticket), few(1, neurons=8), options=Options(bits=2), tune=counted)
    assert len(calls) == 1
    assert cures.find(caught.value, seconds=20).cures
    assert len(calls) > 1


def test_what_is_too_large_is_refused(ticket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "LARGEST", 1000)
    with pytest.raises(UsageError, match="16 x 64 is too large to be trained here") as caught:
        compiled(ticket, tickets.tuner(ticket, epochs=1))
    assert caught.value.fix == "leave out --finetune"
