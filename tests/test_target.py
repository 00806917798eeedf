"""Targets: every number has a source, and a bad description says where."""

from __future__ import annotations

import re
from importlib import metadata, resources
from pathlib import Path

import pytest
from float_networks import mlp, spikes

import snnc
from snnc import target
from snnc.errors import InputError, UsageError
from snnc.samples import Samples

TEXT = (resources.files("snnc.targets") / "loihi.toml").read_text()


@pytest.mark.parametrize("name", target.names())
def test_every_number_has_a_listed_source_and_survives_json(name: str) -> None:
    chip = target.load(name)
    numbers = dict(chip.numbers())
    assert len(numbers) > 30
    assert {n.source for n in numbers.values()} <= set(chip.sources)
    assert set(chip.sources) <= {n.source for n in numbers.values()}, "a source that nothing cites"
    assert target.from_json(target.to_json(chip), "") == chip


def test_loihi_is_davies_2018() -> None:
    """The published limits and energies, so that a slip of the pen in the TOML is noticed."""
    chip = target.load("loihi")
    assert chip.mesh.cores == 128
    assert chip.core.synapse_bits.value == 16384 * 64
    assert (chip.energy.synop_pj.value, chip.energy.neuron_active_pj.value) == (23.6, 81.0)
    assert chip.energy.static_mw is None
    assert chip.default == "davies2018"
    ours = [(name, n) for name, n in chip.numbers() if not name.startswith("boyle2025")]
    assert {name for name, n in ours if n.kind != "published"} == {
        "board.columns",
        "davies2018.energy.crossing_pj",
        "davies2018.timing.crossing_ns",
        "davies2018.timing.barrier_doubling_ns",
    }
    assert chip.chips == 32
    assert chip.grid.cores == 4096
    assert chip.grid.crossing == 30


def without_board(text: str) -> str:
    """The description of a chip as it was written before there were boards."""
    text = re.sub(r"\[board\]\n(?:.+\n)*\n", "", text)
    return re.sub(
        r"^(crossing_pj|crossing_ns|barrier_doubling_ns|davies2021|frady2020|nahuku) = .*\n", "", text, flags=re.M
    )


def test_a_description_without_a_board_is_of_one_chip(tmp_path: Path) -> None:
    text = without_board(TEXT)
    assert "crossing" not in text
    (tmp_path / "old.toml").write_text(text)
    old = target.load(str(tmp_path / "old.toml"))
    assert (old.board, old.chips, old.grid.cores) == (None, 1, 128)
    assert not old.mesh.multicast
    assert target.from_json(target.to_json(old), "") == old
    image = snnc.compile(mlp(), old)
    run = snnc.simulate(image, Samples(spikes(mlp())))
    assert snnc.estimate(image, run).crossing_pj == 0


@pytest.mark.parametrize("name", ["crossing_pj", "crossing_ns", "barrier_doubling_ns"])
def test_a_board_needs_the_cost_of_its_borders(tmp_path: Path, name: str) -> None:
    (tmp_path / "mine.toml").write_text(re.sub(rf"^{name} = .*\n", "", TEXT, flags=re.M))
    with pytest.raises(InputError, match=rf"a board of 32 chips needs .*{name}"):
        target.load(str(tmp_path / "mine.toml"))


def test_a_board_has_chips(tmp_path: Path) -> None:
    board = '[board]\ncolumns = { value = 0, source = "nahuku" }\n'
    (tmp_path / "mine.toml").write_text(re.sub(r"\[board\]\ncolumns = .*\n", board, TEXT))
    with pytest.raises(InputError, match="at least one chip"):
        target.load(str(tmp_path / "mine.toml"))


def test_a_mesh_may_multicast(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(TEXT.replace("[mesh]\n", "[mesh]\nmulticast = true\n"))
    assert target.load(str(tmp_path / "mine.toml")).grid.multicast


def test_another_set_of_constants_is_chosen_by_name() -> None:
    chip = target.load("loihi")
    other = chip.using("boyle2025")
    assert (other.energy.synop_pj.value, other.timing.barrier.at(1)) == (33.6, 600)
    assert other.using(None) == other
    assert other.using("davies2018") == chip
    with pytest.raises(UsageError, match="no constants 'davis'") as caught:
        chip.using("davis")
    assert caught.value.fix == "known: davies2018, boyle2025"


def test_what_is_not_published_of_loihi2_is_marked() -> None:
    chip = target.load("loihi2")
    assert chip.energy.synop_pj.kind == "assumed"
    assert chip.timing.synop_ns.kind == "assumed"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("neurons = { value = 1024,", 'neurons = { value = "many",'), r"Expected `int`.*core.neurons"),
        (("neurons = {", "neurones = {"), "neurones"),
        (('source = "davies2018" }\nin_axons', 'source = "hearsay" }\nin_axons'), "core.neurons cites 'hearsay'"),
        (("schema = 2", "schema = 3"), "schema"),
        (('default = "davies2018"', 'default = "davies"'), "davies.*not in .costs."),
        (("tiles = [1, 32]", "tiles = [32, 1]"), "davies2018.timing.barrier.tiles must ascend"),
        (("tiles = [1, 32]", "tiles = [1, 2, 32]"), "as many tiles as ns"),
        (("[core]", "[core"), "bad target description"),
    ],
)
def test_a_bad_description_names_file_and_field(tmp_path: Path, change: tuple[str, str], says: str) -> None:
    assert change[0] in TEXT
    path = tmp_path / "mine.toml"
    path.write_text(TEXT.replace(*change))
    with pytest.raises(InputError, match=says) as caught:
        target.load(str(path))
    assert str(path) in caught.value.where


def test_a_file_is_a_target(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(TEXT.replace('name = "loihi"', 'name = "mine"'))
    assert target.load(str(tmp_path / "mine.toml")).name == "mine"


def test_other_packages_bring_targets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "my_chips"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "mine.toml").write_text(TEXT.replace('name = "loihi"', 'name = "mine"'))
    monkeypatch.syspath_prepend(tmp_path)
    point = metadata.EntryPoint("mine", "my_chips", "snnc.targets")
    monkeypatch.setattr(metadata, "entry_points", lambda group: [point] if group == "snnc.targets" else [])
    assert "mine" in snnc.chips()
    assert target.load("mine").name == "mine"


def test_an_unknown_target_is_guessed() -> None:
    with pytest.raises(UsageError) as caught:
        target.load("loihi3")
    assert "did you mean 'loihi" in caught.value.fix
