"""How many cores a network needs at least: the tightest resource, if no mapping wasted any of it.

Synaptic memory is counted as if no list were split, no word were left half empty and no block were padded: a synapse
takes its weight, its share of a header, and in a sparse projection an index, which is wide where many neurons share
the core. Synapses of a convolution take nothing where the chip shares kernels.
"""

from __future__ import annotations

import math

import numpy as np

from snnc import ops
from snnc.network import Network
from snnc.target import Synapse, Target
from tests.core_counts import weight_bits


def cores(network: Network, target: Target) -> tuple[int, str]:
    """The bound, and which resource it comes from."""
    limits, synapse = target.core, target.synapse
    fixed, indexed, sources = _fans(network, synapse)
    shares = {
        "neurons": network.size / limits.neurons.value,
        "in-axons": sources / limits.in_axons.value,
        "out-axons": sources / limits.out_axons.value,
        "memory": max(
            _memory(fixed, indexed, most, synapse, limits.synapse_bits.value) for most in (0, *synapse.index_bits.value)
        ),
    }
    name = max(shares, key=lambda k: shares[k])
    return math.ceil(shares[name] - 1e-9), name


def _fans(network: Network, synapse: Synapse) -> tuple[np.ndarray, np.ndarray, int]:
    """Bits into each neuron without indices, synapses into it that need one, and neurons that send anywhere."""
    offsets = network.offsets
    fixed, indexed = np.zeros(network.size), np.zeros(network.size, np.int64)
    sends = np.zeros(network.size, bool)
    for projection in network.projections:
        matrix = ops.matrix(projection.op, network[projection.pre].shape)
        fan, used = np.diff(matrix.indptr), np.unique(matrix.indices)
        sends[offsets[projection.pre] + used] = True
        if isinstance(projection.op, ops.Conv2d) and "kernel" in synapse.formats:
            continue
        each = weight_bits(matrix.data, synapse) + synapse.header_bits.value / synapse.block.value
        here = slice(offsets[projection.post], offsets[projection.post] + matrix.shape[0])
        fixed[here] += fan * each
        density = matrix.nnz / max(1, len(used) * np.count_nonzero(fan))
        if "dense" not in synapse.formats or density * (each + min(synapse.index_bits.value)) < each:
            indexed[here] += fan
    return fixed, indexed, int(sends.sum())


def _memory(fixed: np.ndarray, indexed: np.ndarray, most: int, synapse: Synapse, limit: int) -> float:
    """A bound for any `most`, of which the largest is the best.

    A core whose index has up to `most` bits holds 2^most neurons at most: each takes at least that share of it. In any
    other core each of its neurons takes at least the memory it has with the next wider index.
    """
    wider = [k for k in synapse.index_bits.value if k > most]
    by_memory = (fixed + indexed * min(wider)) / limit if wider else np.inf
    by_number = 2.0**-most if most else np.inf
    return float(np.minimum(by_number, by_memory).sum()) if wider or most else 0.0
