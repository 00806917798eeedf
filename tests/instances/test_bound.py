"""No mapping can do with fewer cores than the bound, and where nothing is wasted it is met."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import numpy as np
from core_counts import count
from hypothesis import given, settings
from hypothesis import strategies as st
from small_chips import chip

from snnc.ops import Conv2d, Linear, canonical
from snnc.target import Target
from tests.instances import bound
from tests.instances.families import join


def full(sources: int, targets: int):
    weights = np.full((targets, sources), 127, np.int16)
    return join("full", [(sources,), (targets,)], [Linear(canonical(weights))])


def sparse_only(target: Target) -> Target:
    return msgspec.structs.replace(target, synapse=msgspec.structs.replace(target.synapse, formats=("sparse",)))


def test_the_tightest_resource_is_named() -> None:
    assert bound.cores(full(30, 30), chip()) == (1, "neurons")
    assert bound.cores(full(30, 30), chip(neurons=20)) == (3, "neurons")
    assert bound.cores(full(30, 30), chip(in_axons=10)) == (3, "in-axons")
    assert bound.cores(full(30, 30), chip(out_axons=7)) == (5, "out-axons")
    assert bound.cores(full(64, 64), chip(synapse_bits=8192)) == (5, "memory")  # 64 x (64 x 8 + 10) bits


def test_an_index_counts_where_there_is_one() -> None:
    eye = canonical(127 * np.eye(64, dtype=np.int16))
    network = join("eye", [(64,), (64,)], [Linear(eye)])
    # 64 synapses of 8 + 6 bits and a share of a header: in a core of 64 neurons or fewer.
    assert bound.cores(network, sparse_only(chip(synapse_bits=64 * 14 // 4))) == (5, "memory")


def test_wide_indices_or_small_cores() -> None:
    """A core of more than 64 neurons pays for wider indices, one of fewer is not full."""
    rng = np.random.default_rng(0)
    weights = np.where(rng.random((1000, 500)) < 0.1, 127, 0).astype(np.int16)
    network = join("wide", [(500,), (1000,)], [Linear(canonical(weights))])
    number, resource = bound.cores(network, sparse_only(chip(synapse_bits=1 << 18)))
    assert resource == "memory"
    synapses = np.count_nonzero(weights)
    narrow = synapses * (8 + 6 + 10 / 64) / 2**18
    wide = synapses * (8 + 10 + 10 / 64) / 2**18
    assert narrow + 0.3 < number <= np.ceil(wide)


def test_shared_kernels_take_nothing() -> None:
    op = Conv2d(np.full((4, 1, 3, 3), 127, np.int16), None, padding=(1, 1))
    network = join("conv", [(1, 16, 16), (4, 16, 16)], [op])
    target = chip(synapse_bits=1 << 13)
    without = msgspec.structs.replace(
        target, synapse=msgspec.structs.replace(target.synapse, formats=("dense", "sparse"))
    )
    shared = msgspec.structs.replace(
        target, synapse=msgspec.structs.replace(target.synapse, formats=("sparse", "kernel"))
    )
    assert bound.cores(network, without)[1] == "memory"
    assert bound.cores(network, shared) == (2, "neurons")


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.tuples(st.integers(5, 80), st.integers(5, 80), st.integers(5, 200)),
    density=st.sampled_from([0.02, 0.1, 0.3]),
    cores=st.integers(1, 9),
    seed=st.integers(0, 999),
)
def test_no_mapping_undercuts_the_bound(sizes, density, cores, seed) -> None:
    """Any mapping at all: on a chip whose limits are just what it uses, the bound is at most its cores."""
    rng = np.random.default_rng(seed)
    weights = [np.where(rng.random((b, a)) < density, 127, 0).astype(np.int16) for a, b in pairwise(sizes)]
    network = join("net", [(n,) for n in sizes], [Linear(canonical(w)) for w in weights])
    core_of = np.unique(rng.integers(0, cores, network.size), return_inverse=True)[1].astype(np.int32)
    target = sparse_only(chip())
    counts = count(network, core_of, target)
    limits = {
        name: max(1, int(getattr(counts, name).max())) for name in ("neurons", "in_axons", "out_axons", "synapse_bits")
    }
    number, _ = bound.cores(network, sparse_only(chip(**limits)))
    assert number <= len(counts.neurons)
