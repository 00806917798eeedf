"""The rules of a chip: one small function each, its docstring is its documentation.

A rule takes a network (or the use of cores) and a target and yields a
:class:`~snnc.errors.Violation` for each breach. Rules on operations need no mapping
and run first; rules on capacity run on a mapped network. Which number of the target a
breach is about is said by its `limit`, a field of the TOML.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from snnc.errors import Violation
from snnc.network import ADAPTIVE, ANALOGUE, GRADED, INTEGER, READ_OUT, SPIKING, Network, Population, Projection
from snnc.quantities import Count
from snnc.resources import Usage
from snnc.target import Target

APPROXIMATE = "or take the nearest, and see how far it drifts: --approximate"


@dataclass(frozen=True)
class Rule:
    """A named rule. check takes (network, target) or, for capacity, (network, usage, core_of, target, chips)."""

    name: str
    check: Callable[..., Iterator[Violation]]

    @property
    def text(self) -> str:
        """The rule in one sentence, for documentation."""
        return (self.check.__doc__ or "").strip().split("\n")[0]


def one_input(network: Network, target: Target) -> Iterator[Violation]:
    """Spikes enter through exactly one input."""
    if len(network.inputs) != 1:
        yield Violation(
            "inputs",
            f"network '{network.name}'",
            f"it has {len(network.inputs)} inputs; one is supported",
            "join the inputs into one population",
        )


def one_output(network: Network, target: Target) -> Iterator[Violation]:
    """Exactly one layer is read out, and it has neurons."""
    if len(network.outputs) != 1:
        yield Violation(
            "outputs",
            f"network '{network.name}'",
            f"it has {len(network.outputs)} outputs; one is supported",
            "keep one Output",
        )
    for name in network.outputs:
        if network[name].neuron == "input":
            yield Violation("outputs", f"layer '{name}'", "it is read out, but it is an input", "end in neurons")


# Models that no chip has, but for the last layer -> what they are, and the cure.
_NO_CHIP_HAS = {
    "sum": ("adds without being neurons", "put neurons behind it, and let no sum feed itself"),
    "threshold": ("spikes without a membrane", "use IF neurons that are reset in every step, or train with LIF"),
    "i": ("never spikes and passes on its membrane", "put it last, or use spiking neurons"),
    "li": ("never spikes and passes on its membrane", "put it last, or use spiking neurons"),
    "cuba_li": ("never spikes and passes on its membrane", "put it last, or use spiking neurons"),
}


def neuron_model(network: Network, target: Target) -> Iterator[Violation]:
    """Layers are spiking neurons: if, lif or cuba_lif, or the target's own; what is read out may be a membrane."""
    if not network.layers:
        yield Violation("neuron", f"network '{network.name}'", "it has no neurons", "join input and output by neurons")
    for population in network.layers:
        if population.neuron in (*SPIKING, target.neuron.model) or _read_out(network, population, target):
            continue
        if (population.neuron == ADAPTIVE and target.neuron.joins) or (
            population.neuron == GRADED and target.neuron.graded
        ):
            continue
        what, fix = _NO_CHIP_HAS.get(population.neuron, ("is of another chip", f"use one of {', '.join(SPIKING)}"))
        yield Violation(
            "neuron",
            f"layer '{population.name}'",
            f"its model '{population.neuron}' {what}; {target.name} has no such neuron",
            fix,
            "neuron.model" if population.neuron not in ANALOGUE or target.neuron.membranes else "neuron.membranes",
        )


def _read_out(network: Network, population: Population, target: Target) -> bool:
    """Whether the target can read the population's membranes out, and nothing else is to be done with them."""
    sends = any(p.pre == population.name for p in network.projections)
    reads = target.neuron.membranes and population.name in network.outputs
    return reads and not sends and population.neuron in (*ANALOGUE, READ_OUT)


