"""Who takes part in the contest between simulators."""

from __future__ import annotations

import sys
from pathlib import Path

from snnc.targets import lava
from tests.benchmarks import environments
from tests.benchmarks.contest import Contender

LIMITS = ("limit, 3 bytes", "limit, 4 bytes")
OURS, TWO = "snnc", "snnc, 2 threads"
SCIPY, TORCH, SNNTORCH = "scipy", "torch CSR", "snntorch"
SANAFE, NENGO, BRIAN = "SANA-FE", "nengo-loihi", "brian2 C++"
COMMAND, LAVA = "snnc simulate, the command", "Lava fixed_pt, start included"


def limits() -> list[Contender]:
    """Additions of the same synapses and nothing else."""
    forms = zip(LIMITS, ("apart", "packed"), strict=True)
    return [Contender(name, "scatter.py", environment={"CONTEST_FORM": form}) for name, form in forms]


def ours() -> list[Contender]:
    return [
        Contender(OURS, "engine.py", limit=180),
        Contender(TWO, "engine.py", environment={"CONTEST_THREADS": "2"}, limit=180),
    ]


def peers() -> list[Contender]:
    """Those of snnc's own environment, and those that have one each."""
    return [
        Contender(SCIPY, "scipy_rows.py"),
        Contender(TORCH, "torch_csr.py"),
        Contender(SNNTORCH, "snntorch_dense.py", most=1e7),
        # 17 to 40 s of compiling; then 16 bytes a synapse on disk, and more in memory.
        Contender(BRIAN, "with_brian2.py", _python("brian2"), most=1.1e7, limit=150),
        Contender(NENGO, "with_nengo.py", _python("nengo"), most=1.1e7),
        # Its networks are objects in Python: a million synapses take it half a minute and gigabytes.
        Contender(SANAFE, "with_sanafe.py", _python("sanafe"), most=1.1e6),
    ]


def processes() -> list[Contender]:
    """Those who start processes of their own, which is in their time."""
    there = lava.python() is not None
    return [
        Contender(COMMAND, "command.py"),
        Contender(LAVA, "with_lava.py", Path(sys.executable) if there else "Lava is not set up (snnc lava setup)"),
    ]


def of_images() -> list[Contender]:
    """Those who run images with convolutions."""
    return [*ours(), Contender(SNNTORCH, "snntorch_conv.py")]


def _python(name: str) -> Path | str:
    try:
        return environments.python(name)
    except environments.UnavailableError as error:
        return str(error)
