"""The verbs that train, and all that can be asked of a search for tickets.

Which options belong to which method, and their defaults, is taken from :data:`snnc.tickets.search.METHODS`.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter

from snnc.cli.options import DATA_SETS, OUT, Seed, console
from snnc.errors import UsageError
from snnc.models import RECIPES
from snnc.tickets.search import CHEAPEST, METHODS, Search

# The width of a panel of the help on 80 columns.
WIDTH = 76
CHIP = "loihi"


def _table() -> str:
    """A line or two for each method: what it finds."""
    indent = 2 + max(map(len, METHODS))
    return "\n".join(
        textwrap.fill(f"{name:{indent}}{method.help}", WIDTH, subsequent_indent=" " * indent)
        for name, method in METHODS.items()
    )


def _of(text: str, option: str) -> str:
    """The help of an option, with the methods that it means something to and the defaults of those that have one."""
    names = [name for name, method in METHODS.items() if option in method.options]
    defaults = {name: METHODS[name].defaults[option] for name in names if option in METHODS[name].defaults}
    if len(set(defaults.values())) == 1 and len(defaults) == len(names):
        return f"{text} [{', '.join(names)}; default: {defaults[names[0]]}]"
    said = [f"{name} {defaults[name]}" if name in defaults else name for name in names]
    return f"{text} [{', '.join(said)}]"


METHOD = Group.create_ordered("Method", _table() + "\n")
PRUNING = Group.create_ordered("Pruning")
PATCHES = Group.create_ordered("Patches")
TRAINING = Group.create_ordered("Training")

RecipeName = Annotated[str, Parameter(help=f"A recipe of snnc.models: {', '.join(RECIPES)}.")]


@Parameter(name="*", group=TRAINING)
@dataclass(frozen=True)
class Training:
    """How to train; None is the recipe's choice."""

    data: Annotated[str | None, Parameter(help=f"Data set: {DATA_SETS}; the recipe's own, if not given.")] = None
    epochs: Annotated[int | None, Parameter(help="Of each training; the recipe's, if not given.")] = None
    seed: Seed = 0
    resume: Annotated[bool, Parameter(help="Go on where an interrupted run of the same command stopped.")] = False
    device: Annotated[
        Literal["auto", "cpu", "cuda"], Parameter(help="Where to compute; auto: CUDA where there is one.")
    ] = "auto"
    precision: Annotated[
        Literal["float32", "bfloat16"], Parameter(help="Of products; membranes and the loss stay float32.")
    ] = "float32"
    compiled: Annotated[bool, Parameter(help="Through torch.compile: pays for long trainings on CUDA.")] = False
    threads: Annotated[int, Parameter(help="Of the CPU; one is the fastest for small networks.")] = 1


