"""scipy, event-driven: the rows of the neurons that spiked, added up. float32, as of most who write this by hand."""

import numpy as np
from child import load, serve, stepwise
from scipy import sparse


def prepare(folder):
    net = load(folder)
    rows = [
        sparse.csr_array((w.astype(np.float32), t, p.astype(np.int32)), shape=(len(p) - 1, size))
        for (p, t, w), size in zip(net.layers, net.sizes[1:], strict=True)
    ]
    keep_u, keep_v = (np.float32(k) for k in net.keep)
    stream = net.stream

    def run(_, steps):
        u, v = [[np.zeros(size, np.float32) for size in net.sizes[1:]] for _ in "uv"]
        for step in range(steps):
            events = np.flatnonzero(stream[step])
            for k, matrix in enumerate(rows):
                arrived = np.ones(len(events), np.float32) @ matrix[events]
                u[k] = keep_u * u[k] + arrived
                v[k] = keep_v * v[k] + u[k]
                fired = v[k] > net.threshold
                v[k][fired] = 0
                events = np.flatnonzero(fired)

    return stepwise(net, run)


if __name__ == "__main__":
    serve(prepare)
