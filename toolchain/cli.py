"""The command line: parse, call, print. What a verb does is in snnc.workflow and the packages it calls.

Imports are inside the verbs, so that ``snnc --help`` answers at once.
"""

from __future__ import annotations

import sys
import traceback as tracebacks
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter

from snnc.console import Console
from snnc.errors import SnncError, UsageError, VerificationError
from snnc.version import VERSION

app = App(
    name="snnc",
    help="From a trained spiking network to a neuromorphic chip.",
    version=f"snnc {VERSION}",
    default_parameter=Parameter(negative=()),
    result_action="return_value",  # the exit code is ours
)
app.meta.default_parameter = Parameter(negative=())
lava = App(name="lava", help="Intel's Lava: set it up, write .net files, run images on it.")
app.command(lava)
console = Console()

RecipeName = Annotated[str, Parameter(help="A recipe of snnc.models: mlp or conv.")]
Model = Annotated[Path, Parameter(help="A checkpoint (.pt) or a NIR file.")]
ImageFile = Annotated[Path, Parameter(help="An image.snnc.")]
Chip = Annotated[str, Parameter(help="A chip (snnc targets) or a .toml file.")]
Seed = Annotated[int, Parameter(help="Of everything random.")]
Step = Annotated[float | None, Parameter(help="Seconds per step, where a NIR file does not say.")]
OUT = ["--output", "-o"]


@Parameter(name="*")
@dataclass(frozen=True)
class Training:
    """Options of training.

    data: data set: digits, or nmnist=DIR for a folder of recordings; the recipe's own, if not given.
    epochs: of each training, instead of the recipe's.
    """

    data: Annotated[str | None, Parameter(help="Data set: digits, or nmnist=DIR for a folder of recordings.")] = None
    epochs: Annotated[int | None, Parameter(help="Of each training, instead of the recipe's.")] = None
    seed: Seed = 0
    resume: Annotated[bool, Parameter(help="Go on where an interrupted run of the same command stopped.")] = False


@Parameter(name="*")
@dataclass(frozen=True)
class Selection:
    """What to run an image on."""

    data: Annotated[
        str | None, Parameter(help="digits, nmnist=DIR or an .npz; what the network was trained on, if not given.")
    ] = None
    split: Annotated[Literal["train", "validation", "test"], Parameter(help="Part of a data set.")] = "test"
    samples: Annotated[int | None, Parameter(help="The first so many; all, if not given.")] = None

    def load(self, path: Path) -> tuple[Any, Any]:
        """The image at `path` and the samples to run it on."""
        from snnc import workflow
        from snnc.image import Image

        image = Image.load(path)
        return image, workflow.required_samples(image, self.data, self.split, self.samples)


@app.command
def train(
    recipe: RecipeName,
    *,
    output: Annotated[Path, Parameter(name=OUT, help="The checkpoint to write.")],
    training: Training = Training(),
) -> None:
    """Train the dense network of a recipe."""
    from snnc import models, tickets

    chosen = models.recipe(recipe)
    with console.progress(f"train {recipe}") as move:
        checkpoint = tickets.train(chosen, **asdict(training), out=output, progress=_staged(move))
    _trained(checkpoint, output)


@app.command
def ticket(
    recipe: RecipeName,
    *,
    output: Annotated[Path, Parameter(name=OUT, help="The checkpoint to write: the ticket and its dense parent.")],
    method: Annotated[Literal["imp"], Parameter(help="imp: iterative magnitude pruning with late rewinding.")] = "imp",
    sparsity: Annotated[float, Parameter(help="Share of the weights to remove, between 0 and 1.")] = 0.95,
    control: Annotated[
        Literal["random-mask", "reinit"] | None,
        Parameter(help="What a ticket must beat: as many weights at random places, or new initial weights."),
    ] = None,
    rounds: Annotated[int | None, Parameter(help="Prunings on the way, each removing the same share.")] = None,
    training: Training = Training(),
) -> None:
    """Find a lottery ticket: a sparse subnetwork that trains as well as the dense network."""
    from snnc import models, tickets

    chosen = models.recipe(recipe)
    with console.progress(f"ticket {recipe}") as move:
        checkpoint = tickets.find(
            chosen,
            method=method,
            sparsity=sparsity,
            control=control,
            rounds=rounds,
            **asdict(training),
            out=output,
            progress=_staged(move),
        )
    _trained(checkpoint, output)


