"""Runs networks in Lava's bit-accurate CPU simulation, for a parent that speaks JSON lines.

Run by the interpreter of Lava's own environment as a plain script; it knows nothing of snnc.

A request is one line on standard input; there may be several, one after the other::

    {"net": "a.net", "sparse": false, "spikes": "in.npy", "steps": T, "message_bits": 0, "folder": "out",
     "record": {"spikes": [1, 2], "u": [], "v": [2]}}

or, of an exported program, ``"program": "folder"`` instead of "net" and "sparse". ``spikes`` holds integers,
(samples * T, *shape), C order; message_bits is 0 where they are zeros and ones. The samples run back to back in one
Lava run, with all state reset between them. "record" names populations by their places in the network, from 1 on, of
which spikes or registers are wanted. They are written to ``folder/k.npy``, bool, ``k.u.npy``, int64, and ``k.v.npy``,
int32, all (samples * T, *shape), C order. A population that lies k steps behind the input shows what belongs to a step
k steps late; that shift is taken out here.
Answers, one line each on standard output::

    {"done": steps, "of": steps}                    now and then
    {"names": [...], "seconds": s}                  at the end of a run: the populations
    {"error": "one line", "traceback": "..."}       instead of it, and the worker ends
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import compat  # type: ignore[import-not-found]
import numpy as np

if TYPE_CHECKING:
    from blocks import Net  # type: ignore[import-not-found]

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
    from blocks import failures, feed
    from lava.magma.core.run_conditions import RunSteps
    from probes import Probing, probe  # type: ignore[import-not-found]
    from taps import Player, PyPlayer, PyRecorder, Recorder  # type: ignore[import-not-found]

    start = time.monotonic()
    compat.widen_convolutions()
    rows = len(np.load(request["spikes"], mmap_mode="r"))
    net = _program(request, rows) if "program" in request else _netx(request)
    player = Player(shape=net.shape, path=request["spikes"])
    feed(player.s_out, net)
    models = {player: PyPlayer}
    probed = []
    for k, block in enumerate(net.blocks, start=1):
        shape = tuple(int(n) for n in block.out.shape)
        files = {
            kind: _room(Path(request["folder"], f"{k}{ending}"), (rows, *shape[::-1]), dtype)
            for kind, ending, dtype in (
                ("spikes", ".npy", np.bool_),
                ("u", ".u.npy", np.int64),  # what values bring can be beyond 32 bits
                ("v", ".v.npy", np.int32),
            )
            if k in request["record"].get(kind, ())
        }
        if path := files.pop("spikes", None):
            # An out port may feed several ports, so the recorder sits beside the next layer.
            recorder = Recorder(shape=shape, path=path, first=block.late)
            block.out.connect(recorder.a_in)
            models[recorder] = PyRecorder
        if files:
            probe(block.neurons, files=files, first=block.late)
            probed.append(block.neurons)

    config = Probing(probed, models)
    total = rows + max(block.late for block in net.blocks)
    done, chunk = 0, 1
    while done < total:
        chunk = min(chunk, total - done)
        begin = time.monotonic()
        try:
            player.run(condition=RunSteps(num_steps=chunk), run_cfg=config)
        except RuntimeError as error:
            raise _cause(failures(player), error) from error
        done += chunk
        _say(answers, done=done, of=total)
        # The first chunk includes the start of all processes, so it says nothing about speed.
        pace = (time.monotonic() - begin) / chunk
        chunk = 10 if chunk == 1 else max(1, int(PROGRESS_SECONDS / pace))
    player.stop()
    _say(answers, names=[block.name for block in net.blocks], seconds=time.monotonic() - start)


def _netx(request: dict[str, Any]) -> Net:
    """The network of a ``.net``. netx keeps no names of layers; their numbers stand for them."""
    compat.enable_netx()
    from blocks import Block, Net
    from lava.lib.dl.netx import hdf5

    # An input with neurons has no synapses: it answers in the step of the input.
    first = 0 if _neurons_of_input(request["net"]) else 1
    # The offset resets each block in the step in which the first input of a sample reaches it.
    network = hdf5.Network(
        net_config=request["net"],
        reset_interval=request["steps"],
        reset_offset=first,
        sparse_fc_layer=request["sparse"],
    )
    # Nothing inside leads from the port of such an input to its neurons.
    entry = network.inp if first else network.in_layer.neuron.a_in
    blocks = [Block(str(k), layer.neuron, layer.out, first + k) for k, layer in enumerate(network.layers)]
    return Net([entry], tuple(int(n) for n in entry.shape), blocks)


def _neurons_of_input(path: str) -> bool:
    """Whether the first layer of a ``.net`` is an input with neurons."""
    import h5py

    with h5py.File(path) as file:
        first = file["layer/0"]
        return first["type"][()].ravel()[0] == b"input" and "neuron" in first


def _program(request: dict[str, Any], rows: int) -> Net:
    """The network that an exported program builds, with the runtime that lies beside it."""
    folder = request["program"]
    for name in [name for name in sys.modules if name.partition(".")[0] in ("program", "snnc_lava")]:
        del sys.modules[name]  # of another program
    sys.path.insert(0, folder)
    try:
        build = importlib.import_module("program").build
        return build(request["steps"], rows // request["steps"], request["message_bits"])
    finally:
        sys.path.remove(folder)


def _room(path: Path, shape: tuple[int, ...], dtype: type) -> str:
    """A new file for an array, which several processes can map."""
    np.lib.format.open_memmap(path, "w+", dtype, shape).flush()
    return str(path)


def _cause(traces: list[str], error: RuntimeError) -> Exception:
    """What went wrong in a process of Lava, in one line; all of it goes to the log."""
    for trace in traces:
        print(trace, file=sys.stderr)
    return ChildProcessError(traces[0].strip().splitlines()[-1]) if traces else error


def _say(answers: TextIO, **answer: object) -> None:
    print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
