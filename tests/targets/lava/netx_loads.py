"""Let netx load files by itself, in Lava's Python: python netx_loads.py WORKER FOLDER

WORKER: the folder of the bridge's worker, for its compatibility with newer Pythons. FOLDER holds NAME.net and, for
those that are to be run, NAME.npy: spikes (steps, inputs) or (steps, channels, rows, columns). It gets ``found.json``:
by NAME what netx raised (``error``), or its ``layers`` and, of the first one with synapses, their ``process``, longest
``delay``, ``bits`` and ``exponent``; of a run, u (``u``) and v (``v``) of the first layer after each step.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np


def main(worker: str, folder: str) -> None:
    sys.path.insert(0, worker)
    import compat

    compat.enable()
    compat.enable_netx()
    found = {}
    for path in sorted(Path(folder).glob("*.net")):
        try:
            found[path.stem] = _load(path)
        except Exception as error:
            found[path.stem] = {"error": f"{type(error).__name__}: {error}"}
    Path(folder, "found.json").write_text(json.dumps(found))


def _load(path: Path) -> dict[str, Any]:
    from lava.lib.dl.netx import hdf5
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc.io.source import RingBuffer

    network = hdf5.Network(net_config=str(path))
    found: dict[str, Any] = {"layers": [type(layer).__name__ for layer in network.layers]}
    first = network.layers[0]
    synapse = getattr(first, "synapse", None)
    if synapse is not None:
        found["process"] = type(synapse).__name__
        if hasattr(synapse, "delays"):
            found["delay"] = int(np.max(synapse.delays.init))
        if found["process"] != "Conv":
            # Defaults of Lava where netx says nothing.
            told = synapse.proc_params._parameters
            found |= {"bits": int(told.get("num_weight_bits", 8)), "exponent": int(told.get("weight_exp", 0))}
    if path.with_suffix(".npy").exists():
        spikes = np.load(path.with_suffix(".npy"))
        source = RingBuffer(data=spikes.T.astype(np.int32))
        source.s_out.connect(network.inp)
        states = []
        for _ in range(len(spikes)):
            network.run(condition=RunSteps(num_steps=1), run_cfg=Loihi2SimCfg(select_tag="fixed_pt"))
            states.append([np.asarray(var.get()).T.astype(int).tolist() for var in (first.neuron.u, first.neuron.v)])
        network.stop()
        found["u"], found["v"] = zip(*states, strict=True)
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
