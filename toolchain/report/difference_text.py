"""What differs between two compilations, as a table of at most 80 columns."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import fill
from typing import Any

from snnc.report.difference import Difference, Moves, Row
from snnc.report.units import duration, energy, memory

_LABEL, _VALUE, _CHANGE, _WIDTH = 33, 18, 10, 80
_FORMS = {"bits": memory, "time": duration, "energy": energy}


def difference_table(found: Difference) -> str:
    """The difference on at most 80 columns: only what differs as it is printed, or that nothing does."""
    lines = [f"a  {found.a}"[:_WIDTH], f"b  {found.b}"[:_WIDTH]]
    parts: dict[str, list[str]] = {}
    for row in found.rows:
        if printed := _lines(row):
            parts.setdefault(row.part, []).extend(printed)
    for part, rows in parts.items():
        lines += ["", f"{part:{_LABEL}.{_LABEL}}{'a':>{_VALUE}}{'b':>{_VALUE}}{'change':>{_CHANGE}}", *rows]
    if found.moves is not None and (found.moves.moved or found.moves.sites):
        lines += ["", *_move_lines(found.moves)]
    elif not parts:
        lines += ["", f"nothing differs: {_compared(found)}"]
    if found.notes:
        lines += ["", *(fill(f"note: {note}", _WIDTH, subsequent_indent="      ") for note in found.notes)]
    return "\n".join(lines)


def _compared(found: Difference) -> str:
    values = f"{found.compared:,} values compared"
    return values if found.moves is None else f"{values}, {found.moves.neurons:,} neurons on the same cores"


def _lines(row: Row) -> list[str]:
    """A line for a value, two for a long one, none for one that differs by less than is printed."""
    a, b = (_value(v, row.kind) for v in (row.a, row.b))
    label = f"  {row.label}"
    if a == b:
        return []
    if max(len(a), len(b)) >= _VALUE:
        return [f"{label:{_LABEL}.{_LABEL}}a  {a}"[:_WIDTH], f"{'':{_LABEL}}b  {b}"[:_WIDTH]]
    return [f"{label:{_LABEL}.{_LABEL}}{a:>{_VALUE}}{b:>{_VALUE}}{_change(row):>{_CHANGE}}".rstrip()]


def _value(value: Any, kind: str) -> str:
    if value is None or value == "":
        return "-"
    if kind in _FORMS:
        return str(_FORMS[kind](value))
    if kind == "share":
        return f"{value:.2%}"
    if kind in ("count", "number") and not isinstance(value, bool):
        return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " .. ".join(map(str, dict.fromkeys(value))) if isinstance(value, list | tuple) else str(value)


def _change(row: Row) -> str:
    if row.kind == "text" or row.a is None or row.b is None:
        return ""
    if row.kind == "share":
        return f"{100 * (row.b - row.a):+.2f} pt"
    if isinstance(row.a, int) and isinstance(row.b, int) and max(row.a, row.b) < 100:
        return f"{row.b - row.a:+}"
    return f"{row.b / row.a - 1:+.1%}" if row.a else ""


def _move_lines(moves: Moves) -> Iterator[str]:
    yield f"mapping{'':26}{'moved':>{_VALUE}}{'of':>{_VALUE}}"
    yield f"{'  neurons in another core':{_LABEL}}{moves.moved:>{_VALUE},}{moves.neurons:>{_VALUE},}"
    for name, count in moves.layers.items():
        if count:
            yield f"{f'    layer {name}':{_LABEL}.{_LABEL}}{count:>{_VALUE},}"
    if moves.sites:
        yield f"{'  cores on another site':{_LABEL}}{moves.sites:>{_VALUE},}{moves.cores:>{_VALUE},}"
