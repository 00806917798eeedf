"""The schema of ``report.json``: plain structs, one version number.

A field that is None was not measured. Counts and costs are means per sample. Whether a
number is measured (counted in simulation), published or assumed is told by where it
stands: everything outside `constants` is counted or computed from counts and constants,
each constant carries its own kind and source.
"""

from __future__ import annotations

from typing import Any

import msgspec

from snnc.errors import InputError

# Kinds of dynamic energy: fields of layers, cores and costs.
KINDS = ("synapse_pj", "neuron_pj", "spike_pj", "message_pj", "hop_pj", "crossing_pj")
VERSION = 1
TRIMS = ("trim", "retrim")
"""The passes that remove dead neurons."""


class Use(msgspec.Struct, frozen=True):
    """How much of a resource is used: the total, and the fullest core with its share of the limit."""

    used: int
    limit_per_core: int
    fullest_core: int
    fullest_use: int

    @property
    def share(self) -> float:
        """Use of the fullest core over its limit."""
        return self.fullest_use / self.limit_per_core


class Layer(msgspec.Struct, frozen=True):
    """One population. weights: stored once (a kernel counts once); synapses: after sharing over positions.

    sparsity: share of the possible weights that do not exist. rate: spikes per neuron and step.
    formats: storage formats in use. synapse_bits: memory on all cores. silent, unread: neurons that were removed since
    they never spike, or since nothing reads them. clipped, rounded_to_zero: weights that were
    larger than the grid, and that became zero. scales: how many its neurons have. energy_pj: dynamic energy, the sum
    of the kinds behind it: of synapses that lead into the layer, of its updates and spikes, of their hops and
    crossings. On calibration data: rate_float, rate of the float network; rate_error, share by which the integer one
    has more spikes (fewer: negative); misplaced, steps in which a neuron spikes in one of them alone, over spikes of
    the float one.
    """

    name: str
    neurons: int
    operation: str
    weights: int
    synapses: int
    sparsity: float
    bits: int | None
    threshold: tuple[int, int] | None
    weight_error: float | None
    rounded_to_zero: int | None
    cores: int
    formats: tuple[str, ...]
    synapse_bits: int
    silent: int = 0
    unread: int = 0
    rate: float | None = None
    spikes: float | None = None
    synops: float | None = None
    effective_synops: float | None = None
    neuron_updates: float | None = None
    active_updates: float | None = None
    messages: float | None = None
    hops: float | None = None
    crossings: float | None = None
    energy_pj: float | None = None
    synapse_pj: float | None = None
    neuron_pj: float | None = None
    spike_pj: float | None = None
    message_pj: float | None = None
    hop_pj: float | None = None
    crossing_pj: float | None = None
    clipped: int | None = None
    scales: int | None = None
    rate_float: float | None = None
    rate_error: float | None = None
    misplaced: float | None = None


class Core(msgspec.Struct, frozen=True):
    """One core. tile_x, tile_y: its tile, on the mesh of all chips.

    hops, crossings: of what it sends. energy_pj: dynamic energy, the sum of the kinds behind it: of its synapses,
    neurons and spikes, and of hops and crossings of what it sends.
    """

    core: int
    site: int
    tile_x: int
    tile_y: int
    layers: tuple[str, ...]
    neurons: int
    in_axons: int
    out_axons: int
    synapse_bits: int
    neuron_groups: int
    chip: int = 0
    spikes: float | None = None
    synops: float | None = None
    effective_synops: float | None = None
    active_updates: float | None = None
    inactive_updates: float | None = None
    messages: float | None = None
    hops: float | None = None
    crossings: float | None = None
    energy_pj: float | None = None
    synapse_pj: float | None = None
    neuron_pj: float | None = None
    spike_pj: float | None = None
    message_pj: float | None = None
    hop_pj: float | None = None
    crossing_pj: float | None = None


class Side(msgspec.Struct, frozen=True):
    """The figures by which two compilations are compared; the last ones are means per sample."""

    cores: int
    neurons: int
    weights: int
    synapse_bits: int
    accuracy: float | None = None
    spikes: float | None = None
    synops: float | None = None
    effective_synops: float | None = None
    messages: float | None = None
    hops: float | None = None
    crossings: float | None = None
    time_ns: float | None = None
    energy_pj: float | None = None


class BusyLink(msgspec.Struct, frozen=True):
    """The link from tile to tile, (column, row) each, that carried most messages, in the mean of all samples."""

    start: tuple[int, int]
    stop: tuple[int, int]
    messages: float


class Activity(msgspec.Struct, frozen=True):
    """What was simulated, and how much of it was work for the neurons.

    steps: those counted. warmup: steps before them, which were run and are counted nowhere. busiest_link: None where
    nothing travels.
    """

    data: str
    samples: int
    steps: int
    accuracy: float | None
    input_spikes: float
    neuron_updates: float
    active_updates: float
    warmup: int = 0
    busiest_link: BusyLink | None = None


