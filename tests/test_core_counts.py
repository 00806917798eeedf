"""The independent count of what cores use, on mappings small enough to count by hand."""

from __future__ import annotations

from dataclasses import replace

import core_counts
import msgspec
import numpy as np
import pytest
from small_chips import chip

from snnc import ops
from snnc.network import Network
from snnc.ops import Conv2d, Linear, Op, canonical
from snnc.target import Target
from tests.instances.families import join


def two_layers(op: Op, before: tuple[int, ...], after: tuple[int, ...]) -> Network:
    return join("two", (before, after), (op,))


def with_formats(*formats: str) -> Target:
    target = chip()
    return msgspec.structs.replace(target, synapse=msgspec.structs.replace(target.synapse, formats=formats))


FULL = two_layers(Linear(canonical(np.full((3, 2), 127, np.int16))), (2,), (3,))


def test_axons_are_pairs_of_neuron_and_core() -> None:
    core_of = np.array([0, 1, 0, 0, 1], np.int32)  # a0, a1 | b0, b1, b2
    counts = core_counts.count(FULL, core_of, chip())
    assert list(counts.neurons) == [3, 2]
    assert list(counts.in_axons) == [2, 2]
    assert list(counts.out_axons) == [2, 2]
    assert list(counts.neuron_groups) == [1, 1]
    flows = counts.flows(core_of, np.array([0.5, 0.25, 9, 9, 9]))
    assert flows.tolist() == [[0, 0.5], [0.25, 0]]


def test_inputs_outside_the_chip_send_and_use_nothing() -> None:
    core_of = np.array([-1, 0, 0, 0, 1], np.int32)
    counts = core_counts.count(FULL, core_of, chip())
    assert list(counts.out_axons) == [2, 0]
    assert counts.flows(core_of, np.ones(5)).tolist() == [[0, 1], [0, 0]]


@pytest.mark.parametrize(("delay", "bits"), [(0, 8), (1, 11), (7, 11), (8, 12), (31, 13), (62, 14)])
def test_delays_take_bits_of_each_synapse(delay: int, bits: int) -> None:
    op = Linear(canonical(np.full((60, 1), 127, np.int16)))
    network = two_layers(op, (1,), (60,))
    network = replace(network, projections=(replace(network.projections[0], delay=delay),))
    counts = core_counts.count(network, np.zeros(61, np.int32), with_formats("dense"))
    assert list(counts.synapse_bits) == [-(-(60 * bits + 10) // 64) * 64]


@pytest.mark.parametrize(
    ("form", "bits"),
    [
        ("dense", 2 * 64),  # 3 x 8 + 10 bits
        ("sparse", 2 * 64),  # 3 x (8 + 6) + 10 bits
        ("bitmap", 2 * (64 + 64)),  # a word for the map
    ],
)
def test_each_format_takes_whole_words(form: str, bits: int) -> None:
    counts = core_counts.count(FULL, np.zeros(5, np.int32), with_formats(form))
    assert list(counts.synapse_bits) == [bits]


def test_blocks_are_split_after_64_synapses() -> None:
    network = two_layers(Linear(canonical(np.full((65, 1), 127, np.int16))), (1,), (65,))
    counts = core_counts.count(network, np.zeros(66, np.int32), with_formats("sparse"))
    # 66 neurons in the core need 7 bits of index: 64 x 15 + 10 -> 16 words, 15 + 10 -> 1 word.
    assert list(counts.synapse_bits) == [17 * 64]


def test_common_powers_of_two_are_not_stored() -> None:
    weights = np.array([[2, 4], [-6, 2]], np.int16)  # 1, 2, -3: two bits and a sign
    network = two_layers(Linear(canonical(np.tile(weights, (20, 1)))), (2,), (40,))
    counts = core_counts.count(network, np.zeros(42, np.int32), with_formats("dense"))
    assert list(counts.synapse_bits) == [2 * 3 * 64]  # 40 x 3 + 10 bits


def test_a_kernel_is_stored_once_for_lists_that_are_equal_but_for_a_shift() -> None:
    weight = np.array([[[[3, 5, 7]]]], np.int16)
    network = two_layers(Conv2d(weight, None, padding=(0, 1)), (1, 1, 6), (1, 1, 6))
    core_of = np.zeros(12, np.int32)
    (sparse,) = core_counts.count(network, core_of, with_formats("sparse")).synapse_bits
    (kernel,) = core_counts.count(network, core_of, with_formats("kernel")).synapse_bits
    # Six axons; the four in the middle share a list, the two at the ends have shorter ones.
    assert sparse == 6 * 64
    assert kernel == 3 * 64
    # A linear layer shares nothing, whatever its weights.
    linear = two_layers(Linear(ops.matrix(network.projections[0].op, (1, 1, 6))), (6,), (6,))
    assert list(core_counts.count(linear, core_of, with_formats("sparse", "kernel")).synapse_bits) == [sparse]


def test_other_weights_at_the_same_places_are_another_list() -> None:
    weight = np.array([[[[3, 5]]], [[[5, 3]]]], np.int16)
    network = two_layers(Conv2d(weight, None, stride=(1, 2)), (1, 1, 4), (2, 1, 2))
    # Columns 0 and 2 hold (3, 5), columns 1 and 3 hold (5, 3), each at places 0 and 2 after its first.
    (bits,) = core_counts.count(network, np.zeros(8, np.int32), with_formats("kernel")).synapse_bits
    assert bits == 2 * 64


def test_every_limit_that_is_broken_is_named() -> None:
    counts = core_counts.count(FULL, np.zeros(5, np.int32), chip())
    assert counts.broken(chip()) == []
    assert counts.broken(chip(neurons=5, in_axons=2, out_axons=2, synapse_bits=128)) == []
    assert counts.broken(chip(neurons=4, in_axons=1, out_axons=1, synapse_bits=127)) == [
        "neurons",
        "in_axons",
        "out_axons",
        "synapse_bits",
    ]


def test_groups_are_sets_of_shared_parameters() -> None:
    a, b = FULL.populations
    b = replace(
        b, params={**b.params, "threshold": np.array([6400, 5, 6], np.int32), "bias": np.array([1, 2, 3], np.int32)}
    )
    network = replace(FULL, populations=(a, b))
    counts = core_counts.count(network, np.array([0, 0, 0, 1, 1], np.int32), chip())
    assert list(counts.neuron_groups) == [1, 2]
