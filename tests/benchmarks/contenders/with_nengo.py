"""nengo-loihi's emulator: a block of any size, which its emulator takes though no core of the chip would."""

import numpy as np
import scipy.sparse
from child import load, serve, stepwise
from nengo_loihi.block import Axon, LoihiBlock, Synapse
from nengo_loihi.builder import Model
from nengo_loihi.builder.discretize import discretize_model
from nengo_loihi.emulator import EmulatorInterface
from nengo_loihi.inputs import SpikeInput

DT = 1e-3


def prepare(folder):
    net = load(folder)
    stream = net.stream

    def emulator(steps):
        model = Model(dt=DT)
        source = SpikeInput(net.sizes[0])
        for step in range(steps):
            source.add_spikes(step + 1, np.flatnonzero(stream[step]), permanent=True)
        model.add_input(source)
        last = None
        for k, ((indptr, targets, weights), size) in enumerate(zip(net.layers, net.sizes[1:], strict=True)):
            block = LoihiBlock(size)
            tau_u, tau_v = (-DT / np.log(keep) for keep in net.keep)
            block.compartment.configure_filter(tau_u, dt=DT)
            block.compartment.configure_lif(
                tau_rc=tau_v, tau_ref=0, vth=net.threshold / 128, dt=DT, min_voltage=-np.inf
            )
            model.add_block(block)
            synapse = Synapse(net.sizes[k])
            rows = (np.asarray(weights) / np.float32(128), np.asarray(targets), np.asarray(indptr))
            synapse.set_weights(scipy.sparse.csr_matrix(rows, shape=(net.sizes[k], size)))
            block.add_synapse(synapse)
            axon = Axon(net.sizes[k])
            axon.target = synapse
            if last is None:
                source.add_axon(axon)
            else:
                axon.set_compartment_axon_map(np.arange(net.sizes[k]))
                last.add_axon(axon)
            last = block
        discretize_model(model)
        return EmulatorInterface(model, seed=0)

    return stepwise(net, lambda simulator, steps: simulator.run_steps(steps), before=emulator)


if __name__ == "__main__":
    serve(prepare)
