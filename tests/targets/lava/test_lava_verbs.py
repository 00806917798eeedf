"""``snnc verify --on lava`` and ``snnc lava run``: what a user types and reads."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from integer_chains import cuba, spikes
from integer_graphs import GRAPHS

import snnc
from snnc import cli
from snnc.network import Network
from snnc.simulator import reference
from snnc.targets.lava import netx


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an image of a chain, one of branches, and data for both."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(4)
    save(tmp_path, "chain", cuba(rng), rng)
    save(tmp_path, "branches", GRAPHS["residual"][0](rng), rng)
    return tmp_path


def save(folder: Path, name: str, network: Network, rng: np.random.Generator) -> None:
    snnc.compile(network, "loihi2").save(folder / f"{name}.snnc")
    data = spikes(rng, 5, 8, network.inputs[0].shape, 0.3)
    np.savez(folder / f"{name}.npz", spikes=data, labels=np.arange(5))


def test_a_run_writes_what_every_neuron_did(work: Path, lava: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of each route, into each kind of file."""
    run = ["lava", "run", "chain.snnc", "--data", "chain.npz", "--registers"]
    network = snnc.open_image(work / "chain.snnc").network
    with np.load(work / "chain.npz") as file:
        expected = reference.trace(network, file["spikes"])
    assert cli.run([*run, "-o", "net.npz"]) == 0
    text = capsys.readouterr().out
    counted = int(expected["spikes", "l1"].sum())
    for words in ("simulated by Lava on CPU: 5 samples x 8 steps", f"{counted:,} spikes", "a .net file", "accuracy"):
        assert words in text
    assert cli.run([*run, "--through", "program", "-o", "program.h5", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["through"], document["spikes"]["l1"], document["file"]) == ("program", counted, "program.h5")
    with np.load("net.npz") as arrays, h5py.File("program.h5") as file:
        assert set(arrays.files) == {f"{kind}/{name}" for kind in ("spikes", "u", "v") for name in ("l1", "l2")}
        for name in arrays.files:
            kind, layer = name.split("/")
            np.testing.assert_array_equal(arrays[name], expected[kind, layer])
            np.testing.assert_array_equal(file[name], expected[kind, layer])


def test_what_netx_does_not_hold_goes_through_a_program(
    work: Path, lava: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    verify = ["verify", "branches.snnc", "--data", "branches.npz", "--on", "lava"]
    assert cli.run([*verify, "--registers"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("0 of ")
    assert "u and v are equal in all" in text
    assert "through a program of Lava processes" in text
    assert cli.run([*verify, "--through", "net"]) == 3
    assert "--program" in capsys.readouterr().err


def test_a_difference_is_shown_from_both_sides(
    work: Path, lava: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    export = netx.export

    def spoil(network: Network, path: Path, steps: int) -> None:
        export(network, path, steps)
        with h5py.File(path, "r+") as file:
            file["layer/1/weight"][17, :] += 2

    monkeypatch.setattr(netx, "export", spoil)
    assert cli.run(["verify", "chain.snnc", "--data", "chain.npz", "--on", "lava", "--registers"]) == 5
    lines = capsys.readouterr().err.splitlines()
    place = "layer 'l1', neuron (17), sample 0, step 0"
    assert "values in 5 samples differ from lava; the first: " + place in lines[0]
    assert lines[1] == "  where  chain.snnc"
    assert lines[2] == f"         they part in {place}:"
    assert "step 0" in lines[5]
    assert "a spike takes v above 57,600" in lines[6]
    assert max(map(len, lines[1:])) <= 110


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["lava", "run", "chain.snnc", "--data", "chain.npz", "--registers"], "--output"),
        (["verify", "chain.snnc", "--data", "chain.npz", "--through", "net"], "--through"),
    ],
)
def test_what_makes_no_sense_is_refused(
    arguments: list[str], words: str, work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(arguments) == 2
    assert words in capsys.readouterr().err
