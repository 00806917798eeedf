"""A run of several trainings that survives being interrupted.

The stages of a run (dense training, then a training per pruning) are written down in
``<out>.partial`` as they finish, and the current one after each epoch. An algorithm asks for one
stage after the other; when it is run again after an interruption, finished stages are answered
from the file and the current one goes on where it stopped. The result is the same to the last bit.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from snnc import models
from snnc.errors import InputError, UsageError, VerificationError
from snnc.models.data import load
from snnc.models.recipe import Recipe
from snnc.models.spiking import SpikingNetwork, flatten
from snnc.tickets import Progress, archive
from snnc.tickets.balance import Groups
from snnc.tickets.checkpoint import Checkpoint, Parent, pack, save_plain, unpack
from snnc.tickets.cores import Compiler
from snnc.tickets.masks import Masks, attach, attached, plain_state
from snnc.tickets.masks import sparsity as sparsity_of
from snnc.tickets.training import Compute, Plan, Snapshot, Watch, derive, evaluate, fit, seeded

FORMAT = "snnc-partial"
VERSION = 2
# Mean rate, in spikes per neuron and step, below which a population passes on next to nothing.
SILENT = 1e-3

ANEW = "run again without resuming"

# Independent random streams of a run.
_WEIGHTS, _TRAINING, _ALGORITHM = range(3)

_logger = logging.getLogger(__name__)


class Chip(Protocol):
    """What a search asks of the target. It is handed in, for tickets are made before there is a compiler."""

    @property
    def name(self) -> str:
        """Of the target; a run is only resumed for the same one."""

    def check(self, session: Session) -> None:
        """Raise the error of a network that the chip is not for, before it is trained."""

    def compiler(self, session: Session, cores: int) -> Compiler:
        """What compiles the session's networks on so many cores (:func:`snnc.tickets.cores.rebalance`)."""

    def energy(self, session: Session, model: SpikingNetwork) -> float:
        """Joules per validation sample of a network of the session, compiled and simulated."""


@dataclass(frozen=True)
class Stage:
    """A finished training.

    state: its weights, as they act. masks: those that acted at its end. kept: the state after the epoch that was
    asked for. log: plain dicts, the last with the share of pruned weights, rates, and accuracy on validation.
    memory: what its watch remembered last.
    """

    state: dict[str, Tensor]
    masks: Masks
    kept: dict[str, Tensor] | None
    log: list[dict[str, Any]]
    memory: Any = None

    @property
    def validation(self) -> float:
        """Accuracy on the validation samples."""
        return float(self.log[-1]["validation"])

    @property
    def silent(self) -> dict[str, float]:
        """The populations that pass on next to nothing, with their rates."""
        rates = {key.removeprefix("rate "): rate for key, rate in self.log[-1].items() if key.startswith("rate ")}
        return {name: rate for name, rate in rates.items() if rate < SILENT}


