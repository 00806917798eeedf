"""What processors can do and numba has no words for; LLVM has.

Memory can be asked for before it is needed. The synapses of the next event lie anywhere in tables
that fit no cache, and no processor can guess where. Asked for in time they arrive while the present
event is worked on; for large networks this is worth a factor of 1.5.

Many bytes can be looked at together. Few neurons spike in a step; those that do are found 64 at a time.

Many counters can be added to at once. Counting must cost little beside the work that is counted: what a spike adds to
its counters is kept in rows of so many numbers that a processor adds them in an instruction or two; numba makes many of
it, as it cannot know that the row and the counters do not overlap.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from snnc.simulator.axons import LANES
from snnc.simulator.tables import CAUSES


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


def _nonzero_bytes(typing: Any, array: Any, index: Any) -> Any:
    """Which of the 64 bytes array[index:] are not zero, as the bits of a uint64, the first the lowest."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = ir.VectorType(ir.IntType(8), 64)
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        address = builder.bitcast(builder.gep(data, [arguments[1]]), vector.as_pointer())
        there = builder.icmp_unsigned("!=", builder.load(address, align=1), vector([0] * 64))
        return builder.bitcast(there, ir.IntType(64))

    return types.uint64(array, index), generate


def _lowest_bit(typing: Any, bits: Any) -> Any:
    """The number of the lowest bit that is set, of a uint64 that is not zero."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.IntType(1)(1))

    return types.uint64(types.uint64), generate


nonzero_bytes = cast("Callable[[Any, Any], Any]", intrinsic(_nonzero_bytes))
lowest_bit = cast("Callable[[Any], Any]", intrinsic(_lowest_bit))


def _add_row(length: int) -> Callable[[Any, Any, Any, Any], None]:
    """counters[first : first + length] += rows[row], unchecked.

    counters: int32 or int64, one-dimensional. rows: uint16 or int32 (any, length). first, row: uint64.
    """

    def add_row(typing: Any, counters: Any, first: Any, rows: Any, row: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            def vector(array: int, index: Any) -> tuple[Any, int]:
                kind = signature.args[array]
                data = context.make_array(kind)(context, builder, arguments[array]).data
                wide = ir.VectorType(context.get_data_type(kind.dtype), length).as_pointer()
                return builder.bitcast(builder.gep(data, [index]), wide), kind.dtype.bitwidth // 8

            source, size = vector(2, builder.mul(arguments[3], ir.Constant(arguments[3].type, length)))
            target, wide = vector(0, arguments[1])
            added = builder.load(source, align=size)
            if wide > size:
                extend = builder.sext if signature.args[2].dtype.signed else builder.zext
                added = extend(added, target.type.pointee)
            builder.store(builder.add(builder.load(target, align=wide), added), target, align=wide)
            return context.get_dummy_value()

        return types.void(counters, first, rows, row), generate

    return cast("Callable[[Any, Any, Any, Any], None]", intrinsic(add_row))


add_row = _add_row(LANES)
add_causes = _add_row(len(CAUSES))
