"""Folders as a user names them."""

from __future__ import annotations

import difflib
from pathlib import Path

from snnc.errors import InputError


def require(folder: Path) -> Path:
    """The folder itself; InputError, with the name that was meant, where there is none."""
    if folder.is_dir():
        return folder
    if folder.exists():
        raise InputError("this is a file, not a folder", where=str(folder), fix=f"did you mean {folder.parent}?")
    beside = [p.name for p in folder.parent.iterdir() if p.is_dir()] if folder.parent.is_dir() else []
    close = difflib.get_close_matches(folder.name, beside, n=1)
    fix = f"did you mean {folder.parent / close[0]}?" if close else ""
    raise InputError("there is no such folder", where=str(folder), fix=fix)
