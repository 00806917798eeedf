"""Runs netx files in Lava's bit-accurate CPU simulation, for a parent that speaks JSON lines.

Run by the interpreter of Lava's own environment as a plain script; it knows nothing of snnc.

A request is one line on standard input::

    {"net": "a.net", "spikes": "in.npy", "steps": T, "sparse": false, "membranes": false, "folder": "out"}

``spikes`` holds zeros and ones, (samples * T, *shape), C order. The samples run back to back in
one Lava run, with all state reset between them. The spikes of block k (1, 2, ...) are written to
``folder/k.npy``, bool (samples * T, *shape), C order. Lava shows block k k steps late, or one less
where the first has no synapses; that shift is taken out here. With "membranes" the file of the last
block holds its v instead, int32, for which Lava stops after every step. Answers, one line each on
standard output::

    {"done": steps, "of": steps}                    now and then
    {"layers": n, "seconds": s}                     at the end of a run
    {"error": "one line", "traceback": "..."}       instead of it
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any, TextIO

import compat  # type: ignore[import-not-found]
import numpy as np

PROGRESS_SECONDS = 0.5


def main() -> None:
    """Answer the requests on standard input until it ends."""
    # Lava and netx print; only answers may reach the parent's pipe.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    try:
        compat.enable()
        for line in sys.stdin:
            run(json.loads(line), answers)
    except Exception as error:
        _say(answers, error=f"{type(error).__name__}: {error}", traceback=traceback.format_exc())
        sys.exit(1)


def run(request: dict[str, Any], answers: TextIO) -> None:
    """Carry out one request (see the module) and report on `answers`."""
    # Lava can be imported only after compat.enable().
    from lava.lib.dl.netx import hdf5
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from taps import Player, Recorder  # type: ignore[import-not-found]

    start = time.monotonic()
    folder = Path(request["folder"])
    # An input with neurons has no synapses: it answers in the step of the input.
    late = 0 if _neurons_of_input(request["net"]) else 1
    # The offset resets each block in the step in which the first input of a sample reaches it.
    network = hdf5.Network(
        net_config=request["net"],
        reset_interval=request["steps"],
        reset_offset=late,
        sparse_fc_layer=request["sparse"],
    )
    # Nothing inside leads from the port of such an input to its neurons.
    entry = network.inp if late else network.in_layer.neuron.a_in
    shape = tuple(int(n) for n in entry.shape)
    rows = len(np.load(request["spikes"], mmap_mode="r"))
    player = Player(shape=shape, path=request["spikes"])
    player.s_out.connect(entry)
    for k, layer in enumerate(network.layers, start=1):
        # An out port may feed several ports, so the recorder sits beside the next layer.
        shape = tuple(int(n) for n in layer.out.shape)
        path = folder / f"{k}.npy"
        np.lib.format.open_memmap(path, "w+", np.bool_, (rows, *shape[::-1])).flush()
        layer.out.connect(Recorder(shape=shape, path=str(path), first=k - 1 + late).a_in)

    config = Loihi2SimCfg(select_tag="fixed_pt")  # without the tag Lava takes floating point models
    total = rows + len(network.layers) - 1 + late
    done, chunk = 0, 1
    membranes = []
    while done < total:
        chunk = min(chunk, total - done)
        begin = time.monotonic()
        try:
            network.run(condition=RunSteps(num_steps=chunk), run_cfg=config)
        except RuntimeError as error:
            raise _cause(network, error) from error
        done += chunk
        if request.get("membranes"):
            membranes.append(network.layers[-1].neuron.v.get().T.astype(np.int32))
        _say(answers, done=done, of=total)
        # The first chunk includes the start of all processes, so it says nothing about speed.
        pace = (time.monotonic() - begin) / chunk
        chunk = 10 if chunk == 1 else max(1, int(PROGRESS_SECONDS / pace))
        if request.get("membranes"):
            chunk = 1
    network.stop()
    if membranes:
        last = len(network.layers)
        np.save(folder / f"{last}.npy", np.stack(membranes[last - 1 + late :]))
    _say(answers, layers=len(network.layers), seconds=time.monotonic() - start)


def _neurons_of_input(path: str) -> bool:
    """Whether the first layer of a ``.net`` is an input with neurons."""
    import h5py

    with h5py.File(path) as file:
        first = file["layer/0"]
        return first["type"][()].ravel()[0] == b"input" and "neuron" in first


def _cause(network: Any, error: RuntimeError) -> Exception:
    """What went wrong in a process of Lava: Lava itself only counts such errors."""
    actors = network.runtime._messaging_infrastructure.actors
    traces = [actor.exception[1] for actor in actors if actor.exception]
    for trace in traces:
        print(trace, file=sys.stderr)
    return ChildProcessError(traces[0].strip().splitlines()[-1]) if traces else error


def _say(answers: TextIO, **answer: object) -> None:
    print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
