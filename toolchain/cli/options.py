"""Arguments that several verbs share, with their help, and the console they all write to."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from snnc.console import Console
from snnc.errors import UsageError
from snnc.models.specification import names

console = Console()

Model = Annotated[Path, Parameter(help="A checkpoint (.pt), a NIR file (.nir) or a lava-dl network (.net).")]
ImageFile = Annotated[Path, Parameter(help="An image.snnc.")]
Chip = Annotated[str, Parameter(help="A chip (snnc targets) or a .toml file.")]
Seed = Annotated[int, Parameter(help="Of everything random.")]
Approximate = Annotated[
    bool, Parameter(help="Replace what neurons do and the chip cannot by what comes nearest, and report the drift.")
]
OUT = ["--output", "-o"]
DATA_SETS = names()


@Parameter(name="*")
@dataclass(frozen=True)
class Compiling:
    """Options of a compilation."""

    bits: Annotated[int, Parameter(help="Signed width of the weights, 1 to 8; of 1 the sign alone.")] = 8
    scales: Annotated[
        Literal["auto", "layer"],
        Parameter(help="One scale, and so one threshold, for each layer; or several where that keeps more spikes."),
    ] = "auto"
    map: Annotated[
        Literal["auto", "layers", "hypergraph"] | None,
        Parameter(
            help="Put neurons on cores in layer order, by hypergraph partitioning, or by the better of both: auto, "
            "if not given; of a ticket that was balanced on cores, on these."
        ),
    ] = None
    optimize: Annotated[
        Literal["cores", "traffic", "latency"], Parameter(help="The goal: few cores, few messages, or short steps.")
    ] = "traffic"
    cores: Annotated[int | None, Parameter(help="Use so many cores, at least.")] = None
    chips: Annotated[int | None, Parameter(help="Use so many chips, at most.")] = None
    balance: Annotated[bool, Parameter(help="Even out the synapses of the cores.")] = False
    seed: Seed = 0
    max_drop: Annotated[float | None, Parameter(help="Fail (exit code 5) when more accuracy is lost, in points.")] = (
        None
    )
    approximate: Approximate = False

    def options(self) -> Any:
        """The same for the API."""
        from snnc.compilation import Options

        return Options(**{**asdict(self), "map": self.map or "auto"})


@Parameter(name="*")
@dataclass(frozen=True)
class Selection:
    """What to run a network on."""

    data: Annotated[
        str | None,
        Parameter(
            help=f"{DATA_SETS}, or a file: .npz, .npy; .h5 of NIRData; .bin, .aedat, .dat of an event camera. "
            "What the network was trained on, if not given."
        ),
    ] = None
    split: Annotated[Literal["train", "validation", "test", "all"], Parameter(help="Part of a data set.")] = "test"
    samples: Annotated[int | None, Parameter(help="The first so many; all, if not given.")] = None
    steps: Annotated[
        int | None, Parameter(help="The first so many of each sample; all, if not given. Of rates, how many to make.")
    ] = None
    bins: Annotated[
        int | None, Parameter(help="Divide a recording of events into so many steps, whatever their length.")
    ] = None
    seed: Annotated[int | None, Parameter(help="Of the coding of rates; 0, if not given.")] = None

    def excerpt(self) -> Any:
        """The same for :mod:`snnc.datasets`."""
        from snnc.datasets import Excerpt

        return Excerpt(self.split, self.samples, self.steps, self.bins, self.seed)

    def open(self, path: Path, dt: float | None = None) -> tuple[Any, Any]:
        """The image at `path` and the recording to run it on. dt: seconds per step of events."""
        from snnc import runs
        from snnc.image import Image

        image = Image.load(path)
        image.check()
        return image, runs.required_recording(image, self.data, self.excerpt(), dt)

    def load(self, path: Path) -> tuple[Any, Any]:
        """The same, all samples in memory."""
        from snnc.recordings import whole

        image, recording = self.open(path)
        return image, whole(recording)


@Parameter(name="*")
@dataclass(frozen=True)
class Run:
    """How to simulate."""

    threads: Annotated[int | None, Parameter(help="All cores, if not given.")] = None
    warmup: Annotated[int, Parameter(help="Run the first so many steps of each sample and count nothing of them.")] = 0
    trace: Annotated[
        list[tuple[Literal["spikes", "u", "v"], str]] | None,
        Parameter(help="What to write down in every step, and of which layer: --trace v fc1. Can be repeated."),
    ] = None
    trace_to: Annotated[Path | None, Parameter(help="Where to: an .npz, or an .h5 of any size.")] = None
    stream: Annotated[
        bool, Parameter(help="Keep nothing per step, so that hours fit into memory; large data is run so anyway.")
    ] = False

    reset_every: Annotated[int | None, Parameter(help="Steps after which all neurons begin anew.")] = None

    def how(self) -> Any:
        """The same for :mod:`snnc.runs`."""
        from snnc.runs import Running

        traces = tuple(self.trace or ())
        return Running(self.threads, self.warmup, traces, self.trace_to, self.stream, self.reset_every)


Timing = Annotated[
    str | None,
    Parameter(help="The set of constants for time and energy (snnc targets NAME); the chip's default, if not given."),
]


@Parameter(name="*")
@dataclass(frozen=True)
class Source:
    """What a model file does not say itself."""

    dt: Annotated[float | None, Parameter(help="Seconds per step, where the file does not say.")] = None
    semantics: Annotated[
        Literal["nir", "snntorch", "norse", "sinabs", "spyx", "lava-dl", "spikingjelly"] | None,
        Parameter(help="The framework whose habits a NIR file was trained with: reset, comparison, order of updates."),
    ] = None
    reset: Annotated[
        Literal["zero", "subtract", "value"] | None, Parameter(help="What a spike does to the membrane.")
    ] = None
    reset_delay: Annotated[
        bool, Parameter(help="The reset acts a step after the spike (snnTorch's reset_delay=True).")
    ] = False
    strict: Annotated[bool, Parameter(help="Assume nothing: what the file leaves open is an error.")] = False
    model: Annotated[
        str | None, Parameter(help="package.module:factory that builds the module of a state dict (.pt).")
    ] = None
    shape: Annotated[
        str | None, Parameter(help="Of one step of one sample, such as 2,34,34, where the file does not say.")
    ] = None

    def reading(self) -> Any:
        """The same for :mod:`snnc.frontends`."""
        from snnc.frontends.reading import Reading

        return Reading(
            dt=self.dt,
            semantics=self.semantics,
            reset=self.reset,
            late_reset=self.reset_delay,
            strict=self.strict,
            model=self.model,
            shape=None if self.shape is None else _numbers(self.shape),
        )


def _numbers(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"[1-9]\d{0,8}(,[1-9]\d{0,8})*", text):
        raise UsageError(f"a shape is whole numbers with commas, got '{text}'", fix="for instance --shape 2,34,34")
    return tuple(map(int, text.split(",")))


Through = Annotated[
    Literal["net", "program"] | None,
    Parameter(
        help="How the image comes into Lava: by a .net file, or by a program of Lava processes, which holds more. "
        "net where it can, if not given."
    ),
]
ROUTES = {"net": "a .net file", "program": "a program of Lava processes"}

AS_THE_FILE_SAYS = Source()
AS_USUAL = Compiling()
ITS_OWN_DATA = Selection()
WHOLE = Run()


def spike_rows(counts: dict[str, int]) -> list[str]:
    """One line per layer for the console."""
    return [f"  {name:16}{count:>12,} spikes" for name, count in counts.items()]
