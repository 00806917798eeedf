"""An image as SANA-FE sees it: the same cores, neurons, synapses and constants, run by its own simulator.

SANA-FE (Boyle et al., IEEE TCAD 2025) is GPL-3 and a peer in tests only; nothing of it is copied here. It knows
floats, no integers, and yet agrees bit by bit with a ``cuba_fixed`` neuron whose current keeps nothing: its membrane
is ours in units of 2^6, its decay (4096 - v_decay) / 4096 is exact in a double, and it cuts what is beyond 1/64, as
we round towards zero. Membranes must stay off the ends of our registers, which it does not know.

Every spike of it arrives one step later. So every projection must have a lag of one step here, too
(:func:`stepwise`): then a step of the model is a step of the chip, and all can be compared step by step.

Inputs have no place with us. There each is a neuron, copied into a host core for each core that it reaches, in the
same tile; host cores cost nothing. So a message from outside costs what it costs to receive, makes no hop and takes no
tile.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from sanafe_chip import Constants, Layout, architecture
from scipy import sparse

from snnc.image import Image
from snnc.network import Network, Population, Projection
from snnc.ops import matrix
from snnc.resources import FORMATS
from snnc.traffic import chip_of


@dataclass(frozen=True, eq=False)
class Theirs:
    """What SANA-FE says, per step; T steps, C cores of the image.

    rasters: layer -> bool (T, *shape). membranes: layer -> float64 (T, *shape), after resets, in units of 2^6 of ours.
    int64 (T,): updated, neurons that are not idle; hops_x, hops_y. int64 (T, C): fired; synops, visited in the core;
    sent, received: messages; own: of those, the core's to itself. float64 (T,): energy_pj, and by kind, network being
    messages and hops; step_ns.
    """

    rasters: dict[str, np.ndarray]
    membranes: dict[str, np.ndarray]
    updated: np.ndarray
    fired: np.ndarray
    synops: np.ndarray
    sent: np.ndarray
    own: np.ndarray
    received: np.ndarray
    hops_x: np.ndarray
    hops_y: np.ndarray
    energy_pj: np.ndarray
    soma_pj: np.ndarray
    synapse_pj: np.ndarray
    network_pj: np.ndarray
    step_ns: np.ndarray


def stepwise(network: Network) -> Network:
    """The network in which every projection takes one step, as on a chip that works as a pipeline."""
    late = tuple(replace(p, delay=1 - int(network.backward(p))) for p in network.projections)
    return replace(network, projections=late)


def run(sanafe: ModuleType, image: Image, spikes: np.ndarray, constants: Constants) -> Theirs:
    """Simulate one sample. spikes: 0 and 1, (steps, *shape of the input). ValueError for what SANA-FE cannot say."""
    _require(image)
    layout = Layout(image)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chip.yaml"
        path.write_text(architecture(layout, constants), encoding="utf-8")
        chip = sanafe.load_arch(path)
    net = sanafe.Network()
    _populate(net, chip.cores(), layout, spikes.reshape(len(spikes), -1))
    simulator = sanafe.SpikingChip(chip)
    simulator.load(net)
    wanted = dict.fromkeys(("spike_trace", "potential_trace", "perf_trace", "message_trace"), True)
    found = simulator.sim(len(spikes), timing_model="simple", processing_threads=1, **wanted)
    return _read(found, layout, len(spikes))


def _require(image: Image) -> None:
    network = image.network
    if np.any(chip_of(image.mapping.site_of, image.target.grid)):
        raise ValueError("SANA-FE has one chip")
    for projection in network.projections:
        if network.lag(projection) != 1:
            raise ValueError(f"'{projection.name}' takes {network.lag(projection)} steps, in SANA-FE it is one")
    for population in network.layers:
        if population.neuron != "cuba_fixed" or np.any(population.params["u_decay"] != 4096):
            raise ValueError(f"'{population.name}': SANA-FE has no current that decays, and no read-out")


def _populate(net: Any, cores: list[Any], layout: Layout, spikes: np.ndarray) -> None:
    """Neurons on their cores, inputs in host cores, and all synapses."""
    image, network = layout.image, layout.image.network
    groups = {population.name: _layer(net, cores, layout, population) for population in network.layers}
    hosts = [_inputs(net, cores, layout, core, spikes) for core in range(image.cores)]
    for projection in network.projections:
        first, size = network.offsets[projection.post], network[projection.post].size
        core_of = image.mapping.core_of[first : first + size]
        # A synapse is kept in the unit that its target names while it is connected.
        for neuron, core in enumerate(core_of):
            kind = int(image.usage.formats[projection.name][core])
            if kind >= 0:
                groups[projection.post].neurons[neuron].set_attributes(default_synapse_hw_name=FORMATS[kind])
        pre, post, weight = _synapses(image, projection)
        if network[projection.pre].neuron != "input":
            _connect(groups[projection.pre], groups[projection.post], pre, post, weight)
            continue
        for core in range(image.cores):
            here = core_of[post] == core
            place = np.searchsorted(layout.hosted[core], pre[here])
            if here.any():
                _connect(hosts[core], groups[projection.post], place, post[here], weight[here])


def _layer(net: Any, cores: list[Any], layout: Layout, population: Population) -> Any:
    group = net.create_neuron_group(population.name, population.size)
    params = {name: value.ravel() for name, value in population.params.items()}
    first = layout.image.network.offsets[population.name]
    for k, core in enumerate(layout.image.mapping.core_of[first : first + population.size]):
        attributes = {
            "threshold": float(params["threshold"][k]),
            "bias": float(params["bias"][k]),
            "leak_decay": (4096 - int(params["v_decay"][k])) / 4096,
        }
        group.neurons[k].set_attributes(
            soma_hw_name="lif", log_spikes=True, log_potential=True, model_attributes=attributes
        )
        group.neurons[k].map_to_core(cores[layout.core[core]])
    return group


def _inputs(net: Any, cores: list[Any], layout: Layout, core: int, spikes: np.ndarray) -> Any:
    """Copies of the inputs that reach a core; None where there are none."""
    members = layout.hosted[core]
    if not len(members):
        return None
    group = net.create_neuron_group(f"host of {core}", len(members))
    for k, member in enumerate(members):
        train = {"spikes": [bool(s) for s in spikes[:, member]]}
        group.neurons[k].set_attributes(soma_hw_name=f"train[{layout.unit[core] + k}]", model_attributes=train)
        group.neurons[k].map_to_core(cores[layout.host[core]])
    return group


def _synapses(image: Image, projection: Projection) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(pre, post, weight) of every stored synapse: those that exist, and the zeros of a dense format."""
    network = image.network
    exist = matrix(projection.op, network[projection.pre].shape).tocoo()
    first, size = network.offsets[projection.post], network[projection.post].size
    core_of = image.mapping.core_of[first : first + size]
    member = sparse.csr_array((np.ones(size, np.int32), (core_of, np.arange(size))), shape=(image.cores, size))
    ones = sparse.coo_array((np.ones(exist.nnz, np.int32), (exist.row, exist.col)), shape=exist.shape)
    axon = sparse.coo_array(member @ ones)
    dense = image.usage.formats[projection.name][axon.row] == FORMATS.index("dense")
    rows = [np.flatnonzero(core_of == core) for core in axon.row[dense]]
    pre = np.repeat(axon.col[dense], [len(r) for r in rows])
    post = np.concatenate([np.zeros(0, np.int64), *rows])
    # Zeros for all that is dense, added to what exists.
    zeros = sparse.coo_array((np.zeros(len(pre), np.int64), (post, pre)), shape=exist.shape)
    both = sparse.coo_array(
        (
            np.concatenate([exist.data.astype(np.int64), zeros.data]),
            (np.concatenate([exist.row, zeros.row]), np.concatenate([exist.col, zeros.col])),
        ),
        shape=exist.shape,
    )
    both.sum_duplicates()
    return both.col, both.row, both.data


