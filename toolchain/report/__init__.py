"""Reports: plain data about an image and a run of it, and its forms: text, JSON, CSV."""

from snnc.report.build import build, side
from snnc.report.chips import chip_list, chip_sheet
from snnc.report.schema import Report, Side
from snnc.report.tables import cores_csv, layers_csv, samples_csv
from snnc.report.text import cost_table, summary

__all__ = [
    "Report",
    "Side",
    "build",
    "chip_list",
    "chip_sheet",
    "cores_csv",
    "cost_table",
    "layers_csv",
    "samples_csv",
    "side",
    "summary",
]
