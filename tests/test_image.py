"""Images: the same bytes every time, and nothing damaged or changed is accepted."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from float_networks import conv, mlp

import snnc
from snnc.errors import InputError
from snnc.image import Image
from snnc.network import identical


@pytest.fixture(scope="module")
def image() -> Image:
    return snnc.compile(conv(), "loihi")


@pytest.fixture
def saved(image: Image, tmp_path: Path) -> Path:
    image.save(tmp_path / "image.snnc")
    return tmp_path / "image.snnc"


def rewrite(path: Path, name: str, change) -> None:
    """Replace one member of the zip by change(content)."""
    with zipfile.ZipFile(path) as archive:
        files = {i.filename: archive.read(i) for i in archive.infolist()}
    files[name] = change(files[name])
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in files.items():
            archive.writestr(member, content)


def test_round_trip_is_identical(image: Image, saved: Path) -> None:
    again = Image.load(saved)
    assert identical(again.network, image.network)
    assert identical(again.mapping, image.mapping)
    assert again.target == image.target
    assert again.provenance == json.loads(json.dumps(image.provenance))


def test_two_compilations_give_the_same_bytes(saved: Path, tmp_path: Path) -> None:
    snnc.compile(conv(), "loihi").save(tmp_path / "again.snnc")
    assert saved.read_bytes() == (tmp_path / "again.snnc").read_bytes()
    Image.load(saved).save(tmp_path / "third.snnc")
    assert saved.read_bytes() == (tmp_path / "third.snnc").read_bytes()


def test_a_changed_array_is_noticed(saved: Path) -> None:
    rewrite(saved, "arrays/00002.npy", lambda data: data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(InputError, match="changed after the image was written"):
        Image.load(saved)


def test_a_changed_target_is_noticed(saved: Path) -> None:
    rewrite(saved, "target.json", lambda data: data.replace(b"1024", b"2048"))
    with pytest.raises(InputError, match=r"target.json.*changed"):
        Image.load(saved)


def broken(image: Image, field: str) -> Image:
    """The image with one limit of its target broken, checksums and all right."""
    network, target = image.network, image.target
    if field in ("weights", "delay"):
        first = network.projections[0]
        if field == "delay":
            other = replace(first, delay=target.synapse.delay_limit.value + 1)
        else:
            op = replace(first.op, weight=np.where(first.op.weight != 0, 4097, 0).astype(np.int16))
            other = replace(first, ops=(op,))
        return replace(image, network=replace(network, projections=(other, *network.projections[1:])))
    layer = network.populations[1]
    # Out of range by one, and by far.
    values = {
        "u_decay": 4097,
        "v_decay": -1,
        "threshold": 2**target.neuron.threshold_bits.value,
        "bias": -(2**target.neuron.bias_bits.value),
    }
    params = dict(layer.params) | {field: np.full(layer.shape, values[field], np.int32)}
    layers = (network.populations[0], replace(layer, params=params), *network.populations[2:])
    return replace(image, network=replace(network, populations=layers))


@pytest.mark.parametrize("field", ["weights", "delay", "u_decay", "v_decay", "threshold", "bias"])
def test_values_that_the_chip_cannot_hold_are_refused(image: Image, tmp_path: Path, field: str) -> None:
    broken(image, field).save(tmp_path / "edited.snnc")
    with pytest.raises(InputError, match="changed by hand") as caught:
        Image.load(tmp_path / "edited.snnc")
    assert "edited.snnc: " in caught.value.where
    assert ("projection" if field in ("weights", "delay") else "layer 'conv1'") in caught.value.where
    assert caught.value.fix == "compile the network again"


@pytest.mark.parametrize("limit", ["neurons", "in_axons", "out_axons", "synapse_bits", "neuron_groups"])
def test_a_core_that_holds_too_much_is_refused(image: Image, tmp_path: Path, limit: str) -> None:
    """The target is the one of the image, so a smaller one stands for a mapping that was edited."""
    used = getattr(image.usage, limit)
    for least, fine in ((used.max(), True), (used.max() - 1, False)):
        count = replace_value(getattr(image.target.core, limit), int(least))
        core = msgspec.structs.replace(image.target.core, **{limit: count})
        replace(image, target=msgspec.structs.replace(image.target, core=core)).save(tmp_path / "edited.snnc")
        again = Image.load(tmp_path / "edited.snnc")
        if fine:
            again.check()
        else:
            with pytest.raises(InputError, match=f"allows {least:,}") as caught:
                again.check()
            assert f"core {used.argmax()}" in caught.value.where
            assert f"core.{limit}" in caught.value.message


def replace_value(count: Any, value: int) -> Any:
    return msgspec.structs.replace(count, value=value)


def test_a_newer_image_says_so(saved: Path) -> None:
    rewrite(saved, "manifest.json", lambda data: data.replace(b'"version": 3', b'"version": 4'))
    with pytest.raises(InputError, match="format version 4"):
        Image.load(saved)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("dt", -1.0, "dt must be a positive"),
        ("outputs", ["nobody"], "nobody"),
        ("populations", [], "no population"),
    ],
)
def test_a_manifest_that_makes_no_network(saved: Path, field: str, value: object, says: str) -> None:
    def change(data: bytes) -> bytes:
        manifest = json.loads(data)
        manifest["network"][field] = value
        return json.dumps(manifest).encode()

    rewrite(saved, "manifest.json", change)
    with pytest.raises(InputError, match=says):
        Image.load(saved)


def test_a_site_that_the_board_does_not_have(image: Image, tmp_path: Path) -> None:
    last = image.target.grid.cores - 1
    for site, fine in ((last, True), (last + 1, False)):
        sites = image.mapping.site_of.copy()
        sites[0] = site
        replace(image, mapping=replace(image.mapping, site_of=sites)).save(tmp_path / "moved.snnc")
        if fine:
            assert Image.load(tmp_path / "moved.snnc").mapping.site_of[0] == last
        else:
            with pytest.raises(InputError, match="sites that the target does not have"):
                Image.load(tmp_path / "moved.snnc")


def test_an_array_that_lies_about_its_size(saved: Path) -> None:
    def change(data: bytes) -> bytes:
        manifest = json.loads(data)
        manifest["sha256"] = {"arrays/00000.npy": None} | manifest["sha256"]
        return data

    rewrite(saved, "manifest.json", change)
    Image.load(saved)  # unchanged so far
    header = (
        np.lib.format.magic(1, 0) + b"v\x00" + b"{'descr': '<i4', 'fortran_order': False, 'shape': (9999999999,), }"
    )
    huge = header.ljust(127) + b"\n"

    def same_digest(data: bytes) -> bytes:
        import hashlib

        manifest = json.loads(data)
        manifest["sha256"]["arrays/00000.npy"] = hashlib.sha256(huge).hexdigest()
        return json.dumps(manifest).encode()

    rewrite(saved, "arrays/00000.npy", lambda data: huge)
    rewrite(saved, "manifest.json", same_digest)
    with pytest.raises(InputError, match="does not hold what its header says"):
        Image.load(saved)


def test_damage_anywhere_is_an_input_error(saved: Path, tmp_path: Path) -> None:
    """300 flips and truncations: an InputError each time, or the very same image."""
    data = saved.read_bytes()
    original = Image.load(saved)
    rng = np.random.default_rng(0)
    refused = same = 0
    for k in range(300):
        broken = bytearray(data)
        if k % 3 == 0:
            broken = broken[: rng.integers(1, len(data))]
        else:
            for at in rng.integers(0, len(data), 3):
                broken[at] ^= 1 << int(rng.integers(0, 8))
        path = tmp_path / "broken.snnc"
        path.write_bytes(bytes(broken))
        try:
            found = Image.load(path).network
        except InputError as error:
            refused += str(path) in error.where
        else:
            assert identical(found, original.network)
            same += 1
    assert refused + same == 300
    assert refused > 250


def test_not_an_image_at_all(tmp_path: Path) -> None:
    for name, content in (("empty", b""), ("text", b"hello"), ("lfs", b"version https://git-lfs.github.com/spec/v1\n")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError):
            Image.load(tmp_path / name)
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(InputError):
            Image.load(path)


def test_nothing_is_left_when_saving_fails(image: Image, tmp_path: Path) -> None:
    (tmp_path / "image.snnc").mkdir()
    with pytest.raises(snnc.errors.UsageError):
        image.save(tmp_path / "image.snnc")
    assert [p.name for p in tmp_path.iterdir()] == ["image.snnc"]


def test_neurons_keep_their_cores(image: Image) -> None:
    assert image.usage.neurons.sum() == image.network.size - image.network.inputs[0].size
    assert image.cores == image.usage.cores


def test_names_survive(tmp_path: Path) -> None:
    snnc.compile(mlp()).save(tmp_path / "a.snnc")
    assert [p.name for p in Image.load(tmp_path / "a.snnc").network.populations] == ["input", "fc1", "fc2"]
