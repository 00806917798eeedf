"""snntorch: Linear layers and Synaptic neurons, step by step, one thread; its layers are dense."""

import numpy as np
import snntorch
import torch
from child import load, serve, stepwise


def prepare(folder):
    torch.set_num_threads(1)
    net = load(folder)
    layers = []
    for k, ((_, targets, weights), size, before) in enumerate(
        zip(net.layers, net.sizes[1:], net.sizes[:-1], strict=True)
    ):
        layer = torch.nn.Linear(before, size, bias=False)
        dense = np.zeros((size, before), np.float32)
        dense[targets, net.sources(k)] = weights
        layer.weight.data = torch.from_numpy(dense)
        keep_u, keep_v = net.keep
        layers.append(
            (layer, snntorch.Synaptic(alpha=keep_u, beta=keep_v, threshold=net.threshold, reset_mechanism="zero"))
        )
    stream = torch.from_numpy(net.stream)

    @torch.no_grad()
    def run(_, steps):
        states = [neurons.reset_mem() for _, neurons in layers]
        for step in range(steps):
            spikes = stream[step : step + 1].float()
            for k, (linear, neurons) in enumerate(layers):
                spikes, *states[k] = neurons(linear(spikes), *states[k])

    return stepwise(net, run)


if __name__ == "__main__":
    serve(prepare)
