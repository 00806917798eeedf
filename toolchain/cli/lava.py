"""The verbs of ``snnc lava``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from snnc.cli.options import ITS_OWN_DATA, OUT, ROUTES, ImageFile, Selection, Through, console, spike_rows
from snnc.errors import UsageError

app = App(name="lava", help="Intel's Lava: set it up, write .net files, run images on it.")


@app.command(name="setup")
def lava_setup() -> None:
    """Build the private environment that Lava runs in; a second call returns at once."""
    from snnc.targets import lava as bridge

    interpreter = bridge.setup(console.note)
    console.result(f"Lava is ready: {interpreter}", {"python": str(interpreter)})


@app.command(name="status")
def lava_status() -> None:
    """Say where Lava is, whether it is complete, and its versions."""
    from snnc.targets import lava as bridge

    status = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(bridge.status()).items()}
    console.result("\n".join(f"{k:12} {v}" for k, v in status.items()), status)


@app.command(name="remove")
def lava_remove() -> None:
    """Delete the private environment."""
    from snnc.targets import lava as bridge

    removed = bridge.remove()
    console.result("removed" if removed else "there was none", {"removed": removed})


@app.command(name="export")
def lava_export(
    image: ImageFile,
    *,
    output: Annotated[Path | None, Parameter(name=OUT, help="The .net file to write.")] = None,
    program: Annotated[Path | None, Parameter(help="The folder to write a program of Lava processes to.")] = None,
    steps: Annotated[int, Parameter(help="Steps per sample, recorded in the .net file.")] = 100,
) -> None:
    """Write an image as a .net file that lava.lib.dl.netx loads, or as a program of Lava processes."""
    from snnc.image import Image
    from snnc.targets import lava as bridge

    if (output is None) == (program is None):
        raise UsageError("one thing can be written at a time", fix="give --output FILE.net, or --program FOLDER")
    compiled = Image.load(image)
    compiled.check()
    if output is not None:
        bridge.export(compiled.network, output, steps)
        console.result(f"wrote {output}", {"file": str(output)})
    if program is not None:
        bridge.export_program(compiled.network, program)
        how = f"run it with a Python that has Lava: python {program / 'program.py'} --help"
        console.result(f"wrote {program}\n{how}", {"program": str(program)})


@app.command(name="run")
def lava_run(
    image: ImageFile,
    *,
    through: Through = None,
    registers: Annotated[bool, Parameter(help="Write u and v of every neuron in every step, too.")] = False,
    output: Annotated[
        Path | None,
        Parameter(name=OUT, help="Where to write the spikes of all layers: an .npz, or an .h5 of any size."),
    ] = None,
    chosen: Selection = ITS_OWN_DATA,
) -> None:
    """Run an image in Lava on this machine's CPU (fixed_pt), without comparing."""
    from snnc import runs

    compiled, recording = chosen.open(image)
    with console.progress("lava") as move:
        found = runs.run_lava(compiled, recording, through=through, registers=registers, out=output, progress=move)
    rows = [f"simulated by Lava on CPU: {found['samples']} samples x {found['steps']} steps of {recording.name}"]
    rows += spike_rows(found["spikes"])
    if found["accuracy"] is not None:
        rows.append(f"accuracy {found['accuracy']:.2%}")
    rows.append(f"through {ROUTES[found['through']]}")
    if output is not None:
        rows.append(f"wrote {output}")
    console.result("\n".join(rows), found)
