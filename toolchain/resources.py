"""What a mapped network uses of every core: neurons, axons, synaptic memory.

All figures are functions of (network, core_of, target) and nothing else, so the
partitioner, the rules, the simulator's accounting and the report share one truth.

An in-axon of a core is a source neuron with at least one synapse there. Its synapses
are stored in blocks; for each projection and core the target's memory formula picks the
format that is the smallest in total, of those the target has:

- "dense" stores a weight for every neuron that the projection's population has in the core,
- "sparse" only existing synapses, each with an index,
- "bitmap" a bit for every such neuron, and the weights that exist,
- "kernel" stores equal lists of a convolution once: the sparse list of an axon serves every
  axon whose list is the same up to a shift of the targets within the core.
"""

from __future__ import annotations

import math
from collections.abc import Mapping as MappingType
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from snnc import ops
from snnc.network import Network, Projection
from snnc.target import Synapse, Target

FORMATS = ("dense", "sparse", "bitmap", "kernel")


@dataclass(frozen=True, eq=False)
class Usage:
    """Use of each core, int64 (cores,), and of each axon.

    neurons: compartments, of which an adaptive neuron takes two.
    neuron_groups: distinct sets of neuron parameters (biases are per neuron and do not count).
    formats: projection name -> int8 (cores,), index into FORMATS, -1 where it has no synapse.
    synapse_bits_of: projection name -> int64 (cores,).
    visits_of: projection name -> CSR (cores, pre), stored synapses that one spike of a source visits in the core;
    existing_of: the same without the zeros that a dense format stores.
    stored, effective: CSR (neurons, cores), the same of all projections together.
    """

    neurons: np.ndarray
    in_axons: np.ndarray
    out_axons: np.ndarray
    synapse_bits: np.ndarray
    neuron_groups: np.ndarray
    formats: MappingType[str, np.ndarray]
    synapse_bits_of: MappingType[str, np.ndarray]
    visits_of: MappingType[str, sparse.csr_array]
    existing_of: MappingType[str, sparse.csr_array]
    stored: sparse.csr_array
    effective: sparse.csr_array

    @property
    def cores(self) -> int:
        return len(self.neurons)


def pattern(network: Network, projection: Projection) -> sparse.csr_array:
    """Where synapses exist: CSR of int32 ones, (post neurons, pre neurons). For lowered networks."""
    matrix = ops.matrix(projection.op, network[projection.pre].shape)
    ones = np.ones(matrix.nnz, np.int32)
    return sparse.csr_array((ones, matrix.indices, matrix.indptr), shape=matrix.shape)


def weight_bits(projection: Projection, synapse: Synapse) -> int:
    """Stored bits per weight: the sign and the magnitude without the zeros that all weights end in.

    Weights of one magnitude are signs: 1 bit, for a synapse that exists.
    """
    op = projection.op
    values = np.abs(op.weight.data if isinstance(op, ops.Linear) else op.weight[op.weight != 0])
    combined = int(np.bitwise_or.reduce(values.astype(np.int64))) if values.size else 0
    if combined == 0:
        return synapse.weight_bits.holding(1)
    exponent = (combined & -combined).bit_length() - 1
    mantissa = int(values.max()) >> exponent
    return synapse.weight_bits.holding(1 if mantissa == 1 else mantissa.bit_length() + 1)


def dense_bits(projection: Projection, bits: int, synapse: Synapse) -> int:
    """The same where absent synapses are stored as zeros: a sign has none, so that it takes 2 bits."""
    op = projection.op
    full = isinstance(op, ops.Linear) and op.taps == math.prod(op.weight.shape)
    return bits if bits > 1 or full else synapse.weight_bits.holding(2)


def other_bits(network: Network, projection: Projection, synapse: Synapse) -> int:
    """What a stored synapse has besides its weight, an index left out: delay and tag."""
    return synapse.delay_bits.holding(network.held(projection).bit_length()) + synapse.tag_bits.value


