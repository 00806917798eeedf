"""What a pickle of torch.save would make its reader do, found out before anything reads it.

torch's restricted reader runs no code of a file. But a few bytes can still make it allocate gigabytes
(``bytearray(2**31)``, a storage that claims to be large) or work forever (hashing a tuple that holds
itself twice, which holds itself twice, ...). So the operations of the pickle are gone through on a stack of
their own, as that reader would (:mod:`torch._weights_only_unpickler`), and nothing is built.

=====================  ==================================================================
:data:`OPERATIONS`     1,000,000 operations of the pickle; a network of a thousand layers has 100,000
:data:`VALUES`         1,000,000 values inside a tuple, each counted wherever it appears
=====================  ==================================================================
"""

from __future__ import annotations

import pickletools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, BinaryIO

OPERATIONS = 1_000_000
VALUES = 1_000_000
PROTOCOL = 2  # torch.save's default, and all that its restricted reader reads

_NUMBER = re.compile(r"[<>|=]?[?bBhHiIlLqQefdFD]\d{0,2}")  # numpy's codes of numbers
_SIZED = re.compile(r"builtins\.bytearray|torch\.(\w+\.)*(\w*Tensor|\w+Storage)")


class Unreadable(ValueError):
    """The pickle asks for something that no network needs, or is damaged."""


@dataclass(frozen=True)
class _Name:
    """A function or class that the pickle names."""

    path: str


@dataclass(frozen=True)
class _Tuple:
    items: tuple[Any, ...]
    values: int  # in it, at any depth


def scan(file: BinaryIO) -> dict[str, int]:
    """Go through the pickle that begins where `file` stands, to its end: the bytes of each storage it needs, by key.

    Raises Unreadable, or whatever Python raises where a pickle is damaged (ValueError, IndexError, KeyError, ...).
    """
    machine = _Machine()
    for count, (operation, argument, _) in enumerate(pickletools.genops(file)):
        if count == OPERATIONS:
            raise Unreadable(f"it takes more than {OPERATIONS:,} operations to read")
        machine.do(operation.name, argument)
    return machine.storages


class _Machine:
    """The stack of a reader, with tuples, names and plain values; everything else on it is None."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.outer: list[list[Any]] = []  # stacks below a mark
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, int] = {}  # bytes of each

    def do(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in ("BINPUT", "LONG_BINPUT"):
            self.memo[argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self.memo[argument])
        elif name == "GLOBAL":
            stack.append(_Name(argument.replace(" ", ".", 1)))
        elif name in _PLAIN:
            stack.append(argument)
        elif name in _NEW:
            stack.append(None)
        elif name == "MARK":
            self.outer.append(stack)
            self.stack = []
        elif name in ("TUPLE", "EMPTY_TUPLE"):
            self._push(self._to_mark() if name == "TUPLE" else [])
        elif name in _TUPLES:
            self._push(self._pop(_TUPLES[name]))
        elif name in ("APPENDS", "SETITEMS"):
            self._to_mark()
        elif name in _TAKE:
            self._pop(_TAKE[name])
        elif name in ("REDUCE", "NEWOBJ"):
            called, arguments = self._pop(2)
            _check_call(called, arguments)
            self.stack.append(None)
        elif name == "BINPERSID":
            self.stack.append(self._refer(*self._pop(1)))
        elif name == "PROTO":
            if argument != PROTOCOL:
                raise Unreadable(f"it is written in pickle protocol {argument}, not in torch.save's own, {PROTOCOL}")
        elif name != "STOP":
            raise Unreadable(f"torch.save writes no {name}")

    def _pop(self, count: int) -> list[Any]:
        taken = self.stack[-count:]
        if len(taken) < count:
            raise Unreadable("it takes from an empty stack")
        del self.stack[-count:]
        return taken

    def _to_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.outer.pop()
        return items

    def _push(self, items: Sequence[Any]) -> None:
        values = sum(1 + (item.values if isinstance(item, _Tuple) else 0) for item in items)
        if values > VALUES:
            raise Unreadable(f"one of its tuples holds more than {VALUES:,} values")
        self.stack.append(_Tuple(tuple(items), values))

    def _refer(self, reference: Any) -> _Name | None:
        """A storage: ("storage", type, key, device, number of elements, ...); once also the class of a module."""
        match reference.items if isinstance(reference, _Tuple) else ():
            case ("storage", _Name(path), str(key), str(device), int(count), *_) if count >= 0:
                if device != "meta":
                    size = count * _element_bytes(path)
                    self.storages[key] = max(size, self.storages.get(key, 0))
                return None
            case ("module", _Name() as module, *_):
                return module  # which the reader refuses, with its name
        raise Unreadable("a reference to a storage has not the form that torch.save writes")


_ELEMENT_BYTES = {
    **dict.fromkeys(("Untyped", "Bool", "Byte", "Char", "QInt8", "QUInt8", "QUInt4x2", "QUInt2x4"), 1),
    **dict.fromkeys(("Short", "Half", "BFloat16"), 2),
    **dict.fromkeys(("Int", "Float", "QInt32"), 4),
    **dict.fromkeys(("Long", "Double", "ComplexFloat"), 8),
    "ComplexDouble": 16,
}
_PLAIN = ("BINUNICODE", "SHORT_BINSTRING", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT")
_NEW = ("NONE", "NEWTRUE", "NEWFALSE", "EMPTY_LIST", "EMPTY_DICT", "EMPTY_SET")
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_TAKE = {"APPEND": 1, "SETITEM": 2, "BUILD": 1}


def _check_call(called: Any, arguments: Any) -> None:
    """Unreadable for a call whose result can be much larger, or take much longer to make, than the pickle of it.

    torch's reader knows which functions may be called at all.
    """
    if not isinstance(called, _Name) or not isinstance(arguments, _Tuple):
        raise Unreadable("it calls what is no function")
    values = arguments.items
    if _SIZED.fullmatch(called.path) and values:
        raise Unreadable(f"torch.save makes no {called.path} of a size")
    if called.path == "numpy.dtype" and not (values and isinstance(values[0], str) and _NUMBER.fullmatch(values[0])):
        raise Unreadable("it holds objects of numpy that are no numbers")
    if called.path == "_codecs.encode" and values[1:] != ("latin1",):
        raise Unreadable("it holds bytes in an encoding that pickles do not use")


def _element_bytes(path: str) -> int:
    """Of a storage class as torch.save names it."""
    found = re.fullmatch(r"torch\.(?:storage\.|cuda\.)?(\w+)Storage", path)
    if found is None or found[1] not in _ELEMENT_BYTES:
        raise Unreadable(f"{path} is no storage that torch.save writes")
    return _ELEMENT_BYTES[found[1]]


def walked(value: Any) -> Iterator[Any]:
    """Every value in dicts, lists, tuples and sets, at any depth; each as often as it appears.

    Without an end where a container holds itself: whoever walks must count.
    """
    todo = [iter((value,))]
    while todo:
        for found in todo[-1]:
            yield found
            if isinstance(found, dict):
                todo.append(chain(found.keys(), found.values()))
                break
            if isinstance(found, list | tuple | set):
                todo.append(iter(found))
                break
        else:
            todo.pop()
