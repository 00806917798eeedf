"""What a mapped network uses of every core: neurons, axons, synaptic memory.

All figures are functions of (network, core_of, target) and nothing else, so the
partitioner, the rules, the simulator's accounting and the report share one truth.

An in-axon of a core is a source neuron with at least one synapse there. Its synapses
are stored in blocks; for each projection and core the target's memory formula picks
the format that is smaller in total: "dense" stores a weight for every neuron that the
projection's population has in the core, "sparse" only existing synapses, each with
an index.
"""

from __future__ import annotations

from collections.abc import Mapping as MappingType
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from snnc import ops
from snnc.network import Network, Projection
from snnc.target import Synapse, Target

FORMATS = ("dense", "sparse")


@dataclass(frozen=True, eq=False)
class Usage:
    """Use of each core, int64 (cores,), and of each axon.

    neuron_groups: distinct sets of neuron parameters (biases are per neuron and do not count).
    formats: projection name -> int8 (cores,), index into FORMATS, -1 where it has no synapse.
    synapse_bits_of: projection name -> int64 (cores,).
    stored: CSR (neurons, cores), stored synapses that one spike of the neuron visits in the core.
    effective: the same without the zeros that a dense format stores.
    """

    neurons: np.ndarray
    in_axons: np.ndarray
    out_axons: np.ndarray
    synapse_bits: np.ndarray
    neuron_groups: np.ndarray
    formats: MappingType[str, np.ndarray]
    synapse_bits_of: MappingType[str, np.ndarray]
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
    """Stored bits per weight: the sign and the magnitude without the zeros that all weights end in."""
    op = projection.op
    values = np.abs(op.weight.data if isinstance(op, ops.Linear) else op.weight[op.weight != 0])
    combined = int(np.bitwise_or.reduce(values.astype(np.int64))) if values.size else 0
    if combined == 0:
        return synapse.weight_bits.holding(1)
    exponent = (combined & -combined).bit_length() - 1
    return synapse.weight_bits.holding((int(values.max()) >> exponent).bit_length() + 1)


def axon_bits(count: np.ndarray, bits: int, synapse: Synapse) -> np.ndarray:
    """Memory of axons with `count` stored synapses of `bits` each, in bits, by the target's block formula."""
    block, header, word = synapse.block.value, synapse.header_bits.value, synapse.word_bits.value
    whole, rest = np.divmod(np.asarray(count), block)
    full_block = -(-(block * bits + header) // word) * word
    last_block = -(-(rest * bits + header) // word) * word
    return np.asarray(whole * full_block + np.where(rest > 0, last_block, 0))


def projection_bits(counts: np.ndarray, width: int, neurons: int, bits: int, synapse: Synapse) -> tuple[int, int]:
    """Smallest memory for one projection in one core: (bits, index into FORMATS).

    counts: existing synapses of each axon, all positive. width: neurons of the projection's population in
    the core. neurons: all neurons in the core, which an index must address. bits: per weight.
    """
    fixed = bits + synapse.delay_bits.value + synapse.tag_bits.value
    sizes = {}
    if "dense" in synapse.formats:
        sizes[0] = len(counts) * int(axon_bits(np.array(width), fixed, synapse))
    if "sparse" in synapse.formats:
        index = synapse.index_bits.holding(max(1, (neurons - 1).bit_length()))
        sizes[1] = int(axon_bits(counts, fixed + index, synapse).sum())
    best = min(sizes, key=lambda k: (sizes[k], k))
    return sizes[best], best


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


def usage(network: Network, core_of: np.ndarray, target: Target) -> Usage:
    """Resources of every core under the partition `core_of` (int32 (neurons,), inputs -1)."""
    cores = int(core_of.max()) + 1
    offsets = network.offsets
    neurons = np.bincount(core_of[core_of >= 0], minlength=cores)
    bits_of: dict[str, np.ndarray] = {}
    formats: dict[str, np.ndarray] = {}
    stored, effective = [], []
    for projection in network.projections:
        pre, post = network[projection.pre], network[projection.post]
        local = core_of[offsets[post.name] : offsets[post.name] + post.size]
        member = sparse.csr_array(
            (np.ones(post.size, np.int32), (local, np.arange(post.size))), shape=(cores, post.size)
        )
        counts = sparse.csr_array(member @ pattern(network, projection))  # (cores, pre)
        width = np.bincount(local, minlength=cores)
        visited = counts.copy()
        size, chosen = np.zeros(cores, np.int64), np.full(cores, -1, np.int8)
        per_weight = weight_bits(projection, target.synapse)
        for core in np.flatnonzero(np.diff(counts.indptr)):
            span = slice(counts.indptr[core], counts.indptr[core + 1])
            size[core], chosen[core] = projection_bits(
                counts.data[span], int(width[core]), int(neurons[core]), per_weight, target.synapse
            )
            if FORMATS[chosen[core]] == "dense":
                visited.data[span] = width[core]
        bits_of[projection.name], formats[projection.name] = size, chosen
        stored.append(_rows_at(visited, offsets[pre.name], network.size))
        effective.append(_rows_at(counts, offsets[pre.name], network.size))
    empty = sparse.csr_array((network.size, cores), dtype=np.int64)
    all_stored = sum(stored, empty).tocsr()
    leaving = np.repeat(core_of, np.diff(all_stored.indptr))
    groups = np.unique(np.stack([core_of, parameter_groups(network)], 1)[core_of >= 0], axis=0)
    return Usage(
        neurons=neurons.astype(np.int64),
        in_axons=np.bincount(all_stored.indices, minlength=cores).astype(np.int64),
        out_axons=np.bincount(leaving[leaving >= 0], minlength=cores).astype(np.int64),
        synapse_bits=sum(bits_of.values(), np.zeros(cores, np.int64)),
        neuron_groups=np.bincount(groups[:, 0], minlength=cores).astype(np.int64),
        formats=formats,
        synapse_bits_of=bits_of,
        stored=all_stored,
        effective=sum(effective, empty).tocsr(),
    )


def _rows_at(counts: sparse.csr_array, offset: int, size: int) -> sparse.csr_array:
    """The transpose of (cores, pre) as rows offset.. of a (size, cores) matrix."""
    rows = counts.T.tocsr()
    rows.sort_indices()
    before = np.zeros(offset, rows.indptr.dtype)
    after = np.full(size - offset - rows.shape[0], rows.indptr[-1], rows.indptr.dtype)
    indptr = np.concatenate([before, rows.indptr, after])
    return sparse.csr_array((rows.data.astype(np.int64), rows.indices, indptr), shape=(size, counts.shape[0]))
