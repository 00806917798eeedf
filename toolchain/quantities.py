"""Numbers of a chip, each with its source and how it is known."""

from __future__ import annotations

from typing import Literal

import msgspec

Kind = Literal["published", "measured", "assumed"]


class Quantity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A number of a chip. source: a key of the target's `sources`. kind: how it is known."""

    value: float
    source: str
    kind: Kind = "published"
    note: str = ""


class Count(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole number of a chip; fields as in :class:`Quantity`."""

    value: int
    source: str
    kind: Kind = "published"
    note: str = ""


class Widths(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A set of allowed bit widths; other fields as in :class:`Quantity`."""

    value: tuple[int, ...]
    source: str
    kind: Kind = "published"
    note: str = ""

    def holding(self, bits: int) -> int:
        """The narrowest allowed width of at least `bits` (the widest, if none is enough)."""
        return min((w for w in self.value if w >= bits), default=max(self.value))
