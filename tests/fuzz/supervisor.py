"""Runs jobs in a child process and watches what they do: time, memory, files, output, and how they end.

Starting a program for each of thousands of jobs would take hours. So a child, forked from a process that has imported
everything, runs one job after the other; where a job kills it, a new child goes on behind that job.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import resource
import select
import signal
import sys
import sysconfig
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

import snnc
import snnc.models
import snnc.targets

# A job makes a file, and returns what it is and the action that reads it and gives an exit code.
Job = Callable[[int], tuple[str, Callable[[], int]]]


@dataclass(frozen=True)
class Limits:
    """seconds: of a processor. blocked: on the clock, since others may use the processor, too. memory: resident."""

    seconds: float = 10.0
    blocked: float = 30.0
    memory: int = 1 << 30


@dataclass(frozen=True)
class Outcome:
    """What became of a case. code: exit code, None where it was stopped. fault: what must not be, or nothing."""

    number: int
    what: str
    code: int | None
    fault: str
    seconds: float
    megabytes: int
    said: str


# What Python may do on behalf of a file: read that file and our code.
_PARTS = [Path(part.__file__).parent for part in (snnc, snnc.models, snnc.targets)]
LIBRARY = tuple(
    {os.path.realpath(p) + "/" for p in (*_PARTS, sys.prefix, sys.base_prefix, sysconfig.get_path("stdlib"))}
)
HARMFUL = (
    *("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "subprocess", "socket", "pty", "ctypes.dlopen"),
    *("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.chown"),
    *("shutil", "tempfile", "pickle.find_class", "urllib", "webbrowser"),
)
FOREIGN = 97
watching = False


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook that ends the process where it leaves its file."""
    if not watching:
        return
    if event == "open":
        path, _, flags = arguments
        if isinstance(path, int):
            return
        name = os.path.realpath(os.fsdecode(path))
        writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if not writes and (Path(name).stem == "case" or name.startswith((*LIBRARY, "/proc/", "/sys/"))):
            return
    elif not event.startswith(HARMFUL):
        return
    os.write(2, f"{event} {arguments}\n".encode())
    os._exit(FOREIGN)


def supervise(numbers: range, job: Job, limits: Limits) -> Iterator[Outcome]:
    """Run the jobs in a child; where that dies, a new one goes on behind the job that killed it."""
    first = numbers.start
    while first < numbers.stop:
        reader, writer = os.pipe()
        grown = _resident(os.getpid()) + (100 << 20)
        child = os.fork()
        if child == 0:
            os.close(reader)
            _be_child(range(first, numbers.stop), job, limits, grown, writer)
        os.close(writer)
        begun: tuple[int, str] = (first, "")
        stopped = ""
        with open(reader, "rb", buffering=0) as pipe:
            waiting = select.poll()
            waiting.register(pipe, select.POLLIN)
            rest = b""
            while True:
                if not waiting.poll(5):
                    if _resident(child) > limits.memory:
                        stopped = "memory"
                        os.kill(child, signal.SIGKILL)
                    continue
                data = pipe.read(1 << 16)
                if not data:
                    break
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    message = json.loads(line)
                    if "code" in message:
                        yield Outcome(**message)
                        begun = (message["number"] + 1, "")
                    else:
                        begun = (message["number"], message["what"])
        _, status, usage = os.wait4(child, 0)
        first, what = begun
        code = os.waitstatus_to_exitcode(status)
        if code == 0 and not stopped:  # done, or grown
            continue
        fault = stopped or _death(code)
        said = Path("err").read_bytes()[:2000].decode(errors="replace")
        yield Outcome(first, what, code if code >= 0 else None, fault, limits.seconds, usage.ru_maxrss >> 10, said)
        first += 1


def _resident(process: int) -> int:
    with contextlib.suppress(OSError, IndexError):
        return int(Path(f"/proc/{process}/statm").read_bytes().split()[1]) * resource.getpagesize()
    return 0


def _death(code: int) -> str:
    if code == FOREIGN:
        return "foreign"
    if code in (-signal.SIGPROF, -signal.SIGALRM):
        return "hang"
    return f"crash: {signal.Signals(-code).name}" if code < 0 else f"exit {code} of the process"


def _be_child(numbers: range, job: Job, limits: Limits, grown: int, pipe: int) -> NoReturn:
    """Run jobs until one dies or the memory that earlier ones left would count as that of later ones."""
    global watching
    code = 1
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        out, err = (os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC) for name in ("out", "err"))
        os.dup2(out, 1)
        os.dup2(err, 2)
        sys.addaudithook(watch)
        for number in numbers:
            what, action = job(number)
            os.write(pipe, json.dumps({"number": number, "what": what}).encode() + b"\n")
            for file in (out, err):
                os.truncate(file, 0)
                os.lseek(file, 0, os.SEEK_SET)
            Path("/proc/self/clear_refs").write_text("5")  # the peak of memory begins anew
            begin = time.process_time()
            signal.setitimer(signal.ITIMER_PROF, limits.seconds)
            signal.setitimer(signal.ITIMER_REAL, limits.blocked)
            watching = True
            found = action()
            sys.stdout.flush()
            sys.stderr.flush()
            watching = False
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.setitimer(signal.ITIMER_REAL, 0)
            seconds = round(time.process_time() - begin, 3)
            status = Path("/proc/self/status").read_text()
            peak = int(status.partition("VmHWM:")[2].split()[0]) >> 10
            printed, said = (Path(name).read_bytes().decode(errors="replace") for name in ("out", "err"))
            fault = _fault(found, printed, said) or ("memory" if peak << 20 > limits.memory else "")
            outcome = Outcome(number, what, found, fault, seconds, peak, said[-2000:] if fault else said[:300])
            os.write(pipe, json.dumps(asdict(outcome)).encode() + b"\n")
            if _resident(os.getpid()) > grown:
                break
        code = 0
    except BaseException:
        watching = False
        traceback.print_exc()
    finally:
        os._exit(code)


def _fault(code: int, printed: str, said: str) -> str:
    """What is wrong with an exit code and what was printed, if anything."""
    if code not in (0, 3, 4):
        return f"exit {code}"
    lines = itertools.dropwhile(lambda line: line.startswith(("note: ", "warning: ")), said.splitlines())
    first = next(lines, "")
    if "Traceback" in said or (first if code == 0 else not first.startswith("error[")):
        return "noise"
    if bool(printed) == bool(code):
        return "output"
    return ""
