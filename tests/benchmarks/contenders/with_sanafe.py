"""SANA-FE: its Loihi, its fastest timing model, one thread.

An input needs a unit of its own on a core, which its Loihi has 1,024 of; layers are cut likewise. Its result counts
synapses visited, which must be those that everybody counts.
"""

import numpy as np
import sanafe
from child import load, serve, stepwise

PER_CORE = 1024
# Steps that it takes at most: its inputs are given as lists of booleans.
STEPS = 1000
# Steps over which its count of synapses is compared with ours; energy of a visit in its Loihi, in joules.
CHECKED, ENERGY = 20, 33.6e-12


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
    chip.load(snn)

    def run(_, steps):
        return chip.sim(steps, timing_model="simple", processing_threads=1)

    trace = chip.sim(CHECKED, timing_model="simple", processing_threads=1, perf_trace=True)["perf_trace"]
    visited, expected = round(sum(trace["synapse_energy"]) / ENERGY), net.synops(stream[:CHECKED])
    if len(net.sizes) == 2 and visited != expected:
        raise ValueError(f"it visits {visited} synapses where {expected} are expected")
    return stepwise(net, run, most=len(stream), before=lambda steps: chip.reset())


if __name__ == "__main__":
    serve(prepare)
