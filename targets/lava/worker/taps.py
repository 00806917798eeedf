"""Lava processes that play and record spikes through files.

Lava hands a variable of a process over one number at a time, about 15 us each, which makes its
own source and sink unusable for whole recordings. These two share memory-mapped ``.npy`` files
with the worker instead.

While it looks for process models, Lava runs every ``.py`` beside this one: nothing in this
folder may act when it is imported.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol


class Player(AbstractProcess):
    """Sends one row of a file per step, then silence.

    path: ``.npy`` of zeros and ones, (rows, *shape reversed) or with these axes joined: C order,
    while Lava's shapes are (columns, rows, channels).
    """

    def __init__(self, *, shape: tuple[int, ...], path: str) -> None:
        super().__init__(shape=shape, path=path)
        self.s_out = OutPort(shape=shape)


class Recorder(AbstractProcess):
    """Writes what arrives, spike or not, into a file.

    path: existing ``.npy`` of bool, (rows, *shape reversed). first: the step, counted from 0, that
    goes to row 0; steps outside the rows are not kept.
    """

    def __init__(self, *, shape: tuple[int, ...], path: str, first: int) -> None:
        super().__init__(shape=shape, path=path, first=first)
        self.a_in = InPort(shape=shape)


@implements(proc=Player, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyPlayer(PyLoihiProcessModel):
    """Player on a CPU."""

    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        rows = np.load(proc_params["path"], mmap_mode="r")
        self.rows = rows.reshape(len(rows), *proc_params["shape"][::-1])
        self.silence = np.zeros(proc_params["shape"], np.int32)

    def run_spk(self) -> None:
        row = self.time_step - 1
        self.s_out.send(self.rows[row].T.astype(np.int32) if row < len(self.rows) else self.silence)


@implements(proc=Recorder, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyRecorder(PyLoihiProcessModel):
    """Recorder on a CPU."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.rows = np.load(proc_params["path"], mmap_mode="r+")
        self.first = proc_params["first"]

    def run_spk(self) -> None:
        spikes = self.a_in.recv()
        row = self.time_step - 1 - self.first
        if 0 <= row < len(self.rows):
            self.rows[row] = spikes.T != 0
