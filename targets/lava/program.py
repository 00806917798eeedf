"""Integer network -> a folder with a Python program of Lava processes, to be read, edited and run.

``program.py`` has a paragraph for each population and each projection, ``weights.npz`` their numbers (integers; of a
Sparse process the three arrays of its CSR matrix), and ``snnc_lava/`` what the program needs besides Lava: the
modules of :mod:`snnc.targets.lava.worker` as they are. Python 3.10 runs it, for which Lava was released.

Equal networks give equal bytes.
"""

from __future__ import annotations

import io
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from snnc.errors import UsageError
from snnc.network import Network
from snnc.targets.lava.listing import write
from snnc.targets.lava.processes import Plan, plan

RUNTIME = ("__init__", "blocks", "board", "compat", "main", "neurons", "taps")
"""Modules of the worker that go beside a program."""

_MARK = "snnc_lava"
_HERE = Path(__file__).parent / "worker"


def export(network: Network, folder: Path) -> Plan:
    """Write `network` as a program into `folder`, whole or not at all; returns what is in it.

    network: after quantisation. Raises InputError, before anything is written, for what Lava cannot run
    (:func:`snnc.targets.lava.processes.plan`); UsageError where the folder cannot be written, or holds anything but
    an earlier program.
    """
    made = plan(network)
    text, arrays = write(made)
    _check_free(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as name:
            fresh = Path(name) / folder.name
            (fresh / _MARK).mkdir(parents=True)
            for module in RUNTIME:
                shutil.copyfile(_HERE / f"{module}.py", fresh / _MARK / f"{module}.py")
            (fresh / "weights.npz").write_bytes(_npz(arrays))
            (fresh / "program.py").write_text(text, encoding="utf-8")
            _replace(folder, fresh, Path(name) / "before")
    except OSError as error:
        raise UsageError(f"cannot write there: {error.strerror}", where=str(folder)) from None
    return made


def _replace(folder: Path, fresh: Path, before: Path) -> None:
    """Put `fresh` in the place of `folder`, which goes to `before`, or comes back where that fails."""
    if not folder.exists():
        fresh.rename(folder)
        return
    folder.rename(before)
    try:
        fresh.rename(folder)
    except OSError:
        before.rename(folder)
        raise


def _check_free(folder: Path) -> None:
    """UsageError unless `folder` is absent, empty, or a program of ours with nothing else in it."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UsageError("cannot write there: it is a file", where=str(folder))
    there = {path.name for path in folder.iterdir()}
    if there and (_MARK not in there or there - {"program.py", "weights.npz", _MARK, "__pycache__"}):
        raise UsageError(
            "the folder is neither empty nor a program that was exported before",
            where=str(folder),
            fix="name another folder, or clear this one",
        )


def _npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    """An .npz in which no time is kept."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, values in arrays.items():
            entry = io.BytesIO()
            np.lib.format.write_array(entry, values, allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy")  # without a date it is 1980
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, entry.getvalue())
    return file.getvalue()
