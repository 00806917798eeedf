"""What is in a network, and what happens in its run: the names by which the suite says that it covers something."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import numpy as np

from snnc.network import ADAPTIVE, GRADED, READ_OUT, Network, Population, Projection
from snnc.ops import Conv2d
from snnc.simulator import reference
from snnc.simulator.reference import DECAY, RANGE, UNIT, shift_to_zero

FEATURES = frozenset(
    (
        # Synapses.
        *("dense", "sparse", "conv", "stride", "padding", "dilation", "groups", "line", "pool", "flatten"),
        # Weights of a projection: their signs, none at all, beyond seven bits, each minus a power of two.
        *("mixed", "all positive", "all negative", "all zero", "odd above 127", "even above 127", "only -2^k"),
        # Time and wiring.
        *(
            "delay",
            "delays differ",
            "delayed conv",
            "recurrent",
            "feedback",
            "branch",
            "join",
            "short cut",
            "unfed",
            "parallel",
        ),
        # Neurons.
        *("if", "lif", "cuba", "bias", "own thresholds", "own decays", "own biases", "read-out"),
        *("refractory", "adaptive", "graded", "subtract", "subtract next", "subtract recheck"),
        # Runs.
        *("several samples", "one step", "values", "saturates above", "saturates below", "wraps", "leaves its range"),
        "spikes in the last step",
    )
)


@dataclass
class Watch:
    """Stands in for the step of the reference and notes what it does with the ends of the registers."""

    seen: set[str] = field(default_factory=set)

    def __call__(
        self, params: dict[str, np.ndarray], u: np.ndarray, v: np.ndarray, a: np.ndarray, *rest: Any, **named: Any
    ) -> Any:
        after = STEP(params, u, v, a, *rest, **named)
        current = shift_to_zero(u * (4096 - params["u_decay"]), DECAY) + (a << UNIT)
        w = rest[0] if rest else named.get("w", 0)
        membrane = shift_to_zero(v * (4096 - params["v_decay"]), DECAY) + after[0] + w + (params["bias"] << UNIT)
        found = {
            "wraps": current != after[0],
            "leaves its range": (after[0] > RANGE) | (after[0] <= -RANGE),
            "saturates above": membrane > RANGE - 1,
            "saturates below": membrane < -RANGE + 1,
        }
        self.seen |= {name for name, where in found.items() if where.any()}
        return after


STEP = reference.step


def trace(network: Network, spikes: np.ndarray) -> tuple[dict[tuple[str, str], np.ndarray], set[str]]:
    """The reference's trace of a run, and what it shows."""
    with patch.object(reference, "step", Watch()) as watch:
        found = reference.trace(network, spikes)
    seen: set[str] = watch.seen
    if len(spikes) > 1:
        seen.add("several samples")
    if spikes.shape[1] == 1:
        seen.add("one step")
    if spikes.dtype != np.uint8:
        seen.add("values")
    if all(found["spikes", p.name][:, -1].any() for p in network.layers if p.neuron != READ_OUT):
        seen.add("spikes in the last step")
    return found, seen


def of(network: Network) -> set[str]:
    """What is in the network."""
    found = {name for p in network.layers for name in _of_neurons(p)}
    for projection in network.projections:
        found |= set(_of_synapses(network, projection))
        found |= set(_of_weights(projection))
        found |= set(_of_wiring(network, projection))
    for population in network.populations:
        into = network.into(population.name)
        if len({p.post for p in network.projections if p.pre == population.name}) > 1:
            found.add("branch")
        if len({p.pre for p in into} - {population.name}) > 1:
            found.add("join")
        if len({(p.pre, p.delay) for p in into}) < len(into):
            found.add("parallel")
        if len({p.delay for p in into}) > 1 and len({p.pre for p in into}) == 1:
            found.add("delays differ")
        if network.depths[population.name] < 0:
            found.add("unfed")
    return found


def _of_neurons(population: Population) -> Iterator[str]:
    p = population.params
    yield from (name for name, kind in KINDS.items() if population.neuron == kind)
    if population.neuron == "cuba_fixed":
        memory = (p["u_decay"].min() < 4096, p["v_decay"].max() > 0)
        yield "cuba" if memory[0] else "lif" if memory[1] else "if"
    if population.subtracts:
        yield "subtract"
        yield f"subtract {population.semantics.when}"
    if p["bias"].any():
        yield "bias"
    if p.get("refractory", np.zeros(1)).any():
        yield "refractory"
    for name, shown in (("threshold", "own thresholds"), ("bias", "own biases")):
        if name in p and np.ptp(p[name]):
            yield shown
    if any(np.ptp(p[name]) for name in ("u_decay", "v_decay")):
        yield "own decays"


KINDS = {"read-out": READ_OUT, "adaptive": ADAPTIVE, "graded": GRADED}


def _of_synapses(network: Network, projection: Projection) -> Iterator[str]:
    op = projection.op
    if not isinstance(op, Conv2d):
        yield "dense" if 4 * op.taps >= np.prod(op.weight.shape) else "sparse"
        if len(network[projection.pre].shape) > 1:
            yield "flatten"
        return
    yield "conv"
    if op.line:
        yield "line"
    for name, pair, usual in (("stride", op.stride, 1), ("padding", op.padding, 0), ("dilation", op.dilation, 1)):
        if pair != ((0, 0) if usual == 0 else (1, 1)):
            yield name
    if op.groups > 1:
        yield "groups"
    if op.weight.shape[1] == 1 and op.groups > 1 and np.ptp(op.weight) == 0 and op.weight[0, 0].size > 1:
        yield "pool"


def _of_weights(projection: Projection) -> Iterator[str]:
    op = projection.op
    weight = np.asarray(op.weight if isinstance(op, Conv2d) else op.weight.data, np.int64).ravel()
    weight = weight[weight != 0]
    if not len(weight):
        yield "all zero"
        return
    low, high = weight.min(), weight.max()
    yield "all positive" if low > 0 else "all negative" if high < 0 else "mixed"
    if high < 0 and not np.any(-weight & (-weight - 1)):
        yield "only -2^k"
    large = weight[np.abs(weight) > 127]
    if (large % 2 != 0).any():
        yield "odd above 127"
    if (large % 2 == 0).any():
        yield "even above 127"


def _of_wiring(network: Network, projection: Projection) -> Iterator[str]:
    if projection.delay:
        yield "delayed conv" if isinstance(projection.op, Conv2d) else "delay"
    if projection.pre == projection.post:
        yield "recurrent"
    elif network.backward(projection):
        yield "feedback"
    elif network.depths[projection.pre] >= 0 and network.depths[projection.post] > network.depths[projection.pre] + 1:
        yield "short cut"
