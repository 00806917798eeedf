"""What the command line writes: results to stdout, everything else to stderr.

With ``--json`` stdout is one JSON document. Progress bars appear only on a terminal.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from snnc.errors import DoesNotFit, SnncError, Violation

SHOWN_VIOLATIONS = 5
SHOWN_PLACES = 5


@dataclass
class Console:
    """How to write. json: results as JSON. quiet: no notes and no progress. verbose: what else there is to say.

    traceback: show ours, too.
    """

    json: bool = False
    quiet: bool = False
    verbose: bool = False
    traceback: bool = False

    def result(self, text: str, data: Any) -> None:
        """The outcome of a command, as text for people or as data for programs."""
        if self.json:
            text = msgspec.json.format(msgspec.json.encode(data), indent=1).decode()
        print(text, flush=True)

    def note(self, text: str) -> None:
        """Something worth knowing that is not the result."""
        if not self.quiet:
            print(text, file=sys.stderr, flush=True)

    def listen(self) -> None:
        """Show what the library logs as notes."""
        logger = logging.getLogger("snnc")
        logger.handlers = [_Notes(self)]
        logger.setLevel(logging.INFO)

    def error(self, error: SnncError) -> None:
        """A diagnostic on stderr; with --json also as the document on stdout."""
        if self.json:
            fields: dict[str, Any] = {
                "topic": error.topic,
                "message": error.message,
                "where": error.where,
                "fix": error.fix,
            }
            if isinstance(error, DoesNotFit):
                fields |= {"violations": error.violations, "cures": error.cures, "uncured": error.uncured}
            document = {"error": fields, "exit_code": error.exit_code}
            print(msgspec.json.format(msgspec.json.encode(document), indent=1).decode(), flush=True)
        print(diagnostic(error), file=sys.stderr, flush=True)

    @contextmanager
    def progress(self, what: str) -> Iterator[Callable[[int, int, str], None]]:
        """A callback (done, all, note) that moves a bar, if anybody watches."""
        if self.quiet or not sys.stderr.isatty():
            yield lambda done, total, note: None
            return
        from rich.console import Console as Terminal
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        # 80 columns, whatever the note: a bar that changes its length cannot be read.
        columns = (TextColumn("{task.description:22.22}"), BarColumn(20), TextColumn("{task.fields[note]:26.26}"))
        with Progress(*columns, TimeElapsedColumn(), console=Terminal(stderr=True), transient=True) as bar:
            task = bar.add_task(what, total=None, note="")
            yield lambda done, total, note: bar.update(task, completed=done, total=total, note=note)


class _Notes(logging.Handler):
    """Passes log records on to a console."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        kind = "warning" if record.levelno >= logging.WARNING else "note"
        self._console.note(f"{kind}: {record.getMessage()}")


def diagnostic(error: SnncError) -> str:
    """The error as text: what, where, cure, rule."""
    if isinstance(error, DoesNotFit):
        alike: dict[Violation, list[str]] = {}
        for v in error.violations:  # the same of several layers is said once
            alike.setdefault(replace(v, where=""), []).append(v.where)
        shown = list(alike.items())[:SHOWN_VIOLATIONS]
        # What was seen to make all of it fit stands in place of what each rule advises.
        fixes = [error.fix] + [""] * len(shown) if error.cures else [v.fix for v, _ in shown]
        blocks = [
            _block(v.rule, f"{_places(where)}: {v.message}", "", fix, _rule(v))
            for (v, where), fix in zip(shown, fixes, strict=False)
        ]
        if error.uncured:
            blocks.append(f"note: {error.uncured}")
        rest = len(alike) - len(shown)
        return "\n".join(blocks + ([f"and {rest} more of the kind"] if rest else []))
    return _block(error.topic, error.message, error.where, error.fix, "")


def _places(where: list[str]) -> str:
    """Several places as one: layers 'a', 'b' and 3 more."""
    rest = len(where) - SHOWN_PLACES
    if rest > 0:
        where = where[:SHOWN_PLACES]
    if len(where) > 1 and all(place.startswith("layer '") for place in where):
        where = ["layers " + where[0].removeprefix("layer "), *(place.removeprefix("layer ") for place in where[1:])]
    return ", ".join(where) + (f" and {rest} more" if rest > 0 else "")


def _rule(violation: Violation) -> str:
    return f"{violation.limit} (snnc targets NAME)" if violation.limit else ""


def _block(topic: str, message: str, where: str, fix: str, rule: str) -> str:
    rows = [f"error[{topic}]: {message}"]
    for label, text in (("where", where), ("fix", fix), ("rule", rule)):
        if text:
            rows += [f"  {label:6} {line}" if k == 0 else f"{'':9}{line}" for k, line in enumerate(text.split("\n"))]
    return "\n".join(rows)
