"""One job of the experiments on tickets: train, find, measure."""

from __future__ import annotations

import importlib
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import snnc
from snnc import pipeline, report
from snnc import target as chips
from snnc.chip import Chip
from snnc.compilation import Options
from snnc.errors import SnncError
from snnc.frontends.torch import from_module
from snnc.models.spikformer import Spikformer
from snnc.models.spiking import SpikingNetwork
from snnc.samples import Samples
from snnc.simulator import simulate
from snnc.tickets import cores, imp, synops
from snnc.tickets.checkpoint import Checkpoint
from snnc.tickets.controls import control
from snnc.tickets.masks import prunable
from snnc.tickets.search import METHODS, Search
from snnc.tickets.session import Session, Stage
from snnc.tickets.training import Compute, evaluate
from tests.experiments.ticket_store import DENSE, Row, Run
from tests.experiments.ticket_suites import Job

CHIP = "loihi"
# Of those on which operations are counted in torch, and of those that calibrate the integers.
SAMPLES = 1000


class Study(Session):
    """A session that may be given its dense training, and that reports a dead ticket like any other."""

    dense: Stage | None = None

    @property
    def trained(self) -> Stage | None:
        """Its dense training, where it has been done."""
        return self.stages.get("dense")

    def train(self, name: str, *args: Any, **options: Any) -> Stage:
        if name == "dense" and self.dense:
            self.stages.setdefault(name, self.dense)
        return super().train(name, *args, **options)

    def finish(self, *args: Any, **options: Any) -> Checkpoint:
        return super().finish(*args, **{**options, "alive": False})


def run(job: Job) -> Run:
    """Do a job, on one thread where there is no GPU."""
    compute = Compute(precision=job.precision)
    with tempfile.TemporaryDirectory() as folder, compute.settled():
        rows, begin = [], time.perf_counter()
        for row in _rows(job, Path(folder), compute):
            now = time.perf_counter()
            rows.append(replace(row, seconds=round(now - begin, 1)))
            begin = now
    return Run(job.name, job.settings, {"snnc": snnc.__version__, "torch": torch.__version__}, tuple(rows))


def _rows(job: Job, folder: Path, compute: Compute) -> Iterator[Row]:
    dense: Stage | None = None
    for number, search in enumerate(s for each in job.searches for s in _with_controls(job, each)):
        search = search.checked()
        session = Study(
            job.recipe,
            asdict(search),
            data=None,
            epochs=None,
            seed=job.seed,
            out=folder / f"{number}.pt",
            resume=False,
            progress=None,
            compute=compute,
            chip=Chip(chips.load(CHIP)) if search.balance else None,  # without one, tickets cost synaptic operations
        )
        # An early bird ends it by itself; with fewer steps or conns there is none to share.
        session.dense = dense if search.method != "early-bird" else None
        yield from _walk(job, session, search, number) if job.walk else _find(job, session, search, number)
        dense = session.trained


def _with_controls(job: Job, search: Search) -> list[Search]:
    return [search, *([] if job.walk else (replace(search, control=name) for name in job.controls))]


def _find(job: Job, session: Study, search: Search, number: int) -> Iterator[Row]:
    algorithm = importlib.import_module(METHODS[search.method].module)
    found = algorithm.find(session, search)
    if job.dense and not number:
        yield _dense(job, session)
    labels = {"sparsity": search.sparsity or 0.0, "patches": search.patches, "control": search.control}
    yield _row(job, session, found.module(), **labels)


def _dense(job: Job, session: Study) -> Row:
    assert session.trained is not None
    return _row(job, session, session.loaded(session.trained.state), method=DENSE)


def _walk(job: Job, session: Study, search: Search, number: int) -> Iterator[Row]:
    found: list[imp.Round] = []
    for index, each in enumerate(imp.rounds(session, search)):
        found.append(each)
        if not index:
            if job.dense and not number:
                yield _dense(job, session)
        elif not job.at or each.sparsity in job.at:
            yield _of_round(job, session, search, each, index)
    dense, *found = found
    start = dense.stage.kept or session.fresh().state_dict()
    rewind = session.recipe.rewind if search.rewind is None else search.rewind
    for each in found:
        for name in job.controls if each.sparsity in (job.against or (each.sparsity,)) else ():
            how = {"epochs": session.recipe.epochs, "rewind": rewind, "stage": f"{name} {each.sparsity}"}
            stage = control(session, name, each.stage.masks, start, **how)
            yield _row(job, session, session.loaded(stage.state), sparsity=each.sparsity, control=name)
    if job.choice:
        chosen, _ = imp.cheapest(session, dense.stage, found)
        method = f"{job.method}, cheapest"
        yield _row(job, session, session.loaded(chosen.stage.state), method=method, sparsity=chosen.sparsity)


