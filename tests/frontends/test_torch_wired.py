"""Models of ours whose layers do not stand in a row: read, proven spike for spike, compiled; or refused as a whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import snnc
from snnc import cli, models
from snnc.errors import InputError
from snnc.frontends.torch import from_module, network
from snnc.models.spiking import SpikingNetwork
from snnc.samples import Samples
from snnc.simulator.floating import simulate
from snnc.tickets.checkpoint import Checkpoint
from snnc.tickets.masks import plain_state, prunable
from snnc.tickets.training import one_thread

CASES: dict[str, tuple[str, dict[str, Any], tuple[int, ...]]] = {
    "resnet19": ("resnet19", {"width": 0.03}, (2, 8, 8)),
    "resnet19 with synapses": ("resnet19", {"width": 0.02, "neuron": "synaptic"}, (1, 7, 5)),
    "srnn": ("srnn", {"hidden": [14, 10]}, (2, 4, 4)),
}


def build(name: str, shape: tuple[int, ...], args: dict[str, Any]) -> SpikingNetwork:
    """A model whose layers all spike, and whose statistics are as after a training."""
    torch.manual_seed(0)
    module = models.model(name)(shape=shape, classes=5, **args)
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
                # A few passes below make the means and variances; these are no 1 and 0 either.
                layer.weight.copy_(torch.linspace(0.8, 1.4, len(layer.weight)))
                layer.bias.copy_(torch.linspace(0.1, 0.4, len(layer.bias)))
        if name == "srnn":
            for weights in prunable(module).values():
                weights.weight *= 3
        module.train()
        for _ in range(20):
            module(torch.from_numpy(noise(8, 10, shape)).float().transpose(0, 1))
    return module.eval()


def noise(samples: int, steps: int, shape: tuple[int, ...]) -> np.ndarray:
    return (np.random.default_rng(0).random((samples, steps, *shape)) < 0.4).astype(np.uint8)


def checkpoint(name: str, shape: tuple[int, ...], args: dict[str, Any]) -> Checkpoint:
    return Checkpoint(
        model=name,
        args={"shape": list(shape), "classes": 5, **args},
        state_dict=plain_state(build(name, shape, args)),
        masks={},
        dt=1e-3,
        reset="zero",
        bits=8,
        data="digits:steps=4,encoding=rate,seed=0",
        seed=0,
        log=[],
        parent=None,
        accuracy={"validation": 0.5, "test": 0.5},
    )


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_the_network_spikes_as_the_module_does(case: str) -> None:
    """In float64, where no rounding moves a spike."""
    name, args, shape = CASES[case]
    with one_thread():
        module = build(name, shape, args).double()
        spikes = noise(3, 40, shape)
        found = from_module(module, dt=1e-3, bits=8)
        ours = simulate(found, spikes)
        traced: list[tuple[str, Tensor]] = list(module.trace(torch.from_numpy(spikes).transpose(0, 1).double()))
    assert [p.name for p in found.layers] == [name for name, _ in traced]
    assert found.outputs == (traced[-1][0],)
    assert {p.bits for p in found.projections} == {8}
    for layer, theirs in traced:
        assert np.array_equal(ours[layer], theirs.transpose(0, 1).numpy() != 0), layer
        assert 0.005 < ours[layer].mean() < 0.995, f"{layer} tells nothing"


def test_recurrent_projections_are_a_step_late() -> None:
    found = network(checkpoint("srnn", (2, 4, 4), {"hidden": [14]}))
    links = [(p.name, p.pre, p.post, found.backward(p)) for p in found.projections]
    assert links == [
        ("input-fc1", "input", "fc1", False), ("fc1-fc1", "fc1", "fc1", True), ("fc1-fc2", "fc1", "fc2", False),
    ]  # fmt: skip
    assert [p.neuron for p in found.layers] == ["cuba_lif", "lif"]


@pytest.mark.parametrize(
    ("name", "shape", "args"), [("resnet19", (1, 4, 4), {"width": 0.02}), ("srnn", (1, 8, 8), {"hidden": [16]})]
)
def test_a_checkpoint_compiles_and_its_executors_agree(
    name: str, shape: tuple[int, ...], args: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "net.pt"
    checkpoint(name, shape, args).save(path)
    found, samples = snnc.load(path), Samples(noise(2, 6, shape), None, "noise")
    image = snnc.compile(found, "loihi", data=samples)  # which compares engine, reference and float network
    assert {p.name for p in found.layers} <= {p.name for p in image.network.layers}
    compared = snnc.verify(image, samples)
    assert compared.first is None
    assert all(compared.spikes.values())


SPIKFORMERS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "patchwise": ({"depth": 2}, ["blocks.0.attention", "blocks.1.attention"]),
    "fixed ticket": ({"patches": {"keep": [1, 3]}}, ["blocks.0.attention"]),
    "chosen patches": ({"patches": {"count": 3, "score": "rate"}}, ["patches", "blocks.0.attention"]),
    "staged": (
        {"embedding": "staged", "patch": 4, "depth": 2, "patches": {"count": 2, "score": "random"}},
        ["embedding.pools.2", "embedding.pools.3", "patches", "blocks.0.attention", "blocks.1.attention"],
    ),
}


@pytest.mark.parametrize("case", SPIKFORMERS)
def test_a_spikformer_is_refused_with_all_that_stands_against_it(case: str) -> None:
    args, expected = SPIKFORMERS[case]
    with pytest.raises(InputError) as caught:
        network(checkpoint("spikformer", (1, 8, 8), args))
    _, _, listed = caught.value.message.partition("no network can express what its layers do: ")
    assert [entry.partition(":")[0] for entry in listed.split("; ")] == expected
    assert caught.value.where == "spikformer"


def test_the_command_line_says_so_and_exits_with_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "net.pt"
    checkpoint("spikformer", (1, 8, 8), {"depth": 2}).save(path)
    assert cli.run(["compile", str(path), "--json"]) == 3
    captured = capsys.readouterr()
    text = json.dumps(captured.out + captured.err)
    for layer in ("net.pt, spikformer", "blocks.0.attention", "blocks.1.attention", "q k^T v"):
        assert layer in text
