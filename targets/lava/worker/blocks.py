"""What a program of Lava processes hands to whoever runs it.

Lava runs this file again under another name while it looks for process models; annotations that are text would stop
a dataclass there.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess


@dataclass(frozen=True)
class Block:
    """One population of neurons.

    neurons: its process; has the variables u and v. out: where its spikes leave, in Lava's shape (columns, rows,
    channels) or (neurons,). late: steps after which it shows what belongs to the first step of the input. shape: of
    the population, C order; empty where that is Lava's reversed. membrane: it never spikes, and v is what it puts out.
    """

    name: str
    neurons: AbstractProcess
    out: OutPort
    late: int
    shape: tuple[int, ...] = ()
    membrane: bool = False


@dataclass(frozen=True)
class Net:
    """Populations in network order, connected.

    inputs: ports that all take the spikes of the input (see :func:`feed`). shape: of the input, in Lava's order.
    outputs: names of the blocks that are read out. gated: names of the synapses in front of which there is a gate.
    shaped: shape of the input, C order; empty where that is `shape` reversed. largest: the largest value of an input
    that overflows nothing.
    """

    inputs: Sequence[InPort]
    shape: tuple[int, ...]
    blocks: Sequence[Block]
    outputs: Sequence[str] = ()
    gated: Sequence[str] = ()
    shaped: tuple[int, ...] = ()
    largest: int = 1


def feed(source: OutPort, net: Net) -> None:
    """Connect `source`, of the shape of the input, to all that reads the input.

    A matrix reads a flat input in C order, (channels, rows, columns), while Lava's order is reversed.
    """
    for port in net.inputs:
        shaped(source, port).connect(port)


def shaped(source: OutPort, port: InPort) -> OutPort:
    """`source` in the shape of `port`: as it is, or flat in C order."""
    if tuple(source.shape) == tuple(port.shape):
        return source
    return source.transpose(list(range(len(source.shape)))[::-1]).flatten()


def failures(process: AbstractProcess) -> list[str]:
    """Tracebacks of the processes of a run that failed, which Lava itself only counts."""
    actors = process.runtime._messaging_infrastructure.actors
    return [actor.exception[1] for actor in actors if actor.exception]
