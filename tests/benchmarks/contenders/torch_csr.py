"""torch, sparse CSR matrices, one thread: every synapse in every step, as torch has no other way."""

import warnings

import numpy as np
import torch
from child import load, serve, stepwise
from scipy import sparse

# CSR support is "in beta state", says every tensor of it.
warnings.filterwarnings("ignore", message="Sparse CSR")


def prepare(folder):
    torch.set_num_threads(1)
    net = load(folder)
    matrices = []
    for (p, t, w), size in zip(net.layers, net.sizes[1:], strict=True):
        into = sparse.csr_array((w.astype(np.float32), t, p), shape=(len(p) - 1, size)).T.tocsr()
        parts = (torch.from_numpy(np.asarray(a)) for a in (into.indptr, into.indices, into.data))
        matrices.append(torch.sparse_csr_tensor(*parts, size=into.shape))
    keep_u, keep_v = net.keep
    stream = torch.from_numpy(net.stream)

    @torch.no_grad()
    def run(_, steps):
        u, v = [[torch.zeros(size) for size in net.sizes[1:]] for _ in "uv"]
        for step in range(steps):
            spikes = stream[step].float()
            for k, matrix in enumerate(matrices):
                u[k] = keep_u * u[k] + matrix @ spikes
                v[k] = keep_v * v[k] + u[k]
                spikes = (v[k] > net.threshold).float()
                v[k] *= 1 - spikes

    return stepwise(net, run)


if __name__ == "__main__":
    serve(prepare)
