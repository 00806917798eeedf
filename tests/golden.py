"""Texts as they must be, in the folder ``golden`` beside the tests.

A changed text is read and then written anew by ``SNNC_WRITE_GOLDEN=1 python -m pytest``.
"""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = Path(__file__).parent / "golden"


def assert_golden(name: str, text: str) -> None:
    """The text equals the file `name`, to the last newline."""
    file = FOLDER / name
    if os.environ.get("SNNC_WRITE_GOLDEN"):
        FOLDER.mkdir(exist_ok=True)
        file.write_text(text + "\n")
    assert text + "\n" == file.read_text()
