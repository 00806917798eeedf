"""The jobs behind the verbs that compile and report: several steps of the API, files in, files out.

Those that run something are in :mod:`snnc.runs`.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snnc import datasets, families, frontends, report
from snnc.compilation import Options, Spent
from snnc.datasets import Feed
from snnc.errors import DoesNotFit, UsageError
from snnc.files import atomic, sniff
from snnc.frontends.reading import AS_WRITTEN, Reading
from snnc.image import Image, is_image
from snnc.network import Network
from snnc.report import Report, Side
from snnc.report.schema import from_json, to_json
from snnc.samples import Samples
from snnc.simulator import simulate
from snnc.target import Target

if TYPE_CHECKING:  # the compiler, which nothing that is simulated needs
    import numpy as np

    from snnc import pipeline
    from snnc.chip import Chip
    from snnc.quantization.grid import Tune

Progress = Callable[[int, int, str], None]
NO_DATA = "none"
IMAGE = "image.snnc"

_logger = logging.getLogger(__name__)


def load_samples(spec: str | None, split: str, *, network: Network | None = None) -> Samples | None:
    """The samples of a data set, or None where the user said so (or nobody said anything). network: that they feed."""
    if spec is None or spec == NO_DATA:
        return None
    return datasets.samples(spec, split, feed=None if network is None else Feed.of(network))


def chip(target: str | Target) -> Chip:
    """What a search for tickets asks of a target: ``tickets.find(..., chip=chip("loihi2"))``.

    target: a chip of a mesh or its name; UsageError for chips with a clock.
    """
    from snnc.chip import Chip

    found = families.load(target) if isinstance(target, str) else target
    if not isinstance(found, Target):
        raise UsageError(
            f"tickets are balanced and priced for chips of a mesh, and {found.name} is none",
            fix="choose another --target (snnc targets)",
        )
    return Chip(found)


def compile_file(
    source: Path,
    target: Target,
    out: Path,
    *,
    data: str | None = None,
    options: Options | None = None,
    parent: Path | None = None,
    reading: Reading = AS_WRITTEN,
    finetune: int | None = None,
    remap: bool = False,
    dump: Path | None = None,
    patience: float | None = None,
    progress: Progress | None = None,
) -> Report:
    """Compile a model file into the folder `out`: image.snnc, report.json, layers.csv, cores.csv.

    data: calibration data; None = what the model was trained on, "none" = no data. Of a data set the
    validation split is used, so that the test split stays unseen. parent: file of a dense network to
    compare with; a ticket's checkpoint brings its own. finetune: epochs for which the integers of a checkpoint are
    trained on, by its recipe (:mod:`snnc.tickets.tuning`); None = not at all. remap: search cores for a ticket that was
    balanced on some, as every option for the mapping does. dump: a folder for the state after each pass. patience:
    seconds to look for what would make the network fit, where it does not; None = :mod:`snnc.cures`'.
    """
    from snnc import pipeline

    around: dict[str, Spent] = {}
    with _stage("read", around, progress):
        network, about, samples = _read(source, reading, data)
        tune = _tuner(source, about, finetune, options, progress)
        groups = _groups(source, about, options, remap)
    provenance = {
        "file": source.name,
        "sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
        **about,
        "reading": {k: v for k, v in asdict(reading).items() if v not in (None, False)},
    }
    with _diagnosed(patience, progress):
        result = pipeline.compile(
            network,
            target,
            samples=samples,
            options=options,
            provenance=provenance,
            tune=tune,
            groups=groups,
            progress=_by_pass(progress),
            dump=dump,
        )
    spent = around | result.spent
    run, dense, note = None, None, ""
    if samples is not None:
        with _stage("simulate", spent, progress):
            run = simulate(result.image, samples)
    if parent is not None or about.get("parent"):
        with _stage("dense parent", spent, progress):
            other = frontends.load(parent, reading)[0] if parent else frontends.load(source, parent=True)[0]
            # A dense parent from elsewhere may be of another kind, which the recipe does not fit.
            dense, note = _dense(other, target, samples, options, None if parent else tune)
    document = report.build(
        result.image,
        run,
        data="" if samples is None else samples.name,
        inputs=None if samples is None else samples.spikes,
        dense=dense,
        dense_note=note,
        spent=spent,
    )
    write_report(document, out)
    result.image.save(out / IMAGE)
    return document


def compile_partly(
    source: Path,
    target: Target,
    last: str,
    *,
    data: str | None = None,
    options: Options | None = None,
    reading: Reading = AS_WRITTEN,
    finetune: int | None = None,
    remap: bool = False,
    dump: Path | None = None,
    patience: float | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """What is known of a model file after the pass `last`, as plain data; arguments as for :func:`compile_file`.

    Nothing is written, except to `dump`. notes: on the file; state: see :func:`snnc.dump.state`.
    """
    from snnc import pipeline
    from snnc.dump import state as describe

    passes = pipeline.until(last)  # the name is wrong sooner than the file is read
    around: dict[str, Spent] = {}
    with _stage("read", around, progress):
        network, about, samples = _read(source, reading, data)
        tune = _tuner(source, about, finetune, options, progress)
        groups = _groups(source, about, options, remap)
    with _diagnosed(patience, progress):
        state, spent = pipeline.compile_until(
            last,
            network,
            target,
            samples=samples,
            options=options,
            tune=tune,
            groups=groups,
            progress=_by_pass(progress),
            dump=dump,
        )
    return {
        "network": network.name,
        "target": target.name,
        "stopped_after": last,
        "passes": len(passes),
        "of": len(pipeline.PASSES),
        "seconds": {name: each.seconds for name, each in (around | spent).items()},
        "notes": about["notes"],
        "state": describe(state, len(passes), last),
    }


def _read(source: Path, reading: Reading, data: str | None) -> tuple[Network, dict[str, Any], Samples | None]:
    """A network, what its file says of itself, and what to calibrate with: `data`, or what it was trained on."""
    network, about = frontends.load(source, reading)
    spec = data or about.get("data") or None
    samples = load_samples(spec, "validation", network=network)
    return network, {**about, "data": "" if spec in (None, NO_DATA) else spec}, samples


@contextmanager
def _stage(name: str, spent: dict[str, Spent], progress: Progress | None) -> Iterator[None]:
    """Something before or after the passes, shown and timed as they are."""
    if progress:
        progress(int(bool(spent)), 1, name)
    begin = time.perf_counter()
    yield
    spent[name] = Spent.since(begin)


@contextmanager
def _diagnosed(patience: float | None, progress: Progress | None) -> Iterator[None]:
    """A compilation whose network, if it does not fit, is told what would make it fit."""
    try:
        yield
    except DoesNotFit as error:
        from snnc import cures

        seconds = cures.PATIENCE if patience is None else patience
        cures.attach(error, seconds=seconds, progress=progress and (lambda what: progress(1, 1, f"try {what}")))
        raise


def _by_pass(progress: Progress | None) -> pipeline.Progress | None:
    return progress and (lambda name, index, count: progress(index, count, f"{index + 1}/{count} {name}"))


def _tuner(
    source: Path, about: Mapping[str, Any], epochs: int | None, options: Options | None, progress: Progress | None
) -> Tune | None:
    """What trains the integers on for so many epochs, or not at all; UsageError where the file does not say how."""
    if epochs is None:
        return None
    from snnc import tickets

    if about.get("format") != "checkpoint":
        raise UsageError(
            "only a checkpoint of snnc says how its network is trained, and on what",
            where=str(source),
            fix="leave out --finetune, or compile what snnc ticket or snnc train wrote",
        )

    def tell(stage: str, done: int, total: int, note: str) -> None:
        if progress is not None:
            progress(done, total, f"{stage} {note}")

    return tickets.tuner(source, epochs=epochs, seed=(options or Options()).seed, progress=tell)


def _groups(
    source: Path, about: Mapping[str, Any], options: Options | None, remap: bool
) -> Mapping[str, np.ndarray] | None:
    """The cores that a balanced ticket was made for, unless others are asked for."""
    if not about.get("grouped"):
        return None
    if remap or (options or Options()).maps:
        _logger.warning("the ticket was balanced on cores of its own; on those that are asked for, it is not")
        return None
    from snnc import tickets

    return tickets.groups(source)


def _dense(
    network: Network, target: Target, samples: Samples | None, options: Options | None, tune: Tune | None
) -> tuple[Side | None, str]:
    """The figures of the dense parent, or why there are none."""
    from snnc import pipeline

    try:
        image = pipeline.compile(network, target, samples=samples, options=options, tune=tune).image
    except DoesNotFit as error:
        return None, f"does not fit: {error.where}: {error.message}"
    return report.side(image, None if samples is None else simulate(image, samples)), ""


def write_report(document: Report, out: Path) -> None:
    """layers.csv, cores.csv and report.json in the folder `out`, each whole or not at all; the report comes last."""
    for name, content in (
        ("layers.csv", report.layers_csv(document).encode()),
        ("cores.csv", report.cores_csv(document).encode()),
        ("report.json", to_json(document)),
    ):
        with atomic(out / name) as temporary:
            temporary.write_bytes(content)


def read_report(path: Path) -> Report:
    """The report in a folder that :func:`write_report` wrote, or in the file itself."""
    file = path / "report.json" if path.is_dir() else path
    sniff(file)
    return from_json(file.read_bytes(), str(file))


def open_compiled(path: Path) -> report.Compiled:
    """What is known of a compilation: of a folder its report and its image, of either file what it holds."""
    if path.is_dir():
        image = Image.load(path / IMAGE) if (path / IMAGE).exists() else None
        if image is None or (path / "report.json").exists():
            return report.Compiled(str(path), read_report(path), image)
    elif is_image(path):
        image = Image.load(path)
    else:
        return report.Compiled(str(path), read_report(path), None)
    return report.Compiled(str(path), report.build(image), image)
