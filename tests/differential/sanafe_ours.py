"""What the engine says of a run, in the terms of SANA-FE: its counts step by step, and what they cost there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sanafe_chip import Constants
from scipy import sparse

from snnc.image import Image
from snnc.network import Projection
from snnc.ops import matrix
from snnc.resources import FORMATS, pattern
from snnc.samples import Samples
from snnc.simulator import reference, simulate
from snnc.simulator.run import Run


@dataclass(frozen=True, eq=False)
class Ours:
    """What the engine says, as :class:`sanafe_net.Theirs`; and its run."""

    run: Run
    rasters: dict[str, np.ndarray]
    membranes: dict[str, np.ndarray]
    active: np.ndarray
    updated: np.ndarray
    fired: np.ndarray
    synops: np.ndarray
    sent: np.ndarray
    received: np.ndarray
    hops_x: np.ndarray
    hops_y: np.ndarray
    energy_pj: np.ndarray
    soma_pj: np.ndarray
    synapse_pj: np.ndarray
    network_pj: np.ndarray
    step_ns: np.ndarray


def ours(image: Image, spikes: np.ndarray, constants: Constants) -> Ours:
    """Counts of the engine's spikes by the image's tables, and what they cost by SANA-FE's rules.

    Only the spikes are the engine's: all else is counted here again, against which both can be held.
    """
    net, usage, core_of = image.network, image.usage, image.mapping.core_of
    run = simulate(image, Samples(spikes[None]), rasters=[p.name for p in net.populations])
    rasters = {name: raster[0] for name, raster in run.rasters.items()}
    fired = np.concatenate([rasters[p.name].reshape(len(spikes), -1) for p in net.populations], axis=1).astype(np.int64)
    axons = sparse.csr_array((np.ones_like(usage.stored.data), usage.stored.indices, usage.stored.indptr))
    axons.resize(usage.stored.shape)
    inside = np.flatnonzero(core_of >= 0)
    member = sparse.csr_array((np.ones(len(inside), np.int64), (inside, core_of[inside])), shape=usage.stored.shape)
    received = fired @ axons
    sent = (fired * axons.sum(axis=1)) @ member
    by_format = {name: fired @ stored for name, stored in stored_by_format(image).items()}
    active, changed, membranes = updated(image, rasters)
    # Energy: all events of all cores.
    soma = (
        usage.neurons.sum() * constants.access.pj
        + changed.sum(axis=1) * constants.update.pj
        + fired[:, inside].sum(axis=1) * constants.spike.pj
    )
    synapses = sum(count.sum(axis=1) * constants.synops[name].pj for name, count in by_format.items())
    hops_x, hops_y = fired @ image.routes.hops_x, fired @ image.routes.hops_y
    mesh = sent.sum(axis=1) * constants.message_out.pj + received.sum(axis=1) * constants.message_in.pj
    mesh = mesh + hops_x * constants.hop_x.pj + hops_y * constants.hop_y.pj
    # Time: a core works at its neurons and spikes, and beside that at what it receives.
    sending = (
        usage.neurons * constants.access.ns
        + changed @ member * constants.update.ns
        + fired @ member * constants.spike.ns
        + sent * constants.message_out.ns
    )
    receiving = received * constants.message_in.ns
    receiving = receiving + sum(count * constants.synops[name].ns for name, count in by_format.items())
    barrier = constants.barrier[max(tiles for tiles in constants.barrier if tiles <= image.tiles)]
    return Ours(
        run=run,
        rasters=rasters,
        membranes=membranes,
        active=active.sum(axis=1),
        updated=changed.sum(axis=1),
        fired=fired @ member,
        synops=sum(by_format.values(), np.zeros_like(received)),
        sent=sent,
        received=received,
        hops_x=hops_x,
        hops_y=hops_y,
        energy_pj=soma + synapses + mesh,
        soma_pj=soma,
        synapse_pj=np.asarray(synapses),
        network_pj=mesh,
        step_ns=np.maximum(sending, receiving).max(axis=1) + barrier,
    )


def stored_by_format(image: Image) -> dict[str, sparse.csr_array]:
    """Stored synapses that a spike of each neuron visits in each core: (neurons, cores) for each format."""
    net, usage = image.network, image.usage
    found = {name: np.zeros(usage.stored.shape, np.int64) for name in ("dense", "sparse", "kernel")}
    for projection in net.projections:
        start, size = net.offsets[projection.post], net[projection.post].size
        first, count = net.offsets[projection.pre], net[projection.pre].size
        core_of = image.mapping.core_of[start : start + size]
        member = sparse.csr_array((np.ones(size, np.int64), (core_of, np.arange(size))), shape=(image.cores, size))
        exist = (member @ pattern(net, projection)).toarray().T  # (pre, cores)
        width = np.bincount(core_of, minlength=image.cores)
        for core, kind in enumerate(usage.formats[projection.name]):
            if kind >= 0:
                name = FORMATS[kind]
                visits = np.where(exist[:, core] > 0, width[core], 0) if name == "dense" else exist[:, core]
                found[name][first : first + count, core] += visits
    assert np.array_equal(sum(found.values()), usage.stored.toarray())
    return {name: sparse.csr_array(counts) for name, counts in found.items()}


def visited(image: Image, projection: Projection) -> sparse.csr_array:
    """Stored synapses of each neuron, those that exist and the zeros of a dense format: (post, pre), ones."""
    exist = pattern(image.network, projection)
    start, size = image.network.offsets[projection.post], image.network[projection.post].size
    core_of = image.mapping.core_of[start : start + size]
    member = sparse.csr_array((np.ones(size, np.int64), (core_of, np.arange(size))), shape=(image.cores, size))
    dense = (image.usage.formats[projection.name] == FORMATS.index("dense"))[core_of]
    whole = sparse.csr_array(member.T @ (member @ exist)).multiply(dense[:, None])
    return sparse.csr_array((exist + whole) > 0).astype(np.int64)


def updated(image: Image, rasters: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Neurons that are active in a step, and those that SANA-FE updates, 0 or 1, int64 (steps, neurons) both.

    Active are those with a bias, with a membrane before the step, or with input. SANA-FE takes for input that a
    spike arrives at all, also where weights cancel and where a dense format stores a zero.
    Returns also the reference's membranes of each layer.
    """
    net = image.network
    steps = len(next(iter(rasters.values())))
    active, changed = np.zeros((2, steps, net.size), np.int64)
    membranes = {}
    for layer in net.layers:
        params = {name: value.ravel().astype(np.int64) for name, value in layer.params.items()}
        arrived, drive = np.zeros((2, steps, layer.size), np.int64)
        for projection in net.into(layer.name):
            spikes = rasters[projection.pre].reshape(steps, -1)[:-1].astype(np.int64)
            weight = matrix(projection.op, net[projection.pre].shape).astype(np.int64)
            arrived[1:] += (visited(image, projection) @ spikes.T).T
            drive[1:] += (weight @ spikes.T).T
        u, v = np.zeros((2, 1, layer.size), np.int64)
        here = slice(net.offsets[layer.name], net.offsets[layer.name] + layer.size)
        trace = np.zeros((steps, layer.size), np.int64)
        for t in range(steps):
            lives = (v[0] != 0) | (params["bias"] != 0)
            active[t, here], changed[t, here] = lives | (drive[t] != 0), lives | (arrived[t] > 0)
            u, v, spikes = reference.step(params, u, v, drive[t][None])
            assert np.array_equal(spikes[0], rasters[layer.name].reshape(steps, -1)[t])
            trace[t] = v[0]
        membranes[layer.name] = trace.reshape(steps, *layer.shape)
    return active, changed, membranes
