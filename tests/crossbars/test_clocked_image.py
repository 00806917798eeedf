"""Images of chips with a clock: what is written is read, and what was changed is refused."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from clocked_networks import ODIN, RANC, mlp, trains

import snnc
from snnc.crossbars.compiler import compile
from snnc.crossbars.image import Image
from snnc.errors import InputError
from snnc.families import ClockedChip
from snnc.image import Image as MeshImage
from snnc.image import is_clocked, is_image
from snnc.network import Network, identical
from snnc.samples import Samples

BOTH = pytest.mark.parametrize("chip", [ODIN, RANC], ids=["crossbar", "grid"])


@BOTH
def test_an_image_is_read_as_it_was_written(chip: ClockedChip, tmp_path: Path) -> None:
    net = mlp(9, 12, 4, bias=True)
    image = compile(net, chip, provenance={"file": "x"})
    for name in ("first", "second"):
        compile(net, chip, provenance={"file": "x"}).save(tmp_path / f"{name}.snnc")
    assert (tmp_path / "first.snnc").read_bytes() == (tmp_path / "second.snnc").read_bytes()
    again = Image.load(tmp_path / "first.snnc")
    assert identical(again.network, image.network)
    assert (again.chip, again.provenance) == (chip, image.provenance)
    assert identical(again.placement, image.placement)
    assert identical(again.loaded, image.loaded)
    assert again.usage() == image.usage()


@BOTH
def test_the_api_compiles_and_simulates(chip: ClockedChip, tmp_path: Path) -> None:
    net = mlp(9, 12, 4)
    data = Samples(trains(net), np.array([0, 1, 2]))
    image = snnc.compile(net, chip.name, data=data)
    image.save(tmp_path / "image.snnc")
    ran = snnc.simulate(snnc.open_image(tmp_path / "image.snnc"), data)
    assert ran.accuracy is not None
    assert np.array_equal(ran.outputs, snnc.simulate(image, data).outputs)


@BOTH
def test_forms_of_images_are_told_apart(chip: ClockedChip, tmp_path: Path) -> None:
    path = tmp_path / "image.snnc"
    compile(mlp(3, 2), chip).save(path)
    assert is_clocked(path)
    assert is_image(path)
    with pytest.raises(InputError, match="chip with a clock"):
        MeshImage.load(path)
    other = tmp_path / "mesh.snnc"
    snnc.compile(replaced(mlp(3, 2)), "loihi").save(other)
    assert not is_clocked(other)
    with pytest.raises(InputError, match="no image of a chip with a clock"):
        Image.load(other)
    for name, content in (("text.snnc", b"PK and no more"), ("zip.snnc", None)):
        if content is None:
            with zipfile.ZipFile(tmp_path / name, "w") as archive:
                archive.writestr("other.json", "{}")
        else:
            (tmp_path / name).write_bytes(content)
        assert not is_clocked(tmp_path / name)
        with pytest.raises(InputError, match="image"):
            Image.load(tmp_path / name)


def replaced(net: Network) -> Network:
    """The same for a mesh, which compares by '>' alone."""
    populations = tuple(replace(p, semantics=replace(p.semantics, compare=">")) for p in net.populations)
    return replace(net, populations=populations)


def changed(path: Path, change: object) -> Path:
    """The image with other members; sums are made anew, as one would who means it."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    manifest = msgspec.json.decode(files.pop("manifest.json"))
    change(manifest, files)  # type: ignore[operator]
    out = path.with_name("changed.snnc")
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("manifest.json", msgspec.json.encode(manifest))
        for name, data in files.items():
            archive.writestr(name, data)
    return out


