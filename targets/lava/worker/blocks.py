"""What a network is to whoever plays and records it: inputs, and populations of neurons in Lava.

``program.py`` of an exported program builds one; of a ``.net`` the worker makes one.
"""

from __future__ import annotations

from dataclasses import dataclass

from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess


@dataclass(frozen=True)
class Block:
    """One population.

    name: of the population. neurons: LIF, LIFReset or ours; it has Vars u and v. out: where its spikes leave, of
    Lava's shape: (columns, rows, channels) or flat. late: steps after which it shows what belongs to the first step
    of the input.
    """

    name: str
    neurons: AbstractProcess
    out: OutPort
    late: int


@dataclass(frozen=True)
class Net:
    """All populations.

    inputs: the player's spikes go to all of these. shape: of the input, in Lava's order. blocks: in network order.
    """

    inputs: list[InPort]
    shape: tuple[int, ...]
    blocks: list[Block]