@Parameter(name="*")
@dataclass(frozen=True)
class Looking:
    """What to look for; the fields are those of :class:`snnc.tickets.search.Search`, None is the method's default."""

    method: Annotated[str, Parameter(group=METHOD, help="One of these.")] = "imp"
    control: Annotated[
        str | None,
        Parameter(
            group=METHOD,
            help="Make instead what the ticket must beat: random-mask, as many weights at random places; reinit, new "
            "initial weights [imp, early-bird]; random-patches, as many patches at random [patchs, ecpt].",
        ),
    ] = None
    sparsity: Annotated[
        float | None, Parameter(group=PRUNING, help=_of("Share of the weights to remove, in 0..1.", "sparsity"))
    ] = None
    rounds: Annotated[
        int | None,
        Parameter(group=PRUNING, help=_of("Prunings on the way, each removing the same share of the rest.", "rounds")),
    ] = None
    rate: Annotated[float | None, Parameter(group=PRUNING, help=_of("That share, instead.", "rate"))] = None
    schedule: Annotated[
        str | None,
        Parameter(
            group=PRUNING,
            help=_of("Or the sparsity after each pruning, such as 0.5,0.8,0.9.", "schedule"),
        ),
    ] = None
    scope: Annotated[
        Literal["global", "layer"] | None,
        Parameter(
            group=PRUNING, help=_of("Weights compete in the whole network, or each layer keeps as many.", "scope")
        ),
    ] = None
    rewind: Annotated[
        int | None,
        Parameter(
            group=PRUNING,
            help=_of("Set weights back to those after so many epochs; the recipe's number, if not given.", "rewind"),
        ),
    ] = None
    early_time: Annotated[
        bool,
        Parameter(
            group=PRUNING,
            show_default=False,
            help=_of("Search with fewer time steps, as many as are found enough.", "early_time"),
        ),
    ] = False
    balance: Annotated[
        int | None,
        Parameter(group=PRUNING, help=_of("Spread the weights of each layer evenly over so many cores.", "balance")),
    ] = None
    objective: Annotated[
        Literal["accuracy", "accuracy@synops"] | None,
        Parameter(
            group=PRUNING,
            help=_of("accuracy@synops: of the tickets as accurate as the dense network, the cheapest.", "objective"),
        ),
    ] = None
    penalty: Annotated[
        float | None,
        Parameter(group=PRUNING, help=_of("Of synaptic operations in the loss.", "penalty")),
    ] = None
    patches: Annotated[
        float | None, Parameter(group=PATCHES, help=_of("Share of the patches to remove, in 0..1.", "patches"))
    ] = None
    selector: Annotated[
        Literal["fixed", "sample"] | None,
        Parameter(group=PATCHES, help=_of("Choose the same patches of all samples, or anew for each.", "selector")),
    ] = None
    score: Annotated[
        str | None,
        Parameter(
            group=PATCHES,
            help=_of("Choose by the spikes of the embedding (rate), of the input (events), or random.", "score"),
        ),
    ] = None
    binary: Annotated[
        bool,
        Parameter(group=PATCHES, show_default=False, help=_of("Binary weights in the patch embedding, too.", "binary")),
    ] = False

    def search(self) -> Search:
        """The same for :mod:`snnc.tickets`, checked."""
        steps = None if self.schedule is None else _shares(self.schedule)
        return Search(**{**asdict(self), "schedule": steps}).checked()


def _shares(text: str) -> tuple[float, ...]:
    if not re.fullmatch(r"\d*\.?\d+(,\d*\.?\d+)*", text):
        raise UsageError(f"a schedule is numbers with commas, got '{text}'", fix="for instance --schedule 0.5,0.8,0.9")
    return tuple(map(float, text.split(",")))


AS_THE_RECIPE_SAYS = Training()
AS_THE_METHOD_SAYS = Looking()


def train(
    recipe: RecipeName,
    *,
    output: Annotated[Path, Parameter(name=OUT, help="The checkpoint to write.")],
    training: Training = AS_THE_RECIPE_SAYS,
) -> None:
    """Train the dense network of a recipe."""
    from snnc import models, tickets

    chosen = models.recipe(recipe)
    with console.progress(f"train {recipe}") as move:
        checkpoint = tickets.train(chosen, **asdict(training), out=output, progress=_staged(move))
    _tell(checkpoint, output)


def ticket(
    recipe: RecipeName,
    *,
    output: Annotated[Path, Parameter(name=OUT, help="The checkpoint to write: the ticket and its dense parent.")],
    looking: Looking = AS_THE_METHOD_SAYS,
    target: Annotated[
        str | None,
        Parameter(
            group=PRUNING,
            help=f"The chip (snnc targets) that --balance is for; {CHIP}, if not given. With --objective {CHEAPEST}, "
            "the chip whose energy is the price; synaptic operations are, if not given.",
        ),
    ] = None,
    training: Training = AS_THE_RECIPE_SAYS,
) -> None:
    """Find a lottery ticket: a sparse subnetwork that trains as well as the dense one."""
    from snnc import models, tickets, workflow

    chosen, search = models.recipe(recipe), looking.search()
    if target is not None and not search.balance and search.objective != CHEAPEST:
        raise UsageError(
            "--target is for what a chip decides, and nothing is",
            fix=f"add --balance CORES or --objective {CHEAPEST}, or name the chip when the ticket is compiled",
        )
    chip = workflow.chip(target or CHIP) if search.balance or target else None
    with console.progress(f"ticket {recipe}") as move:
        checkpoint = tickets.find(chosen, search, **asdict(training), chip=chip, out=output, progress=_staged(move))
    _tell(checkpoint, output, search)


def _staged(move: Any) -> Any:
    return lambda stage, done, total, note: move(done, total, f"{stage} {note}")


def _tell(checkpoint: Any, output: Path, search: Search | None = None) -> None:
    from snnc.report import training

    text, data = training.summary(checkpoint, search)
    console.result(f"{text}\n{'wrote':13}{output}", {**data, "file": str(output)})
