"""What a torch module computes, recorded while it runs: which value came from which layer.

Spiking networks are written as loops over time in plain Python, which no graph tracer of torch follows
(torch.fx stops at ``range(x.shape[0])``, and nirtorch with it). So the module is run, in float64, on a
copy, and every tensor that leaves a layer is remembered with where it came from. The result is, for each
population, one expression of its input per time step; :mod:`snnc.frontends.torch_graph` folds them into
one network.

Where a value comes from the input by indexing, reshaping and slicing alone, the values themselves tell:
the recorded run feeds the numbers 1, 2, 3, ... Whatever they turn into, layers only pass on what they
do to structure, and neurons spike or not.
"""

from __future__ import annotations

import copy
import math
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, resolve_name

from snnc.errors import InputError
from snnc.frontends.torch_layers import NOTHING
from snnc.frontends.torch_neurons import NEURONS, states
from snnc.frontends.torch_values import (
    Added,
    Called,
    CalledAtOnce,
    Constant,
    Fired,
    Flat,
    FromInput,
    Lineage,
    Many,
    Recording,
    Scaled,
    Unknown,
    Value,
)

# Functions that hand on the same values in the same order, of another type or in another place.
_SAME = {"contiguous", "clone", "detach", "to", "float", "double", "type", "cpu", "requires_grad_", "type_as", "alias"}
# Functions that hand on values in C order with other axes.
_SHAPES = {"view", "reshape", "flatten", "squeeze", "unsqueeze", "view_as", "reshape_as", "unflatten"}
# Functions that pick and order, which the input's own values tell.
_PICKS = _SHAPES | {
    "__getitem__", "select", "unbind", "permute", "transpose", "movedim", "moveaxis", "swapaxes", "swapdims", "chunk",
    "split", "narrow", "index_select", "expand", "expand_as", "t", "T", "mT", "tensor_split",
}  # fmt: skip
_SUMS = {"sum", "mean", "stack", "cat", "concat", "concatenate", "max", "softmax", "log_softmax", "argmax"}


def duplicate(module: nn.Module) -> nn.Module:
    """A copy of a module in evaluation mode, in float64 on the CPU, whose neurons spike in float64.

    Weights that pruning or a training left with a history are copied by value.
    """
    held = [m.__dict__ | dict(m.named_buffers(recurse=False)) for m in module.modules()]
    tensors = [t for values in held for t in values.values() if isinstance(t, Tensor) and not t.is_leaf]
    twin = copy.deepcopy(module, {id(t): t.detach().clone() for t in tensors}).cpu().double().eval()
    for layer in twin.modules():
        if isinstance(layer, NEURONS):
            layer.spike_grad = _in_kind(layer.spike_grad)
    return twin


