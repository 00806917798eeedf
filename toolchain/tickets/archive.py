"""Opening ``.pt`` files from strangers without running anything that is in them.

A pickle is a program. Only plain values and tensors are read (torch's ``weights_only``; besides them the
numbers of numpy and the namespaces of argparse, which training scripts put beside them), and the
formats that would lead torch around that are refused before torch sees them: bare pickles,
TorchScript, and ``.pt2``, whose reader falls back to unrestricted unpickling. So are files that
would take all memory or forever (:mod:`snnc.tickets.pickle_scan`).
"""

from __future__ import annotations

import argparse
import io
import re
import warnings
import zipfile
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from snnc.errors import InputError
from snnc.files import sniff
from snnc.tickets.pickle_scan import VALUES, Unreadable, scan, walked

_ZIP = b"PK\x03\x04"
_LEGACY = b"\x80\x02\x8a\x0a\x6c\xfc"  # torch's magic number, pickled
_HDF5 = b"\x89HDF"
_OTHER_MODEL = (
    "save its state_dict and name what builds it: --model package.module:factory; or use snnc.load(module, example) "
    "in Python, or a NIR file"
)
# Values without code that torch does not know by itself; numpy 1 and 2 name the first differently.
_SCALAR: Any = np.float64(0).__reduce__()[0]
_HARMLESS: list[Any] = [
    _SCALAR,
    (_SCALAR, "numpy.core.multiarray.scalar"),
    (_SCALAR, "numpy._core.multiarray.scalar"),
    np.dtype,
    *{type(np.dtype(code)) for code in "?bBhHiIlLqQefd"},
    argparse.Namespace,
]


def load_plain(path: Path) -> Any:
    """The plain values and tensors, on the CPU, that torch.save put into the file.

    Raises InputError for a missing, damaged or unsafe file and for other formats.
    """
    legacy = _refuse_other_formats(path)
    unsafe: list[str] = []
    try:
        _check_sizes(path, legacy)
        # torch tells its developers about protocols and types; what a user can do, our messages say.
        with torch.serialization.safe_globals(_HARMLESS), warnings.catch_warnings(action="ignore"):
            if not legacy:
                unsafe = torch.serialization.get_unsafe_globals_in_checkpoint(path)
            if not unsafe:
                plain = torch.load(path, map_location="cpu", weights_only=True)
                if sum(1 for _ in islice(walked(plain), VALUES + 1)) > VALUES:
                    raise Unreadable(f"it holds more than {VALUES:,} values, or some that hold themselves")
                return plain
    except Unreadable as error:
        raise _refusal(path, str(error), "torch.save the state dict alone, with no options") from None
    except Exception as error:  # a damaged pickle makes its reader raise anything
        unsafe = re.findall(r"[Uu]nsupported (?:global: )?GLOBAL (\S+) w", str(error))
        if not unsafe:
            reason = (str(error).splitlines() or [""])[0]
            message = f"this file is damaged: {type(error).__name__}: {reason[:200]}"
            raise _refusal(path, message, "get it again") from None
    raise _refusal(path, f"reading it would run code of {', '.join(sorted(unsafe)[:8])}", _OTHER_MODEL)


def _check_sizes(path: Path, legacy: bool) -> None:
    """Unreadable, or any other error, where the pickles of a file ask for more than there is."""
    if legacy:
        with path.open("rb") as file:
            # A number that tells the format, its version, and what wrote it; then the values; then keys of storages.
            storages = [scan(file) for _ in range(5)][3]
    else:
        with zipfile.ZipFile(path) as archive:
            name = next(n for n in archive.namelist() if n.partition("/")[2] == "data.pkl")
            storages = scan(io.BytesIO(archive.read(name)))
    size = path.stat().st_size
    if sum(storages.values()) > size:
        raise Unreadable(f"it declares more data than a file of {size:,} bytes holds")


def _refuse_other_formats(path: Path) -> bool:
    """InputError for what is no file of torch.save; whether it is one from before torch 1.6, which is no archive."""
    head = sniff(path)
    if head.startswith(_HDF5):
        raise _refusal(path, "this is HDF5, not a torch file", "a NIR file must be named .nir")
    if head.startswith(_LEGACY):
        return True
    if head.startswith(b"\x80"):
        raise _refusal(path, "this is a bare pickle, which could run any code", _OTHER_MODEL)
    if not head.startswith(_ZIP):
        raise _refusal(path, "this is not a file of torch.save", _OTHER_MODEL)
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise _refusal(path, f"this file is damaged or incomplete: {error}", "get it again") from None
    names = {entry.filename.partition("/")[2] for entry in entries}
    # torch looks in the folder of the first entry, whatever the case of a name: what is checked must be what it reads.
    folders = {entry.filename.partition("/")[0] for entry in entries}
    if len(folders) > 1 or len({entry.filename.casefold() for entry in entries}) < len(entries):
        message = "this archive has several folders, or several entries of one name; torch.save does not do that"
        raise _refusal(path, message, "torch.save it again")
    if "archive_format" in names or "models/model.json" in names:
        message = "this is a torch.export archive (.pt2), whose reader can run code hidden in it"
        raise _refusal(path, message, _OTHER_MODEL)
    if "constants.pkl" in names or any(name.startswith("code/") for name in names):
        raise _refusal(path, "this is TorchScript, a program and not a network of known layers", _OTHER_MODEL)
    if "data.pkl" not in names:
        raise _refusal(path, "this is a zip archive, but not one of torch.save", _OTHER_MODEL)
    # torch.save stores; a compressed archive could unfold into any size.
    if sum(entry.file_size for entry in entries) > path.stat().st_size:
        raise _refusal(path, "this archive is compressed, torch.save does not do that", "torch.save it again")
    return False


def _refusal(path: Path, message: str, fix: str) -> InputError:
    return InputError(message, where=str(path), fix=fix)
