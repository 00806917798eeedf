"""Exported programs, run by themselves in Lava, spike as the specification does."""

from __future__ import annotations

import ast
import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from integer_chains import spikes
from integer_graphs import GRAPHS
from test_lava_run import CASES as CHAINS

from snnc.network import READ_OUT, Network
from snnc.simulator import reference
from snnc.targets.lava import program

Build = Callable[[np.random.Generator], Network]

# Runs the programs one after the other: a start of Lava's Python costs more than most of the runs.
DRIVER = """
import importlib.util, json, sys, traceback
sys.dont_write_bytecode = True
cases = json.load(open(sys.argv[1]))
sys.path.insert(0, cases[0]["folder"])
for case in cases:
    spec = importlib.util.spec_from_file_location("program", case["folder"] + "/program.py")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        module.main(module.build, case["arguments"])
    except (Exception, SystemExit):
        with open(case["folder"] + "/failed.txt", "w") as file:
            traceback.print_exc(file=file)
"""


@dataclass(frozen=True)
class Case:
    network: Network
    spikes: np.ndarray
    folder: Path

    @property
    def found(self) -> dict[str, np.ndarray]:
        if (self.folder / "failed.txt").exists():
            pytest.fail((self.folder / "failed.txt").read_text())
        with np.load(self.folder / "found.npz") as file:
            return {name: file[name] for name in file.files}


def play(python: Path, cases: list[Case], *options: str) -> None:
    """Export every case and run all of them in one process."""
    requests = []
    for case in cases:
        program.export(case.network, case.folder)
        np.savez(case.folder / "spikes.npz", spikes=case.spikes)
        layers = [p.name for p in case.network.layers]
        arguments = [str(case.folder / "spikes.npz"), "-o", str(case.folder / "found.npz"), "--record", *layers]
        requests.append({"folder": str(case.folder), "arguments": [*arguments, *options]})
    path = cases[0].folder.parent / "cases.json"
    path.write_text(json.dumps(requests))
    done = subprocess.run([str(python), "-Es", "-c", DRIVER, str(path)], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert "Cannot import module" not in done.stderr, done.stderr


ALL = {f"chain-{name}": (build, rate, steps) for name, (build, rate, steps, sparse) in CHAINS.items() if not sparse}
ALL |= {f"graph-{name}": case for name, case in GRAPHS.items()}


@pytest.fixture(scope="module")
def cases(lava: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> dict[str, Case]:
    """Those of the tests that were chosen, run once."""
    root = tmp_path_factory.mktemp("programs")
    made = {}
    chosen = {i.callspec.params.get("name") for i in request.session.items if hasattr(i, "callspec")}
    for name in [name for name in ALL if name in chosen]:
        build, rate, steps = ALL[name]
        rng = np.random.default_rng(sum(name.encode()))
        network = build(rng)
        made[name] = Case(network, spikes(rng, 3, steps, network.inputs[0].shape, rate), root / name)
    play(lava, list(made.values()))
    return made


@pytest.mark.parametrize("name", ALL)
def test_a_program_spikes_as_the_specification(name: str, cases: dict[str, Case]) -> None:
    """Every layer in every step of three samples that run back to back; of a read-out its membranes."""
    case = cases[name]
    expected = reference.simulate(case.network, case.spikes)
    assert list(case.found) == [p.name for p in case.network.layers]
    for population in case.network.layers:
        theirs, ours = case.found[population.name], expected[population.name]
        np.testing.assert_array_equal(theirs, ours, err_msg=population.name)
        assert theirs.dtype == (np.int32 if population.neuron == READ_OUT else bool)
        assert len(np.unique(theirs)) > 1, population.name  # equal silence would prove nothing


@pytest.mark.parametrize("name", ALL)
def test_a_program_is_plain_text(name: str, cases: dict[str, Case]) -> None:
    text = (cases[name].folder / "program.py").read_text()
    ast.parse(text, feature_version=(3, 10))  # Lava's own Python
    assert max(map(len, text.splitlines())) < 160
    for population in cases[name].network.layers:
        assert f"# Layer '{population.name}'" in text
