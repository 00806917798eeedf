"""``layers.csv``, ``cores.csv``, ``samples.csv``: tidy tables, one row a thing."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

import msgspec
import numpy as np

from snnc.image import Image
from snnc.report.schema import Core, Layer, Report
from snnc.simulator import Run, accounting


def layers_csv(report: Report) -> str:
    """One row per layer, inputs included; a column per field of :class:`~snnc.report.schema.Layer`."""
    return _fields(Layer, report.layers)


def cores_csv(report: Report) -> str:
    """One row per core; a column per field of :class:`~snnc.report.schema.Core`."""
    return _fields(Core, report.cores)


def samples_csv(image: Image, run: Run) -> str:
    """One row per sample: label, prediction, all that was counted on the chip, and its time in ns."""
    total = accounting.account(image, run).totals
    labels = [""] * run.samples if run.labels is None else run.labels
    columns = {
        "sample": np.arange(run.samples),
        "label": labels,
        "prediction": run.outputs.argmax(axis=1),
        **vars(total),
        "time_ns": run.time_ps / 1000,
    }
    return _csv(list(columns), zip(*columns.values(), strict=True))


def _fields(kind: type[msgspec.Struct], things: Sequence[msgspec.Struct]) -> str:
    names = kind.__struct_fields__
    return _csv(names, ([_cell(getattr(thing, name)) for name in names] for thing in things))


def _csv(head: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return text.getvalue()


def _cell(value: object) -> object:
    if value is None:
        return ""
    return " ".join(map(str, value)) if isinstance(value, tuple) else value
