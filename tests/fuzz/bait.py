"""What lies beside a hostile file: things it may try to reach, and the code of the model it may hold."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import h5py
import numpy as np

NET = Path(__file__).parents[1] / "spiking_net.py"  # the model of the state dicts
# What links point at. HDF5 opens files without telling Python, but whoever opens a pipe waits forever.
BAITS = ("pipe", "foreign.h5", "secret", "/dev/zero", ".", "case.nir", "no/such")


def furnish(folder: Path) -> None:
    """Fill the folder in which cases are read."""
    shutil.copy(NET, folder)
    (folder / "secret").write_bytes(np.ones(1 << 12).tobytes())
    with h5py.File(folder / "foreign.h5", "w") as file:
        file["x"] = np.ones(64)
    os.mkfifo(folder / "pipe")
