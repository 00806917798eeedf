"""Two compilations side by side: only what differs, and a neuron has moved only where its company changed."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from float_networks import conv, mlp, spikes
from small_chips import chip

import snnc
from snnc import report
from snnc.errors import InputError
from snnc.image import Image, Mapping
from snnc.report import Compiled, Difference, difference, difference_table
from snnc.samples import Samples

DATA = Samples(spikes(mlp()), np.array([0, 1, 2, 3]), "random")


def compiled(image: Image, data: Samples | None = DATA, name: str = "x") -> Compiled:
    run = None if data is None else snnc.simulate(image, data)
    return Compiled(name, report.build(image, run, data="" if data is None else data.name), image)


def mapped(image: Image, core_of: np.ndarray, site_of: np.ndarray) -> Image:
    return replace(image, mapping=Mapping(core_of.astype(np.int32), site_of.astype(np.int32)))


def parts(found: Difference) -> dict[str, dict[str, tuple]]:
    result: dict[str, dict[str, tuple]] = {}
    for row in found.rows:
        result.setdefault(row.part, {})[row.label] = (row.a, row.b)
    return result


@pytest.fixture(scope="module")
def image() -> Image:
    return snnc.compile(mlp(), chip(neurons=6), data=DATA)


def test_the_same_twice_differs_in_nothing(image: Image) -> None:
    found = difference(compiled(image), compiled(image))
    assert found.same
    assert found.rows == []
    assert found.notes == []
    assert found.compared > 60
    assert found.moves.moved == found.moves.sites == 0
    assert f"nothing differs: {found.compared} values compared, 25 neurons on the same cores" in difference_table(found)


def test_fewer_bits_show_in_options_layers_and_all(image: Image) -> None:
    other = snnc.compile(mlp(), chip(neurons=6), data=DATA, bits=3)
    found = difference(compiled(image), compiled(other))
    rows = parts(found)
    assert not found.same
    assert rows["options"] == {"--bits": (8, 3)}
    assert rows["layer fc1"]["bits"] == rows["layer fc2"]["bits"] == (8, 3)
    sizes = tuple(int(i.usage.synapse_bits.sum()) for i in (image, other))
    assert rows["in all"]["memory"] == sizes
    assert sizes[1] < sizes[0]
    assert "neurons" not in rows["in all"]
    assert "chip" not in rows


def test_what_a_run_counted_is_compared_on_the_same_samples_only(image: Image) -> None:
    other = snnc.compile(mlp(), chip(neurons=6), data=DATA, bits=3)
    counted = parts(difference(compiled(image), compiled(other)))["in all"]
    assert counted["SynOps"][0] == compiled(image).report.this.synops
    assert counted["energy"][1] == compiled(other).report.this.energy_pj
    for data, words in ((Samples(DATA.spikes[:2], None, "random"), "other data"), (None, "only a was run")):
        found = difference(compiled(image), compiled(other, data))
        assert words in " ".join(found.notes)
        assert not {"SynOps", "energy", "spikes"} & set(parts(found)["in all"])
        assert "rate" not in parts(found)["layer fc1"]


def test_other_numbers_for_the_same_cores_are_no_move(image: Image) -> None:
    cores = image.cores
    order = np.random.default_rng(0).permutation(cores)
    inner = image.mapping.core_of >= 0
    core_of = np.where(inner, order[image.mapping.core_of], -1)
    site_of = np.empty(cores, int)
    site_of[order] = image.mapping.site_of
    assert cores >= 4
    assert np.any(core_of != image.mapping.core_of)
    found = difference(compiled(image), compiled(mapped(image, core_of, site_of)))
    assert found.moves.moved == found.moves.sites == 0
    assert found.same


def test_moves_are_counted_by_layer(image: Image) -> None:
    core_of = np.repeat([-1, 0, 1, 2, 3], [12, 6, 6, 6, 7])  # fc1 ends in core 3
    before = mapped(image, core_of, np.arange(4))
    first, last = (image.network.offsets["fc1"] + k for k in (0, 19))
    core_of[[first, last]] = core_of[[last, first]]
    found = difference(compiled(before), compiled(mapped(image, core_of, np.array([3, 1, 2, 0]))))
    assert found.moves.moved == 2
    assert found.moves.layers == {"fc1": 2, "fc2": 0}
    assert found.moves.neurons == 25
    assert found.moves.sites == 2
    text = difference_table(found)
    assert "neurons in another core" in text
    assert "layer fc1" in text
    assert not found.same


def test_a_chip_of_the_same_name_with_other_limits(image: Image) -> None:
    found = difference(compiled(image), compiled(snnc.compile(mlp(), chip(neurons=7), data=DATA)))
    assert parts(found)["chip"] == {"core.neurons": (6, 7)}
    other = difference(compiled(image), compiled(snnc.compile(mlp(), "loihi2", data=DATA)))
    assert parts(other)["options"]["target"] == ("loihi", "loihi2")
    assert "chip" not in parts(other)


def test_layers_that_only_one_has_are_named(image: Image) -> None:
    deeper = snnc.compile(mlp((12, 20, 5, 4)), chip(neurons=6), data=DATA)
    found = difference(compiled(image), compiled(deeper))
    assert "only in b: layers fc3" in found.notes
    assert not found.same
    assert found.moves.neurons == 25


def test_networks_without_a_common_layer_are_refused(image: Image) -> None:
    data = Samples(spikes(conv()), None, "random")
    with pytest.raises(InputError, match="no layer in common: input, fc1, fc2; input, conv1, conv2, fc"):
        difference(compiled(image), compiled(snnc.compile(conv(), chip(), data=data), data))


def test_reports_alone_are_compared_but_for_the_moves(image: Image) -> None:
    one = compiled(image)
    found = difference(replace(one, image=None), one)
    assert found.moves is None
    assert found.same
    assert "image.snnc" in found.notes[0]
    assert "nothing differs" in difference_table(found)


def test_the_table_fits_the_screen_and_the_data_are_whole(image: Image) -> None:
    network = mlp()
    long = {"fc1": "a_layer_of_a_name_that_nobody_would_type" * 3, "fc2": "fc2", "input": "input"}
    network = replace(
        network,
        populations=tuple(replace(p, name=long[p.name]) for p in network.populations),
        projections=tuple(replace(p, pre=long[p.pre], post=long[p.post]) for p in network.projections),
    )
    pair = [snnc.compile(network, chip(neurons=n), data=DATA, bits=b) for n, b in ((6, 8), (9, 2))]
    found = difference(*(compiled(i, name="folder/" * 20) for i in pair))
    text = difference_table(found)
    assert max(map(len, text.splitlines())) <= 80
    decoded = msgspec.json.decode(msgspec.json.encode(found))
    assert len(decoded["rows"]) == len(found.rows)
    assert decoded["same"] is False
    # What is printed alike on both sides says nothing.
    for line in text.splitlines():
        words = line.split()
        assert len(words) < 3 or words[-1] != "+0.0%" or words[-2] != words[-3], line
