"""``snnc simulate`` as a user meets it: what goes in, what is written down, and what is refused, with its exit code."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import msgspec
import nir as nir_package
import numpy as np
import pytest
from float_networks import mlp, spikes

import snnc
from snnc import cli
from snnc.frontends import nir
from snnc.image import Image
from snnc.recordings import Rates, whole
from snnc.samples import Samples
from snnc.simulator import reference, simulate
from snnc.verification import verify

NAMES = ["input", "fc1", "fc2"]


@pytest.fixture(scope="module")
def image() -> Image:
    return snnc.compile(mlp(), "loihi")


@pytest.fixture(scope="module")
def data() -> np.ndarray:
    return spikes(mlp())


@pytest.fixture
def work(image: Image, data: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, and the current one, with an image, its float network and the same spikes in several forms."""
    image.save(tmp_path / "image.snnc")
    nir.write(mlp(), tmp_path / "net.nir")
    np.savez(tmp_path / "s.npz", spikes=data, labels=np.arange(len(data)) % 3)
    np.save(tmp_path / "s.npy", data)
    gridded = nir_package.TimeGriddedData(data.reshape(*data.shape[:2], -1).astype(bool), 1e-3)
    for name, found in (("grid.h5", gridded), ("events.h5", gridded.to_event(999, 5e-4))):
        graph = nir_package.NIRGraphData({"input": nir_package.NIRNodeData({"spikes": found})})
        nir_package.write_data(tmp_path / name, graph)
    one = np.argwhere(data[0])
    events = np.zeros(len(one), [("t", np.int64), ("x", np.int16)])
    events["t"], events["x"] = one[:, 0] * 1000, one[:, 1]
    np.save(tmp_path / "events.npy", events)
    np.savez(tmp_path / "rates.npz", rates=np.random.default_rng(0).random((5, 12)), labels=np.arange(5))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: object, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = cli.run(["simulate", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def document(*arguments: object, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    code, out, err = run("image.snnc", *arguments, "--json", capsys=capsys)
    assert code == 0, err
    found: dict[str, Any] = json.loads(out)
    return found


@pytest.mark.usefixtures("work")
@pytest.mark.parametrize("form", ["s.npy", "grid.h5", "events.h5", "events.npy"])
def test_the_same_spikes_in_any_form_give_the_same_figures(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    samples = 1 if form == "events.npy" else 4
    # Events tell of no silence after the last.
    steps = 1 + int(np.argwhere(np.load("s.npy")[0])[-1, 0]) if samples == 1 else 12
    expected = document("--data", "s.npz", "--samples", samples, "--steps", steps, capsys=capsys)
    found = document("--data", form, capsys=capsys)
    for each in (found, expected):
        each["activity"].pop("data"), each["activity"].pop("accuracy"), each["this"].pop("accuracy")
    assert found["layers"] == expected["layers"]
    assert found["activity"] == expected["activity"]
    assert found["this"] == expected["this"]
    assert found["activity"]["samples"] == samples


@pytest.mark.usefixtures("work")
def test_rates_are_coded_by_seed_and_as_many_steps_as_asked_for(
    image: Image, capsys: pytest.CaptureFixture[str]
) -> None:
    with np.load("rates.npz") as file:
        rates = file["rates"]
    for seed, options in ((0, ()), (3, ("--seed", 3))):
        found = document("--data", "rates.npz", "--steps", 40, *options, capsys=capsys)
        expected = simulate(image, whole(Rates.of(rates, 40, seed, None, "r")))
        assert found["activity"]["steps"] == 40
        assert [layer["spikes"] for layer in found["layers"]] == pytest.approx(
            [expected.spikes[:, a:b].sum() / 5 for a, b in spans(image)]
        )


def spans(image: Image) -> list[tuple[int, int]]:
    starts = list(image.network.offsets.values())
    return list(zip(starts, [*starts[1:], image.network.size], strict=True))


@pytest.mark.usefixtures("work")
def test_steps_and_a_warm_up_say_what_is_counted(
    image: Image, data: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    found = document("--data", "s.npz", "--steps", 9, "--warmup", 4, capsys=capsys)
    rasters = reference.simulate(image.network, data[:, :9])
    assert (found["activity"]["steps"], found["activity"]["warmup"]) == (5, 4)
    assert [layer["spikes"] for layer in found["layers"]] == [rasters[n][:, 4:].sum() / len(data) for n in NAMES]
    first, second = (simulate(image, Samples(data[:, :k])) for k in (4, 9))
    for name, counts in (("synops", "core_synops"), ("time_ns", "step_ns")):
        totals = [getattr(r, counts).reshape(len(data), -1).sum(axis=1).mean() for r in (first, second)]
        assert found["this"][name] == pytest.approx(totals[1] - totals[0])
    code, out, _ = run("image.snnc", "--data", "s.npz", "--warmup", 4, capsys=capsys)
    assert code == 0
    assert "x 8 steps" in out
    assert "warm-up      4 steps before these, run and not counted" in out


@pytest.mark.parametrize("name", ["t.h5", "t.npz"])
@pytest.mark.usefixtures("work")
def test_traces_are_those_of_the_reference(
    image: Image, data: np.ndarray, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = [("v", "fc1"), ("u", "fc2"), ("spikes", "input"), ("spikes", "fc2")]
    traces = [word for trace in wanted for word in ("--trace", *trace)]
    code, _, err = run(
        "image.snnc", "--data", "s.npz", *traces, "--trace-to", name, "--threads", 3, "--stream", capsys=capsys
    )
    assert code == 0, err
    expected = reference.trace(image.network, data)
    for kind, layer in wanted:
        if name == "t.npz":
            with np.load(name) as file:
                assert len(file.files) == len(wanted)
                found = file[f"{kind}/{layer}"]
        else:
            with h5py.File(name) as file:
                found = file[f"{kind}/{layer}"][()]
        np.testing.assert_array_equal(found, expected[kind, layer])


@pytest.mark.usefixtures("work")
def test_a_stream_reports_the_same(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from snnc import runs
    from snnc.simulator import engine

    expected = document("--data", "rates.npz", "--steps", 100, capsys=capsys)
    seen = []
    real = engine.simulate

    def watched(*arguments: Any, **options: Any) -> Any:
        seen.append((type(arguments[1]).__name__, options["stream"]))
        return real(*arguments, **options)

    monkeypatch.setattr(runs, "simulate", watched)
    monkeypatch.setattr(engine, "PIECE_STEPS", 7)
    assert document("--data", "rates.npz", "--steps", 100, "--stream", capsys=capsys) == expected
    monkeypatch.setattr(runs, "LARGE_BYTES", 5 * 100 * 12 - 1)
    assert document("--data", "rates.npz", "--steps", 100, capsys=capsys) == expected
    monkeypatch.setattr(runs, "LARGE_BYTES", 5 * 100 * 12)
    assert document("--data", "rates.npz", "--steps", 100, capsys=capsys) == expected
    assert seen == [("Rates", True), ("Rates", True), ("Rates", False)]


@pytest.mark.usefixtures("work")
def test_dt_is_the_length_of_a_step_of_events(capsys: pytest.CaptureFixture[str]) -> None:
    last = int(np.load("events.npy")["t"][-1]) // 1000
    for dt, steps in ((1e-3, last + 1), (2e-3, last // 2 + 1), (5e-4, 2 * last + 1)):
        assert document("--data", "events.npy", "--dt", dt, capsys=capsys)["activity"]["steps"] == steps
    assert document("--data", "events.npy", "--bins", 3, capsys=capsys)["activity"]["steps"] == 3
    assert document("--data", "events.h5", "--dt", 3e-3, capsys=capsys)["activity"]["steps"] == 4


@pytest.mark.usefixtures("work")
def test_a_float_network_takes_the_same_data(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run("net.nir", "--float", "--data", "s.npz", "--steps", 6, "--json", capsys=capsys)
    assert code == 0, err
    expected = json.loads(out)
    for form in ("grid.h5", "s.npy"):
        code, out, err = run("net.nir", "--float", "--data", form, "--steps", 6, "--json", capsys=capsys)
        assert code == 0, err
        assert json.loads(out)["outputs"] == expected["outputs"]
    for option in (("--warmup", 1), ("--stream",), ("--trace", "v", "fc1", "--trace-to", "t.h5")):
        code, _, err = run("net.nir", "--float", "--data", "s.npz", *option, capsys=capsys)
        assert code == 2
        assert "networks of integers" in err


@pytest.mark.usefixtures("work")
def test_other_verbs_take_the_same_data(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("verify", "estimate"):
        assert cli.run([verb, "image.snnc", "--data", "rates.npz", "--steps", "20", "--seed", "1"]) == 0
        assert cli.run([verb, "image.snnc", "--data", "events.npy"]) == 0
    assert "0 of" in capsys.readouterr().out


USAGE = {
    "zero steps": (("s.npz", "--steps", 0), "choose --steps 1 or more"),
    "negative steps": (("s.npz", "--steps", -3), "choose --steps 1 or more"),
    "too many steps": (("s.npz", "--steps", 13), "choose --steps 1 to 12"),
    "zero samples": (("s.npz", "--samples", 0), "choose --samples 1 or more"),
    "negative warm-up": (("s.npz", "--warmup", -1), "choose a warm-up of 0 to 11 steps"),
    "only warm-up": (("s.npz", "--warmup", 12), "choose a warm-up of 0 to 11 steps"),
    "zero bins": (("events.npy", "--bins", 0), "choose --bins 1 or more"),
    "bins of frames": (("s.npz", "--bins", 3), "leave it out"),
    "bins of a grid": (("grid.h5", "--bins", 3), "leave it out"),
    "seed of spikes": (("s.npz", "--seed", 3), "leave it out"),
    "rates without steps": (("rates.npz",), "--steps 100"),
    "zero steps of rates": (("rates.npz", "--steps", 0), "choose --steps 1 or more"),
    "step of no length": (("events.npy", "--dt", 0), "choose --dt above 0"),
    "step of nan": (("events.npy", "--dt", "nan"), "choose --dt above 0"),
    "trace of nothing": (("s.npz", "--trace", "v", "fc9", "--trace-to", "t.h5"), "known: input, fc1, fc2"),
    "unknown trace": (("s.npz", "--trace", "w", "fc1", "--trace-to", "t.h5"), "snnc --help"),
    "membrane of an input": (("s.npz", "--trace", "v", "input", "--trace-to", "t.h5"), "trace spikes"),
    "trace to nowhere": (("s.npz", "--trace", "v", "fc1"), "--trace-to traces.h5"),
    "nothing to trace": (("s.npz", "--trace-to", "t.h5"), "--trace v fc1"),
    "trace to a table": (("s.npz", "--trace", "v", "fc1", "--trace-to", "t.csv"), "a name with .h5"),
    "no threads": (("s.npz", "--threads", 0), "choose --threads 1 or more"),
    "no data set": (("numbers",), "data: digits, nmnist"),
}


@pytest.mark.parametrize("case", USAGE)
def test_a_wrong_request_is_2_with_a_cure(case: str, work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, cure = USAGE[case]
    before = set(work.iterdir())
    code, out, err = run("image.snnc", "--data", *arguments, "-o", "out", capsys=capsys)
    assert (code, out) == (2, ""), err
    assert err.startswith("error[usage]")
    assert cure in err
    assert set(work.iterdir()) == before


def events(**columns: list) -> np.ndarray:
    found = np.zeros(len(columns["t"]), [("t", np.float64), ("x", np.int16)])
    found["t"], found["x"] = columns["t"], columns.get("x", [0] * len(columns["t"]))
    return found


# What the file holds, and what the error says besides the file's name: field, value and cure.
BAD = {
    "spikes outside the population": (events(t=[0, 1], x=[0, 12]), ("event 1", "column (x) 12", "0 to 11", "crop")),
    "negative place": (events(t=[0, 1], x=[-1, 0]), ("event 0", "column (x) -1")),
    "negative times": (events(t=[-2, 1]), ("event 0", "time -2", "shift")),
    "unsorted times": (events(t=[5, 3]), ("event 1", "time 3", "sort the events")),
    "times that are no numbers": (events(t=[0, np.nan]), ("event 1", "time nan")),
    "no events": (events(t=[]), ("no events",)),
    "wrong channel count": (np.zeros((2, 5, 13), np.uint8), ("(13,)", "(12,)", "give spikes of shape")),
    "no samples": (np.zeros((0, 5, 12), np.uint8), ("not empty", "(0, 5, 12)")),
    "no steps": (np.zeros((2, 0, 12), np.uint8), ("not empty", "(2, 0, 12)")),
    "spikes that are no numbers": (np.full((2, 5, 12), np.nan), ("finite numbers",)),
    "fractions": (np.full((2, 5, 12), 0.5), ("whole numbers", "threshold or round")),
    "NaN rates": ({"rates": np.full((2, 12), np.nan)}, ("rates[0, 0] is nan", "0 to 1")),
    "rates above 1": ({"rates": np.full((2, 12), 1.5)}, ("rates[0, 0] is 1.5", "scale the rates")),
    "rates of other channels": ({"rates": np.full((2, 13), 0.5)}, ("(13,)", "(12,)")),
    "no rates": ({"rates": np.zeros((0, 12))}, ("not empty", "(0, 12)")),
    "labels of other samples": ({"spikes": np.zeros((2, 5, 12)), "labels": np.zeros(3, int)}, ("2 integers", "(3,)")),
    "spikes and rates": ({"spikes": np.zeros((2, 5, 12)), "rates": np.zeros((2, 12))}, ("store one of them",)),
    "neither": ({"x": np.zeros(3)}, ("no array 'spikes'", "np.savez")),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_data_is_3_and_names_file_field_value_and_cure(
    case: str, work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content, says = BAD[case]
    path = work / ("bad.npz" if isinstance(content, dict) else "bad.npy")
    if isinstance(content, dict):
        np.savez(path, **content)
    else:
        np.save(path, content)
    steps = ("--steps", 10) if isinstance(content, dict) and "rates" in content and len(content) == 1 else ()
    code, out, err = run("image.snnc", "--data", path, *steps, "-o", "out", capsys=capsys)
    assert (code, out) == (3, ""), err
    for text in ("error[input]", path.name, *says):
        assert text in err, err
    assert not (work / "out").exists()


def test_files_of_no_kind_are_3(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (work / "a.txt").write_text("hello")
    for name in ("bad.npy", "bad.npz", "bad.h5", "bad.dat", "bad.aedat"):
        (work / name).write_bytes(b"hello")
        assert run("image.snnc", "--data", name, capsys=capsys)[0] == 3
    code, _, err = run("image.snnc", "--data", "a.txt", capsys=capsys)
    assert code == 3
    assert "told by its end" in err
    for name in ("none.npy", "none.h5", "none.dat"):
        code, _, err = run("image.snnc", "--data", name, capsys=capsys)
        assert code == 3
        assert "no such file" in err


def test_an_image_that_was_changed_is_3(image: Image, work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Damage, another version, and a change with checksums that are right."""
    content = (work / "image.snnc").read_bytes()
    half = len(content) // 2
    (work / "cut.snnc").write_bytes(content[:half])
    (work / "flipped.snnc").write_bytes(content[:half] + bytes([content[half] ^ 255]) + content[half + 1 :])
    heavy = image.network.projections[0]
    op = type(heavy.op)(heavy.op.weight * np.int16(33))
    wide = type(heavy)(heavy.name, heavy.pre, heavy.post, (op,), heavy.delay, heavy.bits)
    network = type(image.network)(
        image.network.populations, (wide, *image.network.projections[1:]), image.network.outputs, 1e-3, "edited"
    )
    Image(network, image.mapping, image.target, image.provenance).save(work / "edited.snnc")
    core = msgspec.structs.replace(
        image.target.core, in_axons=msgspec.structs.replace(image.target.core.in_axons, value=9)
    )
    replace(image, target=msgspec.structs.replace(image.target, core=core)).save(work / "full.snnc")
    with zipfile.ZipFile(work / "image.snnc") as old, zipfile.ZipFile(work / "newer.snnc", "w") as new:
        for member in old.namelist():
            new.writestr(member, old.read(member).replace(b'"version": 3', b'"version": 4'))
    for name, says in (
        ("cut", "not an image"),
        ("flipped", ""),
        ("edited", "changed by hand"),
        ("full", "input axons on one core; loihi allows 9"),
        ("newer", "format version 4"),
    ):
        code, out, err = run(f"{name}.snnc", "--data", "s.npz", "-o", "out", capsys=capsys)
        assert (code, out) == (3, ""), err
        assert f"{name}.snnc" in err
        assert says in err
    assert not (work / "out").exists()


def listening(command: list[str], cwd: Path) -> subprocess.Popen[str]:
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell's background jobs ignore it
    return subprocess.Popen(
        command, cwd=cwd, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=heard
    )


@pytest.mark.parametrize("options", [(), ("--stream", "--threads", "2")])
def test_an_interrupted_run_is_130_and_leaves_nothing(work: Path, options: tuple) -> None:
    """A recording of three centuries, so that the run is certainly not over; its traces show that it has begun."""
    command = [sys.executable, "-m", "snnc", "simulate", "image.snnc", "--data", "rates.npz", "--steps", "1" + "0" * 13]
    traces = ("--trace", "v", "fc1", "--trace-to", "t.h5")
    before = set(work.iterdir())
    with listening([*command, *options, *traces, "-o", "out"], work) as process:
        while process.poll() is None and sum(p.stat().st_size for p in work.glob(".t.h5.*")) < 100_000:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, error = process.communicate()
    assert (process.returncode, out, error) == (130, "", "interrupted\n")
    assert set(work.iterdir()) == before


def test_a_report_comes_last_and_an_older_one_stays_whole(
    work: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interrupt while files are written: what is there is whole, and the report is not there."""
    from snnc import files

    assert run("image.snnc", "--data", "s.npz", "-o", "all", capsys=capsys)[0] == 0
    names = sorted(p.name for p in (work / "all").iterdir())
    assert names == ["cores.csv", "layers.csv", "links.csv", "report.json", "samples.csv", "steps.csv"]
    real = os.replace
    for count in range(len(names)):
        done: list[Path] = []

        def stop(a: Any, b: Any, done: list[Path] = done, count: int = count) -> None:
            if len(done) == count:
                raise KeyboardInterrupt
            done.append(Path(b))
            real(a, b)

        monkeypatch.setattr(files.os, "replace", stop)
        shutil.rmtree(work / "out", ignore_errors=True)
        assert run("image.snnc", "--data", "s.npz", "-o", "out", capsys=capsys)[0] == 130
        monkeypatch.setattr(files.os, "replace", real)
        found = sorted((work / "out").iterdir())
        assert found == sorted(work / p for p in done)
        assert "report.json" not in [p.name for p in found]
        for path in found:
            assert path.read_bytes() == (work / "all" / path.name).read_bytes()


def test_a_simulation_imports_neither_torch_nor_the_compiler(work: Path) -> None:
    heavy = (
        "torch",
        "h5py",
        "nir",
        "sklearn",
        "tonic",
        "mtkahypar",
        "snnc.passes",
        "snnc.cures",
        "snnc.tickets.session",
    )
    code = (
        "import sys; from snnc import cli; code = cli.run(['simulate', 'image.snnc', '--data', 's.npz']); "
        f"print(code, [m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=work, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"


@pytest.mark.usefixtures("work")
def test_the_api_takes_the_same(image: Image, data: np.ndarray) -> None:
    samples = snnc.data("events.h5", network=image.network, steps=9)
    np.testing.assert_array_equal(samples.spikes, data[:, :9])
    assert snnc.data("events.npy", network=image.network, dt=12e-3).steps == 1
    run = snnc.simulate(image, samples, traces=[("v", "fc1")], warmup=2, stream=True)
    expected = reference.trace(image.network, data[:, :9])["v", "fc1"]
    np.testing.assert_array_equal(run.traces["v", "fc1"], expected[:, 2:])


def test_the_image_is_exact_on_this_data(image: Image, data: np.ndarray) -> None:
    """Else the tests above would compare nothing with nothing."""
    result = verify(image, Samples(data))
    assert result.first is None
    assert min(result.spikes.values()) > 0
