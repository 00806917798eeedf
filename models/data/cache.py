"""What is slow to make, kept: decoded images and frames of events.

An entry is one ``.npz`` in ``frames`` of the user's cache, whose name is a hash of what it was made from. So what has
changed is another entry. A damaged one fails its checksums (CRC-32, of the zip format) and is made again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from snnc.errors import InputError, UsageError
from snnc.files import atomic
from snnc.samples import load_arrays

# Of the entries; a new one where the same files and options would give other arrays.
VERSION = 1

_logger = logging.getLogger(__name__)


def root() -> Path:
    """The user's cache of snnc: $SNNC_CACHE_DIR, or snnc in $XDG_CACHE_HOME, or in ~/.cache."""
    if own := os.environ.get("SNNC_CACHE_DIR"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "snnc"


def kept(what: Mapping[str, Any], files: Sequence[Path], make: Callable[[], np.ndarray]) -> np.ndarray:
    """The array that `make` makes, of bytes, from the cache if it has been made before.

    what: plain values that say what is made of the files. files: all that are read; another size or time of change is
    another entry. A cache that cannot be written to is a warning, not an error.
    """
    path = root() / "frames" / f"{_key(what, files)}.npz"
    if path.exists():
        try:
            return load_arrays(path)["frames"]
        except (InputError, LookupError):
            _logger.warning("%s is damaged; it is made again", path)
    frames = make()
    try:
        with atomic(path) as temporary, temporary.open("wb") as file:
            np.savez(file, frames=frames)
    except (UsageError, OSError) as error:
        _logger.warning("nothing is kept for the next time (%s): %s; set SNNC_CACHE_DIR to another folder", path, error)
    return frames


def _key(what: Mapping[str, Any], files: Sequence[Path]) -> str:
    stats = [(str(file), status.st_size, status.st_mtime_ns) for file in files for status in (file.stat(),)]
    text = json.dumps([VERSION, dict(what), stats], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
