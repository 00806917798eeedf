"""snntorch on the layers of an image: all samples at once, step by step, one thread."""

import time

import numpy as np
import snntorch
import torch
from child import Ready, serve
from engine import load_image

from snnc.ops import Conv2d


def prepare(folder):
    torch.set_num_threads(1)
    image, spikes = load_image(folder)
    layers = []
    for projection in image.network.projections:
        op, neurons = projection.op, image.network[projection.post].params
        if isinstance(op, Conv2d):
            out, channels, height, width = op.weight.shape
            layer = torch.nn.Conv2d(channels * op.groups, out, (height, width), op.stride, op.padding, bias=False)
            layer.weight.data = torch.from_numpy(op.weight.astype(np.float32))
        else:
            layer = torch.nn.Linear(*op.weight.shape[::-1], bias=False)
            layer.weight.data = torch.from_numpy(op.weight.toarray().astype(np.float32))
        keep_u, keep_v = (1 - float(neurons[f"{name}_decay"].flat[0]) / 4096 for name in "uv")
        threshold = float(neurons["threshold"].flat[0])
        lif = snntorch.Synaptic(alpha=keep_u, beta=keep_v, threshold=threshold, reset_mechanism="zero")
        layers.append((layer, lif))
    frames = torch.from_numpy(spikes).float()
    each = spikes.shape[1]

    @torch.no_grad()
    def timed(steps):
        states = [neurons.reset_mem() for _, neurons in layers]
        begin = time.perf_counter()
        for step in range(steps // len(spikes)):
            values = frames[:, step]
            for k, (layer, neurons) in enumerate(layers):
                if isinstance(layer, torch.nn.Linear):
                    values = values.flatten(1)
                values, *states[k] = neurons(layer(values), *states[k])
        return time.perf_counter() - begin

    return Ready(timed, len(spikes) * each, lambda _: 0, unit=len(spikes))


if __name__ == "__main__":
    serve(prepare)
