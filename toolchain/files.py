"""Files that are either whole or absent, and a first look at files from strangers."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from snnc.errors import InputError, UsageError

# What the system says when there is no room, in the user's words.
_FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the quota of disk space is used up",
    errno.EFBIG: "the file would be larger than this system allows",
}


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that replaces it on success and vanishes on any error.

    Folders are created as needed; UsageError where that is impossible, or where there is no room.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
    except OSError as error:
        reason = _FULL.get(error.errno or 0, error.strerror)
        raise UsageError(f"cannot write there: {reason}", where=str(path)) from None
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes private files; a result has the permissions of any other new file.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        os.replace(temporary, path)
    except IsADirectoryError:
        raise UsageError("cannot write there: it is a folder", where=str(path)) from None
    except OSError as error:
        if error.errno not in _FULL:
            raise
        fix = "make room, or write elsewhere; an older file of this name is unchanged"
        raise UsageError(f"cannot write there: {_FULL[error.errno]}", where=str(path), fix=fix) from None
    finally:
        temporary.unlink(missing_ok=True)


def sniff(path: Path) -> bytes:
    """The first 512 bytes of a regular file.

    InputError where there is none, where it is empty, or where it is the pointer that git-LFS
    leaves in place of the real file.
    """
    where = str(path)
    if not path.exists():
        raise InputError("there is no such file", where=where)
    if not path.is_file():
        raise InputError("this is a folder, not a file", where=where)
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise InputError(f"cannot read it: {error.strerror}", where=where) from None
    if not head:
        raise InputError("the file is empty", where=where)
    if head.startswith(b"version https://git-lfs"):
        raise InputError(
            "this is a git-LFS pointer, not the file itself", where=where, fix="run `git lfs pull` where it came from"
        )
    return head
