"""The verbs, but for those that train and those of Lava: parse, call, print."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from snnc.cli.options import (
    AS_THE_FILE_SAYS,
    AS_USUAL,
    DATA_SETS,
    ITS_OWN_DATA,
    OUT,
    ROUTES,
    WHOLE,
    Approximate,
    Chip,
    Compiling,
    ImageFile,
    Model,
    Run,
    Seed,
    Selection,
    Source,
    Through,
    Timing,
    console,
    spike_rows,
)
from snnc.errors import UsageError, VerificationError
from snnc.version import VERSION

app = App(
    name="snnc",
    help="From a trained spiking network to a neuromorphic chip.",
    version=f"snnc {VERSION}",
    default_parameter=Parameter(negative=()),
    result_action="return_value",  # the exit code is ours
    suppress_keyboard_interrupt=False,  # and so is this one
)


@app.command
def export(
    model: Model,
    /,
    *,
    output: Annotated[Path, Parameter(name=OUT, help="The .nir file to write.")],
    source: Source = AS_THE_FILE_SAYS,
) -> None:
    """Write a trained network as NIR."""
    from snnc import frontends
    from snnc.frontends import nir

    network, about = frontends.load(model, source.reading())
    _notes(about)
    nir.write(network, output, extra={"data": str(about.get("data") or "")})
    text = f"wrote {output}: {len(network.layers)} layers, dt {network.dt:g} s"
    console.result(text, {"file": str(output), "layers": [p.name for p in network.layers], "dt": network.dt})


@app.command
def check(
    model: Model, /, *, target: Chip = "loihi", source: Source = AS_THE_FILE_SAYS, approximate: Approximate = False
) -> None:
    """Say whether the operations of a network are possible on a chip; nothing is compiled."""
    from snnc import families as chips
    from snnc import frontends, pipeline
    from snnc.compilation import Options
    from snnc.crossbars import rules
    from snnc.target import Target

    chip = chips.load(target)
    network, about = frontends.load(model, source.reading())
    _notes(about)
    if isinstance(chip, Target):
        pipeline.check_only(network, chip, Options(approximate=approximate))
    else:
        rules.checked(network, chip, approximate=approximate)
    text = f"{network.name}: every operation is possible on {chip.name}; whether it fits is said by: snnc compile"
    found = {"network": network.name, "target": chip.name, "operations": "ok", "notes": about.get("notes", [])}
    console.result(text, found)


@app.command(name="compile")
def compile_(
    model: Model,
    /,
    *,
    target: Chip = "loihi",
    output: Annotated[Path | None, Parameter(name=OUT, help="Folder; MODEL.TARGET here, if not given.")] = None,
    data: Annotated[
        str | None,
        Parameter(help=f"Calibration: {DATA_SETS}, an .npz, or none; the training data, if not given."),
    ] = None,
    parent: Annotated[
        Path | None, Parameter(help="Dense network to compare with; a ticket's checkpoint brings its own.")
    ] = None,
    finetune: Annotated[
        bool, Parameter(help="Train the integers of a checkpoint on, as integers, by its own recipe and data.")
    ] = False,
    epochs: Annotated[int | None, Parameter(help="Of --finetune; 20, if not given.")] = None,
    compiling: Compiling = AS_USUAL,
    stop_after: Annotated[
        str | None, Parameter(help="Show what is known after this pass (such as lower or quantize), and write nothing.")
    ] = None,
    dump: Annotated[Path | None, Parameter(help="Folder for the state after every pass, as text and arrays.")] = None,
    cures: Annotated[
        float, Parameter(help="Seconds to look for what makes a network fit that does not; 0: not at all.")
    ] = 20.0,
    source: Source = AS_THE_FILE_SAYS,
) -> None:
    """Compile a network for a chip: image.snnc, report.json, layers.csv and cores.csv in a folder.

    For a chip with a clock: image.snnc, report.json and the files that its Verilog loads.
    """
    from snnc import families as chips
    from snnc import report, tickets, workflow
    from snnc.target import Target

    chip, options = chips.load(target), compiling.options()
    if not isinstance(chip, Target):
        given = {"--parent": parent, "--finetune": finetune, "--stop-after": stop_after, "--dump": dump}
        _compile_clocked(model, chip, output, data, options, source, given)
        return
    if epochs is not None and not finetune:
        raise UsageError("--epochs is for training, and nothing is trained", fix="add --finetune, or leave it out")
    how: dict[str, Any] = {
        "data": data,
        "options": options,
        "reading": source.reading(),
        "finetune": (tickets.EPOCHS if epochs is None else epochs) if finetune else None,
        "remap": compiling.map is not None,
        "dump": dump,
        "patience": cures,
    }
    if stop_after is not None:
        if output is not None:
            raise UsageError("--stop-after leaves nothing to write", fix="leave out -o, or keep the states: --dump DIR")
        with console.progress(f"compile {model.name}") as move:
            found = workflow.compile_partly(model, chip, stop_after, **how, progress=move)
        _notes(found)
        console.result(report.partial(found), found)
        return
    output = output or Path(f"{model.stem}.{chip.name}")
    with console.progress(f"compile {model.name}") as move:
        document = workflow.compile_file(model, chip, output, parent=parent, **how, progress=move)
    _notes(document.source)
    files = "image.snnc  report.json  layers.csv  cores.csv"
    passes = f"\n{report.passes_table(document)}\n\n" if console.verbose else ""
    console.result(f"{report.summary(document)}\n{passes}{'wrote':13}{output}/   {files}", document)


def _compile_clocked(
    model: Path,
    chip: Any,
    output: Path | None,
    data: str | None,
    options: Any,
    source: Source,
    given: dict[str, Any],
) -> None:
    """The same for a chip with a clock. given: what is not for such chips."""
    from snnc import clockwork
    from snnc.crossbars.report import summary

    for name, value in given.items():
        if value:
            raise UsageError(f"{name} is for chips of a mesh, and {chip.name} is none", fix=f"leave out {name}")
    output = output or Path(f"{model.stem}.{chip.name}")
    with console.progress(f"compile {model.name}") as move:
        document = clockwork.compile_file(
            model, chip, output, data=data, options=options, reading=source.reading(), progress=move
        )
    _notes(document.source)
    files = document.files if len(document.files) < 5 else [document.files[0], "...", document.files[-1]]
    rows = [summary(document), f"{'wrote':13}{output}/   image.snnc  report.json", f"{'':13}{'  '.join(files)}"]
    console.result("\n".join(rows), document)


@app.command
def simulate(
    file: Annotated[Path, Parameter(help="An image.snnc, or a model (.nir, .pt, .net).")],
    /,
    *,
    chosen: Selection = ITS_OWN_DATA,
    float_: Annotated[
        bool, Parameter(name="--float", help="Run the float network of a model file, by its semantics, in float64.")
    ] = False,
    running: Run = WHOLE,
    timing: Timing = None,
    output: Annotated[
        Path | None,
        Parameter(name=OUT, help="Folder for report.json and tables by layer, core, sample, step and link."),
    ] = None,
    source: Source = AS_THE_FILE_SAYS,
) -> None:
    """Run an image on this machine, exact in every spike, and count what the chip would do; or a network as it is."""
    from snnc import report, runs
    from snnc.image import is_clocked, is_image

    if is_clocked(file):
        if float_ or replace(source, dt=None) != AS_THE_FILE_SAYS:
            raise UsageError("an image holds integers, and says all itself", where=str(file), fix="give the model file")
        if replace(running, threads=None) != WHOLE or timing is not None:
            raise UsageError(
                "a chip with a clock is run cycle by cycle, whole samples at once",
                where=str(file),
                fix="leave out --timing, --warmup, --trace, --trace-to, --reset-every and --stream",
            )
        _simulate_clocked(file, chosen, running.threads, output, source.dt)
        return
    if is_image(file):
        if float_ or replace(source, dt=None) != AS_THE_FILE_SAYS:
            raise UsageError("an image holds integers, and says all itself", where=str(file), fix="give the model file")
        compiled, recording = chosen.open(file, source.dt)
        compiled = compiled.using(timing)
        with console.progress("simulate") as move:
            document = runs.simulate_image(compiled, recording, running.how(), out=output, progress=move)
        console.result(_more(report.summary(document), document.neurobench), document)
        return
    if timing is not None:
        raise UsageError("only an image takes time on a chip", where=str(file), fix="leave out --timing, or compile it")
    network, about = runs.load_network(file, source.reading(), integer=not float_)
    _notes(about)
    data = runs.network_inputs(network, about, chosen.data, chosen.excerpt())
    with console.progress("simulate") as move:
        activity = runs.simulate_network(network, data, running.how(), out=output, progress=move)
    console.result(_more(report.activity_table(activity), activity.neurobench), activity)


def _simulate_clocked(
    file: Path, chosen: Selection, threads: int | None, output: Path | None, dt: float | None
) -> None:
    """The same for an image of a chip with a clock."""
    from snnc import clockwork, runs
    from snnc.crossbars.image import Image
    from snnc.crossbars.report import summary
    from snnc.recordings import whole

    image = Image.load(file)
    samples = whole(runs.required_recording(image, chosen.data, chosen.excerpt(), dt))
    with console.progress("simulate") as move:
        document = clockwork.simulate_image(image, samples, threads=threads, out=output, progress=move)
    console.result(summary(document), document)


@app.command
def estimate(image: ImageFile, *, chosen: Selection = ITS_OWN_DATA, timing: Timing = None) -> None:
    """Energy and time per sample: counted events times the chip's constants, each with its source."""
    from snnc import report, runs

    compiled, recording = chosen.open(image)
    with console.progress("simulate") as move:
        document = runs.simulate_image(compiled.using(timing), recording, progress=move)
    console.result(report.cost_table(document), {"cost": document.cost, "this": document.this})


