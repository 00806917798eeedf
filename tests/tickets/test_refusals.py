"""Searches that come to nothing, as a user of the command line meets them."""

from __future__ import annotations

from pathlib import Path

import pytest

from snnc import cli

# 42 of 84,480 weights, in one step.
DEAD = ["--sparsity", "0.9995", "--rounds", "1", "--epochs", "3"]


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    code = cli.run(["--quiet", "ticket", "mlp", *map(str, arguments)])
    said = capsys.readouterr()
    assert said.out == ""
    assert "Traceback" not in said.err
    return code, said.err


def test_a_dead_ticket_an_emptied_layer_and_another_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, partial = tmp_path / "a.pt", tmp_path / "a.pt.partial"
    out.write_bytes(b"an older result")

    code, said = run(capsys, *DEAD, "-o", out)
    assert code == 5
    assert said.startswith("error[verify]: the ticket is dead: layer 'fc1' spikes ")
    assert "prune less, in more rounds, or train for more epochs" in said
    before = partial.read_bytes()

    # What there is belongs to the run that made it; it is said at once, and nothing is lost.
    for other, named in ((["--seed", "1"], "seed (was 0)"), (["--control", "reinit"], "control (was None)")):
        code, said = run(capsys, *DEAD, *other, "-o", out, "--resume")
        assert code == 2
        assert said.startswith(f"error[usage]: the unfinished run had other arguments: {named}")
        assert str(partial) in said
        assert "run again without resuming" in said
        assert partial.read_bytes() == before
    code, said = run(capsys, *DEAD, "-o", out, "--resume")
    assert (code, partial.read_bytes()) == (5, before)

    code, said = run(capsys, "--sparsity", "0.99999", "--rounds", "1", "--epochs", "3", "-o", tmp_path / "b.pt")
    assert code == 2
    assert said.startswith("error[usage]: a sparsity of 0.99999 leaves 1 of 84,480 weights, and a layer would be empty")
    assert "at most 0.999964 leaves each layer a weight" in said
    assert not (tmp_path / "b.pt").exists()
    assert out.read_bytes() == b"an older result"
