"""Add many counters at once.

Counting must cost little beside the work that is counted. What a spike adds to its counters is kept in rows of so many
numbers that a processor adds them in an instruction or two; numba makes many of it, as it cannot know that the row and
the counters do not overlap.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from snnc.simulator.axons import LANES
from snnc.simulator.tables import CAUSES


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
