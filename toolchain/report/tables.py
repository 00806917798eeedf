"""Tidy tables, one row a thing: ``layers.csv``, ``cores.csv``; of a run ``samples``, ``steps`` and ``links.csv``."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence

import msgspec
import numpy as np

from snnc.image import Image
from snnc.report.schema import Core, Layer, Report
from snnc.simulator import Run, accounting, energy


def layers_csv(report: Report) -> str:
    """One row per layer, inputs included; a column per field of :class:`~snnc.report.schema.Layer`."""
    return _fields(Layer, report.layers)


def cores_csv(report: Report) -> str:
    """One row per core; a column per field of :class:`~snnc.report.schema.Core`, and the most that a core has."""
    most = {f"{name}_max": use.limit_per_core for name, use in report.resources.items()}
    return _fields(Core, report.cores, most)


def samples_csv(image: Image, run: Run) -> str:
    """One row per sample: label, prediction, all that was counted on the chip, its time in ns and energy in pJ.

    link_messages: over the link that carries most in this sample.
    """
    total, messages = accounting.account(image, run).totals, accounting.links(image, run).messages
    labels = [""] * run.samples if run.labels is None else run.labels
    columns = {
        "sample": np.arange(run.samples),
        "label": labels,
        "prediction": run.outputs.argmax(axis=1),
        **vars(total),
        "link_messages": messages.max(axis=1, initial=0),
        "time_ns": run.time_ps / 1000,
        "latest_ns": run.latest_ps / 1000,
        "energy_pj": energy.kinds(image, total).total_pj.round(3),
    }
    return _csv(list(columns), zip(*columns.values(), strict=True))


def steps_csv(image: Image, run: Run) -> str:
    """One row per step, means over the samples: what was counted, length in ns, energy in pJ; and the longest."""
    found = accounting.steps(image, run)
    columns = {"step": np.arange(run.steps), **{name: value.mean(axis=0) for name, value in vars(found).items()}}
    columns["time_ns_max"] = found.time_ns.max(axis=0)
    columns["energy_pj"] = energy.kinds(image, found).total_pj.mean(axis=0)
    return _csv(list(columns), zip(*columns.values(), strict=True))


def links_csv(image: Image, run: Run) -> str:
    """One row per link from tile to tile that a route takes: its ends on the board, whether it crosses to another chip,
    and the messages that it carries: mean and most of a sample.
    """
    found = accounting.links(image, run)
    columns = {
        "from_x": found.start[:, 0],
        "from_y": found.start[:, 1],
        "to_x": found.stop[:, 0],
        "to_y": found.stop[:, 1],
        "crossing": found.crossing.astype(int),
        "messages": found.messages.mean(axis=0),
        "messages_max": found.messages.max(axis=0),
    }
    return _csv(list(columns), zip(*columns.values(), strict=True))


def _fields(kind: type[msgspec.Struct], things: Sequence[msgspec.Struct], more: Mapping[str, object] = {}) -> str:
    """A row per thing, a column per field of it; and columns that are the same for all."""
    names = kind.__struct_fields__
    rows = ([*(_cell(getattr(thing, name)) for name in names), *more.values()] for thing in things)
    return _csv([*names, *more], rows)


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