class Steps(msgspec.Struct, frozen=True):
    """Accuracy on calibration data step by step.

    floats: of the network as it was read, None where it came in integers. quantized: of its integers. finetuned: of
    these after they were trained on, where they were. mapped: of the image on its cores.
    """

    data: str
    samples: int
    floats: float | None
    quantized: float
    mapped: float
    finetuned: float | None = None


class Cost(msgspec.Struct, frozen=True):
    """Energy per sample in pJ by kind; the total is dynamic energy without static_pj.

    crossing_pj: of hops from chip to chip, beyond hop_pj. static_pj: of all chips in use. timing: the set of constants.
    least_pj: the total if no update of a neuron was an active one. latest_ns: the time if every message waits.
    """

    synapse_pj: float
    neuron_pj: float
    spike_pj: float
    hop_pj: float
    static_pj: float | None
    constants: list[dict[str, Any]]
    crossing_pj: float = 0.0
    message_pj: float = 0.0
    timing: str = ""
    least_pj: float | None = None
    latest_ns: float | None = None


class SynapticOperations(msgspec.Struct, frozen=True):
    """Means per sample, by NeuroBench's names: see :mod:`snnc.simulator.workload`."""

    effective_macs: float = msgspec.field(name="Effective_MACs")
    effective_acs: float = msgspec.field(name="Effective_ACs")
    dense: float = msgspec.field(name="Dense")


class NeuroBench(msgspec.Struct, frozen=True, rename="pascal"):
    """A run of a network in NeuroBench's terms and by its names, see :mod:`snnc.simulator.workload`.

    batch: samples in a call, on which depends what is a MAC. membrane_updates: None of integer networks.
    """

    footprint: int
    connection_sparsity: float | None
    activation_sparsity: float
    synaptic_operations: SynapticOperations
    membrane_updates: float | None
    batch: int = msgspec.field(name="batch")


class Report(msgspec.Struct, frozen=True):
    """Everything there is to say about one image, and one run of it if there was one.

    dense: the same figures for the dense parent, compiled and run in the same way; dense_note: why there are none
    although there is a parent. chips: in use; cores_available: on these. verified: what was compared with which
    executor. seconds: wall time of each pass, and of what was done before and after. peak_mib: the most memory of
    the process until then. steps: None without labelled data. diagnoses: what is wrong, as sentences. neurobench: of
    the network that was compiled, not of the one that was read.
    """

    schema: int
    snnc: str
    network: str
    target: str
    target_title: str
    source: dict[str, Any]
    options: dict[str, Any]
    passes: dict[str, Any]
    this: Side
    resources: dict[str, Use]
    cores_available: int
    layers: list[Layer]
    cores: list[Core]
    activity: Activity | None = None
    cost: Cost | None = None
    dense: Side | None = None
    dense_note: str = ""
    verified: list[dict[str, Any]] = []
    seconds: dict[str, float] = {}
    peak_mib: dict[str, float] = {}
    steps: Steps | None = None
    diagnoses: list[str] = []
    chips: int = 1
    chips_available: int = 1
    neurobench: NeuroBench | None = None


class ActiveLayer(msgspec.Struct, frozen=True):
    """One population of a network that was run without a chip.

    semantics: in words; empty for what has none. total: spikes of all samples together, of neurons that pass on
    values their sum. rate: the same per neuron and step.
    """

    name: str
    neuron: str
    neurons: int
    semantics: str
    total: float
    rate: float


class NetworkActivity(msgspec.Struct, frozen=True):
    """What a network did that was run as it is, without a chip.

    arithmetic: "float64" or "integer". outputs: population that is read out -> its total per sample and neuron.
    seconds: wall time of the simulation alone. warmup: steps before `steps`, which were run and are counted nowhere.
    """

    network: str
    arithmetic: str
    dt: float
    data: str
    samples: int
    steps: int
    layers: list[ActiveLayer]
    outputs: dict[str, list[list[float]]]
    accuracy: float | None
    seconds: float
    neurobench: NeuroBench | None = None
    warmup: int = 0


def to_json(report: Report) -> bytes:
    """The text of ``report.json``."""
    return msgspec.json.format(msgspec.json.encode(report), indent=1)


def from_json(data: bytes, where: str) -> Report:
    """Inverse of :func:`to_json`; InputError names file and field."""
    try:
        report = msgspec.json.decode(data, type=Report)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"this is not a report: {error}", where=where) from None
    if report.schema != VERSION:
        raise InputError(f"the report has schema {report.schema}, this snnc reads {VERSION}", where=where)
    return report
