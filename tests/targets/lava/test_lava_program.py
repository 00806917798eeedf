"""Exported programs, run by themselves in Lava, spike as the specification does."""

from __future__ import annotations

import ast
import errno
import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from integer_chains import spikes
from integer_graphs import GRAPHS
from suite_networks import QUICK, get

import snnc
from snnc import cli
from snnc.errors import InputError, UsageError
from snnc.network import READ_OUT, Network
from snnc.simulator import reference
from snnc.targets.lava import program
from snnc.targets.lava.listing import identifiers

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


ALL = {f"graph-{name}": case for name, case in GRAPHS.items()}
# A single sample takes no gates, but those that hold back what a bias fires too early.
ALL |= {f"single-{name}": GRAPHS[name] for name in ("recurrent", "biased-early", "read-out", "delayed-conv")}
NAMES = [*(name for name in QUICK if "program" not in get(name).refused), *ALL]


@pytest.fixture(scope="module")
def cases(lava: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> dict[str, Case]:
    """Those of the tests that were chosen, run once."""
    root = tmp_path_factory.mktemp("programs")
    made = {}
    chosen = {i.callspec.params.get("name") for i in request.session.items if hasattr(i, "callspec")}
    for name in [name for name in NAMES if name in chosen]:
        if name in QUICK:
            made[name] = Case(get(name).network, get(name).spikes, root / name)
            continue
        build, rate, steps = ALL[name]
        rng = np.random.default_rng(sum(name.encode()))
        network = build(rng)
        made[name] = Case(
            network,
            spikes(rng, 1 if name.startswith("single") else 3, steps, network.inputs[0].shape, rate),
            root / name,
        )
    play(lava, list(made.values()))
    return made


@pytest.mark.parametrize("name", NAMES)
def test_a_program_spikes_as_the_specification(name: str, cases: dict[str, Case]) -> None:
    """Every layer in every step of samples that run back to back; of a read-out its membranes."""
    case = cases[name]
    expected = reference.simulate(case.network, case.spikes)
    assert list(case.found) == [p.name for p in case.network.layers]
    for population in case.network.layers:
        theirs, ours = case.found[population.name], expected[population.name]
        np.testing.assert_array_equal(theirs, ours, err_msg=population.name)
        assert theirs.dtype == (np.int32 if population.neuron == READ_OUT else bool)
        assert len(np.unique(theirs)) > 1, population.name  # equal silence would prove nothing


@pytest.mark.parametrize("name", NAMES)
def test_a_program_is_plain_text(name: str, cases: dict[str, Case]) -> None:
    text = (cases[name].folder / "program.py").read_text()
    ast.parse(text, feature_version=(3, 10))  # Lava's own Python
    assert max(map(len, text.splitlines())) < 160
    for population in cases[name].network.layers:
        assert f"# Layer '{population.name}'" in text


def small() -> Network:
    return GRAPHS["branches"][0](np.random.default_rng(0))


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_program_is_three_things(tmp_path: Path) -> None:
    program.export(small(), tmp_path / "new" / "p")
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["p"]
    assert sorted(p.name for p in (tmp_path / "new" / "p").iterdir()) == ["program.py", "snnc_lava", "weights.npz"]
    with np.load(tmp_path / "new" / "p" / "weights.npz", allow_pickle=False) as weights:
        assert all(weights[name].dtype.kind == "i" for name in weights.files)
        # 12 x 30 with a fifth of its weights: the parts of a CSR matrix.
        assert {"in_c_3_data", "in_c_3_indices", "in_c_3_indptr"} <= set(weights.files)


@pytest.mark.parametrize("module", program.RUNTIME)
def test_the_runtime_runs_on_lavas_own_python(module: str) -> None:
    text = (Path(program.__file__).parent / "worker" / f"{module}.py").read_text()
    tree = ast.parse(text, feature_version=(3, 10))
    imported = {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    ours = {name for name in imported if name.split(".")[0] in ("snnc", "snnc_lava")}
    assert ours <= {"snnc_lava", *(f"snnc_lava.{name}" for name in program.RUNTIME)}


def test_equal_networks_give_equal_bytes(tmp_path: Path) -> None:
    program.export(small(), tmp_path / "a")
    program.export(small(), tmp_path / "b")
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_a_program_replaces_an_earlier_one(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    program.export(small(), tmp_path / "p")
    first = files(tmp_path / "p")
    (tmp_path / "p" / "__pycache__").mkdir()
    program.export(GRAPHS["recurrent"][0](np.random.default_rng(0)), tmp_path / "p")
    second = files(tmp_path / "p")
    assert first.keys() == second.keys()
    assert first["program.py"] != second["program.py"]
    assert [p.name for p in tmp_path.iterdir()] == ["p"]


@pytest.mark.parametrize("beside", [False, True])
def test_other_things_are_left_alone(beside: bool, tmp_path: Path) -> None:
    """A folder of something else, and a program beside which somebody keeps results."""
    if beside:
        program.export(small(), tmp_path / "p")
    (tmp_path / "p").mkdir(exist_ok=True)
    (tmp_path / "p" / "thesis.tex").touch()
    before = files(tmp_path)
    with pytest.raises(UsageError, match="neither empty nor a program that was exported before") as caught:
        program.export(GRAPHS["recurrent"][0](np.random.default_rng(0)), tmp_path / "p")
    assert caught.value.where == str(tmp_path / "p")
    assert files(tmp_path) == before


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "p").write_text("mine")
    with pytest.raises(UsageError, match="it is a file"):
        program.export(small(), tmp_path / "p")
    with pytest.raises(UsageError, match="cannot write there"):
        program.export(small(), tmp_path / "p" / "q")
    assert (tmp_path / "p").read_text() == "mine"


def test_nothing_is_written_of_what_lava_cannot_run(tmp_path: Path) -> None:
    network = small()
    network = replace(network, projections=(replace(network.projections[0], delay=64), *network.projections[1:]))
    with pytest.raises(InputError, match="64 steps"):
        program.export(network, tmp_path / "new" / "p")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("when", ["copy", "last"])
def test_a_failure_in_the_middle_leaves_what_was_there(
    when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program.export(small(), tmp_path / "p")
    before = files(tmp_path)
    rename = Path.rename

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def last(self: Path, target: Path) -> Path:
        return full() if self.parent.name.startswith(".p.") and self.name == "p" else rename(self, target)

    if when == "copy":
        monkeypatch.setattr(program.shutil, "copyfile", full)
    else:
        monkeypatch.setattr(Path, "rename", last)
    with pytest.raises(UsageError, match="No space left"):
        program.export(small(), tmp_path / "p")
    assert files(tmp_path) == before


HOSTILE = (
    "a\nimport os #",
    "b\rimport os",
    '"""\nimport os\n"""',
    "c\\",
    "d\x00\u2028\udc80",
    "{e}",
    "' + 1 #",
    "\n\n",
)


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_becomes_a_statement(name: str) -> None:
    """Names come from files of strangers, and a program is run."""
    plain = small()

    def renamed(new: str) -> tuple[Network, str]:
        network = Network(
            tuple(replace(p, name=p.name + new) for p in plain.populations),
            tuple(replace(p, name=p.name + new, pre=p.pre + new, post=p.post + new) for p in plain.projections),
            tuple(output + new for output in plain.outputs),
            plain.dt,
            plain.name + new,
        )
        return network, program.write(program.plan(network))[0]

    def shape(text: str) -> list[str]:
        """The tree without its words."""
        return [type(node).__name__ for node in ast.walk(ast.parse(text))]

    network, text = renamed(name)
    assert shape(text) == shape(renamed("")[1])
    text.encode()
    tree = ast.parse(text)
    strings = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    assert {p.name for p in network.layers} <= set(strings)  # under which its spikes are found


def test_names_become_names_in_python() -> None:
    given = ["conv1", "1", "fc.1", "fc_1", "class", "weights", "é", "", "Conv1", "fc 1"]
    expected = ["conv1", "n1", "fc_1", "fc_1_2", "class_2", "weights_2", "layer", "layer_2", "conv1_2", "fc_1_3"]
    assert identifiers(given) == expected


def test_the_command_line_writes_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = snnc.compile(small(), "loihi2")
    image.save(tmp_path / "i.snnc")
    assert cli.run(["lava", "export", str(tmp_path / "i.snnc"), "--program", str(tmp_path / "p")]) == 0
    assert f"python {tmp_path / 'p' / 'program.py'} --help" in capsys.readouterr().out
    text, _ = program.write(program.plan(image.network))
    assert (tmp_path / "p" / "program.py").read_text() == text
    for arguments in ([], ["--program", str(tmp_path / "q"), "-o", str(tmp_path / "q.net")]):
        assert cli.run(["lava", "export", str(tmp_path / "i.snnc"), *arguments]) == 2
        assert "one thing can be written at a time" in capsys.readouterr().err
    assert not (tmp_path / "q").exists()


def test_a_process_that_fails_is_told_and_nothing_is_written(lava: Path, tmp_path: Path) -> None:
    network = small()
    program.export(network, tmp_path / "program")
    taps = tmp_path / "program/snnc_lava/taps.py"
    broken = taps.read_text().replace("spikes = self.a_in.recv()", "raise ValueError('out of paper')")
    assert broken != taps.read_text()
    taps.write_text(broken)
    np.savez(tmp_path / "spikes.npz", spikes=np.ones((1, 3, *network.inputs[0].shape), np.uint8))
    found = tmp_path / "found.npz"
    command = [str(lava), "-Es", str(tmp_path / "program/program.py"), str(tmp_path / "spikes.npz"), "-o", str(found)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "ValueError: out of paper" in done.stderr
    assert done.stderr.splitlines()[-1] == "error: a process of Lava failed, see above"
    assert not found.exists()
