"""The engine and its accounting against SANA-FE: the same network, mapping and constants, step by step.

Spikes, membranes and counts are equal. Energy and time follow from the counts by SANA-FE's rules; only the order in
which doubles are added differs. Its timing `simple` is compared: a core works at its neurons and sends, beside that it
receives, the slowest core ends the step, and nothing waits or travels. (`detailed` differs from run to run.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
import sanafe_net
from integer_networks import place, population
from msgspec.structs import replace as replace_fields
from sanafe_chip import Constants, Cost
from sanafe_images import IMAGES, Rng
from sanafe_net import Theirs
from sanafe_ours import Ours, ours

from snnc import target as targets
from snnc.image import Image, Mapping
from snnc.network import Network, Population, Projection
from snnc.ops import Linear, canonical
from snnc.resources import FORMATS
from snnc.samples import Samples
from snnc.simulator import accounting, estimate, reference, simulate

sanafe = pytest.importorskip("sanafe", reason="needs SANA-FE: pip install --no-deps -r tests/differential/peers.txt")

STEPS = 24
# Relative, of energy: sums of at most some ten thousand doubles, whose rounding adds up to 1e-12.
ENERGY = 1e-9
# Of the length of a step in ns: the same of at most some hundred microseconds.
NANOSECONDS = 1e-6


def assert_agree(mine: Ours, theirs: Theirs) -> None:
    for name, raster in theirs.rasters.items():
        assert np.array_equal(mine.rasters[name], raster), name
        assert np.array_equal(mine.membranes[name], theirs.membranes[name] * (1 << reference.UNIT)), name
    for name in ("fired", "updated", "synops", "sent", "received", "hops_x", "hops_y"):
        assert np.array_equal(getattr(mine, name), getattr(theirs, name)), name
    for name in ("soma_pj", "synapse_pj", "network_pj", "energy_pj"):
        np.testing.assert_allclose(getattr(mine, name), getattr(theirs, name), ENERGY, 0, err_msg=name)
    np.testing.assert_allclose(mine.step_ns, theirs.step_ns, 0, NANOSECONDS, err_msg="step_ns")


def stimulus(image: Image, rng: Rng, share: float) -> np.ndarray:
    """Spikes of a share of all inputs and steps, and three steps of silence."""
    spikes = (rng.random((STEPS, *image.network.inputs[0].shape)) < share).astype(np.uint8)
    spikes[STEPS // 2 : STEPS // 2 + 3] = 0
    return spikes


@pytest.mark.parametrize("share", [0.0, 0.1, 0.8])
@pytest.mark.parametrize("name", IMAGES)
def test_every_step_of_a_network(name: str, share: float) -> None:
    rng = np.random.default_rng(1)
    image = IMAGES[name](rng)
    spikes = stimulus(image, rng, share)
    constants = Constants()
    mine, theirs = ours(image, spikes, constants), sanafe_net.run(sanafe, image, spikes, constants)
    assert_agree(mine, theirs)
    assert np.array_equal(mine.active, theirs.updated) or (name == "cancelling" and share)
    # What the engine and its accounting themselves report of the run.
    account = accounting.account(image, mine.run)
    assert np.array_equal(mine.run.core_synops[0], theirs.synops.sum(axis=0))
    assert np.array_equal(mine.run.core_spikes[0], theirs.fired.sum(axis=0))
    assert account.totals.hops_x[0] == theirs.hops_x.sum()
    assert account.totals.hops_y[0] == theirs.hops_y.sum()
    # A message of theirs may also go to the core that it comes from.
    assert np.array_equal(account.cores.messages[0], (theirs.sent - theirs.own).sum(axis=0))
    assert account.totals.messages[0] == (theirs.sent - theirs.own).sum()
    assert account.totals.input_messages[0] == theirs.received.sum() - theirs.sent.sum()


def test_inputs_that_cancel_are_updates_to_sanafe() -> None:
    """And zeros in a dense format, too. No other network here has any, so that both mean the same neurons."""
    rng = np.random.default_rng(1)
    image = IMAGES["cancelling"](rng)
    mine = ours(image, stimulus(image, rng, 0.1), Constants())
    assert np.all(mine.active <= mine.updated)
    assert 20 < (mine.updated - mine.active).sum() < 1000


# Every part of it matters.


@pytest.fixture(scope="module")
def case() -> tuple[Image, np.ndarray]:
    rng = np.random.default_rng(5)
    image = IMAGES["every_format"](rng)
    return image, stimulus(image, rng, 0.3)


def test_the_network_spikes_and_has_every_format(case: tuple[Image, np.ndarray]) -> None:
    """Agreement of silence would prove nothing."""
    image, spikes = case
    for layer in image.network.layers:
        assert ours(image, spikes, Constants()).rasters[layer.name].mean() > 0.02, layer.name
    kinds = np.concatenate(list(image.usage.formats.values()))
    assert {FORMATS[kind] for kind in kinds[kinds >= 0]} == {"dense", "sparse", "kernel"}


# Primes, so that no two sums are the same by chance; each decides the length of some step.
PRIMES = Constants(
    access=Cost(41, 7),
    update=Cost(23, 3),
    spike=Cost(61, 29),
    synops={"dense": Cost(31, 5), "sparse": Cost(37, 89), "kernel": Cost(19, 2)},
    message_out=Cost(109, 13),
    message_in=Cost(11, 17),
    hop_x=Cost(71, 73),
    hop_y=Cost(79, 83),
    barrier={1: 601, 2: 1009, 4: 1409, 8: 1801},
)
COSTS = [name for name, value in vars(PRIMES).items() if isinstance(value, Cost)]


def test_other_constants(case: tuple[Image, np.ndarray]) -> None:
    assert_agree(ours(*case, PRIMES), sanafe_net.run(sanafe, *case, PRIMES))


@pytest.mark.parametrize("unit", ["pj", "ns"])
@pytest.mark.parametrize("name", [*COSTS, *PRIMES.synops])
def test_a_constant_that_differs_is_seen(case: tuple[Image, np.ndarray], name: str, unit: str) -> None:
    """By a thousandth."""
    synops = dict(PRIMES.synops)
    cost = synops.get(name) or getattr(PRIMES, name)
    other = replace(cost, **{unit: getattr(cost, unit) * 1.001})
    changed = replace(PRIMES, **({"synops": synops | {name: other}} if name in synops else {name: other}))
    mine, theirs = ours(*case, PRIMES), sanafe_net.run(sanafe, *case, changed)
    if unit == "ns" and name in ("hop_x", "hop_y"):  # nothing travels
        assert_agree(mine, theirs)
        return
    with pytest.raises(AssertionError, match="step_ns" if unit == "ns" else "_pj"):
        assert_agree(mine, theirs)


@pytest.mark.parametrize(
    ("tiles", "ns"), [(1, 600), (2, 1000), (3, 1000), (4, 1400), (28, 1400), (29, 1800), (32, 1800)]
)
def test_the_barrier_is_that_of_the_last_number_of_tiles_known(tiles: int, ns: float) -> None:
    """It goes up in steps. A neuron in each tile, all idle."""
    net = Network(
        (Population("in", (1,), "input"), population("b", (tiles,))),
        (Projection("p", "in", "b", (Linear(canonical(np.ones((tiles, 1), np.int16))),), delay=1),),
        ("b",),
        1e-3,
    )
    image = place(net, np.arange(-1, tiles), 4 * np.arange(tiles))
    spikes = np.zeros((2, 1), np.uint8)
    mine, theirs = ours(image, spikes, Constants()), sanafe_net.run(sanafe, image, spikes, Constants())
    assert_agree(mine, theirs)
    np.testing.assert_allclose(theirs.step_ns, ns + Constants().access.ns, 0, NANOSECONDS)


def change(image: Image, name: str, **params: np.ndarray) -> Image:
    """With other parameters of a layer."""
    layers = [replace(p, params=dict(p.params) | params) if p.name == name else p for p in image.network.populations]
    return replace(image, network=replace(image.network, populations=tuple(layers)))


def weights(image: Image, spikes: np.ndarray) -> Iterator[Image]:
    """One weight of each projection by one: of the source that spikes most, to the target that spikes least."""
    rasters = ours(image, spikes, Constants()).rasters
    counts = {name: raster[:-1].reshape(STEPS - 1, -1).sum(axis=0) for name, raster in rasters.items()}
    for k, projection in enumerate(image.network.projections):
        op = projection.op
        weight = op.weight.copy()
        if isinstance(op, Linear):
            pairs = weight.tocoo()
            best = np.lexsort((counts[projection.post][pairs.row], -counts[projection.pre][pairs.col]))[0]
            weight.data[best] += 1
        else:
            weight[0, 0, 1, 1] += 1
        links = list(image.network.projections)
        links[k] = replace(projection, ops=(replace(op, weight=weight),))
        yield replace(image, network=replace(image.network, projections=tuple(links)))


def registers(image: Image, spikes: np.ndarray) -> Iterator[Image]:
    """One threshold, bias or decay of each layer, of a neuron that spikes."""
    rasters = ours(image, spikes, Constants()).rasters
    for layer in image.network.layers:
        busy = np.unravel_index(rasters[layer.name].sum(axis=0).argmax(), layer.shape)
        for name, value in (("threshold", (1 << 17) - 1), ("bias", layer.params["bias"][busy] + 1), ("v_decay", 2500)):
            params = layer.params[name].copy()
            params[busy] = value
            yield change(image, layer.name, **{name: params})


def places(image: Image, spikes: np.ndarray) -> Iterator[Image]:
    """A neuron of each layer on another core, each core in another tile, in so far as its messages travel."""
    mapping = image.mapping
    for layer in image.network.layers:
        if layer.name == "alone":  # its core would be empty
            continue
        core_of = mapping.core_of.copy()
        first = image.network.offsets[layer.name]
        core_of[first] = 5 if core_of[first] != 5 else 6
        yield replace(image, mapping=Mapping(core_of, mapping.site_of))
    for core in range(image.cores):
        site_of = mapping.site_of.copy()
        site_of[core] = next(site for site in (0, 127) if site not in site_of)
        yield replace(image, mapping=Mapping(mapping.core_of, site_of))


@pytest.mark.parametrize("changes", [weights, registers, places])
def test_an_image_that_differs_is_seen(
    case: tuple[Image, np.ndarray], changes: Callable[[Image, np.ndarray], Iterator[Image]]
) -> None:
    mine = ours(*case, Constants())
    for image in changes(*case):
        theirs = sanafe_net.run(sanafe, image, case[1], Constants())
        with pytest.raises(AssertionError):
            assert_agree(mine, theirs)


def test_an_input_that_differs_is_seen(case: tuple[Image, np.ndarray]) -> None:
    image, spikes = case
    other = spikes.copy()
    other[4, 0, 3, 3] ^= 1
    mine, theirs = ours(image, spikes, Constants()), sanafe_net.run(sanafe, image, other, Constants())
    with pytest.raises(AssertionError):
        assert_agree(mine, theirs)


def test_what_sanafe_does_not_know_is_refused(case: tuple[Image, np.ndarray]) -> None:
    image, spikes = case
    slow = change(image, "c", u_decay=np.full(40, 4000, np.int32))
    late = tuple(replace(p, delay=p.delay + 1) for p in image.network.projections)
    far = Mapping(image.mapping.core_of, image.mapping.site_of + np.int32(128))
    for other, reason in (
        (slow, "'c': SANA-FE has no current that decays"),
        (replace(image, network=replace(image.network, projections=late)), "'kernel' takes 2 steps"),
        (replace(image, mapping=far), "one chip"),
    ):
        with pytest.raises(ValueError, match=reason):
            sanafe_net.run(sanafe, other, spikes, Constants())


# The simulator's own figures, by the constants of SANA-FE in the chip's description.

BOYLE = targets.load("loihi").using("boyle2025")


def as_simple(image: Image) -> Image:
    """By SANA-FE's constants and the rules of its timing `simple`: nothing travels, all messages are there at once."""
    costs = BOYLE.costs["boyle2025"]
    nothing = replace_fields(costs.timing.hop_x_ns, value=0.0)
    timing = replace_fields(costs.timing, messages="buffered", hop_x_ns=nothing, hop_y_ns=nothing)
    chip = replace_fields(BOYLE, costs={"boyle2025": replace_fields(costs, timing=timing)}, mesh=image.target.mesh)
    return replace(image, target=chip)


