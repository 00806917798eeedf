"""What an exported program does where Lava's extension for Loihi is installed, shown on a stand-in for it."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from integer_chains import LIF, chain, conv, dense, layer, spikes
from integer_graphs import GRAPHS, as_kind, graph
from suite_networks import NAMES, get

from snnc.network import Network
from snnc.simulator import reference
from snnc.targets.lava import program
from snnc.targets.lava.processes import plan

HERE = Path(__file__).parent

# For each case: run its program with its arguments, and write down what it asked of the extension and how it ended.
DRIVER = """
import importlib.util, io, json, os, sys, contextlib
sys.dont_write_bytecode = True
cases, answers, extension, installed = json.load(open(sys.argv[1])), sys.argv[2], sys.argv[3], sys.argv[4] == "yes"
sys.path[:0] = [cases[0]["folder"], extension]
from snnc_lava import compat
compat.enable()
import loihi_extension
if installed:
    loihi_extension.install()
found = []
for case in cases:
    loihi_extension.CALLS.clear()
    for name in ("BOARD", "PARTITION", "LOIHI_GEN", "NXSDKHOST", "SLURM"):
        os.environ.pop(name, None)
    os.environ.update(case["environment"])
    spec = importlib.util.spec_from_file_location("program", case["folder"] + "/program.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    printed, refused = io.StringIO(), ""
    try:
        with contextlib.redirect_stdout(printed):
            module.main(module.build, case["arguments"])
    except SystemExit as error:
        refused = str(error)
    kept = {k: v for k, v in os.environ.items() if k in ("BOARD", "PARTITION", "LOIHI_GEN", "SLURM")}
    found.append(dict(calls=list(loihi_extension.CALLS), refused=refused, printed=printed.getvalue(), environment=kept))
    json.dump(found, open(answers, "w"))
"""


def mlp(rng: np.random.Generator) -> Network:
    params = {**LIF, "threshold": 300}
    return chain(
        (20,), (dense(rng.integers(-80, 128, (12, 20))), params), (dense(np.eye(5, 12) * 99), {"threshold": 50})
    )


def image(rng: np.random.Generator) -> Network:
    """A kernel and a matrix on the input, and a matrix behind the kernel, whose membranes are read."""
    read = as_kind(layer("r", (3,)), "cuba_li_fixed")
    return graph(
        (2, 4, 5),
        (layer("a", (3, 4, 5), threshold=300), read),
        ("in", "a", conv(rng.integers(-80, 128, (3, 2, 3, 3)), padding=(1, 1)), 0),
        ("in", "r", dense(rng.integers(-80, 128, (3, 40))), 0),
        ("a", "r", dense(rng.integers(-80, 128, (3, 60))), 0),
    )


def early(rng: np.random.Generator) -> Network:
    return GRAPHS["biased-early"][0](rng)


CASES: dict[str, tuple[Any, list[str], dict[str, str]]] = {
    # name: (network, arguments, environment)
    "plain": (mlp, [], {}),
    "partition": (mlp, ["--partition", "oheogulch"], {}),
    "board": (mlp, ["--board", "ncl-og-05", "--generation", "N3C1"], {}),
    "host": (mlp, [], {"NXSDKHOST": "10.0.0.5", "LOIHI_GEN": "N3B3"}),
    "power": (mlp, ["--power"], {}),
    "image": (image, ["--record", "a"], {}),
    "values": (mlp, [], {}),
    "one-sample": (GRAPHS["recurrent"][0], ["--sample", "1"], {}),
    "no-board": (mlp, ["--board", "ncl-none"], {}),
    "no-generation": (mlp, ["--generation", "N9"], {}),
    "samples": (GRAPHS["recurrent"][0], [], {}),
    "early": (early, ["--sample", "0"], {}),
    "per-neuron": (GRAPHS["per-neuron"][0], [], {}),
    "adaptive": (GRAPHS["adaptive"][0], ["--sample", "0"], {}),
}


def drive(python: Path, root: Path, cases: dict[str, Any], installed: str) -> dict[str, Any]:
    """Answers of the driver by case, and the network and spikes of each."""
    requests, made = [], {}
    for name, (build, arguments, environment) in cases.items():
        rng = np.random.default_rng(len(name))
        network = build(rng) if callable(build) else build
        data = spikes(rng, 2, 8, network.inputs[0].shape, 0.3) * (3 if name == "values" else 1)
        program.export(network, root / name)
        np.savez(root / f"{name}.npz", spikes=data)
        asked = [str(root / f"{name}.npz"), "-o", str(root / f"{name}-found.npz"), *arguments]
        requests.append({"folder": str(root / name), "arguments": asked, "environment": environment})
        made[name] = {"network": network, "spikes": data, "found": root / f"{name}-found.npz"}
    (root / "cases.json").write_text(json.dumps(requests))
    files = [str(root / "cases.json"), str(root / "answers.json"), str(HERE / "extension"), installed]
    done = subprocess.run([str(python), "-Es", "-c", DRIVER, *files], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    answers = json.loads((root / "answers.json").read_text())
    return {name: made[name] | answer for name, answer in zip(cases, answers, strict=True)}


@pytest.fixture(scope="module")
def board(lava: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return drive(lava, tmp_path_factory.mktemp("board"), CASES, "yes")


def equal(case: dict[str, Any], sample: slice = slice(None)) -> None:
    expected = reference.simulate(case["network"], case["spikes"][sample])
    with np.load(case["found"]) as found:
        assert found.files
        for name in found.files:
            np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
            assert found[name].any(), name


def test_spikes_pass_adapters_on_their_way(board: dict[str, Any]) -> None:
    assert board["plain"]["calls"] == [
        ["PyToNxAdapter", [20], {}],
        ["NxToPyAdapter", [5], {}],
        ["Loihi2HwCfg", []],
    ]
    equal(board["plain"])


def test_a_kernel_reads_the_input_through_its_own_adapter(board: dict[str, Any]) -> None:
    """In Lava's order, (columns, rows, channels); the matrix beside it reads the same, flat. v needs no adapter."""
    assert board["image"]["calls"] == [
        ["PyToN3ConvAdapter", [5, 4, 2], {}],
        ["PyToNxAdapter", [40], {}],
        ["NxToPyAdapter", [5, 4, 3], {}],
        ["Loihi2HwCfg", []],
    ]
    equal(board["image"])


def test_values_have_bits(board: dict[str, Any]) -> None:
    assert ["PyToNxAdapter", [20], {"num_message_bits": 24}] in board["values"]["calls"]
    equal(board["values"])


def test_a_board_is_asked_for_by_name(board: dict[str, Any]) -> None:
    case = board["partition"]
    wanted = {"partition": "oheogulch", "board": None, "loihi_gen": "N3B3"}
    assert case["calls"][0] == ["use_slurm_host", wanted]
    assert case["environment"] == {"PARTITION": "oheogulch", "LOIHI_GEN": "N3B3", "SLURM": "1"}
    assert "Loihi 2, a board of partition oheogulch (N3B3): 2 samples x 8 steps" in case["printed"]
    case = board["board"]
    wanted = {"partition": None, "board": "ncl-og-05", "loihi_gen": "N3C1"}
    assert case["calls"][0] == ["use_slurm_host", wanted]
    assert "Loihi 2, board ncl-og-05 (N3C1): 2 samples" in case["printed"]


def test_what_ran_where_is_said(board: dict[str, Any]) -> None:
    assert "Loihi 2, host 10.0.0.5 (N3B3): " in board["host"]["printed"]
    assert "Loihi 2, the default board: " in board["plain"]["printed"]


def test_power_is_measured(board: dict[str, Any]) -> None:
    case = board["power"]
    names = ["Loihi2Power", "Loihi2ExecutionTime", "Loihi2Memory", "Loihi2Activity"]
    steps = 2 * 8 + 2  # until what was sent last has passed two layers
    assert case["calls"][2:6] == [[names[0], {"num_steps": steps}], *([name, {}] for name in names[1:])]
    assert case["calls"][6] == ["Loihi2HwCfg", names]
    for name in names:
        assert f"{name}.steps = 7\n{name}.total_power = 1\n" in case["printed"]  # of a series the mean
    assert "_secret" not in case["printed"]
    assert "text" not in case["printed"]


def test_one_sample_of_a_loop_runs(board: dict[str, Any]) -> None:
    """The stand-in for the configuration fails for every process that a chip has no model of, as a gate."""
    assert not board["one-sample"]["refused"]
    equal(board["one-sample"], slice(1, 2))


REFUSED = {
    "no-board": "no such board: .*ncl-none",
    "no-generation": "--generation N9: known are N2A2, N3B2, N3B3",
    "samples": "'a-a-1' would carry spikes from one sample into the next on the board; run one .*--sample 0",
    "early": "'b-b-2' would carry spikes on the board that a bias fires before the first step",
    "per-neuron": "layer 'a' cannot run on the board: u_decay differs between neurons; v_decay .*model on CPU alone",
    "adaptive": "layer 'a' cannot run on the board: a second compartment",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_board_cannot_do_is_said_before_anything_starts(name: str, board: dict[str, Any]) -> None:
    case = board[name]
    assert case["refused"].startswith("error: ")
    assert re.search(REFUSED[name], case["refused"]), case["refused"]
    assert not [call for call in case["calls"] if call[0] != "use_slurm_host"]
    assert not case["found"].exists()


SIMULATED: dict[str, tuple[Any, list[str], dict[str, str]]] = {
    "plain": (mlp, [], {}),
    "values": (mlp, [], {}),
    "steps": (mlp, ["--steps", "5"], {}),
    "power": (mlp, ["--power"], {}),
    "board": (mlp, ["--board", "ncl-og-05"], {}),
    "record": (mlp, ["--record", "l9"], {}),
    "sample": (mlp, ["--sample", "2"], {}),
    "too-many-steps": (mlp, ["--steps", "9"], {}),
}


@pytest.fixture(scope="module")
def simulation(lava: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return drive(lava, tmp_path_factory.mktemp("simulation"), SIMULATED, "no")


def test_without_the_extension_it_is_simulated(simulation: dict[str, Any]) -> None:
    for name in ("plain", "values"):
        case = simulation[name]
        assert case["calls"] == []
        assert "simulated by Lava on CPU" in case["printed"]
        equal(case)
    case = simulation["steps"]
    equal(case | {"spikes": case["spikes"][:, :5]})


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("power", "--power is for Loihi 2, and Lava's extension for it is not installed here"),
        ("board", "--board is for Loihi 2"),
        ("record", "there is no layer 'l9'; there are l1, l2"),
        ("sample", "there is no sample 2; there are 2"),
        ("too-many-steps", "--steps 9: the samples have 8 steps"),
    ],
)
def test_what_cannot_be_asked_for_is_said(name: str, words: str, simulation: dict[str, Any]) -> None:
    assert words in simulation[name]["refused"]
    assert not simulation[name]["found"].exists()


def test_all_that_netx_can_hold_runs_on_a_board() -> None:
    """No process of ours is needed for a chain of Lava's own neurons."""
    for case in map(get, NAMES):
        if "net" not in case.refused:
            assert not any(n.needs for n in plan(case.network).neurons), case.name
