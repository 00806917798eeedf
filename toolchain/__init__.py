"""snnc: from a trained spiking network to a neuromorphic chip.

The verbs of the command line as functions; everything heavy is imported on first use.

    network = snnc.load("ticket.pt")
    image = snnc.compile(network, "loihi", data=snnc.data("digits", "validation"))
    run = snnc.simulate(image, snnc.data("digits"))
    print(run.accuracy, snnc.estimate(image, run))
    snnc.verify(image, snnc.data("digits"), on="lava")
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from snnc.errors import UsageError
from snnc.version import VERSION

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor
    from torch.nn import Module

    from snnc.compare import Comparison
    from snnc.crossbars.image import Image as ClockedImage
    from snnc.crossbars.running import Run as ClockedRun
    from snnc.families import Chip
    from snnc.image import Image
    from snnc.network import Network
    from snnc.quantization.grid import Tune
    from snnc.samples import Recording, Samples
    from snnc.simulator.energy import Estimate
    from snnc.simulator.run import Run

__all__ = ["chips", "compile", "data", "estimate", "load", "open_image", "simulate", "verify"]
__version__ = VERSION

_logger = logging.getLogger(__name__)


def load(
    source: str | Path | Module,
    example: Tensor | Sequence[Tensor] | None = None,
    *,
    parent: bool = False,
    **reading: Any,
) -> Network:
    """The network of a file or of a torch module.

    source: a checkpoint (.pt), a NIR file (.nir), a lava-dl network (.net), or a module of snntorch neurons.
    example: an input of the module, of all its time steps, if it loops over them, or of one. parent: the dense
    network that a ticket was found in. reading: what the source does not say, by the names of
    :class:`snnc.frontends.reading.Reading`: dt, semantics, reset, late_reset, strict, model, shape.

    What had to be assumed is logged to "snnc" as warnings and infos. Raises InputError, UsageError.
    """
    from snnc import frontends
    from snnc.frontends.reading import Reading

    if isinstance(source, (str, Path)):
        if example is not None:
            raise UsageError("a file takes no example", where=str(source), fix="give its --shape, or the module itself")
        network, about = frontends.load(Path(source), Reading(**reading), parent=parent)
    else:
        network, about = frontends.load_module(source, example, Reading(**reading))
    for note in about["notes"]:
        _logger.log(logging.WARNING if note["kind"] == "warning" else logging.INFO, note["text"])
    return network


def compile(
    network: Network,
    target: str | Chip = "loihi",
    *,
    data: Samples | None = None,
    tune: Tune | None = None,
    groups: Mapping[str, np.ndarray] | None = None,
    dump: str | Path | None = None,
    **options: Any,
) -> Any:
    """Compile a network for a chip: an Image (:mod:`snnc.image`), of a chip with a clock :mod:`snnc.crossbars.image`'s.

    target: a name of :func:`chips`, a ``.toml`` file or a chip (:data:`snnc.families.Chip`). data: calibration samples
    for spike rates and the accuracy check. tune: trains the integers on (:func:`snnc.tickets.tuner`). groups: the core
    of each neuron (:func:`snnc.tickets.groups`). dump: a folder for the state after each pass. options: by the names of
    :class:`snnc.compilation.Options`, such as bits, seed, max_drop, approximate, map, optimize, cores, chips, balance.
    Raises DoesNotFit, VerificationError, InputError, UsageError.
    """
    from snnc import families, pipeline
    from snnc.compilation import Options
    from snnc.target import Target

    chip = families.load(target) if isinstance(target, str) else target
    if not isinstance(chip, Target):
        from snnc.crossbars.compiler import compile

        if tune is not None or groups is not None or dump is not None:
            raise UsageError(f"tune, groups and dump are for chips of a mesh, and {chip.name} is none")
        return compile(network, chip, samples=data, options=Options(**options))
    folder = None if dump is None else Path(dump)
    how = Options(**options)
    return pipeline.compile(network, chip, samples=data, options=how, tune=tune, groups=groups, dump=folder).image


def open_image(path: str | Path) -> Any:
    """Read an ``image.snnc``; the result is as that of :func:`compile`. Raises InputError."""
    from snnc.image import Image, is_clocked

    if is_clocked(Path(path)):
        from snnc.crossbars.image import Image as ClockedImage

        return ClockedImage.load(Path(path))
    return Image.load(Path(path))


@overload
def simulate(
    image: Image,
    data: Recording,
    *,
    threads: int | None = None,
    traces: Collection[tuple[str, str]] = (),
    warmup: int = 0,
    stream: bool = False,
) -> Run: ...
@overload
def simulate(image: ClockedImage, data: Samples, *, threads: int | None = None) -> ClockedRun: ...
def simulate(
    image: Image | ClockedImage,
    data: Recording,
    *,
    threads: int | None = None,
    traces: Collection[tuple[str, str]] = (),
    warmup: int = 0,
    stream: bool = False,
) -> Run | ClockedRun:
    """Run samples through an image, exact in every spike, on all cores of this machine (or `threads`).

    Of a chip with a clock, exact in every cycle; the other options are not for these.
    traces: (kind, layer) such as ("v", "fc1"), which `run.traces` then holds; kind: "spikes", "u" or "v". warmup: steps
    at the beginning of each sample that are run and not counted. stream: keep nothing per step (for long recordings).
    """
    from snnc.image import Image

    if not isinstance(image, Image):
        from snnc.crossbars.running import run
        from snnc.recordings import whole

        return run(image, whole(data), threads=threads)
    from snnc.simulator import simulate

    return simulate(image, data, threads=threads, traces=traces, warmup=warmup, stream=stream)


def estimate(image: Image, run: Run) -> Estimate:
    """Energy and time per sample from what a run counted and the target's constants."""
    from snnc.simulator import energy

    return energy.estimate(image, run)


def verify(image: Image, data: Recording, *, on: str = "reference", registers: bool = False) -> Comparison:
    """Compare every spike of every layer with another executor: "reference" or "lava".

    registers: compare u and v of every neuron, too.
    The result tells the number of spikes compared and the first difference, if any, with both states around it.
    """
    from snnc import verification

    return verification.verify(image, data, on=on, registers=registers)


def data(
    spec: str | Path,
    split: str = "test",
    *,
    network: Network | None = None,
    dt: float | None = None,
    **excerpt: int,
) -> Samples:
    """Data to compile with or to run: a file, or a split of a data set of snnc.models.data (docs/simulator.md).

    split: "train", "validation", "test" or "all". network: that it is for, where a file does not say; dt: seconds per
    step of events, instead of the network's. excerpt: samples, steps, bins, seed, see
    :class:`snnc.datasets.Excerpt`. All of it is in memory; :func:`snnc.datasets.recording` leaves long recordings where
    they are. Raises UsageError, InputError.
    """
    from snnc import datasets
    from snnc.recordings import whole

    feed = None if network is None else datasets.Feed.of(network, dt)
    return whole(datasets.recording(str(spec), datasets.Excerpt(split, **excerpt), feed))


def chips() -> list[str]:
    """Names of the chips that can be compiled for."""
    from snnc import families

    return families.names()