def axon_bits(count: np.ndarray, bits: int, synapse: Synapse) -> np.ndarray:
    """Memory of axons with `count` stored synapses of `bits` each, in bits, by the target's block formula."""
    block, header, word = synapse.block.value, synapse.header_bits.value, synapse.word_bits.value
    whole, rest = np.divmod(np.asarray(count), block)
    full_block = -(-(block * bits + header) // word) * word
    last_block = -(-(rest * bits + header) // word) * word
    return np.asarray(whole * full_block + np.where(rest > 0, last_block, 0))


@dataclass(frozen=True, eq=False)
class Lists:
    """Synapse lists of one projection in one core.

    bits, dense: of a synapse without an index, and of one in the dense format. counts: existing synapses of each axon,
    all positive. distinct: the same for each list that differs from the others by more than a shift of its targets;
    None where lists are not shared. width: neurons of the projection's population in the core.
    """

    bits: int
    dense: int
    counts: np.ndarray
    width: int
    distinct: np.ndarray | None = None


def projection_bits(lists: Lists, neurons: int, synapse: Synapse) -> tuple[int, int]:
    """Smallest memory for one projection in one core: (bits, index into FORMATS).

    neurons: all neurons in the core, which an index must address.
    """
    index = synapse.index_bits.holding(max(1, (neurons - 1).bit_length()))
    sizes = {}
    for k, name in enumerate(FORMATS):
        if name not in synapse.formats:
            continue
        match name:
            case "dense":
                sizes[k] = len(lists.counts) * int(axon_bits(np.array(lists.width), lists.dense, synapse))
            case "sparse":
                sizes[k] = int(axon_bits(lists.counts, lists.bits + index, synapse).sum())
            case "bitmap":
                sizes[k] = int(bitmap_bits(lists.counts, lists.width, lists.bits, synapse).sum())
            case "kernel" if lists.distinct is not None:
                sizes[k] = int(axon_bits(lists.distinct, lists.bits + index, synapse).sum())
    best = min(sizes, key=lambda k: (sizes[k], k))
    return sizes[best], best


def bitmap_bits(count: np.ndarray, width: int, bits: int, synapse: Synapse) -> np.ndarray:
    """Memory of axons that hold a map of `width` bits, in whole words, and `count` synapses of `bits` each."""
    word = synapse.word_bits.value
    return axon_bits(count, bits, synapse) + -(-width // word) * word


def distinct_lists(matrix: sparse.csr_array, rows: np.ndarray) -> np.ndarray:
    """Lengths of the synapse lists of some `rows` (targets, ascending) that differ by more than a shift.

    A list is what one column (axon) holds: places of its targets among `rows`, from the first on, and weights.
    """
    part = sparse.csc_array(matrix[rows])
    part.sort_indices()
    counts = np.diff(part.indptr)
    present = np.flatnonzero(counts)
    starts, counts = part.indptr[present], counts[present]
    if not len(present):
        return counts
    place = part.indices - np.repeat(part.indices[starts], counts)
    # Lists are compared by a hash: the sum of a 64-bit mix (splitmix64's finaliser) of each of their synapses.
    code = (place.astype(np.uint64) << np.uint64(16)) ^ part.data.astype(np.int64).astype(np.uint64)
    with np.errstate(over="ignore"):
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            code = (code + np.uint64(0x9E3779B97F4A7C15) ^ (code >> np.uint64(shift))) * np.uint64(factor)
        total = np.add.reduceat(code ^ (code >> np.uint64(31)), starts)
    _, first = np.unique(total, return_index=True)
    return counts[first]


def parameter_groups(network: Network) -> np.ndarray:
    """Number of the shared-parameter set of each neuron, int64 (neurons,); inputs are -1."""
    rows = []
    for population in network.populations:
        shared = [v.ravel() for k, v in population.params.items() if k != "bias"]
        rows.append(np.stack(shared, 1) if shared else np.zeros((population.size, 0)))
    width = max(r.shape[1] for r in rows)
    table = np.concatenate([np.pad(r, ((0, 0), (0, width - r.shape[1])), constant_values=-1) for r in rows])
    _, group = np.unique(table, axis=0, return_inverse=True)
    group = group.reshape(-1).astype(np.int64)
    group[is_input(network)] = -1
    return group


def is_input(network: Network) -> np.ndarray:
    """True for neurons of input populations, (neurons,)."""
    return np.concatenate([np.full(p.size, p.neuron == "input") for p in network.populations])


def compartments(network: Network) -> np.ndarray:
    """Compartments of each neuron, int64 (neurons,)."""
    return np.repeat([p.compartments for p in network.populations], [p.size for p in network.populations])


def usage(network: Network, core_of: np.ndarray, target: Target) -> Usage:
    """Resources of every core under the partition `core_of` (int32 (neurons,), inputs -1)."""
    cores = int(core_of.max()) + 1
    offsets = network.offsets
    inside = core_of >= 0
    neurons = np.bincount(core_of[inside], weights=compartments(network)[inside], minlength=cores).astype(np.int64)
    bits_of: dict[str, np.ndarray] = {}
    formats: dict[str, np.ndarray] = {}
    visits_of: dict[str, sparse.csr_array] = {}
    existing_of: dict[str, sparse.csr_array] = {}
    stored, effective = [], []
    for projection in network.projections:
        pre, post = network[projection.pre], network[projection.post]
        local = core_of[offsets[post.name] : offsets[post.name] + post.size]
        member = sparse.csr_array(
            (np.ones(post.size, np.int32), (local, np.arange(post.size))), shape=(cores, post.size)
        )
        matrix = ops.matrix(projection.op, pre.shape)
        ones = sparse.csr_array((np.ones(matrix.nnz, np.int32), matrix.indices, matrix.indptr), shape=matrix.shape)
        counts = sparse.csr_array(member @ ones)  # (cores, pre)
        shared = "kernel" in target.synapse.formats and isinstance(projection.op, ops.Conv2d)
        width = np.bincount(local, minlength=cores)
        visited = counts.copy()
        size, chosen = np.zeros(cores, np.int64), np.full(cores, -1, np.int8)
        bits = weight_bits(projection, target.synapse)
        dense = dense_bits(projection, bits, target.synapse)
        other = other_bits(network, projection, target.synapse)
        for core in np.flatnonzero(np.diff(counts.indptr)):
            span = slice(counts.indptr[core], counts.indptr[core + 1])
            distinct = distinct_lists(matrix, np.flatnonzero(local == core)) if shared else None
            lists = Lists(bits + other, dense + other, counts.data[span], int(width[core]), distinct)
            size[core], chosen[core] = projection_bits(lists, int(neurons[core]), target.synapse)
            if FORMATS[chosen[core]] == "dense":
                visited.data[span] = width[core]
        bits_of[projection.name], formats[projection.name] = size, chosen
        visits_of[projection.name], existing_of[projection.name] = visited, counts
        stored.append(rows_at(visited, offsets[pre.name], network.size))
        effective.append(rows_at(counts, offsets[pre.name], network.size))
    empty = sparse.csr_array((network.size, cores), dtype=np.int64)
    all_stored = sum(stored, empty).tocsr()
    all_stored.sort_indices()
    leaving = np.repeat(core_of, np.diff(all_stored.indptr))
    groups = np.unique(np.stack([core_of, parameter_groups(network)], 1)[core_of >= 0], axis=0)
    return Usage(
        neurons=neurons,
        in_axons=np.bincount(all_stored.indices, minlength=cores).astype(np.int64),
        out_axons=np.bincount(leaving[leaving >= 0], minlength=cores).astype(np.int64),
        synapse_bits=sum(bits_of.values(), np.zeros(cores, np.int64)),
        neuron_groups=np.bincount(groups[:, 0], minlength=cores).astype(np.int64),
        formats=formats,
        synapse_bits_of=bits_of,
        visits_of=visits_of,
        existing_of=existing_of,
        stored=all_stored,
        effective=sum(effective, empty).tocsr(),
    )


def rows_at(counts: sparse.csr_array, offset: int, size: int) -> sparse.csr_array:
    """The transpose of (cores, pre) as rows offset.. of a (size, cores) matrix."""
    rows = counts.T.tocsr()
    rows.sort_indices()
    before = np.zeros(offset, rows.indptr.dtype)
    after = np.full(size - offset - rows.shape[0], rows.indptr[-1], rows.indptr.dtype)
    indptr = np.concatenate([before, rows.indptr, after])
    return sparse.csr_array((rows.data.astype(np.int64), rows.indices, indptr), shape=(size, counts.shape[0]))