def test_the_description_has_the_constants_of_sanafe() -> None:
    """As in its loihi.yaml, which :class:`sanafe_chip.Constants` repeats."""
    their, energy, timing = Constants(), BOYLE.energy, BOYLE.timing
    ours_are = {
        "access": (energy.neuron_inactive_pj, timing.neuron_inactive_ns),
        "spike": (energy.spike_pj, timing.spike_ns),
        "message_out": (energy.message_out_pj, timing.message_out_ns),
        "hop_x": (energy.hop_x_pj, timing.hop_x_ns),
        "hop_y": (energy.hop_y_pj, timing.hop_y_ns),
    }
    for name, (pj, ns) in ours_are.items():
        assert pj is not None
        assert ns is not None
        assert getattr(their, name) == Cost(pj.value, ns.value), name
    assert energy.message_in_pj is None
    assert timing.message_in_ns is not None
    assert their.message_in == Cost(0.0, timing.message_in_ns.value)
    more = (energy.neuron_active_pj.value - energy.neuron_inactive_pj.value, timing.neuron_active_ns.value - 6.0)
    assert (their.update.pj, their.update.ns) == pytest.approx(more)
    for name, cost in their.synops.items():
        prices = (
            getattr(part, f"synop_{name}_{unit}", None) or getattr(part, f"synop_{unit}")
            for part, unit in ((energy, "pj"), (timing, "ns"))
        )
        assert (cost.pj, cost.ns) == tuple(price.value for price in prices), name
    assert dict(zip(timing.barrier.tiles, timing.barrier.ns, strict=True)) == their.barrier
    assert timing.barrier.steps


@pytest.mark.parametrize("share", [0.0, 0.1, 0.8])
@pytest.mark.parametrize("name", [name for name in IMAGES if name != "cancelling"])
def test_energy_and_time_of_the_simulator(name: str, share: float) -> None:
    """To 1e-6 of the energy and to 1 ns in each step; what is found is nearer by far."""
    rng = np.random.default_rng(1)
    image = as_simple(IMAGES[name](rng))
    spikes = stimulus(image, rng, share)
    run = simulate(image, Samples(spikes[None]))
    theirs = sanafe_net.run(sanafe, image, spikes, Constants())
    np.testing.assert_allclose(run.step_ns[0], theirs.step_ns, 0, 1.0)
    np.testing.assert_allclose(run.step_ns[0], theirs.step_ns, 0, NANOSECONDS)
    found = estimate(image, run)
    assert found.timing == "boyle2025"
    np.testing.assert_allclose(found.dynamic_pj, theirs.energy_pj.sum(), ENERGY)
    np.testing.assert_allclose(found.time_ns, theirs.step_ns.sum(), 1e-12)
    assert np.array_equal(run.core_active[0].sum(), theirs.updated.sum())
