"""How the synapses of the chip hold integer weights, and which weights they cannot hold.

A weight is a mantissa of 8 bits times a power of two that all weights of a layer share. Where the weights of a layer
have both signs, one bit of the mantissa is the sign: Lava then counts it in twos, so that 8 bits reach from -256 to
254. Source: ``lava.utils.weightutils`` and ``lava.proc.dense`` of Lava 0.10.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snnc.errors import InputError

FIX = "quantise to 8 bits (snnc compile)"

REACH = {"EXCITATORY": (0, 255), "INHIBITORY": (-255, 0), "MIXED": (-256, 254)}
"""Sign mode of Lava -> the smallest and largest mantissa."""


@dataclass(frozen=True)
class Encoding:
    """sign: a name of Lava's ``SignMode``. exponent: Lava multiplies what is stored by 2^exponent; -1 or more."""

    sign: str
    exponent: int

    def stored(self, values: np.ndarray) -> np.ndarray:
        """The mantissas of weights, int16."""
        values = np.asarray(values, np.int32)
        return (values << 1 if self.exponent < 0 else values >> self.exponent).astype(np.int16)


def encode(values: np.ndarray, where: str, *, exponents: int = 0) -> Encoding:
    """How to hold `values`, of any shape, such that not a bit is lost.

    exponents: the largest that the holder has. Raises InputError naming `where` if there is no way.
    """
    values = np.asarray(values, np.int64).ravel()
    values = values[values != 0]
    if not len(values):
        return Encoding("EXCITATORY", 0)
    low, high = int(values.min()), int(values.max())
    signed = low < 0 < high
    sign = "MIXED" if signed else "EXCITATORY" if high > 0 else "INHIBITORY"
    least, most = REACH[sign]
    # Small weights with sign are stored doubled, so that their lowest bit is not the one that is the sign's.
    for exponent in range(-1 if signed else 0, exponents + 1):
        unit = 2.0**exponent
        if least * unit <= low and high <= most * unit:
            grain = int(2 * unit) if signed else int(unit)
            if np.any(values % grain):
                raise uneven(values, grain, signed, where)  # larger exponents ask for multiples of more
            return Encoding(sign, exponent)
    raise InputError(
        f"weight spans {low:,} .. {high:,}; Lava holds {least << exponents} .. {most << exponents} "
        "for weights of these signs",
        where=where,
        fix=FIX,
    )


def uneven(values: np.ndarray, grain: int, signed: bool, where: str) -> InputError:
    """The error for weights that must be multiples of `grain`, and are not. signed: a bit of the mantissa is a sign."""
    first = int(values[values % grain != 0][0])
    what, rule = (f"the odd {first}", "even") if grain == 2 else (f"{first}", f"multiples of {grain}")
    return InputError(
        f"weight spans {values.min()} .. {values.max()} and holds {what}; all weights of a layer that reaches so far "
        f"must be {rule}, as the mantissa has 8 bits{' with sign' * signed}",
        where=where,
        fix=FIX,
    )
