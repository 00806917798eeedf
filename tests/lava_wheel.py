"""The wheel of lava-dl: networks, and the spikes and registers with which Intel tests Lava and Loihi 2."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from tests.benchmarks.environments import FOLDER, UnavailableError

NAME = "lava_dl-0.6.0-py3-none-any.whl"
SHA256 = "bcb448f2bb85dc0da4b4dbbbae16543d2a978c1da7279acc522ad621fc68c437"
# Where the wheel has what netx is tested with.
NETX = "tests/lava/lib/dl/netx"


def folder() -> Path:
    """What netx is tested with: ``tiny.net``, and in ``gts`` a folder for each network; downloaded on first use.

    UnavailableError where pip cannot get the wheel, or gets another file.
    """
    found = FOLDER / "lava-dl-0.6.0"
    if not found.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        # Several may come here at once: each makes its own, and one of them wins.
        with tempfile.TemporaryDirectory(dir=FOLDER) as scratch, zipfile.ZipFile(_wheel(Path(scratch))) as wheel:
            names = [n for n in wheel.namelist() if n.startswith(f"{NETX}/") and n.endswith((".npy", ".net"))]
            wheel.extractall(Path(scratch) / "all", names)
            try:
                (Path(scratch) / "all").rename(found)
            except OSError:
                if not found.exists():
                    raise
    return found / NETX


def _wheel(scratch: Path) -> Path:
    kept = FOLDER / NAME
    if not kept.exists():
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--ignore-requires-python"]
        done = subprocess.run(
            [*command, "--disable-pip-version-check", "--dest", str(scratch), "lava-dl==0.6.0"],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise UnavailableError(f"pip cannot get lava-dl: {(done.stderr.strip().splitlines() or ['no word'])[-1]}")
        (scratch / NAME).replace(kept)
    if hashlib.sha256(kept.read_bytes()).hexdigest() != SHA256:
        raise UnavailableError(f"{NAME} is not the file that is known")
    return kept
