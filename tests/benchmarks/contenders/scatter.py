"""The limit of any simulator: the additions of the net's synapses and nothing else, one thread, by numba.

Row after row, so that memory is read in order; a simulator reads the rows of those that spiked. Forms, by CONTEST_FORM:
"apart", 3 bytes, a table of uint16 targets and one of int8 weights; "packed", 4 bytes, words of 16 bits each. Either
way sums are int32, and of more than 2^16 targets a part at a time.
"""

import os
import time

import numba
import numpy as np
from child import Ready, load, serve

# More than fits a cache, and enough for a good fraction of a second.
SYNAPSES = 1 << 25


@numba.njit(nogil=True)
def packed(sums, words):
    for k in range(len(words)):
        word = words[k]
        sums[word >> np.uint32(16)] += np.int16(word)


@numba.njit(nogil=True)
def apart(sums, targets, weights):
    for k in range(len(targets)):
        sums[targets[k]] += weights[k]


def prepare(folder):
    net = load(folder)
    _, targets, weights = (np.asarray(array[:SYNAPSES]) for array in net.layers[0])
    sums = np.zeros(1 << 16, np.int32)
    blocks = [targets >> 16 == block for block in range(1 + (net.sizes[1] - 1 >> 16))]
    tables = [((targets[b] & 0xFFFF).astype(np.uint16), weights[b]) for b in blocks]
    add = apart
    if os.environ["CONTEST_FORM"] == "packed":
        add = packed
        tables = [(t.astype(np.uint32) << 16 | w.astype(np.int16).view(np.uint16),) for t, w in tables]
    # Small tables fit a cache: so they do in the simulator.
    turns = max(1, SYNAPSES // len(targets))

    def timed(_):
        begin = time.perf_counter()
        for _ in range(turns):
            for table in tables:
                add(sums, *table)
        return time.perf_counter() - begin

    return Ready(timed, 1, lambda _: turns * len(targets))


if __name__ == "__main__":
    serve(prepare)
