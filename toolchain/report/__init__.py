"""Reports: plain data about an image, or a network, and a run of it, and its forms: text, JSON, CSV."""

from snnc.report.activity import activity, activity_csv, activity_table
from snnc.report.build import build, side
from snnc.report.chips import chip_list, chip_sheet
from snnc.report.difference import Compiled, Difference, difference
from snnc.report.difference_text import difference_table
from snnc.report.neurobench import neurobench_table
from snnc.report.passes import partial, passes_table
from snnc.report.schema import NetworkActivity, Report, Side
from snnc.report.tables import cores_csv, layers_csv, links_csv, samples_csv, steps_csv
from snnc.report.text import cost_table, summary

__all__ = [
    "Compiled",
    "Difference",
    "NetworkActivity",
    "Report",
    "Side",
    "activity",
    "activity_csv",
    "activity_table",
    "build",
    "chip_list",
    "chip_sheet",
    "cores_csv",
    "cost_table",
    "difference",
    "difference_table",
    "layers_csv",
    "links_csv",
    "neurobench_table",
    "partial",
    "passes_table",
    "samples_csv",
    "side",
    "steps_csv",
    "summary",
]
