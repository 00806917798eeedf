"""The jobs behind the verbs of the command line: several steps of the API, files in, files out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from snnc import datasets, frontends, pipeline, report
from snnc.compare import Comparison
from snnc.compilation import Options
from snnc.errors import DoesNotFit, UsageError
from snnc.files import atomic, sniff
from snnc.image import Image
from snnc.network import Network
from snnc.report import Report, Side
from snnc.report.schema import from_json, to_json
from snnc.samples import Samples, accuracy
from snnc.simulator import simulate
from snnc.target import Target

Progress = Callable[[int, int, str], None]
NO_DATA = "none"


def load_samples(spec: str | None, split: str, limit: int | None = None) -> Samples | None:
    """The first `limit` samples of a data set, or None where the user said so (or nobody said anything)."""
    if spec is None or spec == NO_DATA:
        return None
    if limit is not None and limit < 1:
        raise UsageError(f"{limit} samples are none", fix="choose --samples 1 or more")
    return datasets.samples(spec, split).first(limit)


def required_samples(image: Image, spec: str | None, split: str, limit: int | None) -> Samples:
    """Samples to run an image on: of `spec`, or else of the data its network was trained on."""
    chosen = spec or image.provenance.get("source", {}).get("data")
    samples = load_samples(chosen or None, split, limit)
    if samples is None:
        raise UsageError("the image does not say what data its network was trained on", fix="name some: --data SPEC")
    return samples


def compile_file(
    source: Path,
    target: Target,
    out: Path,
    *,
    data: str | None = None,
    options: Options | None = None,
    parent: Path | None = None,
    dt: float | None = None,
    progress: Progress | None = None,
) -> Report:
    """Compile a model file into the folder `out`: image.snnc, report.json, layers.csv, cores.csv.

    data: calibration data; None = what the model was trained on, "none" = no data. Of a data set the
    validation split is used, so that the test split stays unseen. parent: file of a dense network to
    compare with; a ticket's checkpoint brings its own.
    """
    network, about = frontends.load(source, dt=dt)
    spec = data or about.get("data") or None
    samples = load_samples(spec, "validation")
    provenance = {
        "file": source.name,
        "sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
        **about,
        "data": "" if spec in (None, NO_DATA) else spec,
    }
    result = pipeline.compile(
        network,
        target,
        samples=samples,
        options=options,
        provenance=provenance,
        progress=progress and (lambda name, index, count: progress(index, count, name)),
    )
    run = None if samples is None else simulate(result.image, samples)
    dense, note = None, ""
    if parent is not None or about.get("parent"):
        other = frontends.load(parent, dt=dt)[0] if parent else frontends.load(source, parent=True)[0]
        dense, note = _dense(other, target, samples, options)
    document = report.build(
        result.image,
        run,
        data="" if samples is None else samples.name,
        dense=dense,
        dense_note=note,
        seconds=result.seconds,
    )
    write_report(document, out)
    result.image.save(out / "image.snnc")
    return document


def _dense(
    network: Network, target: Target, samples: Samples | None, options: Options | None
) -> tuple[Side | None, str]:
    """The figures of the dense parent, or why there are none."""
    try:
        image = pipeline.compile(network, target, samples=samples, options=options).image
    except DoesNotFit as error:
        return None, f"does not fit: {error.where}: {error.message}"
    return report.side(image, None if samples is None else simulate(image, samples)), ""


def write_report(document: Report, out: Path) -> None:
    """report.json, layers.csv and cores.csv in the folder `out`, each whole or not at all."""
    for name, content in (
        ("report.json", to_json(document)),
        ("layers.csv", report.layers_csv(document).encode()),
        ("cores.csv", report.cores_csv(document).encode()),
    ):
        with atomic(out / name) as temporary:
            temporary.write_bytes(content)


def read_report(path: Path) -> Report:
    """The report in a folder that :func:`write_report` wrote, or in the file itself."""
    file = path / "report.json" if path.is_dir() else path
    sniff(file)
    return from_json(file.read_bytes(), str(file))


def simulate_image(
    image: Image,
    samples: Samples,
    *,
    threads: int | None = None,
    out: Path | None = None,
    progress: Progress | None = None,
) -> Report:
    """Run samples through an image and report what was counted.

    out: folder for the report, its tables and samples.csv.
    """
    run = simulate(image, samples, threads=threads, progress=progress and (lambda k, n: progress(k, n, "samples")))
    document = report.build(image, run, data=samples.name)
    if out is not None:
        write_report(document, out)
        with atomic(out / "samples.csv") as temporary:
            temporary.write_text(report.samples_csv(image, run))
    return document


def run_lava(image: Image, samples: Samples, progress: Progress | None = None) -> dict[str, Any]:
    """Run an image in Lava; spikes of each layer and accuracy as plain data."""
    from snnc.targets import lava

    rasters = lava.run(image.network, samples, progress=progress and (lambda k, n: progress(k, n, "steps")))
    (output,) = image.network.outputs
    counts = rasters[output].sum(axis=1).reshape(len(samples), -1)
    return {
        "samples": len(samples),
        "steps": samples.steps,
        "spikes": {name: int(raster.sum()) for name, raster in rasters.items()},
        "accuracy": None if samples.labels is None else accuracy(counts, samples.labels),
    }


def verdict(result: Comparison, on: str) -> dict[str, Any]:
    """A comparison as plain data for a report."""
    return {
        "on": on,
        "samples": result.samples,
        "steps": result.steps,
        "compared": result.compared,
        "spikes": sum(result.spikes.values()),
        "differing": sum(result.differing.values()),
        "layers": {name: {"spikes": n, "differing": result.differing[name]} for name, n in result.spikes.items()},
        "first": None if result.first is None else asdict(result.first),
    }
