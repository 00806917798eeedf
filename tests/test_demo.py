"""The main job end to end: from data to a report, checked against Lava, on real input.

One round of pruning and few epochs, to be quick; accuracy is the business of tests/tickets.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import snnc
from snnc import cli

ROOT = Path(__file__).resolve().parents[1]
FILES = {
    "ticket.pt",
    "ticket.nir",
    "image.snnc",
    "model.net",
    "report.json",
    "layers.csv",
    "cores.csv",
}


def check(out: Path, samples: int) -> dict:
    assert {p.name for p in out.iterdir()} == FILES
    report = json.loads((out / "report.json").read_text())
    (verified,) = report["verified"]
    assert verified["on"] == "lava"
    assert verified["differing"] == 0
    assert verified["samples"] == samples
    # A comparison of silence would prove nothing: every layer spikes.
    assert all(layer["spikes"] > samples for layer in verified["layers"].values())
    # At this sparsity a dense block may still be the smaller one, and then its zeros are visited, too.
    assert report["this"]["effective_synops"] < report["dense"]["effective_synops"]
    return report


@pytest.mark.usefixtures("lava")
def test_digits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["demo", "-o", str(tmp_path / "out"), "--sparsity", "0.3"]) == 0
    report = check(tmp_path / "out", samples=450)
    assert report["this"]["accuracy"] > 0.95
    text = capsys.readouterr().out
    assert "on lava: 0 of" in text
    assert "float ticket in torch" in text


@pytest.mark.usefixtures("lava")
def test_recordings(tmp_path: Path, shared: Path) -> None:
    """100 recordings, so little is learnt; what counts is that conv, pooling and batch norm make the whole way."""
    data = f"nmnist={shared / 'data/nmnist/Train'}:steps=6,samples=200"
    assert cli.run(["demo", "-o", str(tmp_path / "out"), "--sparsity", "0.3", "--data", data]) == 0
    report = check(tmp_path / "out", samples=50)
    kinds = [layer["operation"].partition(" ")[0] for layer in report["layers"]]
    assert kinds == ["input", "Conv2d", "Conv2d", "Linear"]
    assert report["this"]["cores"] > 1


@pytest.mark.usefixtures("lava")
def test_the_readme_does_what_it_says(tmp_path: Path, monkeypatch, capsys) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    monkeypatch.chdir(tmp_path)
    exec(compile(code.replace("0.95", "0.3"), "README.md", "exec"), {})
    first, last = capsys.readouterr().out.splitlines()
    assert float(first.split()[0]) > 0.95
    assert last == "True"
    assert snnc.load(tmp_path / "ticket.pt").layers[-1].name == "fc3"
