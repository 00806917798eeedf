"""A chip as SANA-FE's YAML describes it: constants, and where cores are in its numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from scipy import sparse

from snnc.image import Image


@dataclass(frozen=True)
class Cost:
    """Of one event, in picojoule and nanoseconds."""

    pj: float
    ns: float


@dataclass(frozen=True)
class Constants:
    """What happens on the chip. The numbers are those of SANA-FE's loihi.yaml.

    access: a neuron in every step; update: beyond that, one whose membrane, bias or input exists; spike: beyond both,
    one that spikes. synops: a stored synapse visited, by format. message_out, message_in: sent to a core, received by
    one, its own included. hop_x, hop_y: from tile to tile. barrier: ns from so many tiles on.
    """

    access: Cost = Cost(51.2, 6.0)
    update: Cost = Cost(21.6, 3.7)
    spike: Cost = Cost(69.3, 30.0)
    synops: dict[str, Cost] = field(
        default_factory=lambda: {"dense": Cost(35.5, 3.8), "sparse": Cost(33.6, 4.7), "kernel": Cost(24.0, 3.1)}
    )
    message_out: Cost = Cost(111.0, 5.1)
    message_in: Cost = Cost(0.0, 16.0)
    hop_x: Cost = Cost(3.0, 4.1)
    hop_y: Cost = Cost(4.2, 6.5)
    barrier: dict[int, float] = field(default_factory=lambda: {1: 600.0, 2: 1000.0, 4: 1400.0, 29: 1800.0})


class Layout:
    """Where everything is, in SANA-FE's numbers: tiles go down the columns first, its cores are counted tile by tile.

    tiles: of ours at each of its places. core: its number of each of our cores. host: its number of the host core
    in the tile of each of our cores. hosted: per core, the inputs that reach it. unit: per core, the first of the
    host's units that are theirs.
    """

    def __init__(self, image: Image) -> None:
        self.image = image
        mesh = image.target.mesh
        self.columns, self.rows, self.each = mesh.columns.value, mesh.rows.value, mesh.cores_per_tile.value
        self.tiles = np.arange(self.columns * self.rows).reshape(self.rows, self.columns).T.ravel()
        place = np.argsort(self.tiles)
        tile, slot = np.divmod(image.mapping.site_of, self.each)
        self.core = place[tile] * (self.each + 1) + slot
        self.host = place[tile] * (self.each + 1) + self.each
        inputs = np.flatnonzero(image.mapping.core_of < 0)
        reached = sparse.csc_array(image.usage.stored[inputs])
        self.hosted = [np.sort(reached.indices[reached.indptr[c] : reached.indptr[c + 1]]) for c in range(image.cores)]
        self.units = np.zeros(len(self.tiles), np.int64)
        self.unit = []
        for core in range(image.cores):
            self.unit.append(int(self.units[place[tile[core]]]))
            self.units[place[tile[core]]] += len(self.hosted[core])

    @property
    def ours(self) -> dict[int, int]:
        """Our core of each of its numbers."""
        return {int(theirs): core for core, theirs in enumerate(self.core)}


def architecture(layout: Layout, constants: Constants) -> str:
    """The chip in SANA-FE's YAML: each tile on its own, since each has as many host units as it needs."""
    sync = ", ".join(f"{tiles}: {ns}e-9" for tiles, ns in constants.barrier.items())
    hops = {"north": constants.hop_y, "south": constants.hop_y, "east": constants.hop_x, "west": constants.hop_x}
    lines = [
        "architecture:",
        "  name: chip",
        f"  attributes: {{topology: mesh, width: {layout.columns}, height: {layout.rows}, link_buffer_size: 16, "
        f"sync_model: table, latency_sync: {{{sync}}}}}",
        "  tile:",
    ]
    for place, units in enumerate(layout.units):
        lines += [
            f"    - name: tile{place}",
            f"      attributes: {{{', '.join(_cost(f'{way}_hop', cost) for way, cost in hops.items())}}}",
            "      core:",
            *_core(f"core[0..{layout.each - 1}]", "lif", "leaky_integrate_fire", constants, constants.message_out),
            *_core("host", f"train[0..{max(units, 1) - 1}]", "input", replace(constants, **_FREE), Cost(0, 0)),
        ]
    return "\n".join(lines) + "\n"


_FREE = {name: Cost(0, 0) for name in ("access", "update", "spike")}


def _core(name: str, soma: str, model: str, constants: Constants, out: Cost) -> Iterator[str]:
    stages = (("access_neuron", constants.access), ("update_neuron", constants.update), ("spike_out", constants.spike))
    yield f"        - name: {name}"
    yield "          attributes: {buffer_position: soma, buffer_inside_unit: false, max_neurons_supported: 65536}"
    yield f"          axon_in: [{{name: in, attributes: {{{_cost('message_in', constants.message_in)}}}}}]"
    costs = ", ".join(_cost(stage, cost) for stage, cost in stages)
    yield f"          soma: [{{name: '{soma}', attributes: {{model: {model}, {costs}}}}}]"
    dendrite = f"model: accumulator, {_cost('update', Cost(0, 0))}"
    yield f"          dendrite: [{{name: dendrite, attributes: {{{dendrite}}}}}]"
    yield "          synapse:"
    for kind, cost in constants.synops.items():
        yield f"            - {{name: {kind}, attributes: {{model: current_based, {_cost('process_spike', cost)}}}}}"
    yield f"          axon_out: [{{name: out, attributes: {{{_cost('message_out', out)}}}}}]"


def _cost(stage: str, cost: Cost) -> str:
    return f"energy_{stage}: {cost.pj}e-12, latency_{stage}: {cost.ns}e-9"
