"""Every way in which snnc says no.

An error carries data (what, where, cure, rule); only the command line turns it
into text. The class fixes the exit code of the process:

====  ==========================  =============================================
code  class                       meaning
====  ==========================  =============================================
1     (any other exception)       a bug in snnc
2     :class:`UsageError`         the request itself is wrong
3     :class:`InputError`         a file is unreadable, damaged or unsupported
4     :class:`DoesNotFit`         the network breaks a rule of the target
5     :class:`VerificationError`  it fits, but two executors disagree
====  ==========================  =============================================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Violation:
    """One broken rule of a target.

    rule: kebab-case name of the rule (``in-axons``).
    where: the part of the network, in the user's words (``layer 'fc1', core 3``).
    message: one sentence with both numbers, used and allowed.
    fix: the cheapest cure known.
    limit: the target field that holds the limit (``core.in_axons``).
    """

    rule: str
    where: str
    message: str
    fix: str
    limit: str = ""


@dataclass(frozen=True)
class Cure:
    """A change with which a network was seen to fit.

    action: in the user's words (``--bits 5``). outcome: what was seen (``it fits on 121 cores``). options: of the
    compilation, with their new values. target: the name of another one. share: of its weights that is left in each
    operation into `layers`, None = nothing is pruned.
    """

    action: str
    outcome: str
    options: dict[str, Any] = field(default_factory=dict)
    target: str | None = None
    share: float | None = None
    layers: tuple[str, ...] = ()


class SnncError(Exception):
    """Base of all errors that are the input's or the user's, never a bug.

    topic: kebab-case word shown as ``error[topic]``.
    where: file, layer or field at fault; may be empty.
    fix: what the user can do about it; may be empty.
    """

    exit_code = 1
    topic = "error"

    def __init__(self, message: str, *, where: str = "", fix: str = "", topic: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.fix = fix
        self.topic = topic or type(self).topic


class UsageError(SnncError):
    """The request is wrong: an unknown name, an impossible option. Exit code 2."""

    exit_code = 2
    topic = "usage"


class InputError(SnncError):
    """A file or array cannot be read, is damaged, or is not supported. Exit code 3."""

    exit_code = 3
    topic = "input"


class DoesNotFit(SnncError):
    """The network breaks rules of the target. Exit code 4.

    violations: every :class:`Violation` found, in network order. cures: what was tried and makes it fit, the cheapest
    first (:mod:`snnc.cures`). uncured: what else was tried, or was not for want of time. stopped: the last good state
    of the compilation (:class:`snnc.compilation.Stopped`), or None.
    """

    exit_code = 4
    topic = "does-not-fit"

    def __init__(self, violations: Sequence[Violation]) -> None:
        first = violations[0]
        super().__init__(first.message, where=first.where, fix=first.fix, topic=first.rule)
        self.violations = tuple(violations)
        self.cures: tuple[Cure, ...] = ()
        self.uncured = ""
        self.stopped: Any = None


class VerificationError(SnncError):
    """Two executors of the same image disagree, or a gate is missed. Exit code 5."""

    exit_code = 5
    topic = "verify"
