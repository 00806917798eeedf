"""The passes of a compilation as text: what each took and found, and how far one went that was stopped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from snnc import dump, layout
from snnc.report.schema import Report

WIDTH = 80


def partial(found: Mapping[str, Any]) -> str:
    """What is known after one of the passes, by :func:`snnc.workflow.compile_partly`."""
    seconds = sum(found["seconds"].values())
    head = f"{found['network']} -> {found['target']}: {found['passes']} of {found['of']} passes, {seconds:.1f} s"
    return f"{head}\n{dump.text(found['state'])}"


def passes_table(report: Report) -> str:
    """A line a pass: seconds, the most memory of the process until it ended, and what it found."""
    names = dict.fromkeys([*report.seconds, *report.passes])
    width = max(map(len, (*names, "total"))) + 2
    total = sum(report.seconds.values())
    rows = [f"{'pass':{width}}{'seconds':>9}{'share':>7}{'peak MiB':>10}  found"]
    for name in names:
        seconds, peak = report.seconds.get(name), report.peak_mib.get(name)
        share = "" if seconds is None or not total else f"{seconds / total:.0%}"
        row = f"{name:{width}}{_cell(seconds, '.3f'):>9}{share:>7}{_cell(peak, ',.0f'):>10}"
        rows.append(f"{row}  {_found(report.passes.get(name), WIDTH - len(row) - 2)}".rstrip())
    peak = max(report.peak_mib.values(), default=None)
    rows.append(f"{'total':{width}}{_cell(total or None, '.3f'):>9}{'':7}{_cell(peak, ',.0f'):>10}")
    return "\n".join(rows)


def _cell(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _found(entry: Any, width: int) -> str:
    """The single values of a pass's log, as many as there is room for."""
    if not isinstance(entry, Mapping):
        return ""
    parts = [
        f"{k.replace('_', ' ')} {layout.scalar(v)}"
        for k, v in entry.items()
        if v is not None and not isinstance(v, Mapping | list)
    ]
    text = ", ".join(parts)
    return text if len(text) <= width else f"{text[: width - 4]} ..."
