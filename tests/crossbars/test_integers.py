"""Integers of a chip with a clock: what is whole stays exact, widths hold, and data are made use of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from clocked_networks import ODIN, RANC, mlp, network, networks, neurons, synapses, trains
from hypothesis import given, settings
from hypothesis import strategies as st

from snnc.compilation import Options
from snnc.crossbars import core, integers, steps, tiles
from snnc.crossbars.compiler import compile
from snnc.families import ClockedChip
from snnc.network import Network, Population
from snnc.ops import Linear, canonical, matrix
from snnc.passes.dissolve import dissolve
from snnc.passes.lower import lower
from snnc.samples import Samples
from snnc.simulator import floating

several = settings(deadline=None, max_examples=40)
BOTH = pytest.mark.parametrize("chip", [ODIN, RANC], ids=["crossbar", "grid"])


@several
@given(networks(resets=("zero", "subtract")))
def test_step_by_step_in_floats_is_the_network_as_it_was_read(net: Network) -> None:
    """Two executors of the same equations; both add in float64, so that spikes are the same."""
    data = trains(net)
    ours = steps.simulate(integers.folded(lower(dissolve(net))), data)
    theirs = floating.simulate(net, data)
    for population in net.layers:
        assert np.array_equal(ours.spikes[population.name], theirs[population.name].reshape(3, 12, -1))


@several
@given(st.integers(0, 2**32), st.sampled_from([">", ">="]), st.sampled_from([2.0**-20, 0.125, 1, 64]))
def test_whole_numbers_stay_exact(seed: int, compare: str, unit: float) -> None:
    """Weights and thresholds that are multiples of one number are these multiples, or as good, in every spike."""
    rng = np.random.default_rng(seed)
    weight = rng.integers(-7, 8, (6, 5))
    weight[0] = [7, -7, 7, 0, 0]
    net = network(
        neurons("h1", 6, rng.integers(1, 30, 6) * unit, compare=compare), synapses("in", "h1", weight * unit), size=5
    )
    data = trains(net, samples=4, steps=20)
    image = compile(net, ODIN)
    whole = steps.simulate(image.network, data, image.register)
    exact = steps.simulate(integers.folded(lower(net)), data)
    assert np.array_equal(whole.spikes["h1"], exact.spikes["h1"])


def to_zero(population: Population) -> Population:
    return replace(population, semantics=replace(population.semantics, reset="zero"))


@BOTH
@several
@given(networks(resets=("zero", "subtract")), st.integers(1, 8), st.booleans())
def test_all_registers_hold(chip: ClockedChip, net: Network, bits: int, calibrated: bool) -> None:
    if chip is ODIN:
        net = replace(net, populations=tuple(map(to_zero, net.populations)))
    samples = Samples(trains(net)) if calibrated else None
    whole = compile(net, chip, samples=samples, options=Options(bits=bits)).network
    held = core.widths(ODIN, bits) if chip is ODIN else tiles.widths(RANC, bits)
    for projection in whole.projections:
        weight = matrix(projection.op, whole[projection.pre].shape).data
        assert held.weight[0] <= weight.min()
        assert weight.max() <= held.weight[1]
        assert np.all(weight != 0)
    for population in whole.layers:
        assert population.params["threshold"].min() >= 1
        assert population.params["threshold"].max() <= held.threshold
        assert held.bias[0] <= population.params["bias"].min()
        assert population.params["bias"].max() <= held.bias[1]


@BOTH
def test_projections_side_by_side_are_added(chip: ClockedChip) -> None:
    net = network(neurons("h1", 2, 8), synapses("in", "h1", np.array([[3.0, 0], [1, 2]])), size=2)
    (first,) = net.projections
    more = replace(first, name="more", ops=(Linear(canonical(np.array([[4.0, 5], [-1, 0]]))),))
    (merged,) = compile(replace(net, projections=(first, more)), chip).network.projections
    whole = merged.op.weight.toarray()
    assert whole[0].tolist() == [7, 5]
    assert whole[1, 0] == 0 < whole[1, 1]


@BOTH
def test_thresholds_beyond_the_register_make_the_unit_coarser(chip: ClockedChip) -> None:
    net = network(
        neurons("h1", 1, 1000 if chip is ODIN else 100), synapses("in", "h1", np.array([[0.25, 0.25]])), size=2
    )
    params = compile(net, chip).network["h1"].params
    assert params["threshold"].tolist() == [2047 if chip is ODIN else 255]


def test_membranes_of_a_grid_do_not_wrap_on_the_calibration_data() -> None:
    """Inhibition alone takes a membrane far down, where it would come out above; the unit makes room for it."""
    net = network(neurons("h1", 1, 1), synapses("in", "h1", np.array([[-1.0, 0.5]])), size=2)
    spikes = np.zeros((1, 200, 2), np.uint8)
    spikes[:, :150, 0] = spikes[:, 150:, 1] = 1
    wrapping, calm = (compile(net, RANC, samples=s) for s in (None, Samples(spikes)))
    low = [steps.simulate(i.network, spikes, i.register).low["h1"][0] for i in (wrapping, calm)]
    assert low[0] < -256 <= low[1]


def test_data_choose_units_that_misplace_fewer_spikes() -> None:
    net = mlp(20, 30, 8, seed=3)
    data = Samples(trains(net, samples=16, steps=30, rate=0.2))
    wanted = floating.simulate(net, data.spikes)

    def misplaced(samples: Samples | None) -> int:
        image = compile(net, RANC, samples=samples)
        got = steps.simulate(image.network, data.spikes, image.register)
        return sum(int(np.count_nonzero(got.spikes[n] != wanted[n].reshape(16, 30, -1))) for n in ("h1", "h2"))

    assert misplaced(data) < misplaced(None)


def test_a_bias_is_a_weight_of_a_crossbar_and_a_register_of_a_grid() -> None:
    net = network(neurons("h1", 2, 2), synapses("in", "h1", np.array([[1.0], [0.5]]), np.array([0.25, -0.5])), size=1)
    odin, ranc = (compile(net, chip) for chip in (ODIN, RANC))
    assert odin.network["h1"].params["bias"].tolist() == ranc.network["h1"].params["bias"].tolist() == [1, -1]
    assert odin.loaded.weights[1, :2].tolist() == [1, -1]
    assert ranc.loaded.grid.leak[0, :2].tolist() == [1, -1]