def _connect(group: Any, target: Any, pre: np.ndarray, post: np.ndarray, weight: np.ndarray) -> None:
    group.connect_neurons_sparse(
        target, {"weight": weight.astype(float).tolist()}, list(zip(pre.tolist(), post.tolist(), strict=True))
    )


def _read(found: dict[str, Any], layout: Layout, steps: int) -> Theirs:
    image, network, ours = layout.image, layout.image.network, layout.ours
    offsets, core_of = network.offsets, image.mapping.core_of
    raster = np.zeros((steps, network.size), bool)
    fired, synops, sent, own, received = np.zeros((5, steps, image.cores), np.int64)
    hops_x, hops_y, from_hosts = np.zeros((3, steps), np.int64)
    for t in range(steps):
        for address in found["spike_trace"][t]:
            name, _, index = str(address).rpartition(".")
            raster[t, offsets[name] + int(index)] = True
        np.add.at(fired[t], core_of[np.flatnonzero(raster[t])], 1)
        for message in found["message_trace"][t]:
            if message["placeholder"]:
                continue
            goal = ours[message["dest_core_id"]]
            received[t, goal] += 1
            synops[t, goal] += message["spikes"]
            if message["src_core_id"] in ours:
                sent[t, ours[message["src_core_id"]]] += 1
                own[t, goal] += message["src_core_id"] == message["dest_core_id"]
            else:
                from_hosts[t] += 1
            hops_x[t] += abs(message["src_x"] - message["dest_x"])
            hops_y[t] += abs(message["src_y"] - message["dest_y"])
    perf = {name: np.array(values) for name, values in found["perf_trace"].items()}
    # Its own sums, which hold the hosts' copies of inputs besides: each is a neuron that is updated when it spikes.
    hosts = perf["fired"] - fired.sum(axis=1)
    assert np.array_equal(hosts, from_hosts), "an input copy has one message"
    assert np.array_equal(perf["spikes"], synops.sum(axis=1))
    assert np.array_equal(perf["hops"], hops_x + hops_y)
    return Theirs(
        rasters={
            p.name: raster[:, offsets[p.name] : offsets[p.name] + p.size].reshape(steps, *p.shape)
            for p in network.layers
        },
        membranes=_membranes(network, np.array(found["potential_trace"])),
        updated=perf["updated"] - hosts,
        fired=fired,
        synops=synops,
        sent=sent,
        own=own,
        received=received,
        hops_x=hops_x,
        hops_y=hops_y,
        energy_pj=perf["total_energy"] * 1e12,
        soma_pj=perf["soma_energy"] * 1e12,
        synapse_pj=perf["synapse_energy"] * 1e12,
        network_pj=perf["network_energy"] * 1e12,
        step_ns=perf["sim_time"] * 1e9,
    )


def _membranes(network: Network, trace: np.ndarray) -> dict[str, np.ndarray]:
    """Layers are traced in the order of their names."""
    result, first = {}, 0
    for layer in sorted(network.layers, key=lambda layer: layer.name):
        result[layer.name] = trace[:, first : first + layer.size].reshape(len(trace), *layer.shape)
        first += layer.size
    return result
