"""The command line as a user meets it: real processes, their exit codes, and what they leave behind."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import fields
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from float_networks import lif, linear, mlp, spikes

import snnc.targets
from snnc.frontends import nir
from snnc.models import RECIPES
from snnc.models.selection import SCORES
from snnc.network import Network, Population, Projection
from snnc.simulator.energy import BETWEEN_CHIPS
from snnc.simulator.floating.batches import counts
from snnc.tickets.search import METHODS, Search

SNNC = [sys.executable, "-m", "snnc"]


def run(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [*SNNC, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def says(done: subprocess.CompletedProcess[str], code: int, *texts: str) -> None:
    """The exit code, the words on stderr, nothing on stdout and never a traceback."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error[")
    assert done.stdout == ""
    for text in texts:
        assert text in done.stderr, done.stderr


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a trained model, a NIR file, data and an image, made by the commands themselves."""
    folder = tmp_path_factory.mktemp("work")
    assert run("train", "mlp", "--epochs", 2, "-o", "model.pt", cwd=folder).returncode == 0
    assert run("export", "model.pt", "-o", "model.nir", cwd=folder).returncode == 0
    assert run("compile", "model.pt", "-o", "out", cwd=folder).returncode == 0
    network = mlp()
    nir.write(network, folder / "small.nir")
    np.savez(folder / "small.npz", spikes=spikes(network), labels=np.zeros(4, int))
    return folder


def test_compile_writes_four_files_and_says_what_it_found(work: Path) -> None:
    done = run("compile", "model.nir", "--target", "loihi2", cwd=work)
    assert done.returncode == 0, done.stderr
    assert {p.name for p in (work / "model.loihi2").iterdir()} == {
        "image.snnc",
        "report.json",
        "layers.csv",
        "cores.csv",
    }
    assert done.stderr == ""
    for word in ("-> loihi2", "cores", "neurons", "SynOps", "accuracy", "wrote"):
        assert word in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_stop_after_shows_what_is_known_and_writes_nothing(work: Path) -> None:
    before = set(work.iterdir())
    done = run("compile", "model.nir", "--stop-after", "quantize", cwd=work)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("mlp -> loihi: ")
    for word in ("population fc1: 256 cuba_fixed", "threshold", "Linear 1x8x8 -> 256", " of 16,384", "log"):
        assert word in done.stdout
    done = run("compile", "model.nir", "--stop-after", "partition", "--json", cwd=work)
    document = json.loads(done.stdout)
    assert list(document["seconds"])[-1] == document["stopped_after"] == document["state"]["pass"] == "partition"
    neurons = sum(core["neurons"] for core in document["state"]["cores"])
    assert neurons == snnc.open_image(work / "out/image.snnc").usage.neurons.sum()
    assert set(work.iterdir()) == before


def test_dump_writes_the_state_after_every_pass(work: Path) -> None:
    done = run("compile", "model.nir", "--dump", "states", "-o", "dumped", cwd=work)
    assert done.returncode == 0, done.stderr
    image = snnc.open_image(work / "dumped/image.snnc")
    last = json.loads(sorted((work / "states").glob("*.json"))[-1].read_text())
    core_of = np.load(work / "states" / last["arrays"]["core_of"], allow_pickle=False)["core_of"]
    assert np.array_equal(core_of, image.mapping.core_of)


def test_checkpoint_and_nir_give_the_same_network(work: Path) -> None:
    a = snnc.open_image(work / "out/image.snnc")
    assert run("compile", "model.nir", "-o", "from-nir", cwd=work).returncode == 0
    b = snnc.open_image(work / "from-nir/image.snnc")
    assert snnc.network.identical(a.network, b.network)
    assert snnc.network.identical(a.mapping, b.mapping)


def test_json_is_one_document(work: Path) -> None:
    for arguments in (
        ("compile", "model.nir", "-o", "again", "--json"),
        ("simulate", "out/image.snnc", "--samples", 5, "--json"),
        ("estimate", "out/image.snnc", "--samples", 5, "--json"),
        ("verify", "out/image.snnc", "--samples", 5, "--json"),
        ("report", "out", "--json"),
        ("diff", "out", "again/image.snnc", "--json"),
        ("targets", "loihi", "--json"),
        ("check", "model.pt", "--json"),
    ):
        done = run(*arguments, cwd=work)
        assert done.returncode == 0, done.stderr
        assert isinstance(json.loads(done.stdout), dict)


def test_errors_are_a_json_document_too(work: Path) -> None:
    done = run("compile", "missing.pt", "--json", cwd=work)
    assert done.returncode == 3
    document = json.loads(done.stdout)
    assert document["exit_code"] == 3
    assert document["error"]["where"] == "missing.pt"


def test_simulate_counts_and_writes_the_tables(work: Path) -> None:
    done = run("simulate", "out/image.snnc", "-o", "run", cwd=work)
    assert done.returncode == 0, done.stderr
    assert "450 samples x 8 steps" in done.stdout
    report = json.loads((work / "run/report.json").read_text())
    assert report["schema"] == 1
    rows = (work / "run/layers.csv").read_text().splitlines()
    assert [row.partition(",")[0] for row in rows] == ["name", "input", "fc1", "fc2", "fc3"]
    assert len((work / "run/cores.csv").read_text().splitlines()) == 1 + report["this"]["cores"]
    samples = list(csv.DictReader((work / "run/samples.csv").read_text().splitlines()))
    assert len(samples) == 450
    assert np.mean([int(s["synops"]) for s in samples]) == pytest.approx(report["this"]["synops"])
    assert np.mean([s["label"] == s["prediction"] for s in samples]) == pytest.approx(report["this"]["accuracy"])
    steps = list(csv.DictReader((work / "run/steps.csv").read_text().splitlines()))
    assert np.sum([float(s["synops"]) for s in steps]) == pytest.approx(report["this"]["synops"])
    links = list(csv.DictReader((work / "run/links.csv").read_text().splitlines()))
    assert np.sum([float(s["messages"]) for s in links]) == pytest.approx(report["this"]["hops"])


def test_simulate_counts_in_the_terms_of_neurobench(work: Path) -> None:
    for source, where in (("out/image.snnc", "report.json"), ("model.pt", "activity.json")):
        more = ("--float",) if source == "model.pt" else ()
        done = run("simulate", source, *more, "--samples", 20, "-o", "bench", "-v", cwd=work)
        assert done.returncode == 0, done.stderr
        found = json.loads((work / "bench" / where).read_text())["neurobench"]
        operations = found["SynapticOperations"]
        assert operations["Effective_MACs"] == 0
        assert 0 < operations["Effective_ACs"] < operations["Dense"]
        assert 0 < found["ActivationSparsity"] < 1
        assert 0 <= found["ConnectionSparsity"] < 1
        assert found["Footprint"] > 0
        assert (found["MembraneUpdates"] is None) == (source != "model.pt")
        assert f"Effective_ACs       {operations['Effective_ACs']:,.1f} per sample" in done.stdout
        assert "NeuroBench" not in run("simulate", source, *more, "--samples", 2, cwd=work).stdout


def test_estimate_prints_every_constant_with_its_source(work: Path) -> None:
    done = run("estimate", "out/image.snnc", "--samples", 20, cwd=work)
    assert done.returncode == 0, done.stderr
    for name, _ in snnc.target.load("loihi").numbers():
        ours, _, short = name.partition(".")
        if ours in ("davies2018", "boyle2025"):
            used = ours == "davies2018" and short not in BETWEEN_CHIPS
            assert used or ours == "boyle2025" or short not in done.stdout, name
            assert not used or short in done.stdout, name
    assert "Davies" in done.stdout
    assert "published" in done.stdout


def test_verify_against_the_reference(work: Path) -> None:
    done = run("verify", "out/image.snnc", "--samples", 50, cwd=work)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("0 of ")


def test_report_shows_a_compilation_again(work: Path) -> None:
    assert "-> loihi" in run("report", "out", cwd=work).stdout
    layers = run("report", "out", "--format", "layers", cwd=work).stdout
    assert layers == (work / "out/layers.csv").read_text()


def test_diff_shows_what_a_choice_changed(work: Path) -> None:
    assert run("compile", "model.pt", "-o", "three", "--bits", 3, cwd=work).returncode == 0
    done = run("diff", "out", "three", cwd=work)
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["--bits", "8", "3"] in rows
    assert any(row[:1] == ["memory"] and row[-1].startswith("-") for row in rows)
    assert "nothing differs" in run("diff", "out", "out/image.snnc", cwd=work).stdout


def test_an_image_and_its_report_do_not_depend_on_the_run(work: Path) -> None:
    for name in ("first", "second"):
        assert run("compile", "model.pt", "-o", name, cwd=work).returncode == 0
    assert (work / "first/image.snnc").read_bytes() == (work / "second/image.snnc").read_bytes()


class Evil:
    def __reduce__(self):
        return os.system, ("touch executed",)


def bad_files(folder: Path) -> dict[str, Path]:
    model = (folder / "model.pt").read_bytes()
    files = {
        "empty.pt": b"",
        "random.pt": np.random.default_rng(0).bytes(5000),
        "truncated.pt": model[: len(model) // 2],
        "pointer.pt": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        "random.nir": np.random.default_rng(1).bytes(5000),
        "truncated.nir": (folder / "model.nir").read_bytes()[:3000],
        "pointer.nir": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    torch.save(Evil(), folder / "evil.pt")
    torch.save(torch.nn.Linear(3, 3), folder / "module.pt")
    nan = torch.load(folder / "model.pt", weights_only=True)
    next(iter(nan["state_dict"].values()))[0, 0] = float("nan")
    torch.save(nan, folder / "nan.pt")
    (folder / "folder.pt").mkdir()
    return {name: folder / name for name in (*files, "evil.pt", "module.pt", "nan.pt", "folder.pt", "missing.pt")}


def test_unreadable_models(work: Path) -> None:
    """Exit code 3, the file named, nothing written, nothing executed."""
    expected = {
        "evil.pt": "system",
        "module.pt": "torch.nn.modules.linear.Linear",
        "nan.pt": "layers.1.weight",
        "pointer.pt": "LFS",
        "pointer.nir": "LFS",
        "folder.pt": "folder",
        "missing.pt": "no such file",
        "empty.pt": "empty",
    }
    for name, path in bad_files(work).items():
        done = run("compile", path.name, "-o", "nothing", cwd=work)
        says(done, 3, name, expected.get(name, ""))
        assert not (work / "nothing").exists()
    assert not (work / "executed").exists()


def test_a_network_that_the_chip_cannot_hold(work: Path) -> None:
    rng = np.random.default_rng(0)
    wide = Network(
        (Population("input", (5000,), "input"), lif("fc1", (4,))),
        (Projection("p", "input", "fc1", (linear(rng, 4, 5000),)),),
        ("fc1",),
        1e-3,
        "wide",
    )
    nir.write(wide, work / "wide.nir")
    done = run("compile", "wide.nir", "-o", "nothing", cwd=work)
    says(done, 4, "error[in-axons]", "'fc1'", "input axons on one core", "4,096", "core.in_axons")
    assert "  fix    --target loihi2: it fits on 1 core\n         or prune 'fc1' to " in done.stderr
    assert not (work / "nothing").exists()


def test_a_cure_makes_the_same_command_succeed(work: Path) -> None:
    text = (Path(snnc.targets.__file__).parent / "loihi.toml").read_text()
    for old, new in (
        ("columns = { value = 8", "columns = { value = 1"),
        ("rows = { value = 4", "rows = { value = 1"),
        ("cores_per_tile = { value = 4", "cores_per_tile = { value = 2"),
        ("1_048_576", "300_000"),
    ):
        assert old in text
        text = text.replace(old, new)
    (work / "two-cores.toml").write_text(text)
    command = ("compile", "model.pt", "--target", "two-cores.toml", "-o", "cured", "--json")
    done = run(*command, "--cures", 0, cwd=work)
    assert done.returncode == 4
    assert json.loads(done.stdout)["error"]["cures"] == []
    done = run(*command, "--cures", 500, cwd=work)
    assert done.returncode == 4
    found = json.loads(done.stdout)["error"]["cures"]
    assert found[0]["action"].startswith("--bits ")
    assert found[-1]["share"] < 1
    assert run(*command, *found[0]["action"].split(), cwd=work).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "texts"),
    [
        (("simulate", "model.pt"), ("model.pt", "float network", "--float", "snnc compile")),
        (("simulate", "out/image.snnc", "--float"), ("image.snnc", "integers")),
        (("check", "model.pt", "--reset", "zero"), ("model.pt", "says itself")),
        (("check", "model.pt", "--shape", "2x3"), ("2x3", "--shape 2,34,34")),
        (("compile",), ("MODEL",)),
        (("compile", "model.pt", "--target", "loihy"), ("loihy", "did you mean 'loihi'")),
        (("compile", "model.pt", "--bits", 9), ("9 bits",)),
        (("compile", "model.pt", "--stop-after", "quantise"), ("did you mean 'quantize'", "route")),
        (("compile", "model.pt", "--stop-after", "lower", "-o", "x"), ("nothing to write", "--dump DIR")),
        (("compile", "model.pt", "--dump", "."), ("holds other things",)),
        (("compile", "model.pt", "--taget", "loihi"), ("--target",)),
        (("compil", "model.pt"), ("compile",)),
        (("train", "mpl", "-o", "x.pt"), ("did you mean 'mlp'",)),
        (("train", "mlp", "--data", "digts", "-o", "x.pt"), ("digits",)),
        (("train", "mlp", "-o", "out"), ("out", "folder")),
        (("demo", "--data", "digts"), ("digts", "--data digits")),
        (("demo", "--data", "small.npz", "--target", "loihi2"), ("small.npz",)),
        (("ticket", "mlp", "--sparsity", 95, "-o", "x.pt"), ("between 0 and 1", "0.95")),
        (("ticket", "mlp", "--method", "patch", "-o", "x.pt"), ("did you mean 'patchs'",)),
        (("ticket", "mlp", "--method", "patchs", "-o", "x.pt"), ("no patch embedding", "spikformer")),
        (("ticket", "mlp", "--method", "conns", "--rounds", 4, "-o", "x.pt"), ("takes no rounds", "do: imp")),
        (("ticket", "mlp", "--method", "conns", "--control", "reinit", "-o", "x.pt"), ("no control 'reinit'",)),
        (("ticket", "mlp", "--schedule", "0.5,", "-o", "x.pt"), ("'0.5,'", "--schedule 0.5,0.8,0.9")),
        (("ticket", "mlp", "--schedule", "0.5,0.8", "--rounds", 3, "-o", "x.pt"), ("leave out rounds",)),
        (("ticket", "mlp", "--target", "loihi2", "-o", "x.pt"), ("--target", "--balance CORES")),
        (("ticket", "mlp", "--balance", 4, "--target", "ranc", "-o", "x.pt"), ("ranc", "snnc targets")),
        (("ticket", "conv", "--balance", 4, "-o", "x.pt"), ("Conv2d", "mlp")),
        (("ticket", "mlp", "--epochs", 2, "-o", "x.pt"), ("epoch 2", "--epochs 3 or more")),
        (("train", "mlp", "--device", "gpu", "-o", "x.pt"), ("--device", "Did you mean")),
        (("train", "mlp", "--threads", 0, "-o", "x.pt"), ("thread",)),
        (("simulate", "out/image.snnc", "--samples", 0), ("0 samples",)),
        (("simulate", "out/image.snnc", "--threads", 0), ("thread",)),
        (("verify", "out/image.snnc", "--on", "lawa"), ("lava",)),
    ],
    ids=str,
)
def test_requests_that_make_no_sense(work: Path, arguments: tuple, texts: tuple[str, ...]) -> None:
    says(run(*arguments, cwd=work), 2, *texts)
    assert not (work / "x.pt").exists()


@pytest.mark.parametrize(
    ("arguments", "texts"),
    [
        (("simulate", "out/image.snnc", "--data", "small.npz"), ("(12,)", "(1, 8, 8)")),
        (("compile", "model.pt", "-o", "nothing", "--data", "small.npz"), ("(12,)", "(1, 8, 8)")),
        (("simulate", "out/image.snnc", "--data", "missing.npz"), ("missing.npz",)),
        (("simulate", "out"), ("folder",)),
        (("diff", "out", "model.nir"), ("model.nir", "not a report")),
        (("diff", "out", "missing"), ("missing", "no such file")),
        (("report", "model.pt"), ("model.pt", "not a report")),
        (("compile", "model.pt", "--target", "missing.toml"), ("missing.toml",)),
    ],
    ids=str,
)
def test_inputs_that_do_not_belong_together(work: Path, arguments: tuple, texts: tuple[str, ...]) -> None:
    says(run(*arguments, cwd=work), 3, *texts)
    assert not (work / "nothing").exists()


def test_a_missed_accuracy_gate_is_exit_code_5(work: Path) -> None:
    """Signs alone lose what this network says; without a gate that is reported, with one it is an error."""
    network = mlp()
    data = spikes(network, samples=64)
    labels = counts(network, {"input": data}, ["fc2"])["fc2"].argmax(axis=1)
    np.savez(work / "gate.npz", spikes=data, labels=labels)
    signs = ("compile", "small.nir", "--data", "gate.npz", "--bits", 1)
    assert run(*signs, "-o", "one", cwd=work).returncode == 0
    done = run(*signs, "-o", "nothing", "--max-drop", 0.5, cwd=work)
    says(done, 5, "accuracy falls from")
    assert not (work / "nothing").exists()


def test_a_spike_that_differs_is_exit_code_5(work: Path, monkeypatch, capsys) -> None:
    """A reference that disagrees in one spike: layer, step and neuron are named."""
    from snnc import cli
    from snnc.simulator import reference

    exact = reference.trace

    def wrong(network, data):
        traces = exact(network, data)
        if len(data) > 3:
            traces["spikes", "fc2"][3, 5, 7] ^= True
        return traces

    monkeypatch.setattr(reference, "trace", wrong)
    assert cli.run(["verify", str(work / "out/image.snnc"), "--samples", "5"]) == 5
    error = capsys.readouterr().err
    for text in ("error[verify]", "layer 'fc2'", "neuron (7)", "sample 3", "step 5"):
        assert text in error


def test_a_bug_is_exit_code_1_and_one_line(work: Path, monkeypatch, capsys) -> None:
    from snnc import cli, verification

    monkeypatch.setattr(verification, "verify", lambda *a, **k: 1 / 0)
    assert cli.run(["verify", str(work / "out/image.snnc")]) == 1
    expected = "error[bug]: snnc failed: ZeroDivisionError: division by zero (--traceback shows where)\n"
    assert capsys.readouterr().err == expected


def test_an_interrupted_training_is_130_and_leaves_no_half_file(work: Path) -> None:
    command = [*SNNC, "train", "mlp", "--epochs", "500", "-o", "long.pt"]
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell's background jobs ignore it
    with subprocess.Popen(command, cwd=work, stderr=subprocess.PIPE, text=True, preexec_fn=heard) as process:
        while process.poll() is None and not (work / "long.pt.partial").exists():
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate()
    assert process.returncode == 130, error
    assert "Traceback" not in error
    assert not (work / "long.pt").exists()
    assert [p.name for p in work.iterdir() if p.name.startswith(".")] == []


def test_help_and_version_answer(work: Path) -> None:
    assert "compile" in run("--help", cwd=work).stdout
    assert run("--version", cwd=work).stdout.startswith("snnc ")
    for verb in ("train", "ticket", "export", "check", "compile", "simulate", "estimate", "verify", "report", "demo"):
        assert run(verb, "--help", cwd=work).returncode == 0


def test_the_help_of_ticket_is_a_table_of_methods(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = run("ticket", "--help", cwd=work).stdout
    assert max(map(len, text.splitlines())) <= 80
    panels = {
        title: " ".join(body.replace("│", " ").split())
        for title, body in re.findall("╭─ (\\w+) ─+╮\n(.*?)╰", text, re.DOTALL)
    }
    assert list(panels) == ["Parameters", "Method", "Pruning", "Patches", "Training"]
    for name, method in METHODS.items():
        assert re.search(f"│ {name} +{method.help.split()[0]} ", text)
        assert f"{name} {method.help}" in panels["Method"]
    for name in RECIPES:
        assert name in panels["Parameters"]
    for option in fields(Search):
        panel = next(body for body in panels.values() if f"--{option.name.replace('_', '-')} " in body)
        said = panel.split(f"--{option.name.replace('_', '-')} ")[1].split(" --")[0]
        if option.name not in ("method", "control"):
            listed = re.findall(r"\[(.*?)[;\]]", said)[0].split(", ")
            fitting = [name for name, method in METHODS.items() if option.name in method.options]
            assert [each.split()[0] for each in listed] == fitting
    for name in ("random-mask", "reinit", "random-patches"):
        assert name in panels["Method"]
    for score in SCORES:
        assert score in panels["Patches"]


def test_a_ticket_tells_what_it_came_to(work: Path) -> None:
    command = ("ticket", "mlp", "--schedule", "0.5,0.7", "--objective", "accuracy@synops", "--epochs", 3, "-o", "t.pt")
    done = run(*command, cwd=work)
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80
    rows = [row for row in done.stdout.splitlines() if row.startswith("  round ")]
    assert len(rows) == 2
    assert all("SynOps" in row for row in rows)
    assert sum(row.endswith("chosen") for row in rows) == 1
    document = json.loads(run(*command, "--json", cwd=work).stdout)
    assert (document["method"], document["control"], document["file"]) == ("imp", None, "t.pt")
    (chosen,) = (note for note in document["choice"] if note["chosen"])
    assert document["sparsity"] == pytest.approx(chosen["sparsity"], abs=1e-4)
    assert f"{document['weights']:,} weights" in done.stdout
    assert f"test {document['accuracy']['test']:.2%}   dense parent {document['parent_accuracy']:.2%}" in done.stdout


def test_what_the_library_warns_of_is_shown(work: Path) -> None:
    dead = ("ticket", "mlp", "--sparsity", 0.9995, "--rounds", 1, "--epochs", 3, "-o", "silent.pt")
    done = run(*dead, "--resume", cwd=work)
    assert done.returncode == 5
    assert done.stdout == ""
    assert "note: there is nothing to resume" in done.stderr
    assert "warning: round 1 of 1: layer 'fc2' is silent" in done.stderr
    assert "error[verify]: the ticket is dead: layer " in done.stderr
    assert not (work / "silent.pt").exists()
    done = run(*dead, "--control", "random-mask", cwd=work)  # a control may be
    assert done.returncode == 0, done.stderr
    assert "random-mask, a control of imp" in done.stdout
