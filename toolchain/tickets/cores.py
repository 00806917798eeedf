"""Tickets that are balanced on the cores of a chip: after each pruning, and once more after the last training.

What counts is what a chip stores. Weights that quantisation rounds to zero are none, nor are those of neurons that are
dead, which the compiler removes. So both functions here ask the compiler; it is handed in
(:func:`snnc.grouping.compiler`), for tickets are made before there is one.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from snnc.errors import UsageError
from snnc.models.spiking import Row, SpikingNetwork, population_names
from snnc.tickets.balance import Groups, balance, counts, mean_utilisation
from snnc.tickets.masks import Masks, plain_state, weights

# The utilisation that levelling aims at; more would cost a network of few bits many weights.
ENOUGH = 0.995
# Compilations that it may take. Weights that come back do so as the smallest that there is, after so many
# compilations as twice that: calibration may have moved the smallest ones to zero again.
ROUNDS, LIFTS = 20, 4

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Made:
    """What the compiler makes of a network, by the names of its weights.

    groups: the core of each output row. mantissas: of the weights that are stored, int32 (rows, columns), else zero.
    alive: bool, the same shape: between two neurons that are not dead.
    """

    groups: Groups
    mantissas: dict[str, np.ndarray]
    alive: Masks

    @property
    def stored(self) -> Masks:
        """The connections that there are."""
        return {name: m != 0 for name, m in self.mantissas.items()}

    @property
    def counts(self) -> dict[str, np.ndarray]:
        """Connections of each layer in each core that has living neurons of it, int64 (cores of it,)."""
        living = {name: alive.any(axis=1) for name, alive in self.alive.items()}
        stored = {name: mask[living[name]] for name, mask in self.stored.items()}
        return counts(stored, {name: group[living[name]] for name, group in self.groups.items()})

    @property
    def cores(self) -> int:
        """Cores that have living neurons."""
        rows = {name: alive.any(axis=1) for name, alive in self.alive.items()}
        return len(set().union(*(self.groups[name][living].tolist() for name, living in rows.items())))

    @property
    def utilisation(self) -> float:
        """Of these cores, see :func:`snnc.tickets.balance.mean_utilisation`."""
        return mean_utilisation(self.counts.values())


Compiler = Callable[[SpikingNetwork, Groups | None], Made]
"""Compiles a network without attached masks, on cores that are given or on those that the mapper finds."""


def rebalance(
    model: SpikingNetwork,
    masks: Mapping[str, np.ndarray],
    compiler: Compiler,
    *,
    seed: int,
    how: str = "random",
    back: Mapping[str, np.ndarray] | None = None,
    groups: Groups | None = None,
) -> tuple[Masks, Groups]:
    """Masks that are balanced after a pruning, and the groups that they are balanced on.

    model: as it was trained, with weights that `masks` prune or not; it is left as it is. Each layer keeps as many
    connections as its mask has: in place of those that quantisation rounds to zero, and of those of dead neurons,
    others between living ones are recovered. back: with `how` "magnitude", what the weights are ranked by; None: those
    of `model`. groups: None = those of the mapper. seed, how: as for :func:`snnc.tickets.balance.balance`.
    """
    made = compiler(_with(model, _pruned(model, masks)), groups)
    totals = {name: int(mask.sum()) for name, mask in masks.items()}
    ranks = weights(model) if back is None else back
    found = balance(made.stored, made.groups, seed=seed, how=how, weights=ranks, open_to=made.alive, totals=totals)
    return found, made.groups


def level(
    model: SpikingNetwork, masks: Mapping[str, np.ndarray], compiler: Compiler, groups: Groups, *, seed: int
) -> tuple[dict[str, Tensor], Masks]:
    """The state of a network after its last training, and its masks, with cores that store nearly equally much.

    Some trained weights round to zero, and some neurons die, so that the counts of before are no more. Nothing is
    trained afterwards, so the network is to change little. Cores that store more than the mean lose their smallest
    weights, but none that is the last one into or out of a neuron, which would die and take others along. Cores that
    store less get weights back, first what was rounded to zero, then others between living neurons: as the smallest
    that the chip has. (On digits, 90 to 98 % sparse, that costs at most 0.7 points at 3, 4 and 8 bits;
    removing alone costs 8 at 98 % and 3 bits, where a third of the connections goes.) Each change may move the scales
    of quantisation, so the network is compiled again until the utilisation is ENOUGH; where it never is, the best is
    taken, and a warning tells. The masks are where the state is not zero.

    groups: of :func:`rebalance`. compiler: with the options and the data of the compilation that is to come; for others
    the counts differ by what they round otherwise. seed: of what comes back, and its signs.
    """
    state = best = _pruned(model, masks)
    most = -1.0
    wanted: dict[str, int] = {}
    generator = np.random.default_rng(seed)
    for number in range(ROUNDS):
        made = compiler(_with(model, state), groups)
        if made.utilisation > most:
            most, best = made.utilisation, state
        if most >= ENOUGH:
            break
        wanted = wanted or {name: round(counted.mean()) for name, counted in made.counts.items() if len(counted)}
        lift = 1.0 if number < LIFTS else 2.0
        state = state | {
            name: torch.from_numpy(_levelled(made, name, count, state[name].numpy(), lift, generator))
            for name, count in wanted.items()
        }
    else:
        _logger.warning("cores cannot be levelled further: their utilisation is %.1f %%", 100 * most)
    return best, {name: best[name].numpy() != 0 for name in groups}


def _levelled(
    made: Made, name: str, wanted: int, weight: np.ndarray, lift: float, generator: np.random.Generator
) -> np.ndarray:
    """One weight with `wanted` connections in each core, or as many more as are needed.

    lift: what comes back, in units of the smallest weight.
    """
    stored, alive = made.stored[name], made.alive[name]
    size = np.where(stored, np.abs(weight), -1)
    needed = np.zeros(weight.shape, bool)
    needed[size.argmax(axis=0), np.arange(weight.shape[1])] = True
    needed[np.arange(weight.shape[0]), size.argmax(axis=1)] = True
    needed &= stored
    cores = [made.groups[name] == core for core in np.unique(made.groups[name][alive.any(axis=1)])]
    wanted = max([wanted, *(int(needed[rows].sum()) for rows in cores)])
    vanished = alive & ~stored & (weight != 0)
    rank = np.select([needed, stored, vanished, alive], [4, 3, 2, 1], 0)
    among = np.where(stored | vanished, np.abs(weight), generator.random(weight.shape))
    chosen = np.zeros(weight.shape, bool)
    for rows in cores:
        order = np.lexsort((-among[rows].ravel(), -rank[rows].ravel()))
        here = np.zeros(order.size, bool)
        here[order[:wanted]] = True
        chosen[rows] = here.reshape(-1, weight.shape[1])
    sign = np.where(weight != 0, np.sign(weight), generator.choice([-1.0, 1.0], weight.shape))
    back = lift * sign * _steps(weight, np.abs(made.mantissas[name]))
    found = np.where(stored, weight, back)
    return np.where(chosen & alive, found, 0).astype(weight.dtype)


def _steps(weight: np.ndarray, mantissas: np.ndarray) -> np.ndarray:
    """What the smallest integer stands for in each row, (rows, 1); of a row that stores nothing, the layer's mean."""
    stored = mantissas != 0
    total = np.where(stored, np.abs(weight), 0).sum(axis=1), mantissas.sum(axis=1)
    mean = total[0].sum() / max(1, total[1].sum())
    return np.where(total[1] > 0, total[0] / np.maximum(total[1], 1), mean)[:, None]