@app.command
def verify(
    image: ImageFile,
    *,
    executor: Annotated[
        Literal["reference", "lava"],
        Parameter(name="--on", help="reference: the slow specification; lava: Intel's Lava on the CPU (fixed_pt)."),
    ] = "reference",
    through: Through = None,
    registers: Annotated[bool, Parameter(help="Compare u and v of every neuron in every step, too.")] = False,
    chosen: Selection = ITS_OWN_DATA,
) -> None:
    """Compare every spike of every layer with another executor of the same image; explain the first that differs."""
    from snnc import runs

    compiled, recording = chosen.open(image)
    with console.progress(f"verify on {executor}") as move:
        result, found = runs.verify_image(
            compiled, recording, on=executor, through=through, registers=registers, progress=move
        )
    if result.first is not None:
        seen = f"{found['differing']:,} of {result.compared:,} values in {result.samples:,} samples"
        raise VerificationError(
            f"{seen} differ from {executor}; the first: {result.first}",
            where=f"{image}\n{result.explanation or 'run again, with registers recorded, nothing differs'}",
            fix="this is a bug of snnc: please report it with the image and the data",
        )
    text = f"0 of {found['spikes']:,} spikes differ from {executor} ({result.samples} samples x {result.steps} steps)"
    rows = [text, *spike_rows(result.spikes)]
    if registers:
        rows.append(f"u and v are equal in all {result.registers:,} values, of every neuron in every step")
    if "through" in found:
        rows.append(f"simulated by Lava on CPU, through {ROUTES[found['through']]}")
    console.result("\n".join(rows), found)


