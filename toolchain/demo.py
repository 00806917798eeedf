"""The main job in one go, on real data: from training to the chip, checked against Lava.

Nothing here is special to the demo: it calls what the verbs call, in the order in which a
user would, and says what it does.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from snnc import datasets, frontends, models, pipeline, report, runs, tickets, workflow
from snnc import target as chips
from snnc.compilation import Options
from snnc.errors import UsageError, VerificationError
from snnc.frontends import nir
from snnc.models.recipe import Recipe
from snnc.network import identical
from snnc.report import Report
from snnc.samples import Samples
from snnc.simulator import simulate
from snnc.targets import lava
from snnc.verification import verify

Progress = Callable[[int, int, str], None]

# Which recipe a data set gets: recordings are worth a convolution, digits are small enough for an MLP.
RECIPES = {"digits": "mlp", "nmnist": "conv"}


def run(
    out: Path,
    *,
    data: str,
    target: str,
    sparsity: float,
    samples: int | None,
    seed: int,
    say: Callable[[str], None],
    progress: Progress,
) -> tuple[str, Report]:
    """Do everything in the folder `out`; returns the text to show and the report, which is also in `out`.

    samples: test samples for the comparison with Lava, None = all. say: receives a line per step.
    Raises VerificationError where the NIR file does not read back identically or a spike differs from Lava.
    """
    chip, recipe = chips.load(target), _recipe(data)
    lava.setup(say)  # not part of the time that is reported: it is done once
    begin = time.perf_counter()

    say(f"1/6  train {recipe.name} on {data}, then find a ticket with {sparsity:.0%} of its weights removed")
    tickets.find(
        recipe,
        sparsity=sparsity,
        data=data,
        seed=seed,
        out=out / "ticket.pt",
        progress=lambda stage, done, total, note: progress(done, total, f"{stage} {note}"),
    )
    network, about = frontends.load(out / "ticket.pt")
    parent, _ = frontends.load(out / "ticket.pt", parent=True)

    say("2/6  write the ticket as NIR and read it back")
    nir.write(network, out / "ticket.nir", extra={"data": about["data"]})
    if not identical(frontends.load(out / "ticket.nir")[0], network):
        raise VerificationError("the NIR file does not read back as the same network", where=str(out / "ticket.nir"))

    say(f"3/6  compile ticket and dense parent for {chip.name}")
    calibration, test = (datasets.samples(about["data"], split) for split in ("validation", "test"))
    options = Options(seed=seed, scales="layer")  # .net holds one threshold for a layer
    source = {"file": "ticket.nir", **about}
    result = pipeline.compile(network, chip, samples=calibration, options=options, provenance=source)
    dense = pipeline.compile(parent, chip, samples=calibration, options=options)
    result.image.save(out / "image.snnc")

    say(f"4/6  simulate both on {len(test)} test samples")
    counted = simulate(result.image, test)
    dense_side = report.side(dense.image, simulate(dense.image, test))

    say("5/6  run the same image in Intel's Lava and compare every spike of every layer")
    lava.export(result.image.network, out / "model.net", test.steps)
    compared = verify(result.image, test.first(samples), on="lava", progress=progress)
    found = runs.verdict(compared, "lava")
    if compared.first is not None:
        raise VerificationError(f"{found['differing']:,} values differ from lava; the first: {compared.first}")

    say("6/6  report")
    document = report.build(
        result.image,
        counted,
        data=test.name,
        inputs=test.spikes,
        dense=dense_side,
        verified=[found],
        spent=result.spent,
    )
    workflow.write_report(document, out)
    return _text(document, out, time.perf_counter() - begin, _float_accuracy(about, test)), document


def _recipe(data: str) -> Recipe:
    name = re.split("[=:]", data)[0]
    if name not in RECIPES:
        raise UsageError(f"the demo does not know the data '{data}'", fix="--data digits or --data nmnist=FOLDER")
    return models.recipe(RECIPES[name])


def _float_accuracy(about: dict[str, Any], test: Samples) -> str:
    accuracy = about["accuracy"].get("test")
    return "" if accuracy is None else f"float ticket in torch on the same {len(test)} test samples: {accuracy:.2%}"


def _text(document: Report, out: Path, seconds: float, note: str) -> str:
    files = "ticket.pt ticket.nir image.snnc model.net report.json layers.csv cores.csv"
    rows = [report.summary(document), "", note, f"took {seconds:.0f} s   wrote {out}/: {files}"]
    return "\n".join(rows)