@BOTH
def test_an_image_that_was_changed_is_refused(chip: ClockedChip, tmp_path: Path) -> None:
    path = tmp_path / "image.snnc"
    compile(mlp(9, 12, 4), chip).save(path)

    def newer(manifest: dict, files: dict) -> None:
        manifest["version"] += 1

    def flipped(manifest: dict, files: dict) -> None:
        name = manifest["network"]["populations"][1]["params"]["threshold"]
        files[name] = files[name][:-1] + b"\x01"

    def lacking(manifest: dict, files: dict) -> None:
        del files["target.json"]

    for change, says in ((newer, "version"), (flipped, "was changed"), (lacking, "lacks")):
        with pytest.raises(InputError, match=says) as caught:
            Image.load(changed(path, change))
        assert "changed.snnc" in caught.value.where


@BOTH
@pytest.mark.parametrize(
    ("name", "value", "says"),
    [("threshold", 5000, "threshold of layer 'h1'"), ("threshold", 0, "threshold"), ("leak", 500, "leak")],
)
def test_limits_are_checked_once_more(chip: ClockedChip, name: str, value: int, says: str, tmp_path: Path) -> None:
    image = compile(mlp(9, 12, 4), chip)
    first = image.network["h1"]
    params = {**first.params, name: np.full(first.shape, value, np.int32)}
    populations = tuple(replace(p, params=params) if p.name == "h1" else p for p in image.network.populations)
    bad = Image(replace(image.network, populations=populations), chip, image.placement)
    bad.save(tmp_path / "bad.snnc")
    with pytest.raises(InputError, match=says):
        Image.load(tmp_path / "bad.snnc")


def test_a_network_that_the_chip_cannot_run_is_refused(tmp_path: Path) -> None:
    """Written as an image of it: what would be left out without a word."""
    image = compile(mlp(9, 12, 4), ODIN)
    net = image.network

    def refused(changed: Network) -> str:
        Image(changed, ODIN).save(tmp_path / "bad.snnc")
        with pytest.raises(InputError, match="damaged") as caught:
            Image.load(tmp_path / "bad.snnc")
        return caught.value.message

    late = tuple(replace(p, delay=1) for p in net.projections)
    assert "hold them back" in refused(replace(net, projections=late))
    for how in ({"reset": "subtract"}, {"compare": ">"}):
        others = tuple(replace(p, semantics=replace(p.semantics, **how)) for p in net.populations)
        assert refused(replace(net, populations=others))
    small = msgspec.structs.replace(ODIN.core, neurons=msgspec.structs.replace(ODIN.core.neurons, value=16))
    Image(net, msgspec.structs.replace(ODIN, core=small)).save(tmp_path / "bad.snnc")
    with pytest.raises(InputError, match="needs 25 addresses"):
        Image.load(tmp_path / "bad.snnc")


def test_weights_that_add_up_to_too_much_are_refused(tmp_path: Path) -> None:
    image = compile(mlp(9, 12, 4), RANC)
    twice = tuple(replace(p, name=f"{p.name}{k}") for p in image.network.projections for k in range(3))
    Image(replace(image.network, projections=twice), RANC, image.placement).save(tmp_path / "bad.snnc")
    with pytest.raises(InputError, match="add up"):
        Image.load(tmp_path / "bad.snnc")


def test_a_placement_that_does_not_belong_is_refused(tmp_path: Path) -> None:
    image = compile(mlp(9, 12, 4), RANC)
    placed = image.placement

    def refused(**arrays: np.ndarray) -> str:
        Image(image.network, RANC, replace(placed, **arrays)).save(tmp_path / "bad.snnc")
        with pytest.raises(InputError, match="damaged") as caught:
            Image.load(tmp_path / "bad.snnc")
        return caught.value.message

    assert "copies" in refused(neuron=np.roll(placed.neuron, 1) * 0)
    assert "neurons that there are not" in refused(neuron=placed.neuron + 100)
    assert "more cores" in refused(core=placed.core + 15)
    assert "row of numbers" in refused(core=placed.core[1:])
    assert "copies" in refused(neuron=placed.neuron[1:], core=placed.core[1:])
    every = np.arange(len(placed.core), dtype=np.int32)
    assert refused(core=every)
