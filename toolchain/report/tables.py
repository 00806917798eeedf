"""``layers.csv`` and ``cores.csv``: tidy tables, one row a thing, a column per field of the schema."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import msgspec

from snnc.report.schema import Core, Layer, Report


def layers_csv(report: Report) -> str:
    """One row per layer, inputs included."""
    return _csv(Layer, report.layers)


def cores_csv(report: Report) -> str:
    """One row per core."""
    return _csv(Core, report.cores)


def _csv(kind: type[msgspec.Struct], rows: Sequence[msgspec.Struct]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(kind.__struct_fields__)
    for row in rows:
        writer.writerow([_cell(getattr(row, name)) for name in kind.__struct_fields__])
    return text.getvalue()


def _cell(value: object) -> object:
    if value is None:
        return ""
    return " ".join(map(str, value)) if isinstance(value, tuple) else value
