"""Stands in for Lava's extension for Loihi, which is Intel's alone: adapters that pass spikes on at once, callbacks
that know two numbers, and a configuration that runs all of it in the simulation. Imported by Lava's interpreter.

What a program asks of it is written down in :data:`CALLS`. What a chip would do of it is not known here: a process
without a model for it is refused, as the names in :data:`ON_CHIP` say.
"""

from __future__ import annotations

import sys
import types
from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from lava.utils import loihi, slurm

CALLS: list[Any] = []

ON_CHIP = {"Conv", "Dense", "DelayDense", "Sparse", "DelaySparse", "LIF", "LIFReset"}
ON_HOST = {"Player", "Recorder", "Adapter"}


class Adapter(AbstractProcess):
    """Between host and chip."""

    def __init__(self, *, shape: tuple[int, ...]) -> None:
        super().__init__(shape=shape)
        self.inp = InPort(shape=shape)
        self.out = OutPort(shape=shape)


@implements(proc=Adapter, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyAdapter(PyLoihiProcessModel):
    inp: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)

    def run_spk(self) -> None:
        self.out.send(self.inp.recv())


def _adapter(name: str) -> Any:
    def make(*, shape: tuple[int, ...], **options: int) -> Adapter:
        CALLS.append([name, list(shape), options])
        return Adapter(shape=shape)

    return make


def _callback(name: str) -> Any:
    def make(self: Any, **options: int) -> None:
        CALLS.append([name, options])

    fields = {"__init__": make, "total_power": np.array([0.5, 1.5]), "steps": 7, "name": "text", "_secret": 1}
    return type(name, (), fields)


class Configuration(Loihi2SimCfg):
    """In place of ``Loihi2HwCfg``."""

    def __init__(self, *, callback_fxs: list[Any]) -> None:
        CALLS.append(["Loihi2HwCfg", [type(fx).__name__ for fx in callback_fxs]])
        super().__init__(select_tag="fixed_pt")

    def select(self, process: AbstractProcess, proc_models: list[Any]) -> Any:
        kind = type(process).__name__
        assert kind in ON_CHIP | ON_HOST, f"{kind} has no model on the chip"
        return super().select(process, proc_models)


def install() -> None:
    """Make it look as if the extension were installed, and SLURM there."""
    spike = types.ModuleType("lava.proc.embedded_io.spike")
    for name in ("PyToNxAdapter", "PyToN3ConvAdapter", "NxToPyAdapter"):
        setattr(spike, name, _adapter(name))
    package = types.ModuleType("lava.proc.embedded_io")
    package.spike = spike  # type: ignore[attr-defined]
    profiler = types.ModuleType("lava.utils.loihi2_profiler")
    for name in ("Loihi2Power", "Loihi2ExecutionTime", "Loihi2Memory", "Loihi2Activity"):
        setattr(profiler, name, _callback(name))
    sys.modules.update({m.__name__: m for m in (spike, package, profiler)})
    import lava.utils

    lava.utils.loihi2_profiler = profiler  # type: ignore[attr-defined]
    loihi.is_installed = lambda: True
    slurm.is_available = lambda: True
    boards = {"ncl-og-05": types.SimpleNamespace(state="idle", partition="oheogulch")}
    slurm.get_board_info = boards.get
    slurm.get_partition_info = lambda name: types.SimpleNamespace(state="up") if name == "oheogulch" else None

    from snnc_lava import board

    board.Loihi2HwCfg = Configuration
    use = loihi.use_slurm_host

    def used(**options: Any) -> None:
        CALLS.append(["use_slurm_host", options | {"loihi_gen": options["loihi_gen"].name}])
        use(**options)

    loihi.use_slurm_host = used
