"""A disk that is full while a search writes: a clear word, nothing lost, and the search goes on from where it was."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_runs import MLP, watched

from snnc import tickets
from snnc.errors import UsageError
from snnc.files import atomic

REQUEST: dict[str, Any] = {"sparsity": 0.8, "rounds": 1}
FULL = "the disk is full"


def full_from(write: int, code: int = errno.ENOSPC) -> Callable[..., int]:
    """What writes a file, until its call number `write` and ever after leaves half a file on a full disk."""
    real, calls = Path.write_bytes, 0

    def function(self: Path, data: Any) -> int:
        nonlocal calls
        calls += 1
        if calls < write:
            return real(self, data)
        real(self, bytes(data)[: len(data) // 2])
        raise OSError(code, os.strerror(code))

    return function


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "a.pt"
    tickets.find(MLP, **REQUEST, out=path)
    return path.read_bytes()


# A dense training over 3 epochs and its end, a round over 2 and its end, the ticket.
@pytest.mark.parametrize("write", [1, 3, 6, 8])
def test_a_full_disk_costs_no_more_than_an_epoch(
    write: int, whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, partial = tmp_path / "a.pt", tmp_path / "a.pt.partial"
    out.write_bytes(b"an older result")
    states: list[bytes] = []
    monkeypatch.setattr(Path, "write_bytes", full_from(write))
    with pytest.raises(UsageError) as caught:
        tickets.find(MLP, **REQUEST, out=out, progress=lambda *_: states.append(partial.read_bytes()))
    monkeypatch.undo()
    assert caught.value.message == f"cannot write there: {FULL}"
    assert caught.value.where == str(out if write == 8 else partial)
    assert "make room" in caught.value.fix
    # Whole files alone, as they were last written, and no remains of the one that did not fit.
    assert out.read_bytes() == b"an older result"
    assert {p.name for p in tmp_path.iterdir()} == ({"a.pt"} if write == 1 else {"a.pt", "a.pt.partial"})
    if write in (3, 6):
        assert partial.read_bytes() == states[-1]
    with watched() as spy:
        tickets.find(MLP, **REQUEST, out=out, resume=True)
    assert out.read_bytes() == whole
    epochs = sum(max(fit.states) - (fit.start.epoch if fit.start else 0) for fit in spy.fits if max(fit.states))
    assert epochs == {1: 5, 3: 3, 6: 1, 8: 0}[write]


def test_the_real_thing(tmp_path: Path) -> None:
    """A process whose files may not grow, as on a full disk: what is written stops in the middle."""
    small = tmp_path / "small"
    command = f"ulimit -f 8; exec {sys.executable} -m snnc ticket mlp --epochs 3 -o {small}/a.pt"
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False, env=os.environ
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error[usage]: cannot write there: the file would be larger than this system allows")
    assert f"{small}/a.pt.partial" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(small.iterdir()) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
@pytest.mark.parametrize("patched", ["body", "replace", "mkstemp"])
def test_files_tell_of_a_full_disk_wherever_it_shows(
    patched: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_text("old")

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(code, os.strerror(code))

    if patched != "body":
        monkeypatch.setattr({"replace": "os.replace", "mkstemp": "tempfile.mkstemp"}[patched], fail)
    with pytest.raises(UsageError, match="cannot write there: the") as caught:
        write(path, fail if patched == "body" else None)
    assert caught.value.where == str(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def write(path: Path, fail: Callable[[], None] | None) -> None:
    with atomic(path) as temporary:
        temporary.write_text("new")
        if fail:
            fail()


def test_other_failures_within_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic(tmp_path / "a"):
        (tmp_path / "missing").read_text()
