"""The jobs of the experiments on tickets: which networks are trained, by which methods, on what."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from snnc import models
from snnc.models.recipe import Recipe
from snnc.models.specification import complete, parse
from snnc.tickets.imp import PENALTY
from snnc.tickets.search import CHEAPEST, Search
from tests.experiments.page import ROOT

CONTROLS = ("random-mask", "reinit")
RANDOM_PATCHES = ("random-patches",)
LEVELS = (0.5, 0.8, 0.9, 0.95, 0.98, 0.99)
# About a quarter of what is left in each round.
SMALL_STEPS = (0.25, 0.44, 0.58, 0.68, 0.76, 0.82, 0.865, 0.9, 0.925, 0.95, 0.965, 0.98)
PATCHES = (0.31, 0.5, 0.625, 0.75)
CORES = 16
DATA = ROOT.parent / "shared/data"


@dataclass(frozen=True)
class Job:
    """Trainings that one process does in a row.

    method: what the page calls them. searches: what to look for, one after the other; they share the dense training
    where that does not depend on them. walk: measure the ticket after each round of a search, at the sparsities `at`
    (empty: all), not the last alone. controls: what to measure besides, in a walk at the sparsities `against` (empty:
    all). dense: measure the dense network, too. choice: of a walk, measure again the ticket that costs least among the
    accurate. cores: also tell how evenly so many are used, at the sparsities `at`.
    """

    suite: str
    method: str
    recipe: Recipe
    seed: int
    searches: tuple[Search, ...]
    walk: bool = False
    at: tuple[float, ...] = ()
    controls: tuple[str, ...] = ()
    against: tuple[float, ...] = ()
    dense: bool = False
    choice: bool = False
    cores: int | None = None
    precision: str = "float32"

    @property
    def name(self) -> str:
        """Unique in its suite."""
        return f"{self.recipe.name}, {self.method}, seed {self.seed}"

    @property
    def settings(self) -> dict[str, Any]:
        """All that determines what it finds, as plain values without the place of the data."""
        name, _, options = parse(self.recipe.data)
        recipe = {**vars(self.recipe), "data": complete(name, None, options)}
        searches = [{k: v for k, v in asdict(s).items() if v not in (None, False)} for s in self.searches]
        rest = ("walk", "at", "controls", "against", "dense", "choice", "cores", "precision")
        return {"recipe": recipe, "searches": searches, **{k: getattr(self, k) for k in rest if getattr(self, k)}}


@dataclass(frozen=True)
class Asked:
    """What the command line says. data: the folder of the data, None = where the suite expects it."""

    reduced: bool = False
    data: Path | None = None
    penalty: float = PENALTY

    def folder(self, usual: str) -> Path:
        return (self.data or DATA / usual).resolve()


def imp(*schedule: float, **options: Any) -> tuple[Search, ...]:
    """A walk through these sparsities."""
    return (Search("imp", schedule=schedule, **options),)


def digits(seed: int, asked: Asked) -> Iterator[Job]:
    """Everything, on images of 8x8."""
    recipe = models.recipe("mlp")

    def job(method: str, searches: tuple[Search, ...], **options: Any) -> Job:
        return Job("digits", method, options.pop("recipe", recipe), seed, searches, **options)

    yield job("imp", imp(*LEVELS), walk=True, controls=CONTROLS, dense=True, cores=CORES)
    # What a price on operations can do takes longer trainings, so those without one are there as well; and the longer
    # they are, the flatter a surrogate gradient they can do with, and gain by it. (In the few epochs of the recipe it
    # would help random masks most.)
    longer = replace(recipe, epochs=40, slope=5)
    priced = imp(*LEVELS, objective=CHEAPEST, penalty=asked.penalty)
    yield job("imp, 40 epochs", imp(*LEVELS), walk=True, dense=True, recipe=longer)
    yield job("imp, priced, 40 epochs", priced, walk=True, choice=True, recipe=longer)
    yield job("imp, to initial weights", imp(*LEVELS, rewind=0), walk=True)
    yield job("one-shot", tuple(Search("imp", sparsity=s, rounds=1) for s in LEVELS), walk=True)
    yield job("conns", tuple(Search("conns", sparsity=s) for s in LEVELS))
    yield job("binw-conns", tuple(Search("binw-conns", sparsity=s) for s in LEVELS))
    yield job("early-bird", tuple(Search("early-bird", sparsity=s) for s in (0.8, 0.9, 0.95, 0.98)))
    yield job("imp, early time", imp(*LEVELS[:4], early_time=True), walk=True, at=(0.95,))
    yield job("imp, balanced", imp(*LEVELS[:5], balance=CORES), walk=True, at=(0.9, 0.95, 0.98), cores=CORES)
    long = (Search("imp", sparsity=0.98, rate=0.25),)
    yield job("imp, 40 epochs, 25 % a round", long, walk=True, at=(0.98,), recipe=longer)
    yield from _patches("digits", models.recipe("spikformer"), seed, PATCHES, (0.5, 0.8))


def mnist(seed: int, asked: Asked) -> Iterator[Job]:
    """The larger images of 28x28."""
    data = f"idx={asked.folder('mnist')}:steps=4"
    recipe = replace(models.recipe("mlp-idx"), data=data)

    def job(method: str, searches: tuple[Search, ...], recipe: Recipe = recipe, **options: Any) -> Job:
        return Job("mnist", method, recipe, seed, searches, walk=method.startswith("imp"), **options)

    levels = (0.5, 0.8, 0.9, 0.95, 0.98)
    yield job("imp", imp(*levels), controls=CONTROLS, against=(0.98,), dense=True)
    yield job("imp, priced", imp(*levels, objective=CHEAPEST, penalty=asked.penalty), choice=True)
    yield job("binw-conns", tuple(Search("binw-conns", sparsity=s) for s in levels[2:]))
    yield job("imp, small steps", imp(*SMALL_STEPS), at=(0.95, 0.98))
    longer = replace(recipe, epochs=40, slope=5)
    yield job("imp, 40 epochs", imp(0.8, 0.95, 0.98), longer, at=(0.95, 0.98), dense=True)


def nmnist(seed: int, asked: Asked) -> Iterator[Job]:
    """Recordings of an event camera."""
    data = f"nmnist={asked.folder('nmnist/Train')}:steps=10"
    recipe = models.recipe("mlp").with_args(hidden=[256])
    recipe = replace(recipe, data=data, batch=32)
    levels = (0.75, 0.9, 0.95, 0.98)
    yield Job("nmnist", "imp", recipe, seed, imp(*levels), walk=True, controls=CONTROLS, dense=True)
    yield Job("nmnist", "binw-conns", recipe, seed, tuple(Search("binw-conns", sparsity=s) for s in levels))


def cifar10(seed: int, asked: Asked) -> Iterator[Job]:
    """Colour images, the networks of arXiv 2311.12060; reduced: smaller ones, on a part of the images."""
    data = f"cifar10={asked.folder('cifar10')}"
    vgg9, spikformer = models.recipe("vgg9"), models.recipe("spikformer-tiny")
    precision = "float32"
    if asked.reduced:
        data, precision = f"{data}:samples={REDUCED}", "bfloat16"
        vgg9 = replace(vgg9.with_args(width=0.25), epochs=10, rewind=2, batch=64)
        small = {"dim": 64, "depth": 1, "heads": 4, "mlp_ratio": 2, "embedding": "patchwise"}
        spikformer = replace(spikformer.with_args(**small), epochs=12, rewind=2, batch=64)
    vgg9, spikformer = replace(vgg9, data=data), replace(spikformer, data=data)
    for job in (
        Job("cifar10", "imp", vgg9, seed, imp(0.5), walk=True, dense=True),
        Job("cifar10", "conns", vgg9, seed, (Search("conns", sparsity=0.5),)),
        Job("cifar10", "binw-conns", vgg9, seed, (Search("binw-conns", sparsity=0.5),)),
        *_patches("cifar10", spikformer, seed, (0.31,), (0.5,)),
    ):
        yield replace(job, precision=precision)


# Samples of a reduced CIFAR-10, of which a sixth is the test split.
REDUCED = 3600


def _patches(
    suite: str, recipe: Recipe, seed: int, patches: tuple[float, ...], embedding: tuple[float, ...]
) -> Iterator[Job]:
    """Patch tickets with either selector, and connection tickets in the embedding with the first share of patches."""
    for selector, words in (("fixed", "patchs, fixed"), ("sample", "patchs, per sample")):
        searches = tuple(Search("patchs", patches=share, selector=selector) for share in patches)
        yield Job(suite, words, recipe, seed, searches, controls=RANDOM_PATCHES, dense=selector == "fixed")
    for binary, words in ((False, "ecpt"), (True, "ecpt, binary")):
        searches = tuple(Search("ecpt", sparsity=s, patches=patches[0], binary=binary) for s in embedding)
        yield Job(suite, words, recipe, seed, searches)


SUITES: dict[str, Callable[[int, Asked], Iterator[Job]]] = {
    "digits": digits,
    "mnist": mnist,
    "nmnist": nmnist,
    "cifar10": cifar10,
}
SEEDS = {"digits": (0, 1, 2), "mnist": (0,), "nmnist": (0, 1), "cifar10": (0,)}