def reset(network: Network, target: Target) -> Iterator[Violation]:
    """After a spike the membrane returns in a way the chip knows, and to zero."""
    for population in network.layers:
        if population.neuron not in (*SPIKING, *INTEGER):
            continue
        where = f"layer '{population.name}'"
        kind = population.semantics.reset
        if kind not in target.neuron.resets:
            kinds = " or ".join(f"'{known}'" for known in target.neuron.resets)
            more = f", {APPROXIMATE}" if kind != "none" and population.neuron in SPIKING else ""
            yield Violation(
                "reset",
                where,
                f"it resets by '{kind}'; {target.name} resets by {kinds}",
                f'retrain with reset to zero (snntorch: reset_mechanism="zero"), use a target that can{more}',
                "neuron.resets",
            )
        elif population.neuron in INTEGER and not _resets_then(population, target):
            moments = " or ".join(f"'{known}'" for known in target.neuron.moments)
            yield Violation(
                "reset",
                where,
                f"it subtracts '{population.semantics.when}'; {target.name} subtracts {moments}",
                "compile the network for this chip",
                "neuron.moments",
            )
        elif np.any(population.params.get("v_reset", 0) != 0):
            yield Violation(
                "reset",
                where,
                f"it resets to v_reset != 0; {target.name} resets to 0",
                "shift v_leak, v_threshold and v_reset so that v_reset is 0",
                "neuron.resets",
            )


def compare(network: Network, target: Target) -> Iterator[Violation]:
    """A neuron spikes strictly above its threshold, and its threshold is positive."""
    for population in _float_neurons(network):
        where = f"layer '{population.name}'"
        if population.semantics.compare != ">":
            yield Violation(
                "compare",
                where,
                f"it spikes at v >= threshold; {target.name} only at v >",
                f"train with v > threshold, {APPROXIMATE}",
            )
        if np.any(population.params["v_threshold"] <= 0):
            yield Violation(
                "compare", where, "its threshold is not positive", "use a v_threshold > 0", "neuron.threshold_bits"
            )


def order_of_updates(network: Network, target: Target) -> Iterator[Violation]:
    """A neuron starts at 0, spikes at most once per step, resets when the chip can, and sends the spike at once."""
    usual = {
        "when": ("now", "resets by the rule '{}' of its framework"),
        "spikes": ("one", "spikes several times per step"),
        "floor": ("none", "is kept from falling below the threshold's negative"),
        "start": ("zero", "starts at its '{}' potential"),
        "output": ("now", "sends its spikes a step late"),
    }
    for population in (p for p in network.layers if p.neuron in (*SPIKING, *ANALOGUE)):
        for field, (expected, says) in usual.items():
            if field == "when" and _resets_then(population, target):
                continue
            if population.neuron in ANALOGUE and not _matters(field, population):
                continue
            value = getattr(population.semantics, field)
            cure = "that resets at once (snntorch: reset_delay=False)" if field == "when" else "that does not"
            if value != expected:
                yield Violation(
                    "updates",
                    f"layer '{population.name}'",
                    f"it {says.format(value)}; a neuron of {target.name} does not",
                    f"retrain with a neuron {cure}, {APPROXIMATE}",
                )
    for projection in network.projections:
        if projection.bias_start:
            yield Violation(
                "updates",
                f"projection '{projection.name}'",
                f"its bias begins in step {projection.bias_start}; on {target.name} a bias is always there",
                f"read the file with other --semantics, {APPROXIMATE}",
            )


def _resets_then(population: Population, target: Target) -> bool:
    """Whether the chip resets when the population does, or another rule speaks of its reset."""
    how = population.semantics
    if population.subtracts:
        return how.reset not in target.neuron.resets or how.when in target.neuron.moments
    return how.when == "now" or how.reset not in target.neuron.resets


_SCALE = "scale weights, thresholds and biases of the layer down together"


