"""Every cell of the table of docs/lava.md names tests that exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from suite_networks import get

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs/lava.md").read_text()
LETTERS = dict(re.findall(r"^- ([A-Z]): `([^`]+)`", PAGE, re.M))
ROWS = [line.strip("|").split(" | ") for line in PAGE.splitlines() if line.startswith("| ")][1:]
CITED = re.compile(r"\b([A-Z])(?:\[((?:[^\[\]]|\[[^\]]*\])+)\])?(?![A-Za-z])")


def cited(cell: str) -> list[str]:
    """The ids of the tests that a cell names."""
    return [
        LETTERS[letter] + (f"::{case}" if LETTERS[letter].endswith(".py") else f"[{case}]" if case else "")
        for letter, case in CITED.findall(cell)
        if letter in LETTERS
    ]


@pytest.fixture(scope="module")
def known() -> set[str]:
    """All tests of the files that are named; without brackets, too, where a test has none."""
    files = sorted({name.split("::")[0] for name in LETTERS.values()})
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return {line for line in done.stdout.splitlines() if "::" in line}


def test_every_cell_names_tests_that_exist(known: set[str]) -> None:
    assert len(ROWS) > 20
    for kind, *cells in ROWS:
        assert len(cells) == 4, kind
        for cell in cells:
            names = cited(cell)
            assert names, (kind, cell)
            assert set(names) <= known, (kind, sorted(set(names) - known))


def test_what_is_refused_says_so() -> None:
    """And only that, as the suite foretells it."""
    for kind, _, *cells in ROWS:
        for route, cell in zip(("net", "program"), cells[:2], strict=True):
            cases = re.findall(rf"S\[{route}-([^]]+)\]", cell)
            assert cases, (kind, route)
            for case in cases:
                assert (route in get(case).refused) == cell.startswith("refused: "), (kind, route, case)


def test_every_file_that_the_page_names_exists() -> None:
    files = re.findall(r"`(tests/[\w/]+\.py)", PAGE)
    assert len(files) > 5
    for name in files:
        assert (ROOT / name).is_file(), name
