"""Plain data as text in lines and columns: the same on every machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def outline(value: Mapping[str, Any], indent: str = "") -> list[str]:
    """Plain data as lines: a value a line, a list of the same things as a table."""
    lines = []
    width = max((len(k) for k in value), default=0)
    for key, item in value.items():
        if isinstance(item, Mapping) and item:
            lines += [f"{indent}{key}", *outline(item, indent + "  ")]
        elif isinstance(item, list) and item and all(isinstance(entry, Mapping) for entry in item):
            lines += [f"{indent}{key}", *table(item, indent + "  ")]
        else:
            lines.append(f"{indent}{key:{width}}  {scalar(item)}".rstrip())
    return lines


def table(rows: Sequence[Mapping[str, Any]], indent: str = "") -> list[str]:
    """Rows of plain data in columns; numbers to the right."""
    heads = list(dict.fromkeys(k for row in rows for k in row))
    cells = [[scalar(row.get(head, "")) for head in heads] for row in rows]
    right = [all(isinstance(row.get(head, 0), int | float) for row in rows) for head in heads]
    widths = [max(len(line[k]) for line in [heads, *cells]) for k in range(len(heads))]
    return [
        indent
        + "  ".join(
            f"{cell:>{width}}" if number else f"{cell:{width}}"
            for cell, width, number in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in [heads, *cells]
    ]


def scalar(value: Any) -> str:
    """A value as text that does not depend on the machine: whole numbers in full, others to six digits."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return " ".join(map(scalar, value)) or "-"
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {scalar(v)}" for k, v in value.items()) or "-"
    return "-" if value is None else str(value)
