"""What processors can do and numba has no words for; LLVM has.

Memory can be asked for before it is needed. The synapses of the next event lie anywhere in tables
that fit no cache, and no processor can guess where. Asked for in time they arrive while the present
event is worked on; for large networks this is worth a factor of 1.5.

Many bytes can be looked at together. Few neurons spike in a step, or begin or cease to be active; those that do are
found 64 at a time.

Many counters can be added to at once. Counting must cost little beside the work that is counted: what a spike adds to
its counters is kept in rows of so many numbers that a processor adds them in an instruction or two, and those of many
spikes are added up in registers. numba makes many instructions of it, as it cannot know that the rows and the counters
do not overlap.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from snnc.simulator.axons import LANES


def _prefetch(typing: Any, array: Any, index: Any) -> Any:
    """Load the cache line of array[index], some time; any index is allowed, nothing is read or checked."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        address = builder.bitcast(builder.gep(data, [arguments[1]]), byte)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        # For reading, to be kept in all caches, data.
        builder.call(function, [address, number(0), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(array, index), generate


prefetch = cast("Callable[[Any, Any], None]", intrinsic(_prefetch))


def _different_bytes(typing: Any, array: Any, other: Any, index: Any) -> Any:
    """Which of the 64 bytes array[index:] are not those of `other`, as the bits of a uint64, the first the lowest.

    other: an array, or the number 0.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = ir.VectorType(ir.IntType(8), 64)

        def load(which: int) -> Any:
            if not isinstance(signature.args[which], types.Array):
                return vector([0] * 64)
            data = context.make_array(signature.args[which])(context, builder, arguments[which]).data
            return builder.load(builder.bitcast(builder.gep(data, [arguments[2]]), vector.as_pointer()), align=1)

        return builder.bitcast(builder.icmp_unsigned("!=", load(0), load(1)), ir.IntType(64))

    return types.uint64(array, other, index), generate


def _lowest_bit(typing: Any, bits: Any) -> Any:
    """The number of the lowest bit that is set, of a uint64 that is not zero."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.IntType(1)(1))

    return types.uint64(types.uint64), generate


different_bytes = cast("Callable[[Any, Any, Any], Any]", intrinsic(_different_bytes))
lowest_bit = cast("Callable[[Any], Any]", intrinsic(_lowest_bit))


def _add_rows(
    typing: Any, counters: Any, first: Any, rows: Any, row: Any, stride: Any, events: Any, number: Any
) -> Any:
    """counters[first : first + LANES] += rows[row + stride * e] for each e of events[:number], unchecked.

    counters: int32 or int64, one-dimensional. rows: uint16 (any, LANES). first, row, stride, number: uint64. The
    counters stay in registers meanwhile.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def address(array: int, index: Any) -> tuple[Any, Any]:
            kind = signature.args[array]
            data = context.make_array(kind)(context, builder, arguments[array]).data
            return builder.gep(data, [index]), context.get_data_type(kind.dtype)

        def vector(array: int, index: Any) -> tuple[Any, Any, int]:
            place, kind = address(array, index)
            wide = ir.VectorType(kind, LANES)
            return builder.bitcast(place, wide.as_pointer()), wide, kind.width // 8

        _, first, _, row, stride, _, number = arguments
        target, wide, size = vector(0, first)
        sums = cgutils.alloca_once(builder, wide)
        builder.store(builder.load(target, align=size), sums)
        with cgutils.for_range(builder, number) as loop:
            place, _ = address(5, loop.index)
            event = builder.zext(builder.load(place), row.type)
            at = builder.add(row, builder.mul(stride, event))
            source, _, narrow = vector(2, builder.mul(at, ir.Constant(at.type, LANES)))
            added = builder.zext(builder.load(source, align=narrow), wide)
            builder.store(builder.add(builder.load(sums), added), sums)
        builder.store(builder.load(sums), target, align=size)
        return context.get_dummy_value()

    return types.void(counters, first, rows, row, stride, events, number), generate


add_rows = cast("Callable[[Any, Any, Any, Any, Any, Any, Any], None]", intrinsic(_add_rows))
