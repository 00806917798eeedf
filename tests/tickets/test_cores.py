"""Tickets balanced on the cores of a chip: the mapper's own groups, and an image that uses its cores evenly."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_checkpoints import GROUPS, WEIGHT, dense
from small_chips import chip

import snnc
from snnc import cli, families, grouping, models, tickets, workflow
from snnc.compilation import Options
from snnc.errors import DoesNotFit, InputError, UsageError
from snnc.image import Image
from snnc.models import data
from snnc.models.spiking import SpikingNetwork
from snnc.target import Target
from snnc.tickets import cores, training
from snnc.tickets.balance import counts, held, mean_utilisation
from snnc.tickets.checkpoint import Checkpoint
from snnc.tickets.cores import Compiler, Made
from snnc.tickets.masks import Masks, attach, by_magnitude, plain_state, weights
from snnc.tickets.training import Plan, derive

CORES = 16


@dataclass(frozen=True)
class Trained:
    """A ticket that was trained with balanced masks, and the same without."""

    module: SpikingNetwork
    masks: Masks
    groups: dict[str, np.ndarray]
    plain: SpikingNetwork
    plain_masks: Masks


@pytest.fixture(scope="module")
def loihi() -> Target:
    found = families.load("loihi")
    assert isinstance(found, Target)
    return found


@pytest.fixture(scope="module")
def digits() -> data.Dataset:
    return data.load("digits")


def args_of(digits: data.Dataset) -> dict[str, Any]:
    return {"shape": list(digits.shape), "classes": digits.classes, "hidden": [96, 96]}


@pytest.fixture(scope="module")
def compiler(loihi: Target, digits: data.Dataset) -> Compiler:
    return grouping.compiler(loihi, dt=1e-3, bits=8, samples=digits.validation, options=Options(cores=CORES))


@pytest.fixture(scope="module")
def trained(compiler: Compiler, digits: data.Dataset) -> Trained:
    """Iterative pruning to 90 % in two rounds of four epochs, each from the first weights."""

    def fitted(masks: Masks | None, stream: int) -> SpikingNetwork:
        with training.seeded(0):
            model = models.model("mlp")(**args_of(digits))
        if masks is not None:
            attach(model, masks)
        plan = Plan(4, 64, 5e-3, derive(0, stream))
        training.fit(model, digits.train, digits.validation, plan, start=None, after=lambda snapshot: None)
        return model

    with training.one_thread():
        model = fitted(None, 0)
        masks, groups = None, {}
        plain, alone = model, None
        for number, sparsity in enumerate((0.65, 0.9), 1):
            masks = by_magnitude(weights(model), masks, sparsity)
            masks, groups = cores.rebalance(model, masks, compiler, seed=number)
            model = fitted(masks, number)
            alone = by_magnitude(weights(plain), alone, sparsity)
            plain = fitted(alone, number)
    assert masks is not None
    assert alone is not None
    return Trained(model, masks, groups, plain, alone)


def saved(
    path: Path, state: Mapping[str, torch.Tensor], masks: Masks, groups: Mapping[str, np.ndarray], splits: data.Dataset
) -> Path:
    made = Checkpoint(
        model="mlp",
        args=args_of(splits),
        state_dict=dict(state),
        masks=masks,
        dt=1e-3,
        reset="zero",
        bits=8,
        data=splits.spec,
        seed=0,
        log=[],
        parent=None,
        accuracy={"validation": 0.5, "test": 0.5},
        groups=dict(groups),
    )
    made.save(path)
    return path


def used(image: Image) -> float:
    """Utilisation of the cores of an image, from the synapses that it stores."""
    return mean_utilisation(held(image.network, image.mapping.core_of, image.usage).values())


def test_rebalancing_keeps_the_number_of_connections(trained: Trained, compiler: Compiler) -> None:
    masks = by_magnitude(weights(trained.plain), trained.plain_masks, 0.95)
    before = plain_state(trained.plain)
    found, groups = cores.rebalance(trained.plain, masks, compiler, seed=3)
    assert all(torch.equal(before[name], value) for name, value in plain_state(trained.plain).items())
    for name, counted in counts(found, groups).items():
        assert np.ptp(counted) <= 1
        assert counted.sum() == masks[name].sum()
    again, same = cores.rebalance(trained.plain, masks, compiler, seed=3)
    assert all(np.array_equal(found[n], again[n]) and np.array_equal(groups[n], same[n]) for n in masks)
    ranked, _ = cores.rebalance(trained.plain, masks, compiler, seed=3, how="magnitude", groups=groups)
    assert all(np.ptp(counted) <= 1 for counted in counts(ranked, groups).values())


def test_nothing_is_recovered_at_dead_neurons(trained: Trained, compiler: Compiler) -> None:
    masks = by_magnitude(weights(trained.plain), trained.plain_masks, 0.95)
    first, second = "layers.1.weight", "layers.3.weight"
    masks[first][:10] = False  # without input
    masks[second][:, 10:20] = False  # without output
    found, _ = cores.rebalance(trained.plain, masks, compiler, seed=0)
    assert not found[first][:20].any()
    assert not found[second][:, :20].any()
    assert found[first].sum() == masks[first].sum()


def test_the_image_is_balanced_on_the_groups_of_the_ticket(
    trained: Trained, compiler: Compiler, digits: data.Dataset, tmp_path: Path
) -> None:
    state, masks = cores.level(trained.module, trained.masks, compiler, trained.groups, seed=0)
    path = saved(tmp_path / "level.pt", state, masks, trained.groups, digits)
    document = workflow.compile_file(path, families.load("loihi"), tmp_path / "out")
    image = Image.load(tmp_path / "out" / "image.snnc")
    assert used(image) >= cores.ENOUGH
    assert document.passes["partition"]["balance"] == used(image)
    assert document.passes["refine"] == {"moved": 0}
    assert re.search(r"mapping +as the ticket says +(99\.[5-9]|100\.0)% balanced", cli_summary(tmp_path / "out"))
    assert image.cores > CORES // 2
    # Levelling takes little: what rounded to zero, or died, and as much elsewhere.
    kept = sum(int(m.sum()) for m in masks.values()) / sum(int(m.sum()) for m in trained.masks.values())
    assert 0.9 < kept <= 1
    test = digits.test
    before = snnc.simulate(compiled(trained.module, trained.groups, digits), test).accuracy
    after = snnc.simulate(image, test).accuracy
    assert before is not None
    assert after is not None
    assert after > before - 0.03


def cli_summary(folder: Path) -> str:
    from snnc import report

    return report.summary(workflow.read_report(folder))


def compiled(model: SpikingNetwork, groups: Mapping[str, np.ndarray] | None, splits: data.Dataset) -> Image:
    from snnc.frontends.torch import from_module

    copied = models.model("mlp")(**args_of(splits))
    copied.load_state_dict(plain_state(model))
    layers = cores.layers_of(copied)
    fixed = None if groups is None else {layer: groups[name] for layer, name in layers.items()}
    image = snnc.compile(from_module(copied, dt=1e-3), "loihi", data=splits.validation, groups=fixed)
    assert isinstance(image, Image)
    return image


def test_without_balance_the_image_is_not(trained: Trained, compiler: Compiler, digits: data.Dataset) -> None:
    _, groups = cores.rebalance(trained.plain, trained.plain_masks, compiler, seed=0)
    assert used(compiled(trained.plain, groups, digits)) < 0.95
    # Balanced before the last training, and not levelled after it: near, but not there.
    assert 0.95 < used(compiled(trained.module, trained.groups, digits)) < 1


def test_groups_are_the_cores_of_the_mapper(trained: Trained, compiler: Compiler, digits: data.Dataset) -> None:
    state = plain_state(trained.module)
    image = compiled(trained.module, trained.groups, digits)
    made = compiler(cores._with(trained.module, state), trained.groups)
    layers = cores.layers_of(trained.module)
    living: list[tuple[int, int]] = []
    for population in image.network.layers:
        name = layers[population.name]
        rows = made.alive[name].any(axis=1)
        start = image.network.offsets[population.name]
        here = image.mapping.core_of[start : start + population.size]
        assert len(here) == rows.sum()
        living += zip(trained.groups[name][rows].tolist(), here.tolist(), strict=True)
        # What the compiler says is stored is what the image stores.
        (projection,) = image.network.into(population.name)
        assert projection.op.taps == made.stored[name].sum()
    # The same but for the numbers of cores.
    assert len(set(living)) == len({ours for ours, _ in living}) == len({theirs for _, theirs in living}) == image.cores


def test_levelling_is_deterministic_and_leaves_the_network_alone(trained: Trained, compiler: Compiler) -> None:
    before = plain_state(trained.module)
    (state, masks), (again, _) = (
        cores.level(trained.module, trained.masks, compiler, trained.groups, seed=1) for _ in range(2)
    )
    assert all(torch.equal(state[name], again[name]) for name in state)
    assert all(torch.equal(before[name], value) for name, value in plain_state(trained.module).items())
    assert all(np.array_equal(state[name].numpy() != 0, mask) for name, mask in masks.items())


class Fake:
    """A compiler of integers of eight to the largest weight, which says that some neurons are dead."""

    def __init__(self, groups: dict[str, np.ndarray], dead: tuple[int, ...] = ()) -> None:
        self.groups, self.dead, self.seen = groups, dead, 0

    def __call__(self, model: SpikingNetwork, groups: dict[str, np.ndarray] | None) -> Made:
        self.seen += 1
        mantissas, alive = {}, {}
        for name, weight in weights(model).items():
            alive[name] = np.ones(weight.shape, bool)
            if name == WEIGHT:
                alive[name][list(self.dead)] = False
            scaled = np.rint(weight / max(float(np.abs(weight).max()), 1e-9) * 8)
            mantissas[name] = np.where(alive[name], scaled, 0).astype(np.int32)
        return Made(self.groups if groups is None else groups, mantissas, alive)


def small(first: np.ndarray) -> tuple[SpikingNetwork, Masks]:
    """The network of small_checkpoints with these weights in front, 7 x 15."""
    model = dense().module()
    with torch.no_grad():
        model.layers[1].weight.copy_(torch.from_numpy(first))
    return model, {name: w != 0 for name, w in weights(model).items()}


def test_what_rounded_to_zero_comes_back_and_the_smallest_go() -> None:
    first = np.zeros((7, 15), np.float32)
    first[:2, :10], first[3, :] = 1.0, -0.5
    first[4, :10] = 1.0
    first[1, 7:10] = -0.01  # which are lost: 17 are left here, and 25 in the other core
    first[3, 11:] = 0.25
    model, masks = small(first)
    state, kept = cores.level(model, masks, Fake(GROUPS), GROUPS, seed=0)
    found = state[WEIGHT].numpy()
    assert counts(kept, GROUPS)[WEIGHT].tolist() == [21, 21]
    assert np.allclose(found[1, 7:10], -1 / 8)  # the smallest weight that there is
    assert np.sum(found[3:] != 0) == np.sum((found[3:] == first[3:]) & (first[3:] != 0))  # the others stay as they are
    lost = (first != 0) & (found == 0)
    # Of the smallest; columns 11 to 14 have no other weight, so that these are needed.
    assert np.all(np.abs(first[lost]) == 0.5)
    assert lost.sum() == 4
    assert np.all((found != 0).any(axis=0))


def test_a_core_that_lost_nearly_all_gets_others_back() -> None:
    first = np.zeros((7, 15), np.float32)
    first[:3], first[3, 0] = 1.0, 1.0
    model, masks = small(first)
    state, kept = cores.level(model, masks, Fake(GROUPS, dead=(6,)), GROUPS, seed=0)
    assert counts(kept, GROUPS)[WEIGHT].tolist() == [23, 23]
    assert not kept[WEIGHT][6].any()
    assert np.allclose(np.abs(state[WEIGHT].numpy()[kept[WEIGHT] & ~masks[WEIGHT]]), 1 / 8)


def test_a_levelling_that_fails_is_told(caplog: pytest.LogCaptureFixture) -> None:
    class Restless(Fake):
        def __call__(self, model: SpikingNetwork, groups: dict[str, np.ndarray] | None) -> Made:
            made = super().__call__(model, groups)
            made.mantissas[WEIGHT][:] = 0
            made.mantissas[WEIGHT][0, self.seen % 15] = 1
            return made

    model, masks = small(np.ones((7, 15), np.float32))
    with caplog.at_level(logging.WARNING):
        cores.level(model, masks, Restless(GROUPS), GROUPS, seed=0)
    assert "cores cannot be levelled further: their utilisation is" in caplog.text


def test_convolutions_are_refused(loihi: Target) -> None:
    conv = models.model("conv")(shape=[1, 8, 8], classes=10)
    with pytest.raises(UsageError, match="and layer 0 is Conv2d"):
        grouping.compiler(loihi, dt=1e-3)(conv, None)


def test_a_network_that_its_cores_cannot_hold_is_refused(
    trained: Trained, digits: data.Dataset, tmp_path: Path
) -> None:
    one = {name: np.zeros_like(group) for name, group in trained.groups.items()}
    path = saved(tmp_path / "one.pt", plain_state(trained.module), trained.masks, one, digits)
    with pytest.raises(DoesNotFit) as caught:
        workflow.compile_file(path, chip(neurons=100), tmp_path / "out", data="none", patience=20)
    assert any("core 0" in violation.where for violation in caught.value.violations)
    assert caught.value.cures[0].options == {"map": "auto"}


# --- what a user asks for ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def path(trained: Trained, digits: data.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("balanced")
    return saved(folder / "t.pt", plain_state(trained.module), trained.masks, trained.groups, digits)


@pytest.mark.parametrize("asked", [["--map", "auto"], ["--map", "layers"], ["--cores", "4"], ["--balance"]])
def test_another_mapping_takes_the_place_of_the_tickets(
    path: Path, tmp_path: Path, asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["compile", str(path), "-o", str(tmp_path / "out"), "--data", "none"]
    assert cli.run([*arguments, *asked]) == 0
    found = capsys.readouterr()
    assert "the ticket was balanced on cores of its own" in found.err
    assert "as the ticket says" not in found.out
    assert workflow.read_report(tmp_path / "out").passes["partition"]["method"] != "as the ticket says"


def test_unasked_the_ticket_says_the_cores(
    path: Path, trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["compile", str(path), "-o", str(tmp_path / "out"), "--data", "none"]) == 0
    found = capsys.readouterr()
    assert "as the ticket says" in found.out
    assert "balanced on cores" not in found.err
    groups = tickets.groups(path)
    assert groups is not None
    assert {layer: name.tolist() for layer, name in groups.items()} == {
        layer: trained.groups[name].tolist() for layer, name in cores.layers_of(trained.module).items()
    }
    image = snnc.compile(snnc.load(path), "loihi", groups=groups)
    assert image.cores == Image.load(tmp_path / "out" / "image.snnc").cores
    with pytest.raises(InputError, match="the groups name 3 neurons of layer 'fc1'"):
        snnc.compile(snnc.load(path), "loihi", groups={"fc1": np.zeros(3, np.int32)})
