"""Any torch module of snntorch neurons -> Network, and the proof that both spike alike.

The module is recorded (:mod:`snnc.frontends.torch_record`) and folded into a graph
(:mod:`snnc.frontends.torch_graph`). Then the same is done with a copy of which all weights are slightly
disturbed, and copy and network run on random values: with such numbers no membrane meets a
threshold by chance, so that rounding decides nothing, and one spike of difference means that the module
computes something that the graph does not say.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from snnc.errors import InputError
from snnc.frontends.assembly import build
from snnc.frontends.notes import Notes
from snnc.frontends.torch_graph import Folded, fold
from snnc.frontends.torch_record import duplicate, play, record
from snnc.frontends.torch_values import Recording
from snnc.network import Network
from snnc.ops import Conv1d, Conv2d, Linear, Op, Shape
from snnc.simulator import floating

# Calls of a module that computes one step: enough to see what comes round after three steps.
CALLS = 6
# Steps of the proof, where the module leaves their number open.
PROOF_STEPS = 24
BATCH = 2
# A difference of one state shows in few spikes: short examples are tried again, on other values.
ENOUGH = 20_000
TRIALS = 10


def trace(module: nn.Module, examples: Sequence[Tensor], *, dt: float, name: str, notes: Notes) -> Network:
    """The network that `module` computes on inputs of the shapes of `examples`, in evaluation mode.

    examples: one for each argument of forward; of all time steps, if it loops over them, or of one step. Raises
    InputError naming the layer for what no network can express, and where the proof fails.
    """
    names = _arguments(module, len(examples))
    _, folded = _fold(duplicate(module), examples, names, dt, notes)
    _prove(module, examples, names, dt)
    network = build(folded.graph, dt=dt, name=name, loop_bias=folded.loop_bias)
    return _compact(network)


def trace_shape(module: nn.Module, shape: Shape, *, dt: float, name: str, notes: Notes) -> Network:
    """The same for a module of which only the shape of one step of one sample is known.

    Tried are an input of one step, then of several with the time axis first, then second.
    """
    first: InputError | None = None
    for layout in ((BATCH, *shape), (CALLS, BATCH, *shape), (BATCH, CALLS, *shape)):
        attempt = Notes(notes.where, notes.strict)
        try:
            network = trace(module, [torch.zeros(layout)], dt=dt, name=name, notes=attempt)
        except InputError as error:
            first = first or error
            continue
        if [p.shape for p in network.inputs] == [shape]:
            notes.take(attempt)
            return network
    if first is not None:
        raise first
    raise InputError(f"it does not take inputs of shape {shape}", where=name, fix="give an example of its input")


def _arguments(module: nn.Module, count: int) -> list[str]:
    names = list(inspect.signature(module.forward).parameters)
    return names[:count] if len(names) >= count else [f"input{k}" for k in range(count)]


def _fold(
    twin: nn.Module, examples: Sequence[Tensor], names: Sequence[str], dt: float, notes: Notes
) -> tuple[Recording, Folded]:
    where = type(twin).__name__
    recording = record(twin, examples, names, calls=1)
    if recording.lineages and all(len(x.inputs) == 1 for x in recording.lineages):
        recording = record(twin, examples, names, calls=CALLS)
    try:
        folded = fold(recording, dt=dt, modules=dict(twin.named_modules()), notes=notes, where=where)
    except RecursionError:
        raise InputError("its expressions are nested too deeply", where=where, fix="give a shorter example") from None
    return recording, folded


def _prove(module: nn.Module, examples: Sequence[Tensor], names: Sequence[str], dt: float) -> None:
    """InputError where a disturbed copy of the module and the network read from it differ in any spike."""
    generator = torch.Generator().manual_seed(0)
    twin = duplicate(module)
    with torch.no_grad():
        for label, tensor in [*twin.named_parameters(), *twin.named_buffers()]:
            if tensor.is_floating_point() and not label.endswith("_mask"):
                tensor.mul_(1 - 1e-3 * torch.rand(tensor.shape, generator=generator, dtype=torch.float64))
            if label.endswith("threshold"):  # deep layers of fresh modules are silent
                tensor.mul_(10 ** -torch.rand((), generator=generator, dtype=torch.float64))
    recording, folded = _fold(twin, examples, names, dt, Notes(""))
    network = build(folded.graph, dt=dt, name="proof", loop_bias=folded.loop_bias)
    compared = 0
    for _ in range(TRIALS):
        compared += _compare(twin, recording, folded, network, generator)
        if compared >= ENOUGH:
            break


def _compare(
    twin: nn.Module, recording: Recording, folded: Folded, network: Network, generator: torch.Generator
) -> int:
    """Run both on the same random values; the number of spikes, or their absence, that were compared."""
    single = recording.calls > 1
    calls = PROOF_STEPS if single else 1
    batch = recording.lineages[0].shape[0]
    # Each sample has a strength of its own: neurons of any threshold shall have something to do.
    strengths = 10 ** (2 * torch.rand(batch, generator=generator, dtype=torch.float64) - 1)
    samples = {source.number: source.sample for source in folded.sources.values()}
    inputs = [
        [_random(e, samples.get(n, 0), strengths, generator) for n, e in enumerate(recording.examples)]
        for _ in range(calls)
    ]
    spikes = play(twin, inputs)
    steps = len(spikes[0])
    fed = {}
    for name, source in folded.sources.items():
        places = source.places + source.sample * np.arange(batch).reshape(-1, *[1] * source.places.ndim)
        flat = [call[source.number].flatten().numpy() for call in inputs]
        fed[name] = np.stack([flat[t if single else 0][places + t * source.step] for t in range(steps)], axis=1)
    ours = floating.simulate(network, fed, keep=folded.populations)
    for name, theirs in zip(folded.populations, spikes, strict=True):
        differ = ours[name] != (theirs.numpy() != 0).swapaxes(0, 1)
        if differ.any():
            step = int(np.nonzero(differ.any(axis=tuple(a for a in range(differ.ndim) if a != 1)))[0][0])
            raise InputError(
                f"the network read from the module spikes otherwise than the module: {np.count_nonzero(differ)} of "
                f"{differ.size} values in step {step} and after",
                where=name,
                fix="the module does something between its layers that was not seen; give it as layers of torch.nn",
            )
    return sum(tensor.numel() for tensor in spikes)


def _random(example: Tensor, samples: int, strengths: Tensor, generator: torch.Generator) -> Tensor:
    """Values of an example's shape, in 0..1 times the strength of each sample. samples: stride of the batch axis."""
    values = torch.rand(example.shape, generator=generator, dtype=torch.float64)
    size = len(strengths)
    axes = [k for k in range(example.ndim) if example.shape[k] == size and example.stride(k) == samples]
    around = [1] * example.ndim
    if axes:
        around[axes[0]] = size
    return values * (strengths.reshape(around) if axes else strengths[0])


def _compact(network: Network) -> Network:
    """Weights in float32 where that loses nothing: the module was recorded in float64."""
    return replace(
        network,
        projections=tuple(replace(p, ops=tuple(map(_narrow, p.ops))) for p in network.projections),
    )


def _narrow(op: Op) -> Op:
    if isinstance(op, Linear):
        weight = op.weight.astype(np.float32)
        return replace(op, weight=weight, bias=_narrow_bias(op.bias)) if np.all(weight.data == op.weight.data) else op
    if isinstance(op, Conv1d | Conv2d):
        narrow = op.weight.astype(np.float32)
        return replace(op, weight=narrow, bias=_narrow_bias(op.bias)) if np.array_equal(narrow, op.weight) else op
    return op


def _narrow_bias(bias: np.ndarray | None) -> np.ndarray | None:
    if bias is None:
        return None
    narrow = bias.astype(np.float32)
    return narrow if np.array_equal(narrow, bias) else bias
