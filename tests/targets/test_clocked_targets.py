"""Descriptions of chips with a clock: every number has a source, and what makes no sense is told."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest

import snnc
from snnc import families, rules, target
from snnc.crossbars import core, tiles
from snnc.errors import InputError, UsageError
from snnc.report import chip_list, chip_sheet
from snnc.simulator.clocked import crossbar_rules, grid_rules

NAMES = ["tinyodin", "ranc"]
TEXTS = {name: (resources.files("snnc.targets") / f"{name}.toml").read_text() for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_every_number_has_a_listed_source_and_survives_json(name: str) -> None:
    chip = families.load(name)
    assert not isinstance(chip, target.Target)
    numbers = dict(chip.numbers())
    assert len(numbers) > 7
    assert {n.source for n in numbers.values()} == set(chip.sources)
    assert all(n.note for field, n in numbers.items() if n.kind == "assumed")
    assert families.from_json(families.to_json(chip), "") == chip
    assert chip.schema == 1


def test_what_is_a_choice_and_what_is_known() -> None:
    assumed = {name: {f for f, n in families.load(name).numbers() if n.kind == "assumed"} for name in NAMES}
    assert assumed == {
        "tinyodin": {"clock.period_ns"},
        "ranc": {"mesh.columns", "mesh.rows", "mesh.port_x", "mesh.port_y", "clock.period_ns"},
    }


def test_registers_are_as_wide_as_the_simulated_ones() -> None:
    odin, ranc = (families.load(name) for name in NAMES)
    held = core.widths(odin, 8)
    assert (odin.core.neurons.value, held.leak) == (crossbar_rules.MOST, crossbar_rules.MOST_LEAK)
    assert (held.register.low, held.register.high) == (crossbar_rules.LOWEST, crossbar_rules.HIGHEST)
    assert 2**odin.neuron.threshold_bits.value - 1 == crossbar_rules.MOST_THRESHOLD
    assert (held.threshold, held.weight) == (2047, (-8, 7))
    assert ranc.neuron.bits.value == grid_rules.WIDTH
    assert ranc.synapse.delay_limit.value == grid_rules.SLOTS - 2
    assert tiles.widths(ranc, 8).weight == (-8, 7)
    assert tiles.widths(ranc, 1).weight == core.widths(odin, 1).weight == (-1, 1)


def test_a_chip_with_a_clock_is_no_mesh() -> None:
    assert set(NAMES) <= set(families.names())
    assert set(NAMES) <= set(snnc.chips())
    assert not set(NAMES) & set(target.names())
    with pytest.raises(UsageError, match="family 'grid'"):
        target.load("ranc")
    assert families.load("loihi") == target.load("loihi")


def test_lists_and_sheets_show_them() -> None:
    listed = chip_list([families.load(name) for name in families.names()])
    assert [line.split()[0] for line in listed.splitlines()] == families.names()
    assert max(map(len, listed.splitlines())) <= 80
    for name in NAMES:
        sheet = chip_sheet(families.load(name))
        assert "clock.period_ns" in sheet
        assert "no exponential decay" in sheet
        assert rules.OPERATION_RULES[4].text not in sheet  # '>' alone, which holds for a mesh


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("tinyodin", ("neurons = { value = 256,", 'neurons = { value = "many",'), r"Expected `int`.*core.neurons"),
        ("tinyodin", ("queue = { value = 128", "queue = { value = 0"), "core.queue is 0"),
        ("tinyodin", ('source = "rtl"', 'source = "hearsay"'), "core.queue cites 'hearsay'"),
        ("tinyodin", ('family = "crossbar"', 'family = "spiral"'), "spiral"),
        ("ranc", ("port_x = { value = 3", "port_x = { value = 4"), "mesh.port_x is 4, outside"),
        ("ranc", ("[mesh]", "[mash]"), "mash"),
        ("ranc", ("[mesh]", "[mesh"), "bad target description"),
    ],
)
def test_a_bad_description_names_file_and_field(tmp_path: Path, name: str, change: tuple[str, str], says: str) -> None:
    assert change[0] in TEXTS[name]
    path = tmp_path / "mine.toml"
    path.write_text(TEXTS[name].replace(*change))
    with pytest.raises(InputError, match=says) as caught:
        families.load(str(path))
    assert str(path) in caught.value.where


def test_a_grid_needs_a_place_beside_its_port(tmp_path: Path) -> None:
    text = TEXTS["ranc"]
    for size in ("columns", "rows"):
        text = text.replace(f"{size} = {{ value = 4", f"{size} = {{ value = 1")
    for port in ("port_x", "port_y"):
        text = text.replace(f"{port} = {{ value = 3", f"{port} = {{ value = 0")
    (tmp_path / "one.toml").write_text(text)
    with pytest.raises(InputError, match="no place for a core"):
        families.load(str(tmp_path / "one.toml"))
