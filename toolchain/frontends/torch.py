"""From torch to a Network: checkpoints of snnc, and modules made of snntorch neurons.

The walk is ours: scalars are broadcast to the shape of the population, batch normalisation is
folded into the layer before it, dropout disappears, and whatever a network cannot express is
refused by name instead of lost. Layers in a row are read as they stand; any other module is run and
recorded (:mod:`snnc.frontends.torch_trace`). No file is ever executed (snnc.tickets.archive).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from snnc.errors import InputError, UsageError
from snnc.frontends.notes import Notes
from snnc.frontends.reading import Reading
from snnc.frontends.torch_file import build, fill, is_checkpoint
from snnc.frontends.torch_layers import append
from snnc.frontends.torch_neurons import NAMES, NEURONS, convert
from snnc.models.spiking import Row, SpikingNetwork, population_names
from snnc.models.wired import Wired
from snnc.network import Network, Population, Projection
from snnc.ops import Op, output_shape
from snnc.tickets.archive import load_plain
from snnc.tickets.checkpoint import Checkpoint, decode

# snntorch has no time step; one millisecond is what frames of event cameras usually last.
DT = 1e-3


def open_file(path: Path, reading: Reading, *, parent: bool, notes: Notes) -> tuple[Network, dict[str, Any]]:
    """The network in a ``.pt`` file, and what the file says about itself.

    InputError naming file and field; UsageError where a state dict has no model, or a checkpoint of ours one.
    """
    plain = load_plain(path)
    if reading.model is None or is_checkpoint(plain):
        checkpoint = decode(plain, path)
        if reading.model is not None:
            raise UsageError("a checkpoint of snnc says itself what model it is of", where=str(path))
        about = {
            "format": "checkpoint",
            "model": checkpoint.model,
            "data": checkpoint.data,
            "seed": checkpoint.seed,
            "accuracy": checkpoint.accuracy,
            "parent": checkpoint.parent is not None,
        }
        if checkpoint.groups:
            about["grouped"] = True
        try:
            return network(checkpoint, parent=parent), about
        except InputError as error:
            raise InputError(error.message, where=f"{path}, {error.where}", fix=error.fix) from None
    if parent:
        raise InputError("a state dict holds one network, no dense parent", where=str(path))
    module, example = build(reading.model)
    fill(module, plain, path, notes)
    found = from_module(module, example, dt=reading.dt or DT, shape=reading.shape, name=path.stem, notes=notes)
    return found, {"format": "state_dict", "model": reading.model, "data": ""}


def network(checkpoint: Checkpoint, *, parent: bool = False) -> Network:
    """The network of a checkpoint, or the dense one that a ticket was found in (InputError if there is none)."""
    module = checkpoint.module(parent=parent)
    return from_module(module, dt=checkpoint.dt, bits=checkpoint.bits, name=checkpoint.model)


def from_module(
    module: nn.Module,
    example: Tensor | Sequence[Tensor] | None = None,
    *,
    dt: float = DT,
    shape: Sequence[int] | None = None,
    bits: int | None = None,
    name: str = "network",
    notes: Notes | None = None,
) -> Network:
    """The network that `module` computes in evaluation mode.

    example: an input of the module (a sequence, if forward takes several): of all time steps, if it loops over them,
    or of one. shape: instead of an example, the shape of one step of one sample; layers in a row (an nn.Sequential)
    need no more. dt: seconds per step. bits: signed width the weights are meant for. notes: receives what the user
    should know.

    Weights keep their dtype unless batch normalisation is folded into them, which is computed, and kept, in float64.
    Raises InputError naming the layer for what is not supported.
    """
    notes = Notes(name) if notes is None else notes
    if example is not None and shape is not None:
        raise UsageError("an example has a shape already", fix="give one of the two")
    if isinstance(module, SpikingNetwork) and (obstacles := module.obstacles()):
        raise _refusal(obstacles, name)
    if isinstance(module, Wired) and example is None:
        return _wired(module, dt, bits, name)
    row = module.layers if isinstance(module, Row) else module
    shape = module.shape if shape is None and isinstance(module, SpikingNetwork) else shape
    if example is None and isinstance(row, nn.Sequential) and _is_row(row):
        if shape is None:
            raise InputError("the shape of the input is not known", fix="give from_module(..., shape=...)")
        return _in_a_row(row, tuple(shape), dt, bits, name, notes)
    from snnc.frontends import torch_trace

    if example is not None:
        examples = [example] if isinstance(example, Tensor) else list(example)
        found = torch_trace.trace(module, examples, dt=dt, name=name, notes=notes)
    elif shape is not None:
        found = torch_trace.trace_shape(module, tuple(shape), dt=dt, name=name, notes=notes)
    else:
        raise InputError(
            f"what {type(module).__name__} takes is not known",
            fix="give an example of its input: snnc.load(module, example), or --shape on the command line",
        )
    return replace(found, projections=tuple(replace(p, bits=bits) for p in found.projections))


def _is_row(row: nn.Sequential) -> bool:
    """Whether all layers are of torch or snntorch themselves, one after the other."""
    return all(type(layer).__module__.partition(".")[0] in ("torch", "snntorch") for _, layer in _layers(row))


def _layers(row: nn.Sequential, path: str = "layers") -> Iterator[tuple[str, nn.Module]]:
    """Each layer with its path, in order; nested Sequentials are opened."""
    for index, layer in enumerate(row):
        if isinstance(layer, nn.Sequential):
            yield from _layers(layer, f"{path}.{index}")
        else:
            yield f"{path}.{index}", layer


def _refusal(obstacles: Sequence[tuple[str, str]], name: str) -> InputError:
    """All that a model of ours does and no network can express, in one error."""
    listed = "; ".join(f"{where}: {what}" for where, what in obstacles)
    return InputError(
        f"no network can express what its layers do: {listed}",
        where=name,
        fix="compile a model without them; this one can be trained and counted",
    )


def _wired(module: Wired, dt: float, bits: int | None, name: str) -> Network:
    """Populations and links become populations and projections; one to itself is a step late in both."""
    populations = {"input": Population("input", module.shape, "input")}
    shapes = {"input": module.shape}
    projections = []
    for pre, post, chain in module.chains():
        ops: tuple[Op, ...] = ()
        for index, layer in enumerate(chain):
            where = f"links.{pre}-{post}.{index} ({type(layer).__name__})"
            ops = append(ops, output_shape(ops, shapes[pre]), layer, where)
        shapes.setdefault(post, output_shape(ops, shapes[pre]))
        projections.append(Projection(f"{pre}-{post}", pre, post, ops, bits=bits))
    for post, layer in module.populations.items():
        neuron = convert(layer, shapes[post], dt, f"populations.{post}").neuron
        populations[post] = Population(post, shapes[post], neuron.neuron, neuron.params, neuron.semantics)
    return Network(tuple(populations.values()), tuple(projections), (post,), dt, name)


def _in_a_row(
    row: nn.Sequential, shape: tuple[int, ...], dt: float, bits: int | None, name: str, notes: Notes
) -> Network:
    layers = list(_layers(row))
    names = population_names([layer for _, layer in layers])
    populations = [Population("input", shape, "input")]
    projections = []
    ops: tuple[Op, ...] = ()
    for index, (path, layer) in enumerate(layers):
        where = f"{path} ({type(layer).__name__})"
        before = output_shape(ops, populations[-1].shape)
        if index not in names:
            ops = append(ops, before, layer, where)
            continue
        if not isinstance(layer, NEURONS):
            raise InputError(
                f"neurons of type {type(layer).__name__} are not supported", where=where, fix=f"use {NAMES}"
            )
        found = convert(layer, before, dt, where)
        if found.warning:
            notes.tell(f"{path}: {found.warning}", kind="warning")
        neuron = found.neuron
        population = Population(names[index], before, neuron.neuron, neuron.params, neuron.semantics)
        link = f"{populations[-1].name}-{population.name}"
        projections.append(Projection(link, populations[-1].name, population.name, ops, bits=bits))
        if found.recurrent is not None:
            back = () if found.scale is None else (found.scale,)
            inner = (*back, found.recurrent)
            projections.append(Projection(f"{population.name}-rec", population.name, population.name, inner, bits=bits))
        populations.append(population)
        ops = () if found.scale is None else (found.scale,)
    if not projections:
        raise InputError("there is no layer of neurons", fix=f"add one of {NAMES}")
    if index not in names:  # a read-out without neurons
        last = populations[-1].name
        projections.append(Projection(f"{last}-output", last, "output", ops, bits=bits))
        populations.append(Population("output", output_shape(ops, populations[-1].shape), "sum"))
    return Network(tuple(populations), tuple(projections), (populations[-1].name,), dt, name)
