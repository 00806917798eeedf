"""The jobs behind the verbs of the command line: several steps of the API, files in, files out."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import numpy as np

from snnc import datasets, frontends, report
from snnc.compare import Comparison
from snnc.compilation import Options, Spent
from snnc.datasets import Excerpt, Feed
from snnc.errors import DoesNotFit, UsageError
from snnc.files import atomic, sniff
from snnc.frontends.reading import AS_WRITTEN, Reading
from snnc.image import Image, is_image
from snnc.network import Network
from snnc.recordings import LARGE_BYTES, size_in_bytes, whole
from snnc.report import NetworkActivity, Report, Side
from snnc.report.schema import from_json, to_json
from snnc.samples import Recording, Samples, accuracy, expect, load_inputs
from snnc.simulator import Run, simulate, trace_file, workload
from snnc.simulator.traces import Trace
from snnc.target import Target

if TYPE_CHECKING:  # the compiler, which nothing that is simulated needs
    from snnc import pipeline
    from snnc.quantization.grid import Tune

Progress = Callable[[int, int, str], None]
NO_DATA = "none"
IMAGE = "image.snnc"


def load_samples(spec: str | None, split: str, *, network: Network | None = None) -> Samples | None:
    """The samples of a data set, or None where the user said so (or nobody said anything). network: that they feed."""
    if spec is None or spec == NO_DATA:
        return None
    return datasets.samples(spec, split, feed=None if network is None else Feed.of(network))


class Described(Protocol):
    """An image of any family of chips."""

    @property
    def network(self) -> Network: ...
    @property
    def provenance(self) -> dict[str, Any]: ...


def required_recording(image: Described, spec: str | None, excerpt: Excerpt, dt: float | None = None) -> Recording:
    """What to run an image on: what `spec` names, or else the data its network was trained on.

    dt: seconds per step of events, instead of the network's.
    """
    chosen = spec or image.provenance.get("source", {}).get("data")
    if not chosen or chosen == NO_DATA:
        raise UsageError("the image does not say what data its network was trained on", fix="name some: --data SPEC")
    return datasets.recording(chosen, excerpt, Feed.of(image.network, dt))


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
    dump: Path | None = None,
    patience: float | None = None,
    progress: Progress | None = None,
) -> Report:
    """Compile a model file into the folder `out`: image.snnc, report.json, layers.csv, cores.csv.

    data: calibration data; None = what the model was trained on, "none" = no data. Of a data set the
    validation split is used, so that the test split stays unseen. parent: file of a dense network to
    compare with; a ticket's checkpoint brings its own. finetune: epochs for which the integers of a checkpoint are
    trained on, by its recipe (:mod:`snnc.tickets.tuning`); None = not at all. dump: a folder for the state after each
    pass. patience: seconds to look for what would make the network fit, where it does not; None = :mod:`snnc.cures`'.
    """
    from snnc import pipeline

    around: dict[str, Spent] = {}
    with _stage("read", around, progress):
        network, about, samples = _read(source, reading, data)
        tune = _tuner(source, about, finetune, options, progress)
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
    with _diagnosed(patience, progress):
        state, spent = pipeline.compile_until(
            last, network, target, samples=samples, options=options, tune=tune, progress=_by_pass(progress), dump=dump
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


@dataclass(frozen=True)
class Running:
    """How to simulate.

    threads: None = all. warmup: steps at the beginning of each sample that are run and not counted. traces: (kind,
    layer), to be written to the file `trace_to` (:mod:`snnc.simulator.trace_file`). stream: keep nothing per step,
    whatever the size of the data; recordings that are too large for memory are run so anyway. reset_every: steps after
    which all neurons begin anew.
    """

    threads: int | None = None
    warmup: int = 0
    traces: tuple[Trace, ...] = ()
    trace_to: Path | None = None
    stream: bool = False
    reset_every: int | None = None

    def run(self, compiled: Image | Network, recording: Recording, progress: Progress | None) -> Run:
        """The run; the traces appear when it is over, and not at all where it fails."""
        if bool(self.traces) != (self.trace_to is not None):
            raise UsageError(
                "--trace says what to write down and --trace-to where; one alone is of no use",
                fix="for instance --trace v fc1 --trace-to traces.h5",
            )

        def move(done: int, every: int) -> None:
            if progress is not None:
                progress(done, every, "samples")

        options: dict[str, Any] = {
            "threads": self.threads,
            "traces": self.traces,
            "warmup": self.warmup,
            "reset_every": self.reset_every,
            "stream": self.stream or size_in_bytes(recording) > LARGE_BYTES,
            "progress": move,
        }
        if self.trace_to is None:
            return simulate(compiled, recording, **options)
        with trace_file.create(self.trace_to) as sink:
            return simulate(compiled, recording, sink=sink, **options)


AS_USUAL = Running()


def _values(recording: Recording, how: Running) -> np.ndarray | None:
    """The values of data that are counted, (samples, steps, *shape); None of spikes, and of what memory cannot hold."""
    if recording.kind == np.uint8 or size_in_bytes(recording) > LARGE_BYTES:
        return None
    return whole(recording).spikes[:, how.warmup :]


def simulate_image(
    image: Image,
    recording: Recording,
    how: Running = AS_USUAL,
    *,
    out: Path | None = None,
    progress: Progress | None = None,
) -> Report:
    """Run samples through an image and report what was counted.

    out: folder for the report, its tables, and samples.csv, steps.csv and links.csv.
    """
    run = how.run(image, recording, progress)
    document = report.build(image, run, data=recording.name, inputs=_values(recording, how))
    if out is not None:
        tables = {"samples.csv": report.samples_csv, "links.csv": report.links_csv}
        if run.step_ns.shape[1]:
            tables["steps.csv"] = report.steps_csv
        for name, table in tables.items():
            with atomic(out / name) as temporary:
                temporary.write_text(table(image, run))
        write_report(document, out)
    return document


def load_network(path: Path, reading: Reading, *, integer: bool) -> tuple[Network, dict[str, Any]]:
    """The network of a model file that is to be run as it is, in integers or in floats; UsageError for the other."""
    network, about = frontends.load(path, reading)
    if integer and not network.integer:
        raise UsageError(
            "this is a float network", where=str(path), fix="run it with --float, or snnc compile it first"
        )
    if not integer and network.integer:
        raise UsageError("this network is of integers", where=str(path), fix="leave out --float")
    return network, about


def network_inputs(network: Network, about: dict[str, Any], spec: str | None, excerpt: Excerpt) -> dict[str, Recording]:
    """What feeds each input of a network; of several inputs from an ``.npz`` with an array for each by name."""
    chosen = spec or about.get("data") or None
    names = [p.name for p in network.inputs]
    if chosen is None or chosen == NO_DATA:
        raise UsageError("the file does not say what data its network was trained on", fix="name some: --data SPEC")
    if len(names) == 1:
        found = datasets.recording(chosen, excerpt, Feed.of(network))
        expect(found, network.inputs[0].shape)
        return {names[0]: found}
    if not chosen.endswith(".npz"):
        raise UsageError(
            f"the network has {len(names)} inputs ({', '.join(names)})",
            where=chosen,
            fix="give an .npz with an array for each of them",
        )
    given = {
        name: datasets.excerpt_of(each, excerpt, chosen) for name, each in load_inputs(Path(chosen), names).items()
    }
    for population in network.inputs:
        expect(given[population.name], population.shape)
    return given


def simulate_network(
    network: Network,
    data: Mapping[str, Recording],
    how: Running = AS_USUAL,
    *,
    out: Path | None = None,
    progress: Progress | None = None,
) -> NetworkActivity:
    """Run a network as it is, without a chip: in floats by its semantics, or in its integers.

    out: folder for activity.json and samples.csv.
    """
    first = next(iter(data.values()))

    def move(done: int, total: int) -> None:
        if progress is not None:
            progress(done, total, "samples")

    begin = time.perf_counter()
    if network.integer:
        run = how.run(network, first, progress)
        starts = network.offsets
        totals = {p.name: run.spikes[:, starts[p.name] : starts[p.name] + p.size] for p in network.populations}
        ends = np.cumsum([network[name].size for name in network.outputs])[:-1]
        totals |= dict(zip(network.outputs, np.split(run.outputs, ends, axis=1), strict=True))
        counted = workload.of_run(network, run, _values(first, how))
    else:
        if how != Running(threads=how.threads):
            raise UsageError(
                "a warm-up, traces, resets and streams are for networks of integers",
                where=network.name,
                fix="leave out --warmup, --trace, --trace-to, --reset-every and --stream, or snnc compile it first",
            )
        from snnc.simulator.floating import batches

        arrays = {name: whole(each).spikes for name, each in data.items()}
        totals, counted = batches.watched(network, arrays, threads=how.threads, progress=move)
    found = report.activity(
        network,
        totals,
        counted,
        arithmetic="integer" if network.integer else "float64",
        data=", ".join(dict.fromkeys(s.name for s in data.values())),
        steps=first.steps - how.warmup,
        warmup=how.warmup,
        labels=first.labels,
        seconds=time.perf_counter() - begin,
    )
    if out is not None:
        with atomic(out / "activity.json") as temporary:
            temporary.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1))
        with atomic(out / "samples.csv") as temporary:
            temporary.write_text(report.activity_csv(found))
    return found


def run_lava(image: Image, samples: Samples, progress: Progress | None = None) -> dict[str, Any]:
    """Run an image in Lava; spikes of each layer and accuracy as plain data."""
    from snnc.targets import lava

    rasters = lava.run(image.network, samples, progress=progress and (lambda k, n: progress(k, n, "steps")))
    (output,) = image.network.outputs
    counts = rasters[output].sum(axis=1).reshape(len(samples), -1)
    return {
        "samples": len(samples),
        "steps": samples.steps,
        "spikes": {name: int(raster.sum()) for name, raster in rasters.items() if raster.dtype == bool},
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
