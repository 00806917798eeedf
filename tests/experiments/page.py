"""The page docs/numbers.md: one part for each experiment, each written by its own script."""

from __future__ import annotations

import platform
import re
from pathlib import Path

import snnc

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/numbers.md"

# Parts of the page in order, and the script that writes each.
PARTS = {
    "digits": "tests.experiments.digits",
    "networks": "tests.experiments.networks",
    "resets": "tests.experiments.resets",
    "silicon": "tests.experiments.lsnn_smnist",
    "loihi2": "tests.experiments.pilotnet",
    "mapping": "tests.instances.score --write",
    "simulator": "tests.benchmarks.simulator --write",
}
HEAD = (
    "# Numbers\n\nWritten by `make numbers`, each part by its own script: "
    + ",\n".join(f"`python -m {script}`" for script in PARTS.values())
    + ".\n"
)


def put(part: str, title: str, rows: list[str], seconds: float) -> None:
    """Replace one part of the page and leave the others."""
    found = dict(re.findall(r"<!-- (\w+) -->\n(.*?)(?=<!-- |\Z)", PAGE.read_text(), flags=re.DOTALL))
    minutes = max(1, round(seconds / 60))
    made = f"Made in {minutes} minute{'s' * (minutes > 1)} ({platform.machine()}, snnc {snnc.__version__})."
    found[part] = "\n".join([f"\n## {title}", "", made, "", *rows, ""])
    text = HEAD + "".join(f"\n<!-- {p} -->\n{found[p].rstrip()}\n" for p in PARTS if p in found)
    PAGE.write_text(text)
