"""Leaks: an amount for a share where it is asked for, and networks that have a linear one themselves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from clocked_networks import ODIN, RANC, mlp, network, neurons, synapses, trains
from float_networks import lif
from float_networks import mlp as lifs

from snnc.compilation import Options
from snnc.crossbars import approximate, integers, steps
from snnc.crossbars.compiler import compile
from snnc.crossbars.rules import checked
from snnc.crossbars.running import run
from snnc.errors import DoesNotFit
from snnc.network import Network, Population, Semantics
from snnc.passes.lower import lower
from snnc.samples import Samples
from snnc.simulator import floating

ASKED = Options(approximate=True)


def test_a_linear_leak_is_taken_where_it_is_asked_for() -> None:
    net = lifs((12, 20, 5))
    with pytest.raises(DoesNotFit, match="leaks by an amount"):
        compile(net, ODIN)
    image = compile(net, ODIN, options=ASKED)
    assert image.network["fc1"].params["leak"].max() > 0
    entries = image.provenance["passes"]["approximate"]["layers"]
    assert entries == [{"layer": name, "changes": ["a linear leak"]} for name in ("fc1", "fc2")]
    checked(net, ODIN, approximate=True)
    with pytest.raises(DoesNotFit, match="not a share"):
        compile(net, RANC, options=ASKED)


def test_without_data_the_amount_is_that_at_half_the_threshold() -> None:
    net = network(lif("h1", (3,), beta=0.8, threshold=2.0), synapses("in", "h1", np.ones((3, 4))), size=4)
    folded, _ = approximate.approximated(lower(net), ODIN, None)
    assert folded["h1"].params["leak"] == pytest.approx(0.2 * 1.0)
    assert folded["h1"].params["threshold"].tolist() == [2, 2, 2]


def test_data_choose_the_amount_that_misplaces_fewest_spikes() -> None:
    net = lifs((20, 30, 6), seed=2)
    data = Samples(trains(net, samples=8, steps=40, rate=0.15))
    exact = {k: v.reshape(8, 40, -1) for k, v in floating.simulate(net, data.spikes).items()}

    def differing(samples: Samples | None) -> int:
        folded, _ = approximate.approximated(lower(net), ODIN, samples)
        members = steps.simulate(first_alone(folded), data.spikes)
        return int(np.count_nonzero(members.spikes["fc1"] != exact["fc1"]))

    none = integers.folded(first_alone(replace_leaks(lower(net))))
    without = int(np.count_nonzero(steps.simulate(none, data.spikes).spikes["fc1"] != exact["fc1"]))
    assert differing(data) <= differing(None) < without
    _, notes = approximate.approximated(lower(net), ODIN, data)
    assert [note["layer"] for note in notes] == ["fc1", "fc2"]
    for note in notes:
        assert note["spikes"] == exact[note["layer"]].sum()
        assert 0 < note["misplaced"] < note["spikes"]
        assert abs(note["spikes_approximated"] - note["spikes"]) <= note["misplaced"]


def first_alone(net: Network) -> Network:
    return replace(
        net, populations=net.populations[:2], projections=net.projections[:1], outputs=(net.populations[1].name,)
    )


def replace_leaks(net: Network) -> Network:
    """The same without any leak."""
    return approximate.nearest(net, ODIN)[0]


def test_other_habits_are_approximated_as_well() -> None:
    net = mlp(6, 8, 3, reset="subtract")
    with pytest.raises(DoesNotFit, match="subtract"):
        compile(net, ODIN)
    data = Samples(trains(net))
    image = compile(net, ODIN, samples=data, options=ASKED)
    entries = image.provenance["passes"]["approximate"]["layers"]
    assert [entry["changes"] for entry in entries] == [["reset subtract -> zero"]] * 2
    assert run(image, data).spikes["h1"].any()
    # What a chip can do is left as it is: both comparisons, and on a grid both resets.
    kept = compile(net, RANC, options=ASKED)
    assert kept.provenance["passes"]["approximate"]["layers"] == []
    assert kept.network["h1"].semantics.reset == "subtract"


def linear(leak: float, reset: str = "zero") -> Network:
    """Neurons with a linear leak of their own."""
    shape = (2,)
    params = {"leak": np.full(shape, leak), "bias": np.zeros(shape), "threshold": np.array([6.0, 11.0])}
    own = Population("h1", shape, "linear_fixed", params, Semantics(reset, ">="))
    return network(own, synapses("in", "h1", np.array([[5.0], [4.0]])), size=1)


def test_neurons_with_a_linear_leak_are_taken_as_they_are() -> None:
    """By hand: 5, leak to 3, 8 reaches 6; 4, 2, 6, 4, 8, 6, 10, 8, 12 reaches 11."""
    image = compile(linear(2.0), ODIN)
    assert image.network["h1"].params["leak"].tolist() == [2, 2]
    ran = run(image, Samples(np.ones((1, 6, 1), np.uint8)))
    assert ran.spikes["h1"][0].T.tolist() == [[0, 1, 0, 1, 0, 1], [0, 0, 0, 0, 1, 0]]
    assert ran.potential.tolist() == [[0, 2]]
    with pytest.raises(DoesNotFit, match="leak towards 0"):
        compile(linear(2.0), RANC)
    compile(linear(0.0), RANC)
    with pytest.raises(DoesNotFit, match="subtract"):
        compile(linear(2.0, "subtract"), ODIN)


def test_a_leak_is_as_wide_as_its_register() -> None:
    net = linear(200.0)
    params = compile(net, ODIN).network["h1"].params
    assert params["leak"].max() <= 127


def test_a_time_reference_is_sent_where_somebody_leaks() -> None:
    leaky, still = (run(compile(linear(x), ODIN), Samples(np.zeros((1, 3, 1), np.uint8))) for x in (2.0, 0.0))
    assert (leaky.counts["events"].tolist(), still.counts["events"].tolist()) == ([3], [0])
    assert still.total.tolist() == [0]
    # 2 cycles to be seen, 1 to begin, 2 for each neuron, 4 to rest.
    assert leaky.cycles.tolist() == [[11, 11, 11]]


def test_a_membrane_that_rests_elsewhere_is_refused() -> None:
    resting = lif("h1", (1,))
    resting = replace(resting, params={**resting.params, "v_leak": np.ones(1) * 0.1})
    net = network(
        resting, neurons("h2", 1), synapses("in", "h1", np.ones((1, 1))), synapses("h1", "h2", np.ones((1, 1))), size=1
    )
    with pytest.raises(DoesNotFit) as caught:
        compile(net, ODIN, options=ASKED)
    assert caught.value.topic == "leak"