@app.command
def report(
    folder: Annotated[Path, Parameter(help="A folder written by compile, simulate or demo, or a report.json.")],
    *,
    format: Annotated[
        Literal["text", "json", "passes", "layers", "cores"],
        Parameter(help="passes: what each took and found; layers, cores: as CSV."),
    ] = "text",
) -> None:
    """Show the report of a compilation again."""
    from snnc import clockwork, workflow
    from snnc import report as reports
    from snnc.crossbars.report import summary

    if (clocked := clockwork.read_report(folder)) is not None:
        if format not in ("text", "json"):
            raise UsageError(f"a report of {clocked.target} has no {format}", fix="choose --format text or json")
        console.json = console.json or format == "json"
        console.result(summary(clocked), clocked)
        return
    document = workflow.read_report(folder)
    forms = {
        "text": reports.summary,
        "passes": reports.passes_table,
        "layers": reports.layers_csv,
        "cores": reports.cores_csv,
    }
    console.json = console.json or format == "json"
    console.result("" if console.json else forms[format](document).rstrip(), document)


COMPILED = Parameter(help="A folder written by compile, a report.json or an image.snnc.")


@app.command
def diff(a: Annotated[Path, COMPILED], b: Annotated[Path, COMPILED], /) -> None:
    """Compare two compilations: options, sparsity, bits, mapping, memory, traffic, accuracy, energy and time."""
    from snnc import report, workflow

    found = report.difference(workflow.open_compiled(a), workflow.open_compiled(b))
    console.result(report.difference_table(found), found)


@app.command
def targets(name: Annotated[str | None, Parameter(help="A chip or a .toml file.")] = None) -> None:
    """List the chips, or show every number of one with its source, and the rules."""
    from snnc import families as chips
    from snnc import report

    if name is None:
        chosen = [chips.load(n) for n in chips.names()]
        console.result(report.chip_list(chosen), [chip.name for chip in chosen])
    else:
        chip = chips.load(name)
        console.result(report.chip_sheet(chip), chip)


@app.command
def demo(
    *,
    output: Annotated[Path, Parameter(name=OUT, help="The folder to write to.")] = Path("out/demo"),
    data: Annotated[str, Parameter(help="digits, or nmnist=DIR for a folder of recordings.")] = "digits",
    target: Chip = "loihi",
    sparsity: Annotated[float, Parameter(help="Share of the weights to remove.")] = 0.95,
    samples: Annotated[int | None, Parameter(help="Test samples to compare with Lava; all, if not given.")] = None,
    seed: Seed = 0,
) -> None:
    """Everything once: train, find a ticket, export, compile, simulate, compare with Lava, report."""
    from snnc import demo as demonstration

    with console.progress("demo") as move:
        text, document = demonstration.run(
            output,
            data=data,
            target=target,
            sparsity=sparsity,
            samples=samples,
            seed=seed,
            say=console.note,
            progress=move,
        )
    console.result(text, document)


def _more(text: str, counted: Any) -> str:
    """A text and, if asked for, the same run in NeuroBench's terms."""
    from snnc import report

    return f"{text}\n\n{report.neurobench_table(counted)}" if console.verbose else text


def _notes(about: dict[str, Any]) -> None:
    for note in about.get("notes", ()):
        console.note(f"{note['kind']}: {note['text']}")
