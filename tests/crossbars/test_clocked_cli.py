"""Chips with a clock on the command line, on digits: trained here, compiled, simulated, reported, refused."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from clocked_networks import neurons
from float_networks import mlp as lifs
from sklearn.neural_network import MLPClassifier

from snnc import datasets
from snnc.frontends import nir
from snnc.network import Network, Population, Projection
from snnc.ops import Flatten, Linear, canonical

SNNC = [sys.executable, "-m", "snnc"]
HIDDEN = 24


def snn(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*SNNC, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, check=False)


def digits() -> Network:
    """A small perceptron of scikit-learn as IF neurons: rates for activities, each layer scaled by its largest."""
    train = datasets.samples("digits", "train")
    rates = train.spikes.mean(axis=1).reshape(len(train), -1)
    model = MLPClassifier((HIDDEN,), max_iter=60, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has not converged
        model.fit(rates, train.labels)
    (w1, w2), (b1, b2) = model.coefs_, model.intercepts_
    hidden = np.maximum(0, rates @ w1 + b1)
    first = np.percentile(hidden[hidden > 0], 99)
    second = np.percentile((hidden @ w2 + b2).max(axis=1), 99)
    return Network(
        (Population("input", train.shape, "input"), neurons("hidden", HIDDEN), neurons("out", 10)),
        (
            Projection("p1", "input", "hidden", (Flatten(), Linear(canonical(w1.T / first), b1 / first))),
            Projection("p2", "hidden", "out", (Linear(canonical(w2.T * first / second), b2 / second),)),
        ),
        ("out",),
        1e-3,
        "digits",
    )


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clocked")
    nir.write(digits(), folder / "digits.nir", extra={"data": "digits"})
    nir.write(lifs((64, 20, 10)), folder / "lif.nir")
    return folder


@pytest.mark.parametrize(
    ("chip", "files", "least"),
    [("tinyodin", {"neurons.hex", "synapses.hex", "spi.hex"}, 0.85), ("ranc", {"csram_000.mem", "tc_014.mem"}, 0.8)],
)
def test_from_a_network_to_cycles(work: Path, chip: str, files: set[str], least: float) -> None:
    done = snn("compile", "digits.nir", "--target", chip, "-o", chip, cwd=work)
    assert done.returncode == 0, done.stderr
    assert {"image.snnc", "report.json", *files} <= {p.name for p in (work / chip).iterdir()}
    for word in (f"-> {chip}", "cores", "float", "chip", "cycles", "agreement", "wrote"):
        assert word in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80

    done = snn("simulate", f"{chip}/image.snnc", "--samples", 100, "-o", f"{chip}-run", "--json", cwd=work)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["activity"]
    assert found["samples"] == 100
    assert found["accuracy"] >= least
    assert found["counts"]["lost"] == 0
    with (work / f"{chip}-run/samples.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 100
    assert sum(r["label"] == r["prediction"] for r in rows) / 100 == found["accuracy"]
    assert sum(int(r["cycles"]) for r in rows) / 100 == found["cycles"]
    with np.load(work / f"{chip}-run/spikes.npz") as arrays:
        assert arrays["spikes/hidden"].shape[:2] == arrays["cycles"].shape == (100, 8)

    assert snn("report", chip, cwd=work).stdout.splitlines()[0].startswith(f"digits -> {chip}")
    assert json.loads(snn("report", chip, "--format", "json", cwd=work).stdout)["target"] == chip


def test_what_is_refused(work: Path) -> None:
    for arguments, code, texts in (
        (("check", "lif.nir", "--target", "ranc"), 4, ("error[leak]", "'fc1', 'fc2'", "beta=1")),
        (("compile", "lif.nir", "--target", "tinyodin", "-o", "no"), 4, ("error[leak]", "--approximate")),
        (("compile", "digits.nir", "--target", "ranc", "--dump", "d", "-o", "no"), 2, ("--dump", "mesh")),
        (("compile", "digits.nir", "--target", "tinyodin", "--balance", "-o", "no"), 2, ("--balance", "mesh")),
        (("compile", "digits.nir", "--target", "tinyodin", "--bits", 1, "--max-drop", 0, "-o", "no"), 5, ("points",)),
        (("compile", "digits.nir", "--target", "tinyoddin", "-o", "no"), 2, ("did you mean 'tinyodin'",)),
    ):
        done = snn(*arguments, cwd=work)
        assert done.returncode == code, done.stderr
        assert done.stderr.startswith("error[")
        for text in texts:
            assert text in done.stderr, done.stderr
        assert not (work / "no").exists()


def test_an_image_is_only_simulated(work: Path) -> None:
    assert (
        snn("compile", "digits.nir", "--target", "tinyodin", "--data", "none", "-o", "plain", cwd=work).returncode == 0
    )
    for verb in ("estimate", "verify"):
        done = snn(verb, "plain/image.snnc", "--data", "digits", cwd=work)
        assert done.returncode == 3
        assert "chip with a clock" in done.stderr
    done = snn("simulate", "plain/image.snnc", "--float", cwd=work)
    assert (done.returncode, "holds integers" in done.stderr) == (2, True)
    assert snn("check", "digits.nir", "--target", "ranc", cwd=work).returncode == 0


def test_chips_are_listed(work: Path) -> None:
    assert {"tinyodin", "ranc"} <= {line.split()[0] for line in snn("targets", cwd=work).stdout.splitlines()}
    assert "leak_str" in snn("targets", "tinyodin", cwd=work).stdout
    assert "NUM_WEIGHTS" in snn("targets", "ranc", cwd=work).stdout
