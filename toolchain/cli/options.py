"""Arguments that several verbs share, with their help, and the console they all write to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from snnc.console import Console

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


AS_THE_RECIPE_SAYS = Training()
ITS_OWN_DATA = Selection()


def spike_rows(counts: dict[str, int]) -> list[str]:
    """One line per layer for the console."""
    return [f"  {name:16}{count:>12,} spikes" for name, count in counts.items()]
