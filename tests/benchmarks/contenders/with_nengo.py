"""nengo-loihi's emulator: layers in blocks of a core's 1,024 neurons, which may have more axons than a core has."""

import numpy as np
import scipy.sparse
from child import load, serve, stepwise
from nengo_loihi.block import Axon, LoihiBlock, Synapse
from nengo_loihi.builder import Model
from nengo_loihi.builder.discretize import discretize_model
from nengo_loihi.emulator import EmulatorInterface
from nengo_loihi.inputs import SpikeInput

DT = 1e-3
PER_BLOCK = 1024


def new_block(net, size):
    block = LoihiBlock(size)
    tau_u, tau_v = (-DT / np.log(keep) for keep in net.keep)
    block.compartment.configure_filter(tau_u, dt=DT)
    vth = net.threshold / 128
    block.compartment.configure_lif(tau_rc=tau_v, tau_ref=0, vth=vth, dt=DT, min_voltage=-np.inf)
    return block


def prepare(folder):
    net = load(folder)
    stream = net.stream

    def emulator(steps):
        model = Model(dt=DT)
        source = SpikeInput(net.sizes[0])
        for step in range(steps):
            source.add_spikes(step + 1, np.flatnonzero(stream[step]), permanent=True)
        model.add_input(source)
        # What fires: the input as a whole, then the blocks of a layer; each with its neurons.
        before = [(source.add_axon, 0, net.sizes[0], None)]
        for k, ((indptr, targets, weights), size) in enumerate(zip(net.layers, net.sizes[1:], strict=True)):
            rows = (np.asarray(weights) / np.float32(128), np.asarray(targets), np.asarray(indptr))
            matrix = scipy.sparse.csr_matrix(rows, shape=(net.sizes[k], size)).tocsc()
            layer = []
            for first in range(0, size, PER_BLOCK):
                stop = min(first + PER_BLOCK, size)
                block = new_block(net, stop - first)
                model.add_block(block)
                for add_axon, low, high, atoms in before:
                    synapse, axon = Synapse(high - low), Axon(high - low)
                    synapse.set_weights(matrix[:, first:stop].tocsr()[low:high])
                    block.add_synapse(synapse)
                    axon.target = synapse
                    if atoms is not None:
                        axon.set_compartment_axon_map(atoms)
                    add_axon(axon)
                layer.append((block.add_axon, first, stop, np.arange(stop - first)))
            before = layer
        discretize_model(model)
        return EmulatorInterface(model, seed=0)

    return stepwise(net, lambda simulator, steps: simulator.run_steps(steps), before=emulator)


if __name__ == "__main__":
    serve(prepare)
