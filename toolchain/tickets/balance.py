"""Balance: as many connections of a layer in each core that has a part of it.

Cores work side by side, and the fullest one decides how long a layer takes. So cores above the average of their layer
lose connections and those below it get pruned ones back (u-Ticket: Yin et al., arXiv:2302.06746, section 3), by which
the layer has as many connections as before. A core can get back only what is open to it; where that does not suffice,
the others share the rest.

A group is the part of a layer that lies in one core. Groups are a whole number for each output row of a weight, the
core in which that neuron lies; of another layer the same number is the same core. Which connections count is the
caller's matter: those that are stored, which quantisation decides (:mod:`snnc.tickets.cores`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import numpy as np

from snnc.errors import UsageError
from snnc.network import Network
from snnc.resources import Usage

Groups = dict[str, np.ndarray]
"""Weight name -> core of each output row, int32 (rows,)."""

CHOICES = ("random", "magnitude")


def balance(
    masks: Mapping[str, np.ndarray],
    groups: Mapping[str, np.ndarray],
    *,
    seed: int,
    how: str = "random",
    weights: Mapping[str, np.ndarray] | None = None,
    open_to: Mapping[str, np.ndarray] | None = None,
    totals: Mapping[str, int] | None = None,
) -> dict[str, np.ndarray]:
    """Masks with numbers of connections in the groups of a layer that differ by at most one.

    masks: bool (rows, ...), of the connections that count. how: which are removed and recovered: "random", as in the
    paper, or by "magnitude" of the `weights` (of the masks' shapes; what is pruned included): the smallest go, the
    largest come back. open_to: bool, of the masks' shapes, where connections may be recovered, as between living
    neurons; None: anywhere. totals: connections that each layer is to have; None: as many as it has. Where that is more
    than there is room for, each place is taken. A layer without groups stays as it is. UsageError for another `how`.
    """
    if how not in CHOICES:
        raise UsageError(f"connections cannot be balanced by '{how}'", fix=f"choose {' or '.join(CHOICES)}")
    if how == "magnitude" and weights is None:
        raise UsageError("to balance by magnitude takes weights")
    generator = np.random.default_rng(seed)
    found = {}
    for name, mask in masks.items():
        # Drawn for every layer, so that one does not depend on what others hold.
        worth = generator.random(mask.shape)
        if how == "magnitude" and weights is not None:
            worth = np.abs(weights[name]).astype(np.float64)
        if name not in groups:
            found[name] = mask.copy()
            continue
        room = np.ones(mask.shape, bool) if open_to is None else open_to[name] | mask
        total = int(mask.sum()) if totals is None else totals[name]
        found[name] = _balanced(mask, groups[name], room, worth, total)
    return found


def _balanced(mask: np.ndarray, group: np.ndarray, room: np.ndarray, worth: np.ndarray, total: int) -> np.ndarray:
    """One layer. worth: of two connections the one that is worth more is kept, or comes back, first."""
    cores, part = np.unique(group, return_inverse=True)
    flat = [a.reshape(len(mask), -1) for a in (mask, room, worth)]
    after = flat[0].copy()
    wanted = shares(total, np.array([int(flat[1][part == k].sum()) for k in range(len(cores))]))
    for k, count in enumerate(wanted):
        here, open_here, value = (a[part == k] for a in flat)
        # Those that are there come before those that could be.
        order = np.lexsort((-value.ravel(), ~here.ravel(), ~open_here.ravel()))
        chosen = np.zeros(here.size, bool)
        chosen[order[:count]] = True
        after[part == k] = chosen.reshape(here.shape)
    return after.reshape(mask.shape)


def shares(total: int, room: np.ndarray) -> np.ndarray:
    """`total` divided evenly, int64 (n,), the last ones take the rest; none gets more than its `room`, (n,)."""
    found = np.zeros(len(room), np.int64)
    left, open_ = min(total, int(room.sum())), np.arange(len(room))
    while len(open_):
        tight = room[open_] * len(open_) < left
        if not tight.any():
            whole, rest = divmod(left, len(open_))
            found[open_] = whole
            found[open_[len(open_) - rest :]] += 1
            break
        found[open_[tight]] = room[open_[tight]]
        left -= int(room[open_[tight]].sum())
        open_ = open_[~tight]
    return found


def counts(masks: Mapping[str, np.ndarray], groups: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Connections in each group of each layer, int64 (groups,)."""
    found = {}
    for name, group in groups.items():
        _, part = np.unique(group, return_inverse=True)
        rows = masks[name].reshape(len(group), -1).sum(axis=1)
        found[name] = np.bincount(part, weights=rows).astype(np.int64)
    return found


def held(
    network: Network, core_of: np.ndarray, used: Usage, names: Collection[str] | None = None
) -> dict[str, np.ndarray]:
    """Synapses of each projection of a lowered network in the cores that its layer is in, int64 (cores of it,).

    core_of: as in :class:`snnc.image.Mapping`, under which cores are `used`. names: of the projections; None: all.
    Zeros that a dense format stores are none. Of an image: ``held(image.network, image.mapping.core_of, image.usage)``.
    """
    found = {}
    for projection in network.projections:
        if names is None or projection.name in names:
            start = network.offsets[projection.post]
            cores = np.unique(core_of[start : start + network[projection.post].size])
            found[projection.name] = used.existing_of[projection.name].sum(axis=1)[cores].astype(np.int64)
    return found


def utilisation(counted: np.ndarray) -> float:
    """Of the cores of a layer: 1 where all hold as many connections, 0 where one holds all, as in the paper.

    counted: connections in each core that has a part of the layer, (n,). It is 1 - (largest - mean) / largest n / (n -
    1), and 1 for a single core and for none.
    """
    n, largest = len(counted), counted.max(initial=0)
    if n < 2 or not largest:
        return 1.0
    return float(1 - (largest - counted.mean()) / largest * n / (n - 1))


def mean_utilisation(layers: Iterable[np.ndarray]) -> float:
    """The mean of the layers' utilisation, each weighted with its connections.

    layers: :func:`counts` of each, or what each has :func:`held`.
    """
    held = [(int(c.sum()), utilisation(c)) for c in layers]
    total = sum(n for n, _ in held)
    return sum(n * each for n, each in held) / total if total else 1.0


def settled(groups: Mapping[str, np.ndarray], *, splinters: bool = False) -> Groups:
    """The groups with a core for every row and, unless they are to stay, without splinters.

    A mapper that looks at traffic alone leaves a row here and there, and a core with a single row cannot hold as many
    connections as others. A splinter has less than half of the rows of the layer's mean core; its rows, and those that
    have no core yet (-1), go one by one to the core with the fewest of that layer.
    """
    return {name: _settled(group, splinters) for name, group in groups.items()}


def _settled(group: np.ndarray, splinters: bool) -> np.ndarray:
    cores, rows = np.unique(group[group >= 0], return_counts=True)
    if not len(cores):
        return np.zeros_like(group)
    while not splinters and 2 * rows.min() * len(rows) < rows.sum():
        splinter = rows.argmin()
        cores, rows = np.delete(cores, splinter), np.delete(rows, splinter)
    found = group.copy()
    rows = np.array([np.sum(group == core) for core in cores])
    for row in np.flatnonzero(~np.isin(group, cores)):
        least = rows.argmin()
        found[row] = cores[least]
        rows[least] += 1
    return found