class Session:
    """Stages of training for one request; see the module.

    request: everything that determines the result besides the recipe, as plain values; a run is only resumed for an
    equal one. compute: where and how to train. chip: for what a method asks of the target. Raises UsageError where
    `resume` finds another request, InputError where it finds a damaged file.

    stages: what has been trained, by name, in the order of training.
    """

    def __init__(
        self,
        recipe: Recipe,
        request: Mapping[str, Any],
        *,
        data: str | None,
        epochs: int | None,
        seed: int,
        out: Path,
        resume: bool,
        progress: Progress | None,
        compute: Compute,
        chip: Chip | None = None,
    ) -> None:
        if epochs is not None and epochs < 1:
            raise UsageError(f"epochs must be at least 1, got {epochs}")
        if out.is_dir():  # said now, not after the training
            raise UsageError("cannot write there: it is a folder", where=str(out))
        if seed < 0:
            raise UsageError(f"the seed must not be negative, got {seed}")
        self.data = load(data or recipe.data)
        self.recipe = replace(recipe, data=self.data.spec, epochs=epochs or recipe.epochs)
        self.seed = seed
        self.args = {"shape": list(self.data.shape), "classes": self.data.classes, **recipe.args}
        self.compute = compute
        self.chip = chip
        self._progress = progress or (lambda stage, done, total, note: None)
        self._out = out
        self._path = out.with_name(out.name + ".partial")
        self._request = {
            **vars(self.recipe),
            "args": self.args,
            "seed": seed,
            "precision": compute.precision,
            "compiled": compute.compiled,
            **request,
            "rewind": self.recipe.rewind if request.get("rewind") is None else request["rewind"],
        }
        self.stages: dict[str, Stage] = {}
        self._current: tuple[str, Snapshot, dict[str, Tensor] | None] | None = None
        if resume:
            self._restore()

    def fresh(self, number: int = 0, **args: Any) -> SpikingNetwork:
        """The untrained network; its weights follow from the seed and `number`. args: instead of the session's."""
        with seeded(derive(self.seed, _WEIGHTS, number)):
            model = models.model(self.recipe.model)(**{**self.args, **args})
        if self.recipe.slope is not None:
            flatten(model, self.recipe.slope)
        return model

    def loaded(self, state: Mapping[str, Tensor], **args: Any) -> SpikingNetwork:
        """The network with the weights, and everything else, of `state`."""
        model = self.fresh(**args)
        self._fill(model, state)
        return model

    def draw(self, number: int = 0) -> int:
        """The seed for what the algorithm itself draws; another for each `number`."""
        return derive(self.seed, _ALGORITHM, *([number] if number else []))

    def train(
        self,
        name: str,
        model: SpikingNetwork,
        masks: Masks | None = None,
        *,
        epochs: int,
        keep: int | None = None,
        lr: float | None = None,
        steps: int | None = None,
        penalty: float = 0.0,
        watch: Watch | None = None,
    ) -> Stage:
        """Train `model` under `masks`, or look up that this has been done.

        name: unique in this run. keep: number of epochs after which the weights are remembered as `kept`.
        lr: instead of the recipe's. steps, penalty: see :class:`snnc.tickets.training.Plan`.
        """
        if name in self.stages:
            return self.stages[name]
        if masks is not None:
            attach(model, masks)
        start, kept = None, None
        if self._current and self._current[0] == name:
            _, start, kept = self._current
            self._fill(model, start.state)
        last = start

        def after(snapshot: Snapshot) -> None:
            nonlocal kept, last
            kept = plain_state(model) if snapshot.epoch == keep else kept
            last = snapshot
            self._current = (name, snapshot, kept)
            self._save()
            self._progress(name, snapshot.epoch, epochs, f"validation {snapshot.log[-1]['validation']:.1%}")

        seed = derive(self.seed, _TRAINING, len(self.stages))
        plan = Plan(epochs, self.recipe.batch, lr or self.recipe.lr, seed, steps, penalty)
        fit(
            model,
            self.data.train,
            self.data.validation,
            plan,
            start=start,
            after=after,
            compute=self.compute,
            augment=self.data.augment,
            watch=watch,
        )
        acting = attached(model)
        summary = {"sparsity": sparsity_of(acting) if acting else 0.0, **self._health(name, model, steps)}
        entries = [{"stage": name, **entry} for entry in (*(last.log if last else []), summary)]
        self.stages[name] = Stage(plain_state(model), acting, kept, entries, last.memory if last else None)
        self._current = None
        self._save()
        return self.stages[name]

    def pruned(self, name: str, state: Mapping[str, Tensor], masks: Masks, **args: Any) -> Stage:
        """A stage that trains nothing: the network of `state` under `masks`, as it is."""
        if name not in self.stages:
            model = self.loaded(state, **args)
            attach(model, masks)
            entry = {"stage": name, "sparsity": sparsity_of(masks), **self._health(name, model, None)}
            self.stages[name] = Stage(plain_state(model), masks, None, [entry])
            self._save()
        return self.stages[name]

    def finish(
        self,
        stage: Stage,
        parent: Stage | None,
        *,
        args: Mapping[str, Any] | None = None,
        alive: bool = True,
        groups: Groups | None = None,
        notes: Sequence[Mapping[str, Any]] = (),
    ) -> Checkpoint:
        """Test the network of `stage` (and its parent), for the first and only time, and save the checkpoint.

        args: of the model, besides those of the session. alive: raise VerificationError, and keep what there is for
        resuming, where a population of the network is silent; the network of a control may be. groups: the cores that
        it is balanced on. notes: more entries for the log.
        """
        if alive and stage.silent:
            name, rate = next(iter(stage.silent.items()))
            raise VerificationError(
                f"the ticket is dead: layer '{name}' spikes {rate:.2g} times per neuron and step",
                where=str(self._out),
                fix="prune less, in more rounds, or train for more epochs",
            )
        model = self.loaded(stage.state, **(args or {}))
        right, _ = evaluate(model, self.data.test, compute=self.compute)
        validation, _ = evaluate(model, self.data.validation, compute=self.compute)
        ancestor = None
        if parent:
            before, _ = evaluate(self.loaded(parent.state), self.data.test, compute=self.compute)
            ancestor = Parent(parent.state, self.args, before, parent.log)
        checkpoint = Checkpoint(
            model=self.recipe.model,
            args={**self.args, **(args or {})},
            state_dict=stage.state,
            masks=stage.masks,
            dt=self.recipe.dt,
            reset="zero",
            bits=self.recipe.bits,
            data=self.data.spec,
            seed=self.seed,
            log=[*(entry for s in self.stages.values() for entry in s.log), *map(dict, notes)],
            parent=ancestor,
            accuracy={"validation": validation, "test": right},
            groups=groups or {},
        )
        checkpoint.save(self._out)
        self._path.unlink(missing_ok=True)
        return checkpoint

    def _health(self, name: str, model: SpikingNetwork, steps: int | None) -> dict[str, float]:
        right, rates = evaluate(model, self.data.validation, steps=steps, compute=self.compute)
        for population, rate in rates.items():
            if rate < SILENT:
                _logger.warning(
                    "%s: layer '%s' is silent: %.2g spikes per neuron and step; prune less or train longer",
                    name, population, rate,
                )  # fmt: skip
        return {"validation": right, **{f"rate {population}": rate for population, rate in rates.items()}}

    def _fill(self, model: SpikingNetwork, state: Mapping[str, Tensor]) -> None:
        try:
            model.load_state_dict(dict(state))
        except RuntimeError as error:  # torch's word for names or shapes that differ
            raise InputError(
                f"the weights in the record are not of this network: {str(error).splitlines()[-1].strip()}",
                where=str(self._path),
                fix=ANEW,
            ) from None

    def _save(self) -> None:
        current = self._current and {"stage": self._current[0], **vars(self._current[1]), "kept": self._current[2]}
        stages = {name: {**vars(stage), "masks": pack(stage.masks)} for name, stage in self.stages.items()}
        header = {"format": FORMAT, "version": VERSION, "request": self._request}
        save_plain({**header, "stages": stages, "current": current}, self._path)

    def _restore(self) -> None:
        if not self._path.exists():
            _logger.info("there is nothing to resume at %s: starting anew", self._path)
            return
        plain = archive.load_plain(self._path)
        where = str(self._path)
        if not isinstance(plain, dict) or (plain.get("format"), plain.get("version")) != (FORMAT, VERSION):
            raise InputError("this is not an unfinished run of this version of snnc", where=where, fix=ANEW)
        if not isinstance(plain.get("request"), dict):
            raise InputError("the record of an unfinished run is damaged: no request", where=where, fix=ANEW)
        differ = [key for key, value in self._request.items() if plain["request"].get(key) != value]
        if differ:
            changes = ", ".join(f"{key} (was {plain['request'].get(key)})" for key in differ)
            raise UsageError(f"the unfinished run had other arguments: {changes}", where=where, fix=ANEW)
        try:
            self.stages = {name: _stage(**stage) for name, stage in plain["stages"].items()}
            self._current = _current(**plain["current"]) if plain["current"] else None
        except (InputError, KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
            reason = error.message if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
            raise InputError(f"the record of an unfinished run is damaged: {reason}", where=where, fix=ANEW) from None


def _stage(masks: Any, **rest: Any) -> Stage:
    """A stage as :meth:`Session._save` wrote it; any of several errors where it did not."""
    stage = Stage(**rest, masks=unpack(masks))
    _ = stage.validation, stage.silent, {**stage.state}, {**(stage.kept or {})}
    return stage


def _current(stage: str, kept: Any, **snapshot: Any) -> tuple[str, Snapshot, dict[str, Tensor] | None]:
    """The training that was under way, in the same way."""
    last = Snapshot(**snapshot)
    _ = last.log[-1]["validation"], {**last.state}, {**(kept or {})}, last.optimizer["param_groups"], range(last.epoch)
    return stage, last, kept