@app.command
def export(
    model: Model, *, output: Annotated[Path, Parameter(name=OUT, help="The .nir file to write.")], dt: Step = None
) -> None:
    """Write a trained network as NIR."""
    from snnc import frontends
    from snnc.frontends import nir

    network, about = frontends.load(model, dt=dt)
    _notes(about)
    nir.write(network, output, extra={"data": str(about.get("data") or "")})
    text = f"wrote {output}: {len(network.layers)} layers, dt {network.dt:g} s"
    console.result(text, {"file": str(output), "layers": [p.name for p in network.layers], "dt": network.dt})


@app.command
def check(model: Model, *, target: Chip = "loihi", dt: Step = None) -> None:
    """Say whether the operations of a network are possible on a chip; nothing is compiled."""
    from snnc import frontends, pipeline
    from snnc import target as chips

    chip = chips.load(target)
    network, about = frontends.load(model, dt=dt)
    _notes(about)
    pipeline.check_only(network, chip)
    text = f"{network.name}: every operation is possible on {chip.name}; whether it fits is said by: snnc compile"
    console.result(text, {"network": network.name, "target": chip.name, "operations": "ok"})


@app.command(name="compile")
def compile_(
    model: Model,
    *,
    target: Chip = "loihi",
    output: Annotated[Path | None, Parameter(name=OUT, help="Folder; MODEL.TARGET here, if not given.")] = None,
    data: Annotated[
        str | None,
        Parameter(help="Calibration: digits, nmnist=DIR, an .npz, or none; the training data, if not given."),
    ] = None,
    bits: Annotated[int, Parameter(help="Signed width of the weights, 2 to 8.")] = 8,
    seed: Seed = 0,
    max_drop: Annotated[
        float | None, Parameter(help="Fail (exit code 5) when more accuracy is lost, in points.")
    ] = None,
    parent: Annotated[
        Path | None, Parameter(help="Dense network to compare with; a ticket's checkpoint brings its own.")
    ] = None,
    dt: Step = None,
) -> None:
    """Compile a network for a chip: image.snnc, report.json, layers.csv and cores.csv in a folder."""
    from snnc import report, workflow
    from snnc import target as chips
    from snnc.compilation import Options

    chip, options = chips.load(target), Options(bits=bits, seed=seed, max_drop=max_drop)
    output = output or Path(f"{model.stem}.{chip.name}")
    with console.progress(f"compile {model.name}") as move:
        document = workflow.compile_file(
            model, chip, output, data=data, options=options, parent=parent, dt=dt, progress=move
        )
    _notes(document.source)
    files = "image.snnc  report.json  layers.csv  cores.csv"
    console.result(f"{report.summary(document)}\n{'wrote':13}{output}/   {files}", document)


@app.command
def simulate(
    image: ImageFile,
    *,
    chosen: Selection = Selection(),
    threads: Annotated[int | None, Parameter(help="All cores, if not given.")] = None,
    output: Annotated[
        Path | None, Parameter(name=OUT, help="Folder for report.json and tables per layer, core and sample.")
    ] = None,
) -> None:
    """Run an image on this machine, exact in every spike, and count what the chip would do."""
    from snnc import report, workflow

    compiled, samples = chosen.load(image)
    with console.progress("simulate") as move:
        document = workflow.simulate_image(compiled, samples, threads=threads, out=output, progress=move)
    console.result(report.summary(document), document)


@app.command
def estimate(image: ImageFile, *, chosen: Selection = Selection()) -> None:
    """Energy and time per sample: counted events times the chip's constants, each with its source."""
    from snnc import report, workflow

    compiled, samples = chosen.load(image)
    with console.progress("simulate") as move:
        document = workflow.simulate_image(compiled, samples, progress=move)
    console.result(report.cost_table(document), {"cost": document.cost, "this": document.this})


@app.command
def verify(
    image: ImageFile,
    *,
    executor: Annotated[
        Literal["reference", "lava"],
        Parameter(name="--on", help="reference: the slow specification; lava: Intel's Lava on the CPU (fixed_pt)."),
    ] = "reference",
    chosen: Selection = Selection(),
) -> None:
    """Compare every spike of every layer with another executor of the same image."""
    from snnc import verification, workflow

    compiled, samples = chosen.load(image)
    with console.progress(f"verify on {executor}") as move:
        result = verification.verify(compiled, samples, on=executor, progress=move)
    found = workflow.verdict(result, executor)
    if result.first is not None:
        raise VerificationError(
            f"{found['differing']:,} of {result.compared:,} values differ from {executor}; the first: {result.first}",
            where=str(image),
            fix="this is a bug of snnc: please report it with the image and the data",
        )
    text = f"0 of {found['spikes']:,} spikes differ from {executor} ({result.samples} samples x {result.steps} steps)"
    console.result("\n".join([text, *_spikes(result.spikes)]), found)


