"""The jobs behind the verbs that run something: data and networks or images in, reports and tables out."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import numpy as np

from snnc import datasets, frontends, report, verification
from snnc.compare import Comparison
from snnc.datasets import Excerpt, Feed
from snnc.errors import UsageError
from snnc.files import atomic
from snnc.frontends.reading import Reading
from snnc.image import Image
from snnc.network import Network
from snnc.recordings import LARGE_BYTES, size_in_bytes, whole
from snnc.report import NetworkActivity, Report
from snnc.samples import Recording, accuracy, expect, load_inputs
from snnc.simulator import Run, simulate, trace_file, workload
from snnc.simulator.traces import Trace
from snnc.workflow import NO_DATA, write_report

if TYPE_CHECKING:
    from snnc.targets.lava.session import Through

Progress = Callable[[int, int, str], None]


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


def run_lava(
    image: Image,
    recording: Recording,
    *,
    through: Through | None = None,
    registers: bool = False,
    out: Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Run an image in Lava; spikes of each layer and accuracy as plain data.

    through: how it comes into Lava, see :func:`snnc.targets.lava.session.route`. out: file for the spikes of all layers
    in every step, and with `registers` for u and v (:mod:`snnc.simulator.trace_file`).
    """
    from snnc.targets.lava import session

    if registers and out is None:
        raise UsageError(
            "--registers says what to write down besides spikes, and not where to", fix="add --output FILE"
        )
    network = image.network
    through = through or session.route(network, values=recording.kind != np.uint8)

    def move(done: int, every: int) -> None:
        if progress is not None:
            progress(done, every, "steps")

    spikes: Counter[str] = Counter()
    counts: list[np.ndarray] = []
    with nullcontext() if out is None else trace_file.create(out) as sink:
        played = session.play(network, recording, through=through, registers=registers, progress=move)
        for block, traces in played:
            if sink is not None:
                if block.start == 0:
                    forms = {trace: (values.dtype, values.shape[2:]) for trace, values in traces.items()}
                    sink.open(forms, len(recording), recording.steps)
                for trace, values in traces.items():
                    sink.write(trace, block, 0, values)
            shown = {name: traces[verification.shown_by(network, name), name] for name in network.outputs}
            summed = [values.sum(axis=1).reshape(len(values), -1) for values in shown.values()]
            counts.append(np.concatenate(summed, axis=1))
            spikes.update({name: int(values.sum()) for (kind, name), values in traces.items() if kind == "spikes"})
    labels = recording.labels
    return {
        "through": through,
        "samples": len(recording),
        "steps": recording.steps,
        "spikes": dict(spikes),
        "accuracy": None if labels is None else accuracy(np.concatenate(counts), labels),
        "file": None if out is None else str(out),
    }


def verify_image(
    image: Image,
    recording: Recording,
    *,
    on: str,
    through: Through | None = None,
    registers: bool = False,
    progress: Progress | None = None,
) -> tuple[Comparison, dict[str, Any]]:
    """Compare an image with another executor (:func:`snnc.verification.verify`), and the outcome as plain data."""
    if on == "lava" and through is None:
        from snnc.targets.lava import session

        through = session.route(image.network, values=recording.kind != np.uint8)
    result = verification.verify(image, recording, on=on, through=through, registers=registers, progress=progress)
    return result, verdict(result, on) | ({} if through is None else {"through": through})


def verdict(result: Comparison, on: str) -> dict[str, Any]:
    """A comparison as plain data for a report."""
    return {
        "on": on,
        "samples": result.samples,
        "steps": result.steps,
        "compared": result.compared,
        "registers": result.registers,
        "spikes": sum(result.spikes.values()),
        "differing": sum(result.differing.values()),
        "layers": {name: {"spikes": n, "differing": result.differing[name]} for name, n in result.spikes.items()},
        "first": None if result.first is None else asdict(result.first),
    }