def _of_round(job: Job, session: Study, search: Search, found: imp.Round, number: int) -> Row:
    """The ticket of a round; a balanced one as it is when its search ends there."""
    if search.balance is None or found.groups is None:
        return _row(job, session, session.loaded(found.stage.state), sparsity=found.sparsity)
    model, masks = session.loaded(found.stage.state), found.stage.masks
    compiler, seed = Chip(chips.load(CHIP)).compiler(session, search.balance), session.draw(number + 1)
    state, _ = cores.level(model, masks, compiler, found.groups, seed=seed)
    return _row(job, session, session.loaded(state), sparsity=found.sparsity, groups=found.groups)


def _row(
    job: Job,
    session: Session,
    model: SpikingNetwork,
    *,
    groups: Mapping[str, np.ndarray] | None = None,
    sparsity: float = 0.0,
    patches: float | None = None,
    control: str | None = None,
    method: str = "",
) -> Row:
    """Measure a network."""
    data = session.data
    accuracy, _ = evaluate(model, data.test, compute=session.compute)
    validation, _ = evaluate(model, data.validation, compute=session.compute)
    model = model.cpu().eval()
    weights = [layer.weight.detach() for layer in prunable(model).values()]
    zeros, total = (sum(int(f(w)) for w in weights) for f in (lambda w: (w == 0).sum(), torch.numel))
    try:
        found = _compiled(session, model, data.test, groups)
    except SnncError as error:
        found = {
            "synops": operations(model, data.test.first(SAMPLES)),
            "note": error.message,
            **_mapped(session, model),
        }
    if job.cores and sparsity and not control:
        found["utilisation"] = (
            Chip(chips.load(CHIP)).compiler(session, job.cores)(model, groups and dict(groups)).utilisation
        )
    return Row(
        model=job.recipe.name,
        method=method or job.method,
        control=control,
        sparsity=sparsity,
        patches=patches,
        seed=job.seed,
        epochs=session.recipe.epochs,
        pruned=round(zeros / total, 6),
        accuracy=accuracy,
        validation=validation,
        price=operations(model, data.validation.first(SAMPLES)),
        **found,
    )


def _compiled(
    session: Session, model: SpikingNetwork, samples: Samples, groups: Mapping[str, np.ndarray] | None
) -> dict[str, Any]:
    """Figures of the image of a network, run on samples. groups: the core of each row, by names of weights."""
    recipe = session.recipe
    network = from_module(model, dt=recipe.dt, bits=recipe.bits)
    image = pipeline.compile(
        network,
        chips.load(CHIP),
        samples=session.data.validation.first(SAMPLES),
        options=Options(bits=recipe.bits),
        groups=groups and {layer: groups[name] for layer, name in cores.layers_of(model).items()},
    ).image
    side = report.side(image, simulate(image, samples))
    assert side.synops is not None
    assert side.energy_pj is not None
    return {
        "synops": side.synops,
        "compiled": side.accuracy,
        "memory": side.synapse_bits / 8,
        "cores": side.cores,
        "energy": side.energy_pj * 1e-12,
    }


def _mapped(session: Session, model: SpikingNetwork) -> dict[str, Any]:
    """What is known of an image without running it; nothing of a network that does not compile."""
    recipe = session.recipe
    try:
        network = from_module(model, dt=recipe.dt, bits=recipe.bits)
        image = pipeline.compile(network, chips.load(CHIP), options=Options(bits=recipe.bits)).image
    except SnncError:  # its reason is in the note
        return {}
    return {"memory": int(image.usage.synapse_bits.sum()) / 8, "cores": image.cores}


def operations(model: SpikingNetwork, samples: Samples) -> float:
    """Synaptic operations per sample, counted in torch.

    Besides those of :func:`snnc.tickets.synops.count`: an input that is a value and not a spike costs as much, however
    small it is, and so does each spike that is added to a patch's score. (That the patches are embedded for a score is
    counted already, for their embedding is the network's own.)
    """
    counted = synops.count(model, samples)
    if samples.kind != np.uint8:
        name, layer = next(iter(prunable(model).items()))
        fan = synops.fan_out(layer, torch.Size((1, *samples.shape)), (layer.weight.detach() != 0).float()).numpy()
        counted[name] = float(((samples.spikes[:, 0] != 0) * fan).sum() * samples.steps / len(samples))
    total = sum(counted.values())
    if isinstance(model, Spikformer):
        some = torch.from_numpy(samples.spikes[:256]).transpose(0, 1).float()
        total += model.selection_cost(some)["additions"]
    return total
