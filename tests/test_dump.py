"""Dumps: the same bytes in every run, arrays that load without pickle, and the last state before a failure."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from float_networks import conv, lif, mlp, spikes
from golden import assert_golden
from small_chips import chip

import snnc
from snnc import dump, pipeline
from snnc.compilation import Compilation
from snnc.errors import DoesNotFit, UsageError
from snnc.network import Network, Population, Projection, Semantics
from snnc.ops import Delay, Scale
from snnc.resources import usage
from snnc.samples import Samples

NAMES = ["start", *(name for name, _ in pipeline.PASSES)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dumped") / "dump"
    data = Samples(spikes(conv()), np.array([0, 1, 2, 3]), "random")
    snnc.compile(conv(), chip(neurons=60), data=data, dump=path)
    return path


def document(folder: Path, name: str) -> dict:
    return json.loads(next(folder.glob(f"??-{name}.json")).read_text())


def array(folder: Path, name: str, key: str) -> np.ndarray:
    """An array of the state after a pass, as a developer would look it up."""
    with np.load(folder / document(folder, name)["arrays"][key], allow_pickle=False) as file:
        return file[key]


def test_every_pass_leaves_its_state(folder: Path) -> None:
    assert sorted(p.name for p in folder.glob("*.txt")) == [f"{k:02d}-{name}.txt" for k, name in enumerate(NAMES)]
    for name in NAMES:
        found = document(folder, name)
        assert found["pass"] == name
        assert found["number"] == NAMES.index(name)
        for key, file in found["arrays"].items():
            assert key in np.load(folder / file, allow_pickle=False)


def test_the_arrays_are_those_of_the_state(folder: Path) -> None:
    data = Samples(spikes(conv()), np.array([0, 1, 2, 3]), "random")
    image = snnc.compile(conv(), chip(neurons=60), data=data)
    assert np.array_equal(array(folder, "verify", "core_of"), image.mapping.core_of)
    assert np.array_equal(array(folder, "verify", "site_of"), image.mapping.site_of)
    for p in image.network.layers:
        assert np.array_equal(array(folder, "quantize", f"populations/{p.name}/threshold"), p.params["threshold"])
    for p in image.network.projections:
        key = f"projections/{p.name}/0/weight"
        if p.name == "conv2-fc":
            assert np.array_equal(array(folder, "verify", f"{key}/indices"), p.op.weight.indices)
        else:
            assert np.array_equal(array(folder, "verify", key), p.op.weight)
    before = conv().projections[0].op.weight
    assert np.array_equal(array(folder, "start", "projections/input-conv1/0/weight"), before)
    assert "core_of" not in document(folder, "quantize")["arrays"]


def test_an_array_is_written_once(folder: Path) -> None:
    keys = [key for file in folder.glob("*.npz") for key in np.load(file)]
    changed = [key for key in keys if key.startswith("projections/input-conv1")]
    assert 2 <= len(changed) < len(NAMES)
    assert not list(folder.glob("*-check.npz"))
    assert {name[3:] for name in document(folder, "fit")["arrays"].values()} >= {"quantize.npz", "partition.npz"}


def test_the_same_bytes_in_every_run(folder: Path, tmp_path: Path) -> None:
    data = Samples(spikes(conv()), np.array([0, 1, 2, 3]), "random")
    snnc.compile(conv(), chip(neurons=60), data=data, dump=tmp_path / "again")
    files = sorted(folder.iterdir())
    assert [f.name for f in files] == sorted(f.name for f in (tmp_path / "again").iterdir())
    for file in files:
        assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes(), file.name


def everything() -> Compilation:
    """A state with something in each part of the text, made without any pass."""
    network = conv()
    first, *others = network.projections
    delayed = Projection("odd", "input", "fc", (Delay(np.arange(288).reshape(2, 12, 12) % 3), *_pick()), 2, 4, 1)
    how = Semantics("subtract", ">=")
    populations = tuple(replace(p, semantics=how) if p.name == "conv2" else p for p in network.populations)
    network = replace(network, populations=populations, projections=(first, *others, delayed))
    return pipeline.start(network, chip(), None, None).found(
        start={"sums": 2, "none": None, "rates": {"a": 0.1234567, "b": 1e-9}, "layers": [{"of": "a", "range": [1, 2]}]}
    )


def _pick() -> tuple:
    weight = np.zeros((5, 288))
    weight[:, :5] = np.eye(5)
    return Scale(np.full((2, 12, 12), 0.5)), snnc.ops.Flatten(), snnc.ops.Linear(snnc.ops.canonical(weight))


def test_the_text_of_a_network() -> None:
    assert_golden("dump_network.txt", dump.text(dump.state(everything(), 0, "start")))


def test_the_text_of_a_mapping() -> None:
    """Of a state made by hand, so that no change of a pass changes the text."""

    def integer(name: str, size: int) -> Population:
        values = {"u_decay": 4096, "v_decay": 410, "threshold": 100 * size, "bias": -3}
        params = {key: np.full(size, value, np.int32) for key, value in values.items()}
        return Population(name, (size,), "cuba_fixed", params)

    def link(pre: str, post: str, out: int, into: int) -> Projection:
        weight = snnc.ops.canonical(np.arange(1, out * into + 1, dtype=np.int16).reshape(out, into))
        return Projection(f"{pre}-{post}", pre, post, (snnc.ops.Linear(weight),), bits=8)

    populations = (Population("input", (4,), "input"), integer("fc1", 6), integer("fc2", 3))
    network = Network(populations, (link("input", "fc1", 6, 4), link("fc1", "fc2", 3, 6)), ("fc2",), 1e-3)
    core_of = np.array([-1] * 4 + [0, 0, 0, 1, 1, 1] + [1, 2, 2], np.int32)
    state = pipeline.start(network, chip(), None, None)
    used, sites = usage(network, core_of, chip()), np.array([2, 0, 1], np.int32)
    state = replace(state, core_of=core_of, usage=used, site_of=sites)
    found = dump.state(state, 9, "place")
    assert [core["layers"] for core in found["cores"]] == [["fc1"], ["fc1", "fc2"], ["fc2"]]
    assert [core["in_axons"] for core in found["cores"]] == [4, 10, 6]
    assert_golden("dump_mapping.txt", dump.text(found))


def test_a_failing_pass_leaves_the_last_good_state(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "snnc"), pytest.raises(DoesNotFit):
        snnc.compile(mlp((10, 300, 5)), chip(neurons=2), chips=1, dump=tmp_path / "d")
    last = NAMES.index("fit") - 1
    file = tmp_path / "d" / f"{last:02d}-{NAMES[last]}.txt"
    assert f"pass 'fit' failed; the last good state is {file}" in caplog.text
    assert "cores 153" in file.read_text()
    assert not list((tmp_path / "d").glob("*-fit.*"))


def test_an_earlier_dump_is_replaced_and_nothing_else_is_touched(tmp_path: Path) -> None:
    snnc.compile(mlp(), dump=tmp_path)
    pipeline.compile_until("lower", mlp(), chip(), dump=tmp_path)
    assert {p.name[3:].partition(".")[0] for p in tmp_path.iterdir()} == {"start", "dissolve", "lower"}
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"thesis\.txt"):
        snnc.compile(mlp(), dump=tmp_path)
    assert len(list(tmp_path.glob("??-*.txt"))) == 3
    with pytest.raises(UsageError, match="it is a file"):
        snnc.compile(mlp(), dump=tmp_path / "thesis.txt")


def test_names_do_not_become_paths(tmp_path: Path) -> None:
    name, long = "../up\0/a b", "x" * 3000
    populations = (Population("input", (3,), "input"), lif(name, (3,)), lif(long, (3,)))
    link = snnc.ops.Linear(snnc.ops.canonical(np.eye(3)))
    projections = (Projection("p", "input", name, (link,)), Projection("q", name, long, (link,)))
    network = Network(populations, projections, (long,), 1e-3)
    pipeline.compile_until("lower", network, chip(), dump=tmp_path)
    keys = list(np.load(tmp_path / "00-start.npz"))
    assert len(set(keys)) == len(keys) == 2 * 5 + 2 * 3
    assert all(".." not in key.split("/") and len(key) < 300 for key in keys)
    assert np.array_equal(array(tmp_path, "start", "populations/..%2Fup%00%2Fa%20b/tau"), populations[1].params["tau"])


def test_a_pass_that_does_not_exist() -> None:
    with pytest.raises(UsageError, match="no pass 'quantise'") as caught:
        pipeline.compile_until("quantise", mlp(), chip())
    assert caught.value.fix.startswith("did you mean 'quantize'? the passes: ")


def test_a_compilation_in_part_equals_that_of_the_whole() -> None:
    state, spent = pipeline.compile_until("fit", mlp(), chip())
    image = snnc.compile(mlp(), chip())
    assert list(spent) == NAMES[1 : NAMES.index("fit") + 1]
    assert snnc.network.identical(state.network, image.network)
    assert np.array_equal(state.core_of, image.mapping.core_of)
    assert state.site_of is None