def _in_kind(surrogate: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """A surrogate that answers in the type it was asked in; those of snntorch answer in float32."""
    return lambda x: surrogate(x).to(x.dtype)


def record(module: nn.Module, examples: Sequence[Tensor], names: Sequence[str], *, calls: int) -> Recording:
    """Run `module` (a :func:`duplicate`) on inputs of the shapes of `examples` and note where values come from.

    calls: more than one for a module that computes one step. InputError where it fails, or calls what is no layer.
    """
    numbered = [torch.arange(1, e.numel() + 1, dtype=torch.float64).reshape(e.shape) for e in examples]
    return _run(module, [numbered] * calls, names)


def play(module: nn.Module, inputs: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """Spikes of each population, in the order of :attr:`Recording.lineages`, (steps, batch, *shape).

    inputs: for each call of the module its inputs.
    """
    recording = _run(module, inputs, [str(k) for k in range(len(inputs[0]))])
    return [torch.stack(lineage.spikes) for lineage in recording.lineages]


def _run(module: nn.Module, inputs: Sequence[Sequence[Tensor]], names: Sequence[str]) -> Recording:
    for layer in module.modules():
        if isinstance(layer, NEURONS):
            layer.reset_mem()
    recorder = _Recorder(inputs[0])
    results = []
    previous = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.no_grad(), _watched(module, recorder), recorder:
            for given in inputs:
                recorder.give(given)
                results.append(module(*given))
    except InputError:
        raise
    except Exception as error:  # the user's code may raise anything
        reason = (str(error).splitlines() or [""])[0]
        raise InputError(
            f"the module failed on the example: {type(error).__name__}: {reason[:300]}",
            where=type(module).__name__,
            fix="module(example) must run: snnc.load(module, example) takes one for each argument",
        ) from error
    finally:
        torch.set_default_dtype(previous)
    found = [v for r in results for v in recorder.values_in(r)]
    return Recording(recorder.lineages, found, inputs[0], names, len(inputs))


@contextmanager
def _watched(module: nn.Module, recorder: _Recorder) -> Iterator[None]:
    """Hooks on the layers: modules of torch and snntorch that hold none of the user's."""
    handles = []
    for path, layer in module.named_modules():
        if _is_layer(layer):
            handles.append(layer.register_forward_pre_hook(recorder.entering(path), with_kwargs=True))
            handles.append(layer.register_forward_hook(recorder.leaving(path), with_kwargs=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _is_layer(layer: nn.Module) -> bool:
    if isinstance(layer, NEURONS):
        return True
    package = type(layer).__module__.partition(".")[0]
    return package in ("torch", "snntorch") and not isinstance(layer, (nn.Sequential, nn.ModuleList, nn.ModuleDict))


class _Recorder(TorchFunctionMode):
    """Remembers for every tensor of the run where it came from."""

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        super().__init__()
        self.lineages: list[Lineage] = []
        # By id, and weakly: a tensor that is gone takes its memory along, and another may get its id.
        self._known: dict[int, tuple[weakref.ref[Tensor], Value]] = {}
        self._inside = 0
        self._calls = 0
        self._rest: tuple[Tensor, ...] = ()  # the states of the neuron that is being called, before the call
        self.give(inputs)

    def give(self, inputs: Sequence[Tensor]) -> None:
        """Take these tensors for the module's inputs."""
        for number, tensor in enumerate(inputs):
            self._know(tensor, FromInput(number, tensor))

    # Values

    def _know(self, tensor: Tensor, value: Value) -> None:
        self._known[id(tensor)] = (weakref.ref(tensor), value)

    def value(self, thing: Any) -> Value | None:
        """Where a tensor came from, or None for what did not come from the input."""
        known = self._known.get(id(thing))
        return known[1] if known is not None and known[0]() is thing else None

    def values_in(self, thing: Any) -> list[Value]:
        """The known values in a nest of tuples, lists and dicts."""
        if isinstance(thing, Tensor):
            value = self.value(thing)
            return [] if value is None else [value]
        if isinstance(thing, Mapping):
            thing = list(thing.values())
        if isinstance(thing, (list, tuple)):
            return [value for part in thing for value in self.values_in(part)]
        return []

    # Functions

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self._inside:
            return func(*args, **kwargs)
        sources = self.values_in([*args, *kwargs.values()])
        result = func(*args, **kwargs)
        if not sources:
            return result
        path = (resolve_name(func) or getattr(func, "__name__", "?")).split(".")
        name = path[-2] if path[-1] == "__get__" else path[-1]  # x.T is a property
        if name == "__setitem__":
            self._stored(args[0], self.values_in(args[2]))
        for number, tensor in enumerate(_tensors(result)):
            value = self._of_function(name, args, kwargs, sources, tensor, number)
            if value is not None:
                self._know(tensor, value)
        return result

    def _stored(self, target: Tensor, values: list[Value]) -> None:
        before = self.value(target)
        parts = before.parts if isinstance(before, Many) else ()
        self._know(target, Many((*parts, *values), 0))

    def _of_function(
        self, name: str, args: Any, kwargs: Mapping[str, Any], sources: list[Value], result: Tensor, number: int
    ) -> Value | None:
        first, source = args[0] if args else None, sources[0]
        if not result.is_floating_point() or name in ("size", "dim", "numel", "zeros_like", "ones_like", "empty_like"):
            return None
        if name in _SAME and self.value(first) is source:
            return FromInput(source.number, result) if isinstance(source, FromInput) else source
        if len(sources) == 1 and isinstance(source, FromInput) and name in _PICKS:
            return FromInput(source.number, result)
        if len(sources) == 1 and isinstance(first, Tensor) and self.value(first) is source:
            picked = self._picked(name, args, source, first, result, number)
            if picked is not None:
                return picked
        if name in ("add", "__add__", "__radd__", "__iadd__", "add_", "sub", "__sub__", "__isub__", "__rsub__"):
            return self._added(name, args, kwargs)
        if name in ("mul", "__mul__", "__rmul__", "__imul__", "mul_", "div", "__truediv__", "multiply"):
            return self._scaled(name, args)
        if name == "avg_pool2d" and len(sources) == 1:
            pool = nn.AvgPool2d(*args[1:], **{k: v for k, v in kwargs.items() if k != "input"})
            given = first if first is not None else kwargs["input"]
            return Called(f"avg_pool2d{args[1:]}{dict(kwargs)}", pool, source, given.shape)
        if name in ("dropout", "dropout1d", "dropout2d") and not kwargs.get("training", False):
            return source
        if name in ("stack", "cat", "concat", "concatenate"):
            return Many(tuple(sources), kwargs.get("dim", args[1] if len(args) > 1 else 0))
        if name in _SUMS:
            return Many(tuple(sources), None)
        return Unknown(name, tuple(sources))

    def _picked(self, name: str, args: Any, source: Value, first: Tensor, result: Tensor, number: int) -> Value | None:
        """A step of values over time, or the same values in other axes."""
        if isinstance(source, Many) and source.dim == 0 and len(source.parts) == len(first):
            if name == "__getitem__" and isinstance(args[1], int):
                return source.parts[args[1]]
            if name == "unbind":
                return source.parts[number]
        if isinstance(source, CalledAtOnce):
            step = args[1] if name == "__getitem__" and isinstance(args[1], int) else number
            if name in ("__getitem__", "unbind"):
                part = FromInput(source.source.number, source.source.tensor[step])
                return Called(source.path, source.layer, part, part.tensor.shape)
        if name not in _SHAPES:
            return None
        if result.shape == first.shape:
            return source
        if result.shape[0] == first.shape[0]:
            for start in range(1, first.ndim):
                for end in range(start, first.ndim):
                    joined = math.prod(first.shape[start : end + 1])
                    if result.shape == (*first.shape[:start], joined, *first.shape[end + 1 :]):
                        return Flat(source, start, end, first.shape)
        return None

    def _added(self, name: str, args: Any, kwargs: Mapping[str, Any]) -> Value:
        values = [self.value(a) for a in args[:2]]
        strangers = [a for v, a in zip(values, args, strict=False) if v is None]
        constant = any(bool(torch.any(torch.as_tensor(a) != 0)) for a in strangers)
        signs = [1.0, -1.0 if "sub" in name else 1.0]
        if name == "__rsub__":
            signs.reverse()
        if kwargs.get("alpha", 1) != 1:
            return Unknown("add with alpha", tuple(v for v in values if v is not None))
        parts = [
            v if sign == 1 else Scaled(v, sign, a.shape)
            for v, sign, a in zip(values, signs, args, strict=False)
            if v is not None
        ]
        if len(parts) > 1 and args[0].shape != args[1].shape:
            return Unknown("add of different shapes", tuple(parts))
        return parts[0] if len(parts) == 1 and not constant else Added(tuple(parts), constant)

    def _scaled(self, name: str, args: Any) -> Value:
        left, right = (self.value(a) for a in args[:2])
        if (left is None) == (right is None) or ("div" in name and left is None):
            return Unknown(name.strip("_"), tuple(v for v in (left, right) if v is not None))
        value, tensor, factor = (left, args[0], args[1]) if left is not None else (right, args[1], args[0])
        assert value is not None
        if "div" in name:
            factor = 1.0 / (factor.detach().clone() if isinstance(factor, Tensor) else factor)
        return Scaled(value, factor.detach().clone() if isinstance(factor, Tensor) else factor, tensor.shape)

    # Layers

    def entering(self, path: str) -> Callable[..., None]:
        def hook(layer: nn.Module, args: Any, kwargs: Mapping[str, Any]) -> None:
            self._inside += 1
            if isinstance(layer, NEURONS) and self._inside == 1:
                self._rest = _states(layer)

        return hook

    def leaving(self, path: str) -> Callable[..., None]:
        def hook(layer: nn.Module, args: Any, kwargs: Mapping[str, Any], output: Any) -> None:
            self._inside -= 1
            if self._inside:
                return
            self._calls += 1
            given = args[0] if args else next(iter(kwargs.values()), None)
            source = self.value(given)
            if isinstance(layer, NEURONS):
                self._fired(path, layer, args, kwargs, source or Constant(), output)
            elif source is not None and isinstance(given, Tensor):
                self._called(path, layer, source, given, output)

        return hook

    def _called(self, path: str, layer: nn.Module, source: Value, given: Tensor, output: Any) -> None:
        if not isinstance(output, Tensor):
            for tensor in _tensors(output):
                self._know(tensor, Unknown(type(layer).__name__, (source,)))
        elif isinstance(layer, NOTHING):
            self._know(output, source)
        elif isinstance(layer, nn.Linear) and isinstance(source, FromInput) and given.ndim > 2:
            self._know(output, CalledAtOnce(path, layer, source))
        elif isinstance(source, CalledAtOnce):
            self._know(output, Unknown(f"{type(layer).__name__} on all time steps at once", (source,)))
        else:
            self._know(output, Called(path, layer, source, given.shape))

    def _fired(self, path: str, layer: Any, args: Any, kwargs: Mapping[str, Any], source: Value, output: Any) -> None:
        outputs = list(output) if isinstance(output, tuple) else [output]
        given = args[0] if args else kwargs["input_"]
        lineage = self._lineage(path, layer, [*args[1:], *[kwargs[n] for n in states(layer) if n in kwargs]], given)
        step = len(lineage.inputs)
        lineage.inputs.append(source)
        lineage.spikes.append(outputs[0])
        lineage.order = self._calls
        lineage.returned = tuple(t.clone() for t in outputs)
        lineage.hidden = _states(layer)
        number = self.lineages.index(lineage)
        # Recurrent neurons return spikes as a state, too; a state of its own is what comes after them.
        for k, tensor in enumerate(outputs):
            self._know(tensor, Fired(number, step, k))

    def _lineage(self, path: str, layer: Any, given: list[Any], current: Tensor) -> Lineage:
        """The population that a call with these states belongs to; a new one, if it starts from rest."""
        given = [s for s in given if isinstance(s, Tensor)]
        if not given:  # hidden states
            mine = [x for x in self.lineages if x.layer is layer]
            if not mine:
                if any(bool(torch.any(h != 0)) for h in self._rest):
                    raise InputError("its state does not start at zero", where=path, fix="reset it: reset_mem()")
                return self._new(path, layer, current)
            if not all(map(_alike, self._rest, mine[-1].hidden)):
                raise InputError(
                    "its state is reset or replaced between two steps", where=path, fix="reset it before the loop only"
                )
            return mine[-1]
        origins = [self.value(s) for s in given]
        fired = [o for o in origins if isinstance(o, Fired)]
        if any(o is not None for o in origins) and len(fired) < len(origins):
            raise InputError("the state it is given is not its own of the step before", where=path)
        if not fired:
            if any(bool(torch.any(s != 0)) for s in given):
                raise InputError(
                    "its state does not start at zero", where=path, fix="start from init_leaky() or reset_mem()"
                )
            return self._new(path, layer, current)
        lineage = self.lineages[fired[0].lineage]
        last = len(lineage.inputs) - 1
        shift = 0 if len(states(layer)) == len(given) and states(layer)[0] == "spk" else 1
        wanted = [(fired[0].lineage, last, k + shift) for k in range(len(given))]
        own = lineage.layer is layer and [(f.lineage, f.step, f.output) for f in fired] == wanted
        if not own or not all(map(_alike, given, lineage.returned[shift:])):
            raise InputError("the state it is given is not its own of the step before", where=path)
        return lineage

    def _new(self, path: str, layer: Any, current: Tensor) -> Lineage:
        lineage = Lineage(path, layer, current.shape)
        self.lineages.append(lineage)
        return lineage


def _states(layer: Any) -> tuple[Tensor, ...]:
    return tuple(getattr(layer, name).clone() for name in states(layer))


def _alike(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and bool(torch.equal(a, b))


def _tensors(result: Any) -> list[Tensor]:
    if isinstance(result, Tensor):
        return [result]
    return [t for t in result if isinstance(t, Tensor)] if isinstance(result, (tuple, list)) else []