def layers_of(model: SpikingNetwork) -> dict[str, str]:
    """Each population of a network of fully connected layers -> the name of the weight in front of it.

    UsageError for other networks: a chip splits a convolution by places, too, while its weights are the same at all of
    them, so that a core cannot have more of them than another; and behind a pooling a weight is several synapses.
    """
    layers = list(model.layers) if isinstance(model, Row) else []
    names, found, weight = population_names(layers), {}, ""
    for index, layer in enumerate(layers):
        if isinstance(layer, nn.Linear) and not weight:
            weight = f"layers.{index}.weight"
        elif index in names and weight:
            found[names[index]], weight = weight, ""
        elif not isinstance(layer, (nn.Flatten, nn.Dropout, nn.BatchNorm1d)):
            raise _refusal(f"layer {index} is {type(layer).__name__}")
    if weight:
        raise _refusal(f"'{weight}' has no neurons behind it")
    if not found:
        raise _refusal(f"{type(model).__name__} is none")
    return found


def _refusal(why: str) -> UsageError:
    return UsageError(f"only rows of fully connected layers can be balanced on cores, and {why}", fix="balance mlp")


def _pruned(model: SpikingNetwork, masks: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """The state of the network with zeros where the masks prune."""
    state = plain_state(model)
    return state | {
        name: torch.where(torch.from_numpy(mask), state[name], torch.zeros_like(state[name]))
        for name, mask in masks.items()
    }


def _with(model: SpikingNetwork, state: Mapping[str, Tensor]) -> SpikingNetwork:
    """A copy of a row of layers, without attached masks, that has this state."""
    layers_of(model)
    assert isinstance(model, Row)
    layers = [
        # Attached masks live in the layer's class, which a copy would share with it.
        nn.Linear(m.in_features, m.out_features, m.bias is not None) if isinstance(m, nn.Linear) else copy.deepcopy(m)
        for m in model.layers
    ]
    copied = Row(layers, model.shape)
    copied.load_state_dict(dict(state))
    return copied.eval()
