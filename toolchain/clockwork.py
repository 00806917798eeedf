"""The jobs behind the verbs for chips with a clock: files in, files out; others are in :mod:`snnc.workflow`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from snnc import frontends
from snnc.compilation import Options
from snnc.crossbars import memories, report, running
from snnc.crossbars.compiler import compile
from snnc.crossbars.image import Image
from snnc.crossbars.report import ClockedReport
from snnc.crossbars.running import Run
from snnc.errors import VerificationError
from snnc.families import ClockedChip
from snnc.files import atomic
from snnc.frontends.reading import AS_WRITTEN, Reading
from snnc.network import Network
from snnc.samples import Samples, accuracy
from snnc.simulator.floating import batches
from snnc.workflow import IMAGE, NO_DATA, load_samples

Progress = Callable[[int, int, str], None]


def compile_file(
    source: Path,
    chip: ClockedChip,
    out: Path,
    *,
    data: str | None = None,
    options: Options | None = None,
    reading: Reading = AS_WRITTEN,
    progress: Progress | None = None,
) -> ClockedReport:
    """Compile a model file into the folder `out`: image.snnc, report.json and the memories of the chip.

    data: as of :func:`snnc.workflow.compile_file`. VerificationError where the chip loses more accuracy than
    `options.max_drop` allows; then nothing is written.
    """
    options = options or Options()
    network, about = frontends.load(source, reading)
    spec = data or about.get("data") or None
    samples = load_samples(spec, "validation", network=network if network.inputs else None)
    image = compile(
        network,
        chip,
        samples=samples,
        options=options,
        provenance={
            "file": source.name,
            "sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
            **about,
            "data": "" if spec in (None, NO_DATA) else spec,
            "reading": {k: v for k, v in asdict(reading).items() if v not in (None, False)},
        },
        progress=progress and (lambda name, index, count: progress(index, count, name)),
    )
    run, exact = None, None
    if samples is not None:
        run = running.run(image, samples, progress=progress and (lambda k, n: progress(k, n, "samples")))
        exact = _accuracy(network, samples)
        lost = 100 * ((exact or 0.0) - (run.accuracy or 0.0))
        if options.max_drop is not None and lost > options.max_drop:
            raise VerificationError(
                f"{lost:.2f} points of accuracy are lost on the calibration data; {options.max_drop:g} are allowed",
                where=network.name,
                fix="allow more with --max-drop, or train the network for the chip",
            )
    files = memories.write(image, out)
    document = report.build(image, run, samples, accuracy_float=exact, files=files)
    _write(document, out)
    image.save(out / IMAGE)
    return document


def _accuracy(network: Network, samples: Samples) -> float | None:
    """Of the float network as it was read; None without labels."""
    if samples.labels is None:
        return None
    counts = batches.counts(network, {network.inputs[0].name: samples.spikes}, network.outputs)
    return accuracy(np.concatenate([counts[name] for name in network.outputs], axis=1), samples.labels)


def simulate_image(
    image: Image,
    samples: Samples,
    *,
    threads: int | None = None,
    out: Path | None = None,
    progress: Progress | None = None,
) -> ClockedReport:
    """Run samples through an image cycle by cycle. out: folder for report.json, samples.csv and spikes.npz.

    spikes.npz: of each layer uint16 (samples, steps, neurons), and `cycles`, int64 (samples, steps).
    """
    run = running.run(image, samples, threads=threads, progress=progress and (lambda k, n: progress(k, n, "samples")))
    document = report.build(image, run, samples)
    if out is not None:
        _write(document, out)
        with atomic(out / "samples.csv") as temporary:
            temporary.write_text(_samples_csv(run))
        with atomic(out / "spikes.npz") as temporary:
            arrays: dict[str, Any] = {f"spikes/{name}": fired for name, fired in run.spikes.items()}
            np.savez_compressed(temporary, cycles=run.cycles, **arrays)
    return document


def read_report(path: Path) -> ClockedReport | None:
    """The report in a folder or file, if it is of a chip with a clock."""
    file = path / "report.json" if path.is_dir() else path
    try:
        return msgspec.json.decode(file.read_bytes(), type=ClockedReport)
    except (OSError, msgspec.DecodeError):
        return None


def _write(document: ClockedReport, out: Path) -> None:
    with atomic(out / "report.json") as temporary:
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=1))


def _samples_csv(run: Run) -> str:
    """One row per sample: cycles, counts, prediction."""
    names = list(run.counts)
    rows: list[list[Any]] = [["sample", "label", "prediction", "cycles", *names]]
    for k in range(len(run.total)):
        label = "" if run.labels is None else int(run.labels[k])
        counted = [int(run.counts[name][k]) for name in names]
        rows.append([k, label, int(run.outputs[k].argmax()), int(run.total[k]), *counted])
    return "".join(",".join(map(str, row)) + "\n" for row in rows)
