"""What no file may make us do, done on purpose: to see that the supervisor sees it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import h5py
from supervisor import Job, Limits

LIMITS = Limits(seconds=3.0, blocked=3.0, memory=600 << 20)


def _read(name: str, code: int = 0) -> int:
    Path(name).read_bytes()
    return _say(code)


def _say(code: int, text: str = "a network") -> int:
    if code:
        print("error[input]: it is damaged", file=sys.stderr)
    else:
        print(text)
    return code


def _hang() -> int:
    while True:
        pass


def _block() -> int:
    time.sleep(60)
    return _say(0)


def _open_pipe() -> int:
    h5py.File("pipe")  # HDF5 opens without telling Python
    return _say(0)


def _hoard() -> int:
    held = [bytearray(1 << 26) for _ in range(12)]
    time.sleep(0.1)
    return _say(0, str(len(held)))


def _hoard_briefly() -> int:
    len(bytearray(640 << 20))
    return _say(0)


def _complain() -> int:
    print("netx.py:93: RuntimeWarning: overflow encountered in cast", file=sys.stderr)
    return _say(3)


def _crash() -> int:
    os.kill(os.getpid(), signal.SIGSEGV)
    return 0


def _raise() -> int:
    raise ValueError("not seen by the command line")


def _print_traceback() -> int:
    print("Traceback (most recent call last):", file=sys.stderr)
    return 0


# What is done, and the fault that must be found.
MISDEEDS: dict[str, tuple[Callable[[], int], str]] = {
    "a network": (lambda: _say(0), ""),
    "refused": (lambda: _say(3), ""),
    "does not fit": (lambda: _say(4), ""),
    "reads the file": (lambda: _read("case.nir"), ""),
    "hangs": (_hang, "hang"),
    "waits": (_block, "hang"),
    "opens a pipe": (_open_pipe, "hang"),
    "hoards": (_hoard, "memory"),
    "hoards briefly": (_hoard_briefly, "memory"),
    "crashes": (_crash, "crash: SIGSEGV"),
    "raises": (_raise, "exit 1 of the process"),
    "leaves": (lambda: os._exit(7), "exit 7 of the process"),
    "fails": (lambda: _say(1), "exit 1"),
    "misuses": (lambda: _say(2), "exit 2"),
    "prints a traceback": (_print_traceback, "noise"),
    "complains": (_complain, "noise"),
    "refuses silently": (lambda: 3, "noise"),
    "finds nothing": (lambda: 0, "output"),
    "prints and refuses": (lambda: _say(0) + _say(3), "output"),
    "reads another file": (lambda: _read("secret"), "foreign"),
    "reads another file and refuses": (lambda: _read("secret", 3), "foreign"),
    "reads a secret of the system": (lambda: _read("/etc/passwd"), "foreign"),
    "writes a file": (lambda: Path("touched").write_text(""), "foreign"),
    "removes its file": (lambda: os.remove("case.nir"), "foreign"),  # type: ignore[func-returns-value, return-value]
    "runs a program": (lambda: os.system("true"), "foreign"),
    "runs a program behind": (lambda: subprocess.call(["true"]), "foreign"),
    "a network again": (lambda: _say(0), ""),
}


def misdeeds() -> tuple[Job, Limits]:
    """A job for each, in order."""
    deeds = list(MISDEEDS.items())

    def job(number: int) -> tuple[str, Callable[[], int]]:
        Path("case.nir").write_bytes(b"x")
        name, (action, _) = deeds[number]
        return name, action

    return job, LIMITS
