"""Quantize: float neurons and weights become the target's integer registers.

The grid is that of :mod:`snnc.quantization.grid`. Layers whose weights are of one magnitude are exact
(:mod:`~snnc.quantization.binary`). For every other layer the scale is searched on calibration data
(:mod:`~snnc.quantization.search`), then single weights are moved (:mod:`~snnc.quantization.adjust`), layer by layer in
the order of the network. In the end both networks, that one and the one of plain scales, run on the data in one piece,
and the plain one is taken where its outputs are nearer to those of the float network. Without data the scale is the one
with the smallest error of the weights. Where the user asked for it, the integers are then trained on.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from snnc.compilation import Compilation
from snnc.network import ANALOGUE, Network, Population
from snnc.quantization import adjust, binary, scales, search
from snnc.quantization.calibration import Calibration
from snnc.quantization.grid import Gridded, Layer, Limits, Rounded, Scale, Tune, held, rounded
from snnc.quantization.trial import cost
from snnc.resources import weight_bits
from snnc.samples import Samples
from snnc.simulator import simulate
from snnc.simulator.reference import UNIT
from snnc.target import Target

_logger = logging.getLogger(__name__)


def run(c: Compilation) -> Compilation:
    """Quantise the lowered network of `c`; one that already is of integers is kept as it is."""
    c = replace(c, lowered=c.network, lowered_kept=c.kept)
    if c.network.integer:
        return _kept(c)
    rules = Rules.of(c.target, c.options.bits, len(c.network.layers), several=c.options.scales == "auto")
    network, found = searched(c.network, rules, c.samples, c.tune)
    return replace(c, network=network).found(quantize={"bits": c.options.bits, **found})


def _kept(c: Compilation) -> Compilation:
    """The network of `c`, which came with integers, in the types of the executors."""
    projections = []
    for p in c.network.projections:
        bits = weight_bits(p, c.target.synapse)
        projections.append(replace(p, ops=(replace(p.op, weight=p.op.weight.astype(np.int16)),), bits=bits))
    network = replace(c.network, projections=tuple(projections))
    return replace(c, network=network).found(quantize={"bits": None, "layers": []})


@dataclass(frozen=True)
class Rules:
    """What a network is quantised by.

    model: of the integer neurons. bits: width of the weights. limits, signs: of the grid of that width, and of 1 bit.
    groups: different sets of parameters that a layer with scales of its channels may have. exact: the same where that
    makes a layer exact.
    """

    model: str
    bits: int
    limits: Limits
    signs: Limits
    groups: int = 1
    exact: int = 1

    @classmethod
    def of(cls, target: Target, bits: int, layers: int, *, several: bool) -> Rules:
        """Those of a chip, for a network of so many layers. several: whether channels may have scales.

        All layers together get as many sets as a core holds, so that any of them can share one; a layer at most a
        quarter of that.
        """
        held = target.core.neuron_groups.value
        groups = max(2, min(held // max(1, layers), held // 4)) if several else 1
        model = target.neuron.model
        return cls(model, bits, Limits.of(target, bits), Limits.of(target, 1), groups, held // 2 if several else 1)


@dataclass(frozen=True, eq=False)
class _Done:
    """A layer that was quantised. bits: of its weights. log: how, as plain data."""

    layer: Layer
    scale: Scale
    integers: Rounded
    bits: int
    log: dict[str, Any]

    def note(self) -> dict[str, Any]:
        """What quantisation did to the layer, as plain data."""
        unit, threshold = self.scale.unit, self.integers.population.params.get("threshold")
        return {
            "layer": self.layer.name,
            "bits": self.bits,
            "scale": [float(unit.min()), float(unit.max())],
            "scales": len(np.unique(unit)),
            "exponent": self.scale.exponent,
            "threshold": None if threshold is None else [int(threshold.min()), int(threshold.max())],
            "weights": self.integers.weights,
            "rounded_to_zero": self.integers.vanished,
            "clipped": self.integers.clipped,
            "weight_error": self.integers.error,
            **self.log,
        }


def quantize(network: Network, model: str, limits: Limits) -> tuple[Network, list[dict[str, Any]]]:
    """The integer network of a lowered one by plain scales alone, and what happened to each layer."""
    rules = Rules(model, limits.weight.bit_length() + 1, limits, limits)
    layers = [_plain(Layer.of(network, population.name), rules) for population in network.layers]
    return _assembled(network, layers), [done.note() for done in layers]


def searched(
    network: Network, rules: Rules, samples: Samples | None = None, tune: Tune | None = None
) -> tuple[Network, dict[str, Any]]:
    """The integer network of a lowered one by the best scales known, and what happened to each layer."""
    calibration = None
    # Values that are no whole numbers feed no integer network; the profile says so.
    if samples is not None and samples.kind.kind != "f":
        calibration = Calibration.of(network, samples)
    best, plain = [], []
    for population in network.layers:
        layer = Layer.of(network, population.name, _reach(population, calibration))
        done = _exact(layer, rules)
        best.append(done or _best(layer, rules, calibration))
        plain.append(done or _plain(layer, rules))
        if calibration is not None and layer.incoming and not layer.reads:
            calibration.add(calibration.behind(layer), best[-1].integers)
    chosen = best
    found: dict[str, Any] = {}
    if calibration is not None:
        costs = [_output_cost(_assembled(network, layers), layers, calibration) for layers in (best, plain)]
        found = {"samples": calibration.samples, "output_cost": costs[0], "output_cost_plain": costs[1]}
        if costs[0] > costs[1]:
            chosen = plain
    if tune is not None:
        chosen, found["tuned"] = _tuned(network, chosen, rules, samples, tune)
    return _assembled(network, chosen), {"layers": [done.note() for done in chosen], **found}


def _reach(population: Population, calibration: Calibration | None) -> float | None:
    """Of a read-out: twice its largest membrane on the data."""
    if population.neuron not in ANALOGUE or calibration is None:
        return None
    return 2 * float(np.abs(calibration.wanted[population.name]).max())


def _tuned(
    network: Network, layers: list[_Done], rules: Rules, samples: Samples | None, tune: Tune
) -> tuple[list[_Done], dict[str, Any]]:
    """The layers with trained weights, and what happened; as they were, where the accuracy on `samples` fell."""
    exact = ["binary" in done.log for done in layers]
    if all(exact):
        _logger.info("nothing is trained: every weight is exact")
        return layers, {"epochs": 0, "best": 0}
    limits = [rules.signs if of else rules.limits for of in exact]
    parts = zip(layers, limits, exact, strict=True)
    found, log = tune(network, [Gridded(d.layer, d.scale, of, d.integers, e) for d, of, e in parts])
    after = [
        replace(d, scale=scale, integers=held(d.layer, mantissas, scale, of, rules.model))
        for d, of, (scale, mantissas) in zip(layers, limits, found, strict=True)
    ]
    if samples is None or samples.labels is None:
        return after, log
    before, now = (simulate(_assembled(network, done), samples).accuracy for done in (layers, after))
    assert before is not None
    assert now is not None
    kept = now >= before
    return after if kept else layers, {**log, "accuracy_before": before, "accuracy_after": now, "kept": kept}


def _exact(layer: Layer, rules: Rules) -> _Done | None:
    """The layer where it is one of a single magnitude, or each of its channels is."""
    scale = binary.exact(layer, rules.signs, rules.model, rules.exact)
    if scale is None or (layer.reads and np.ptp(scale.factor) > 0):  # what is read out is compared: one scale for all
        return None
    each = "layer" if np.ptp(scale.factor) == 0 else "channel"
    _logger.info("layer '%s' is binary: its weights are exact, and stored as signs", layer.name)
    return _Done(layer, scale, rounded(layer, scale, rules.signs, rules.model), 1, {"binary": each})


def _plain(layer: Layer, rules: Rules) -> _Done:
    scale = scales.plain(layer, rules.limits)
    return _Done(layer, scale, rounded(layer, scale, rules.limits, rules.model), rules.bits, {"plain": True})


def _best(layer: Layer, rules: Rules, calibration: Calibration | None) -> _Done:
    if not layer.largest:
        return _plain(layer, rules)
    if calibration is None or layer.reads:
        choice = search.without_data(layer, rules.limits, rules.model)
        return _Done(layer, choice.scale, choice.layer, rules.bits, choice.log)
    choice = search.on_data(layer, calibration.alone(layer), rules.limits, rules.model, rules.groups)
    behind = calibration.behind(layer)
    better, moves = adjust.adjusted(behind, choice.scale, rules.limits, rules.model, choice.layer)
    return _Done(layer, choice.scale, better, rules.bits, {**choice.log, "moved": moves})


def _assembled(network: Network, layers: list[_Done]) -> Network:
    populations = {done.layer.name: done.integers.population for done in layers}
    projections = {p.name: replace(p, bits=done.bits) for done in layers for p in done.integers.incoming}
    return replace(
        network,
        populations=tuple(populations.get(p.name, p) for p in network.populations),
        projections=tuple(projections[p.name] for p in network.projections),
    )


def _output_cost(network: Network, layers: list[_Done], calibration: Calibration) -> float:
    """How far the outputs of an integer network are from those of the float one, per spike of these.

    Of membranes: the square of the error of their sums over the steps, as a share of that of the sums.
    """
    name = network.inputs[0].name
    run = simulate(network, Samples(calibration.wanted[name]), rasters=network.outputs)
    total = spikes = 0
    units = {done.layer.name: float(done.scale.unit[0]) for done in layers if done.layer.reads}
    for output in network.outputs:
        if output in units:
            wanted = calibration.wanted[output].sum(axis=1)
            found = run.rasters[output].sum(axis=1, dtype=np.int64) / (units[output] * 2.0**UNIT)
            return float(np.square(found - wanted).sum() / max(np.square(wanted).sum(), 1e-300))
        wanted = calibration.wanted[output].astype(bool)
        flat = (*wanted.shape[:2], -1)
        total += int(cost(run.rasters[output].reshape(flat), wanted.reshape(flat)).sum())
        spikes += int(wanted.sum())
    return total / max(1, spikes)