def integers(network: Network, target: Target) -> Iterator[Violation]:
    """Integer weights and registers, where a network brings its own, fit the widths of the chip."""
    for population in network.layers:
        if population.neuron not in INTEGER:
            continue
        decays = 2**target.neuron.decay_bits.value
        for name, low, high, field in (
            ("u_decay", 0, decays, "decay_bits"),
            ("v_decay", 0, decays, "decay_bits"),
            ("w_decay", 0, decays, "decay_bits"),
            ("threshold", 0, 2**target.neuron.threshold_bits.value - 1, "threshold_bits"),
            ("refractory", 0, _value(target.neuron.refractory_limit), "refractory_limit"),
            ("w_jump", 0, 2**target.neuron.threshold_bits.value - 1, "threshold_bits"),
            (
                "bias",
                -(2 ** (target.neuron.bias_bits.value - 1)),
                2 ** (target.neuron.bias_bits.value - 1) - 1,
                "bias_bits",
            ),
        ):
            value = population.params.get(name, np.zeros(1))
            if value.min() < low or value.max() > high:
                yield Violation(
                    name,
                    f"layer '{population.name}'",
                    f"{name} spans {value.min():,} .. {value.max():,}; {target.name} holds {low:,} .. {high:,}",
                    "use decays in units of the chip" if field == "decay_bits" else _SCALE,
                    f"neuron.{field}",
                )
        for projection in network.into(population.name):
            yield from _integer_weights(projection, target)


def _value(limit: Count | None) -> int:
    return 0 if limit is None else limit.value


