"""SANA-FE: its Loihi, its fastest timing model, one thread.

An input needs a unit of its own on a core, which its Loihi has 1,024 of; layers are cut likewise. Its result counts
synapses visited, which must be those that everybody counts.
"""

import time

import numpy as np
import sanafe
from child import Ready, load, serve

PER_CORE = 1024
# Steps that it takes at most: its inputs are given as lists of booleans.
STEPS = 1000
# Joules of a visit to a synapse of its Loihi, from which its count follows.
ENERGY = 33.6e-12


def prepare(folder):
    net = load(folder)
    arch = sanafe.load_loihi()
    cores = iter(arch.cores())
    snn = sanafe.Network()
    stream = net.stream[:STEPS]
    groups = [snn.create_neuron_group("layer0", net.sizes[0], soma_hw_name="")]
    for k, size in enumerate(net.sizes[1:], 1):
        attributes = {"threshold": float(net.threshold), "leak_decay": net.keep[1], "reset_mode": "hard"}
        groups.append(
            snn.create_neuron_group(
                f"layer{k}",
                size,
                attributes,
                "loihi_sparse_synapse",
                "loihi_dendrites",
                soma_hw_name="loihi_lif",
            )
        )
    for neuron in range(net.sizes[0]):
        groups[0].neurons[neuron].set_attributes(
            soma_hw_name=f"loihi_inputs[{neuron % PER_CORE}]", model_attributes={"spikes": stream[:, neuron].tolist()}
        )
    for group in groups:
        for first in range(0, len(group.neurons), PER_CORE):
            core = next(cores)
            for neuron in range(first, min(first + PER_CORE, len(group.neurons))):
                group.neurons[neuron].map_to_core(core)
    for k, (_, targets, weights) in enumerate(net.layers):
        pairs = list(zip(net.sources(k).tolist(), np.asarray(targets).tolist(), strict=True))
        groups[k].connect_neurons_sparse(groups[k + 1], {"weight": np.asarray(weights).astype(float).tolist()}, pairs)
    chip = sanafe.SpikingChip(arch)

    def timed(steps):
        # Its inputs play their recording once: reset() does not rewind them, loading does.
        chip.load(snn)
        begin = time.perf_counter()
        found = chip.sim(steps, timing_model="simple", processing_threads=1)
        took = time.perf_counter() - begin
        visited, expected = round(found["energy"]["synapse"] / ENERGY), net.synops(stream[:steps])
        if len(net.sizes) == 2 and visited != expected:
            raise ValueError(f"it visited {visited} synapses where {expected} are expected")
        return took

    return Ready(timed, len(stream), lambda steps: net.synops(stream[:steps]))


if __name__ == "__main__":
    serve(prepare)
