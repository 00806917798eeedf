"""What a mapping uses of every core, counted neuron by neuron and synapse by synapse.

The compiler's own account is :mod:`snnc.resources`; this one shares no code with it and takes another route, core
after core, so that each can be held against the other. It is sparse, for networks of any size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import sparse

from snnc import ops
from snnc.network import Network
from snnc.target import Synapse, Target

LIMITED = ("neurons", "in_axons", "out_axons", "synapse_bits", "neuron_groups")


@dataclass(frozen=True, eq=False)
class Counts:
    """Use of each core, int64 (cores,), of everything in :data:`LIMITED`; and who sends where.

    source, core: of each in-axon, the neuron it comes from and the core it is in, int64 (axons,).
    """

    neurons: np.ndarray
    in_axons: np.ndarray
    out_axons: np.ndarray
    synapse_bits: np.ndarray
    neuron_groups: np.ndarray
    source: np.ndarray
    core: np.ndarray

    def broken(self, target: Target) -> list[str]:
        """The limits of a core that are exceeded somewhere."""
        return [name for name in LIMITED if np.any(getattr(self, name) > getattr(target.core, name).value)]

    def flows(self, core_of: np.ndarray, rates: np.ndarray) -> np.ndarray:
        """Spikes per step from core to core, (cores, cores); the diagonal is 0."""
        cores = len(self.neurons)
        sender = core_of[self.source]
        away = (sender >= 0) & (sender != self.core)
        pair = sender[away].astype(np.int64) * cores + self.core[away]
        return np.bincount(pair, rates[self.source[away]], cores * cores).reshape(cores, cores)


def count(network: Network, core_of: np.ndarray, target: Target) -> Counts:
    """Count everything. core_of: (neurons,), -1 for what is not on a core."""
    cores, offsets = int(core_of.max()) + 1, network.offsets
    matrices = [ops.matrix(p.op, network[p.pre].shape) for p in network.projections]
    widths = [weight_bits(m.data, target.synapse) for m in matrices]
    more = [_delay_bits(w, target.synapse) + target.synapse.tag_bits.value for w in _waits(network, matrices)]
    order = np.argsort(core_of, kind="stable")
    ends = np.searchsorted(core_of[order], np.arange(cores + 1))
    bits = np.zeros(cores, np.int64)
    arriving = []
    for core in range(cores):
        members = order[ends[core] : ends[core + 1]]  # ascending
        sources = [np.zeros(0, np.int64)]
        for projection, matrix, width, other in zip(network.projections, matrices, widths, more, strict=True):
            start = offsets[projection.post]
            a, b = np.searchsorted(members, (start, start + network[projection.post].size))
            part = matrix[members[a:b] - start] if b > a else None
            if part is None or not part.nnz:
                continue
            shared = "kernel" in target.synapse.formats and isinstance(projection.op, ops.Conv2d)
            lists = _lists(part) if shared else None
            present, fans = np.unique(part.indices, return_counts=True)
            sources.append(present + offsets[projection.pre])
            full = isinstance(projection.op, ops.Linear) and matrix.nnz == math.prod(matrix.shape)
            bits[core] += _bits(fans, int(b - a), len(members), (width, other), full, lists, target.synapse)
        arriving.append(np.unique(np.concatenate(sources)))
    source = np.concatenate(arriving)
    sender = core_of[source]
    return Counts(
        neurons=np.diff(ends),
        in_axons=np.array([len(a) for a in arriving]),
        out_axons=np.bincount(sender[sender >= 0], minlength=cores),
        synapse_bits=bits,
        neuron_groups=_groups(network, core_of, cores),
        source=source,
        core=np.repeat(np.arange(cores), [len(a) for a in arriving]),
    )


def weight_bits(weights: np.ndarray, synapse: Synapse) -> int:
    """Bits of a weight that exists."""
    magnitudes = np.unique(np.abs(weights.astype(np.int64)))
    magnitudes = magnitudes[magnitudes > 0]
    while magnitudes.size and not np.any(magnitudes % 2):
        magnitudes //= 2  # a common power of two is an exponent, not stored in each weight
    sign_and_magnitude = int(magnitudes.max(initial=0)).bit_length() + 1
    return synapse.weight_bits.holding(1 if sign_and_magnitude <= 2 else sign_and_magnitude)  # one magnitude: a sign


def _delay_bits(steps: int, synapse: Synapse) -> int:
    return min(w for w in synapse.delay_bits.value if 2**w > steps)


def _waits(network: Network, matrices: list[sparse.csr_array]) -> list[int]:
    """Steps that each projection holds spikes back: its delay, and what it is ahead of the longest way to its end."""
    place = {p.name: k for k, p in enumerate(network.populations)}
    late = {p.name: 0 if p.neuron == "input" else -1 for p in network.populations}
    links = [(p.pre, p.post) for p, m in zip(network.projections, matrices, strict=True) if m.nnz]
    for _ in network.populations:  # as often as the longest way can be long
        for pre, post in links:
            if place[pre] < place[post]:
                late[post] = max(late[post], late[pre] + 1)
    return [
        p.delay + (max(0, late[p.post] - late[p.pre] - (place[p.pre] < place[p.post])) if late[p.pre] >= 0 else 0)
        for p in network.projections
    ]


def _bits(
    fans: np.ndarray,
    width: int,
    neurons: int,
    parts: tuple[int, int],
    full: bool,
    lists: np.ndarray | None,
    synapse: Synapse,
) -> int:
    """Memory of one projection in one core, in the smallest of the formats that the chip has.

    fans: synapses of each axon. width: neurons of the population in the core, of `neurons` in all. full: whether no
    synapse is absent. parts: bits of a weight, and of what else there is but an index. lists: lengths of the lists that
    differ, None where none are shared.
    """
    weight, more = parts
    each = weight + more
    zero = weight if full or weight > 1 else synapse.weight_bits.holding(2)  # a sign cannot be zero
    index = synapse.index_bits.holding(max(1, math.ceil(math.log2(max(2, neurons)))))
    word = synapse.word_bits.value
    sizes = {
        "dense": len(fans) * _block_bits(width, zero + more, synapse),
        "sparse": _total_bits(fans, each + index, synapse),
        "bitmap": _total_bits(fans, each, synapse) + len(fans) * math.ceil(width / word) * word,
    }
    if lists is not None:
        sizes["kernel"] = _total_bits(lists, each + index, synapse)
    return min(size for name, size in sizes.items() if name in synapse.formats)


def _total_bits(lengths: np.ndarray, each: int, synapse: Synapse) -> int:
    different, times = np.unique(lengths, return_counts=True)
    return sum(int(k) * _block_bits(int(n), each, synapse) for n, k in zip(different, times, strict=True))


def _block_bits(synapses: int, each: int, synapse: Synapse) -> int:
    total, word = 0, synapse.word_bits.value
    while synapses > 0:
        block = min(synapse.block.value, synapses)
        total += math.ceil((block * each + synapse.header_bits.value) / word) * word
        synapses -= block
    return total


def _lists(part: sparse.csr_array) -> np.ndarray:
    """Lengths of the lists of synapses, one a column, that no other list is equal to but for a shift of its rows."""
    columns = part.tocsc()
    columns.sort_indices()
    places, weights = columns.indices, columns.data
    found = {
        ((places[a:b] - places[a]).tobytes(), weights[a:b].tobytes()): b - a
        for a, b in pairwise(columns.indptr.tolist())
        if b > a
    }
    return np.array(list(found.values()))


def _groups(network: Network, core_of: np.ndarray, cores: int) -> np.ndarray:
    """Distinct sets of parameters in each core; a bias is each neuron's own."""
    found: list[set[tuple]] = [set() for _ in range(cores)]
    for population in network.layers:
        start = network.offsets[population.name]
        local = core_of[start : start + population.size]
        shared = [population.params[k].ravel() for k in sorted(population.params) if k != "bias"]
        for row in np.unique(np.stack([local, *shared], 1), axis=0):
            found[int(row[0])].add((population.neuron, *row[1:].tolist()))
    return np.array([len(sets) for sets in found])