def _integer_weights(projection: Projection, target: Target) -> Iterator[Violation]:
    weight = projection.op.weight
    signs = np.asarray(weight.data if sparse.issparse(weight) else weight, np.int64).ravel()
    values = np.abs(signs)
    largest, common = int(values.max(initial=0)), int(np.bitwise_or.reduce(values, initial=0))
    if not largest:
        return
    # The mantissa is what is left without the zeros that all weights end in, and a sign, unless all have the same.
    signed = bool(np.any(signs > 0) and np.any(signs < 0))
    mantissa = (largest // (common & -common)).bit_length() + signed
    synapse = target.synapse
    allowed = max(synapse.weight_bits.value)
    limit = (synapse.weight_limit.value | (not signed)) << synapse.exponent_limit.value
    if mantissa > allowed or largest > limit:
        yield Violation(
            "weights",
            f"projection '{projection.name}'",
            f"its weights reach {largest} and need {mantissa} bits{' with sign' * signed}; {target.name} holds "
            f"{allowed} bits up to {limit}",
            "make large weights multiples of a power of two, split positive and negative ones, or scale the layer down",
            "synapse.weight_bits",
        )


def _matters(field: str, population: Population) -> bool:
    """Whether neurons that never spike depend on a field of their semantics."""
    return field == "output" or (field == "start" and bool(np.any(population.params.get("v_leak", 0))))


def _float_neurons(network: Network) -> Iterator[Population]:
    return (p for p in network.layers if p.neuron in SPIKING)


def decay(network: Network, target: Target) -> Iterator[Violation]:
    """Time constants are at least one step, so that a decay lies between 0 and 1."""
    for population in network.layers:
        for name in ("tau", "tau_syn", "tau_mem"):
            value = population.params.get(name)
            if value is not None and population.semantics.decay == "euler" and np.any(value < network.dt):
                yield Violation(
                    "decay",
                    f"layer '{population.name}'",
                    f"{name} = {value.min():g} s is shorter than the step of {network.dt:g} s",
                    f"use a step of at most {value.min():g} s (--dt)",
                    "neuron.decay_bits",
                )


def delay(network: Network, target: Target) -> Iterator[Violation]:
    """Delays are no longer than synapses can store; what takes a short cut past layers waits for them, too."""
    limit = target.synapse.delay_limit.value
    for projection in network.projections:
        held = network.held(projection)
        if held > limit:
            past = f", {held - projection.delay} of these for layers that it passes" if held > projection.delay else ""
            yield Violation(
                "delay",
                f"projection '{projection.name}'",
                f"spikes wait {held:,} steps in it{past}; synapses of {target.name} store delays up to {limit}",
                f"train with delays of at most {limit} steps",
                "synapse.delay_limit",
            )


def connected(network: Network, target: Target) -> Iterator[Violation]:
    """Every layer has a synapse or a bias: a layer that pruning emptied can never spike."""
    for population in network.layers:
        into = network.into(population.name)
        if not any(p.op.taps or (p.op.bias is not None and np.any(p.op.bias)) for p in into):
            yield Violation(
                "empty", f"layer '{population.name}'", "it has no synapses left", "prune less, or keep one per layer"
            )


def core_capacity(
    network: Network, usage: Usage, core_of: np.ndarray, target: Target, chips: int | None = None
) -> Iterator[Violation]:
    """No core holds more neurons, axons, synapse bits or parameter groups than it has."""
    for name, noun, fix in (
        ("neurons", "neurons", "use more cores"),
        ("in_axons", "input axons", "prune the layer, or make it narrower"),
        ("out_axons", "output axons", "prune the next layer, or make it narrower"),
        ("synapse_bits", "bits of synapses", "prune the layer, or use fewer --bits"),
        ("neuron_groups", "sets of neuron parameters", "share thresholds and time constants within a layer"),
    ):
        limit: Count = getattr(target.core, name)
        used = getattr(usage, name)
        worst = int(used.argmax())
        if used[worst] > limit.value:
            more = int(np.sum(used > limit.value)) - 1
            yield Violation(
                name.replace("_", "-"),
                f"{_layers_on(network, core_of, worst)}, core {worst}" + (f" and {more} more cores" if more else ""),
                f"{used[worst]:,} {noun} on one core; {target.name} allows {limit.value:,}",
                fix,
                f"core.{name}",
            )


def chip_capacity(
    network: Network, usage: Usage, core_of: np.ndarray, target: Target, chips: int | None = None
) -> Iterator[Violation]:
    """The network needs no more cores than the chips have that it may use."""
    per_chip = target.mesh.cores
    allowed = target.chips if chips is None else min(chips, target.chips)
    if usage.cores <= allowed * per_chip:
        return
    needed = -(-usage.cores // per_chip)
    synapses = usage.synapse_bits.sum() / target.core.synapse_bits.value
    prune = (
        f"prune it: its synapses alone fill {synapses:,.1f} cores, its neurons "
        f"{usage.neurons.sum() / target.core.neurons.value:,.1f}"
    )
    if needed <= target.chips:
        yield Violation(
            "cores",
            f"network '{network.name}'",
            f"it needs {usage.cores:,} cores, {needed:,} chips of {per_chip:,}; --chips allows {allowed:,}",
            f"allow --chips {needed}, or {prune}",
            "board",
        )
        return
    board = f" on {target.chips:,} chips" if target.chips > 1 else ""
    yield Violation(
        "cores",
        f"network '{network.name}'",
        f"it needs {usage.cores:,} cores; {target.name} has {target.chips * per_chip:,}{board}",
        prune,
        "board" if target.chips > 1 else "mesh",
    )


def _layers_on(network: Network, core_of: np.ndarray, core: int) -> str:
    offsets = network.offsets
    names = [p.name for p in network.layers if np.any(core_of[offsets[p.name] : offsets[p.name] + p.size] == core)]
    return f"layer{'s' if len(names) > 1 else ''} " + ", ".join(f"'{n}'" for n in names)


OPERATION_RULES = (
    Rule("inputs", one_input),
    Rule("outputs", one_output),
    Rule("neuron", neuron_model),
    Rule("reset", reset),
    Rule("compare", compare),
    Rule("updates", order_of_updates),
    Rule("integers", integers),
    Rule("decay", decay),
    Rule("delay", delay),
    Rule("empty", connected),
)
CAPACITY_RULES = (
    Rule("core", core_capacity),
    Rule("cores", chip_capacity),
)


def check_operations(network: Network, target: Target) -> list[Violation]:
    """Every breach of an operation rule by a lowered network."""
    return [v for rule in OPERATION_RULES for v in rule.check(network, target)]


# Those that hold of integer networks on the chip, too; a quantised layer may be empty, for instance.
_WIDTHS = ("neuron", "reset", "integers", "delay")


def check_widths(network: Network, target: Target) -> list[Violation]:
    """Every weight, register, delay, neuron and reset of an integer network that the target does not have."""
    return [v for rule in OPERATION_RULES if rule.name in _WIDTHS for v in rule.check(network, target)]


def check_capacity(
    network: Network, usage: Usage, core_of: np.ndarray, target: Target, chips: int | None = None
) -> list[Violation]:
    """Every breach of a capacity rule by a mapped network. chips: so many may be used; None = all of the board."""
    return [v for rule in CAPACITY_RULES for v in rule.check(network, usage, core_of, target, chips)]
