"""What a run did in the terms of NeuroBench 2.3.0, exactly as NeuroBench counts on the torch module.

NeuroBench (Yik et al., Nature Communications 16, 1545, 2025; ``neurobench/metrics`` at version 2.3.0) hooks every layer
with weights and every spiking neuron of a module, and works out afterwards what each call of a layer cost. Its
definitions, per sample:

- SynapticOperations. A call takes an effective operation for each weight that is not 0 whose input is not 0; zero
  padding and biases are none. If all inputs of the *call*, which are those of all samples of a batch in one step, are
  0, 1 or -1, its operations are accumulations (Effective_ACs), else multiply-accumulates (Effective_MACs): so the split
  depends on the batches in which data come. Dense is the same with ones for all inputs and weights. Pooling, batch
  normalisation and factors without a layer of weights are no operations.
- ActivationSparsity. Zeros among all outputs of spiking neurons; those of inputs are none.
- MembraneUpdates. Every membrane in the first step, and then those that differ from what they were a step before.
- ConnectionSparsity. Zeros among all weights, rounded to 4 digits. Footprint. Bytes of parameters and buffers.

Nothing is enumerated: an operation has a fan-out per input (weights that are not 0; of a convolution the border
counts), and a call costs the sum of the fan-outs of its inputs that are not 0, in int64. NeuroBench adds in float32,
whose integers end at 2^24: it is inexact where one call costs more.

What a :class:`~snnc.network.Network` no longer knows, and how it is read: a convolution with padding "same" and an even
kernel has taps of zero that the module had not; batch normalisation that stands alone is a layer with weights;
parameters of neurons that are all alike were one number; a neuron of snntorch.Leaky that resets to zero did so with
the default `reset_delay`. RLeaky and RSynaptic of snntorch 1.0.0 call their recurrent layer twice a step where they
reset to zero; here that is one call.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from snnc.network import GRADED, INTEGER, READ_OUT, SPIKING, Network, Population, Projection
from snnc.ops import Conv1d, Conv2d, Linear, Op, Scale, Shape
from snnc.simulator.run import Run

Weighted = Linear | Conv1d | Conv2d
# Bytes of a neuron of snntorch besides its parameters: a factor of its spikes, and the number of its reset.
FACTOR, RESET = 4, 8


@dataclass(frozen=True, eq=False)
class Calls:
    """Calls of one operation with weights.

    effective: int64 (samples, calls), its operations. binary: bool (samples, calls), whether all inputs were 0, 1 or
    -1. dense: operations of a sample in all calls together, were nothing 0.
    """

    effective: np.ndarray
    binary: np.ndarray
    dense: int


@dataclass(frozen=True, eq=False)
class Workload:
    """calls: of every operation with weights, in the order of the network. active: int64 (samples,), outputs of neurons
    that are not 0, of `outputs` in each sample. membrane_updates: int64 (samples,), or None where membranes were not
    followed.
    """

    calls: tuple[Calls, ...]
    active: np.ndarray
    outputs: int
    membrane_updates: np.ndarray | None


@dataclass(frozen=True)
class NeuroBench:
    """Results by NeuroBench's names, means per sample, for data that come in batches of `batch` samples.

    None: there are no weights, no neurons whose outputs could be 0, or membranes were not followed.
    """

    footprint: int
    connection_sparsity: float | None
    activation_sparsity: float
    effective_macs: float
    effective_acs: float
    dense: float
    membrane_updates: float | None
    batch: int


def fan_out(op: Weighted, shape: Shape) -> np.ndarray:
    """Weights, not 0, that each input of an operation goes through; int64 (inputs,). shape: of the input."""
    if isinstance(op, Linear):
        return np.bincount(op.weight.indices, minlength=op.weight.shape[1]).astype(np.int64)
    wide = op.as_conv2d() if isinstance(op, Conv1d) else op
    out, channels, _, _ = wide.weight.shape
    taps = np.count_nonzero(wide.weight.reshape(wide.groups, out // wide.groups, *wide.weight.shape[1:]), axis=1)
    rows, columns = _reaching(wide, shape)
    # rows @ taps @ columns^T, for each channel.
    return (rows @ taps.reshape(wide.groups * channels, *taps.shape[2:]) @ columns.T).reshape(-1)


def dense(op: Weighted, shape: Shape) -> int:
    """Operations of one call with one sample, were no input and no weight 0."""
    if isinstance(op, Linear):
        return math.prod(op.weight.shape) // math.prod(op.lead)
    wide = op.as_conv2d() if isinstance(op, Conv1d) else op
    rows, columns = _reaching(wide, shape)
    return wide.weight.shape[0] * wide.weight.shape[1] * int(rows.sum()) * int(columns.sum())


def _reaching(op: Conv2d, shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    """Along rows and columns: whether tap j takes input i anywhere to an output, int64 (inputs, taps)."""
    before, after = op.images(shape)
    found = []
    for axis in (0, 1):
        place, tap = np.arange(before[1 + axis])[:, None], np.arange(op.weight.shape[2 + axis])[None, :]
        to, between = np.divmod(place + op.padding[axis] - tap * op.dilation[axis], op.stride[axis])
        found.append(((between == 0) & (to >= 0) & (to < after[1 + axis])).astype(np.int64))
    return found[0], found[1]


class Recorder:
    """A :class:`~snnc.simulator.floating.watch.Watch` that counts for one block of samples."""

    def __init__(self, network: Network, samples: int, steps: int) -> None:
        self._network, self._shape = network, (samples, steps)
        self._fans = {key: fan_out(op, shape) for key, op, shape in _weighted(network)}
        self._effective = {key: np.zeros((samples, steps), np.int64) for key in self._fans}
        self._binary = {key: np.ones((samples, steps), bool) for key in self._fans}
        self._membranes: dict[str, np.ndarray] = {}
        self._updates = np.zeros(samples, np.int64)

    def operation(self, projection: str, index: int, first: int, x: np.ndarray) -> None:
        from snnc.simulator.floating import kernels  # numba: seconds to import, and no one else needs it

        key = projection, index
        steps, samples, size = x.shape
        visits, binary = np.empty(steps * samples, np.int64), np.empty(steps * samples, np.bool_)
        kernels.visit(x.reshape(-1, size), self._fans[key], visits, binary)
        self._effective[key][:, first : first + steps] = visits.reshape(steps, samples).T
        self._binary[key][:, first : first + steps] = binary.reshape(steps, samples).T

    def membranes(self, population: str, v: np.ndarray) -> None:
        before = self._membranes.get(population)
        self._updates += v.shape[1] if before is None else np.count_nonzero(v != before, axis=1)
        self._membranes[population] = v

    def workload(self, records: Mapping[str, np.ndarray]) -> Workload:
        """What was counted. records: what every population put out, (samples, steps, *shape)."""
        samples, steps = self._shape
        neurons = [p for p in self._network.populations if _spikes(p)]
        active = np.zeros(samples, np.int64)
        for population in neurons:
            active += np.count_nonzero(records[population.name].reshape(samples, -1), axis=1)
        return Workload(
            calls=tuple(
                Calls(self._effective[key], self._binary[key], steps * dense(op, shape))
                for key, op, shape in _weighted(self._network)
            ),
            active=active,
            outputs=steps * sum(p.size for p in neurons),
            membrane_updates=self._updates,
        )


def join(parts: Sequence[Workload]) -> Workload:
    """The workload of all samples of several blocks, in their order."""
    updates = [part.membrane_updates for part in parts]
    return Workload(
        calls=tuple(
            Calls(
                np.concatenate([c.effective for c in calls]), np.concatenate([c.binary for c in calls]), calls[0].dense
            )
            for calls in zip(*(part.calls for part in parts), strict=True)
        ),
        active=np.concatenate([part.active for part in parts]),
        outputs=parts[0].outputs,
        membrane_updates=None if updates[0] is None else np.concatenate([u for u in updates if u is not None]),
    )


def of_run(network: Network, run: Run, inputs: np.ndarray | None = None) -> Workload | None:
    """The workload of a run of an integer network; None if its data were other than spikes and are not given.

    inputs: the data of the run, (samples, steps, *shape), if they are other than spikes. Membranes are not followed. A
    spike counts where it is fired: those of the last steps that would arrive after the end, by a delay or on the way
    back, are in it too. Values of spikes are not followed either: all calls with graded spikes are of values.
    """
    if run.graded and inputs is None:
        return None
    spikes, calls, offsets = run.spikes.astype(np.int64), [], network.offsets
    for (name, _), op, shape in _weighted(network):
        pre = network[next(p.pre for p in network.projections if p.name == name)]
        fans, each = fan_out(op, shape), run.steps * dense(op, shape)
        if pre.neuron == "input" and inputs is not None and inputs.dtype != np.uint8:
            values = inputs.reshape(*inputs.shape[:2], -1)
            calls.append(Calls((values != 0) @ fans, np.all(np.abs(values) <= 1, axis=2), each))
        else:
            fired = spikes[:, offsets[pre.name] : offsets[pre.name] + pre.size]
            binary = np.full((run.samples, 1), pre.neuron != GRADED)
            calls.append(Calls((fired @ fans)[:, None], binary, each))
    neurons = [slice(offsets[p.name], offsets[p.name] + p.size) for p in network.populations if _spikes(p)]
    active = np.sum([spikes[:, n].sum(axis=1) for n in neurons], axis=0) if neurons else np.zeros(run.samples, np.int64)
    return Workload(tuple(calls), active, run.steps * sum(n.stop - n.start for n in neurons), None)


def neurobench(network: Network, workload: Workload, batch: int = 1) -> NeuroBench:
    """The results of NeuroBench for a network and a workload of it, had the data come in batches of `batch` samples."""
    samples = len(workload.active)
    starts = np.arange(0, samples, batch)
    effective = {True: 0, False: 0}
    for calls in workload.calls:
        binary = np.logical_and.reduceat(calls.binary, starts, axis=0)
        operations = np.add.reduceat(calls.effective, starts, axis=0)
        for kind in effective:
            effective[kind] += int(operations[binary == kind].sum())
    sparsity = 0.0
    for size, active in zip(np.diff([*starts, samples]), np.add.reduceat(workload.active, starts), strict=True):
        # The mean of the batches, summed as NeuroBench does.
        outputs = int(size) * workload.outputs
        sparsity += ((outputs - int(active)) / outputs if outputs else 0.0) * int(size) / samples
    updates = workload.membrane_updates
    return NeuroBench(
        footprint=footprint(network),
        connection_sparsity=connection_sparsity(network),
        activation_sparsity=sparsity,
        effective_macs=effective[False] / samples,
        effective_acs=effective[True] / samples,
        dense=float(sum(calls.dense for calls in workload.calls)),
        membrane_updates=None if updates is None else int(updates.sum()) / samples,
        batch=batch,
    )


def connection_sparsity(network: Network) -> float | None:
    """Share of weights that are 0, rounded to 4 digits; None where there are none."""
    weights = exist = 0
    for _, op, _ in _weighted(network):
        places = math.prod(op.lead) if isinstance(op, Linear) else 1
        weights += math.prod(op.weight.shape) // places**2
        exist += op.taps // places
    # NeuroBench divides in float32, which can round another way.
    return round(float(np.float32(weights - exist) / np.float32(weights)), 4) if weights else None


def footprint(network: Network) -> int:
    """Bytes of the weights, zeros included, of biases and of what neurons hold, in the width of the weights.

    Of a float network as snntorch would hold it before its first step; of an integer one its registers' parameters.
    """
    total = 0
    width = 4
    for _, op, _ in _weighted(network):
        width = op.weight.dtype.itemsize
        places = math.prod(op.lead) if isinstance(op, Linear) else 1
        total += width * (math.prod(op.weight.shape) // places**2)
        total += 0 if op.bias is None else op.bias.dtype.itemsize * (len(op.bias) // places)
    for population in network.layers:
        if population.neuron in INTEGER:
            total += sum(value.dtype.itemsize * _numbers(value) for value in population.params.values())
        elif population.neuron in SPIKING:
            # beta and threshold, of currents alpha; an integrator has its beta, too.
            held = [population.params.get("tau", population.params.get("tau_mem", np.zeros(1)))]
            held += [population.params[name] for name in ("v_threshold", "tau_syn") if name in population.params]
            total += width * sum(_numbers(value) for value in held) + FACTOR * width // 4 + RESET
    own = (p.ops[-1] for p in network.projections if p.pre == p.post)
    return total + width * sum(_numbers(op.scale) for op in own if isinstance(op, Scale))


def _numbers(value: np.ndarray) -> int:
    """Different numbers along the axes along which there are any: 1 where all are alike."""
    return math.prod(n for axis, n in enumerate(value.shape) if np.any(value != value.take([0], axis)))


def _spikes(population: Population) -> bool:
    """Whether NeuroBench looks at its outputs: neurons that spike."""
    return population.neuron in SPIKING or (population.neuron in INTEGER and population.neuron != READ_OUT)


def _weighted(network: Network) -> list[tuple[tuple[str, int], Weighted, Shape]]:
    """Every operation with weights: (projection, number of the operation), operation, shape of its input."""
    return [entry for projection in network.projections for entry in _in_chain(network, projection)]


def _in_chain(network: Network, projection: Projection) -> list[tuple[tuple[str, int], Weighted, Shape]]:
    found = []
    shape = network[projection.pre].shape
    op: Op
    for index, op in enumerate(projection.ops):
        if isinstance(op, Weighted):
            found.append(((projection.name, index), op, shape))
        shape = op.output_shape(shape)
    return found
