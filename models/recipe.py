"""Recipe: a model together with the training that is known to work for it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Recipe:
    """How to train one of the models of :mod:`snnc.models`.

    name: what the user calls it. model: a key of ``snnc.models.MODELS``.
    args: arguments of the model beyond ``shape`` and ``classes``, which follow from the data; plain
    values (numbers, strings, lists), because a checkpoint stores them.
    data: specification for :func:`snnc.models.data.load`.
    epochs: of a dense training, and of each training of a ticket including the epochs before the rewind point.
    rewind: epochs after which the weights are kept, to be restored when a ticket is trained (late rewinding).
    batch: samples per update. lr: peak learning rate of Adam.
    slope: of the surrogate gradient, see ``snnc.models.spiking.SLOPE``; None is that.
    bits: signed width for which the weights are meant. dt: seconds that one step of the data stands for.
    """

    name: str
    model: str
    args: Mapping[str, Any] = field(default_factory=dict)
    data: str = "digits"
    epochs: int = 15
    rewind: int = 2
    batch: int = 64
    lr: float = 5e-3
    slope: float | None = None
    bits: int = 8
    dt: float = 1e-3

    def with_args(self, **args: Any) -> Recipe:
        """The same recipe with some arguments of the model replaced."""
        return dataclasses.replace(self, args={**self.args, **args})