@app.command
def report(
    folder: Annotated[Path, Parameter(help="A folder written by compile, simulate or demo, or a report.json.")],
    *,
    format: Annotated[Literal["text", "json", "layers", "cores"], Parameter(help="layers, cores: as CSV.")] = "text",
) -> None:
    """Show the report of a compilation again."""
    from snnc import report as reports
    from snnc import workflow

    document = workflow.read_report(folder)
    forms = {"text": reports.summary, "layers": reports.layers_csv, "cores": reports.cores_csv}
    console.json = console.json or format == "json"
    console.result("" if console.json else forms[format](document).rstrip(), document)


@app.command
def targets(name: Annotated[str | None, Parameter(help="A chip or a .toml file.")] = None) -> None:
    """List the chips, or show every number of one with its source, and the rules."""
    from snnc import report
    from snnc import target as chips

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


@lava.command(name="setup")
def lava_setup() -> None:
    """Build the private environment that Lava runs in; a second call returns at once."""
    from snnc.targets import lava as bridge

    interpreter = bridge.setup(console.note)
    console.result(f"Lava is ready: {interpreter}", {"python": str(interpreter)})


@lava.command(name="status")
def lava_status() -> None:
    """Say where Lava is, whether it is complete, and its versions."""
    from snnc.targets import lava as bridge

    status = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(bridge.status()).items()}
    console.result("\n".join(f"{k:12} {v}" for k, v in status.items()), status)


@lava.command(name="remove")
def lava_remove() -> None:
    """Delete the private environment."""
    from snnc.targets import lava as bridge

    removed = bridge.remove()
    console.result("removed" if removed else "there was none", {"removed": removed})


@lava.command(name="export")
def lava_export(
    image: ImageFile,
    *,
    output: Annotated[Path, Parameter(name=OUT, help="The .net file to write.")],
    steps: Annotated[int, Parameter(help="Steps per sample, recorded in the file.")] = 100,
) -> None:
    """Write an image as a .net file that lava.lib.dl.netx loads."""
    from snnc.image import Image
    from snnc.targets import lava as bridge

    bridge.export(Image.load(image).network, output, steps)
    console.result(f"wrote {output}", {"file": str(output)})


@lava.command(name="run")
def lava_run(image: ImageFile, *, chosen: Selection = Selection()) -> None:
    """Run an image in Lava on this machine's CPU (fixed_pt), without comparing."""
    from snnc import workflow

    compiled, samples = chosen.load(image)
    with console.progress("lava") as move:
        found = workflow.run_lava(compiled, samples, move)
    rows = [f"simulated by Lava on CPU: {found['samples']} samples x {found['steps']} steps of {samples.name}"]
    rows += _spikes(found["spikes"])
    if found["accuracy"] is not None:
        rows.append(f"accuracy {found['accuracy']:.2%}")
    console.result("\n".join(rows), found)


@app.meta.default
def _launch(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    json: Annotated[bool, Parameter(help="Write the result as one JSON document.")] = False,
    quiet: Annotated[bool, Parameter(name=["--quiet", "-q"], help="No notes, no progress.")] = False,
    traceback: Annotated[bool, Parameter(help="Show where in snnc an error arose.")] = False,
) -> None:
    console.json, console.quiet, console.traceback = json, quiet, traceback
    console.listen()
    app(tokens, exit_on_error=False, print_error=False)


def main() -> None:
    """Entry point of the ``snnc`` command; exits with the codes of snnc.errors."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code."""
    try:
        app.meta(arguments, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        console.error(UsageError(str(error), fix="snnc --help"))
        return UsageError.exit_code
    except SnncError as error:
        if console.traceback:
            tracebacks.print_exc()
        console.error(error)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output is gone; nobody is left to tell
        sys.stderr.close()
        return 1
    except Exception as error:
        if console.traceback:
            tracebacks.print_exc()
        hint = "" if console.traceback else " (--traceback shows where)"
        print(f"error[bug]: snnc failed: {type(error).__name__}: {error}{hint}", file=sys.stderr)
        return 1
    return 0


def _staged(move: Any) -> Any:
    return lambda stage, done, total, note: move(done, total, f"{stage} {note}")


def _notes(about: dict[str, Any]) -> None:
    for note in about.get("notes", ()):
        console.note(f"note: {note}")


def _spikes(counts: dict[str, int]) -> list[str]:
    return [f"  {name:16}{count:>12,} spikes" for name, count in counts.items()]


def _trained(checkpoint: Any, output: Path) -> None:
    from snnc.report import training

    text, data = training.summary(checkpoint)
    console.result(f"{text}\n{'wrote':13}{output}", {**data, "file": str(output)})
