"""Processes for what Lava's own do not: the neuron of the compiler with all that it can be, and a gate in time.

They have models for the CPU alone; on a chip, neurons beyond Lava's LIF need microcode.

Lava looks for the models of a process in the module of the process, so both are in one.
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
from lava.magma.core.process.variable import Var
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

RANGE = 1 << 23
"""u and v hold 24 bits with sign."""

UNIT = 6
"""Weights, thresholds and biases are in units of 2^UNIT."""

UNITY = 1 << 12
"""Decays are in parts of this."""


class Neurons(AbstractProcess):
    """Integer current-based LIF neurons, every register per neuron, and what they can do beyond that.

    One step, with a the sum of what arrives, and sr(x) = sign(x) (|x| >> 12)::

        w  = clip(sr(w (4096 - w_decay)) - (w_jump << 6) (spiked in the step before))
        u  = wrap(sr(u (4096 - u_decay)) + (a << 6))
        v  = clip(sr(v (4096 - v_decay)) + u + w + (bias << 6));  0 while a neuron rests
        s  = v > (threshold << 6), and where s: v = 0

    subtract: the moment at which a spike takes h = threshold << 6 off v instead, "now", "next" or "recheck". "now": in
    place of v = 0. Else h is taken off in the next step, before v is clipped, where v > h was left; and where
    "recheck" finds a spike all the same, or one less than in the step before, v - h or v + h is what is left of it.
    graded: s = (v >> 6) > threshold, and the spike carries v >> 6. refractory: steps for which a neuron rests after a
    spike. All registers are numbers or arrays of `shape`. State is reset in every step t, counted from 1, for which
    (t - reset_offset) is a multiple of reset_interval. needs: for which of this Lava's LIF will not do, in words.
    """

    def __init__(
        self,
        *,
        shape: tuple[int, ...],
        u_decay: Any,
        v_decay: Any,
        threshold: Any,
        bias: Any = 0,
        w_decay: Any = 0,
        w_jump: Any = 0,
        refractory: Any = 0,
        graded: bool = False,
        subtract: str = "",
        reset_interval: int = 1,
        reset_offset: int = 0,
        needs: str = "",
    ) -> None:
        registers = {
            "u_decay": u_decay,
            "v_decay": v_decay,
            "threshold": threshold,
            "bias": bias,
            "w_decay": w_decay,
            "w_jump": w_jump,
            "refractory": refractory,
        }
        super().__init__(
            shape=shape,
            registers={name: np.broadcast_to(np.asarray(v, np.int64), shape) for name, v in registers.items()},
            graded=graded,
            subtract=subtract,
            reset_interval=reset_interval,
            reset_offset=reset_offset,
            needs=needs,
        )
        self.a_in = InPort(shape=shape)
        self.s_out = OutPort(shape=shape)
        self.u = Var(shape=shape, init=0)
        self.v = Var(shape=shape, init=0)


class Gate(AbstractProcess):
    """Passes spikes on in the step in which they come, but for the last ones of each sample.

    last: so many steps at the end of each sample are silenced, and of what comes before the first one. steps: of a
    sample. late: steps after which the first sample begins.
    """

    def __init__(self, *, shape: tuple[int, ...], last: int, steps: int, late: int) -> None:
        super().__init__(shape=shape, last=last, steps=steps, late=late)
        self.s_in = InPort(shape=shape)
        self.s_out = OutPort(shape=shape)


def gated(port: InPort, *, last: int, steps: int, samples: int, late: int, early: bool = False) -> InPort:
    """Where to send spikes for `port`: to itself, or to a :class:`Gate` before it where there are several samples.

    early: the source may spike before its first step, which takes a gate even for one sample.
    """
    if samples == 1 and not early:
        return port
    gate = Gate(shape=tuple(port.shape), last=last, steps=steps, late=late)
    gate.s_out.connect(port)
    return gate.s_in


@implements(proc=Neurons, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyNeurons(PyLoihiProcessModel):
    """Neurons on a CPU; registers are computed in 64 bits, so that nothing but u and v can overflow."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int64)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)
    u: np.ndarray = LavaPyType(np.ndarray, np.int64)
    v: np.ndarray = LavaPyType(np.ndarray, np.int64)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        shape = proc_params["shape"]
        self.registers = proc_params["registers"]
        self.graded, self.subtract = proc_params["graded"], proc_params["subtract"]
        self.interval, self.offset = proc_params["reset_interval"], proc_params["reset_offset"]
        self.w = np.zeros(shape, np.int64)
        self.left = np.zeros(shape, np.int64)  # of the steps that a neuron rests
        self.spiked = np.zeros(shape, bool)

    def run_spk(self) -> None:
        """One step."""
        a = self.a_in.recv().astype(np.int64)
        if (self.time_step - self.offset) % self.interval == 0:
            for state in (self.u, self.v, self.w, self.left, self.spiked):
                state[...] = 0
        of = self.registers
        self.w[...] = _clip(_decayed(self.w, of["w_decay"]) - (of["w_jump"] << UNIT) * self.spiked)
        u = _decayed(self.u, of["u_decay"]) + (a << UNIT)
        self.u[...] = np.where(u > RANGE, u - 2 * RANGE, np.where(u <= -RANGE, u + 2 * RANGE, u))
        rests = self.left > 0
        h = of["threshold"] << UNIT
        owed = (self.v > h) & ~rests & (self.subtract in ("next", "recheck"))
        v = _clip(_decayed(self.v, of["v_decay"]) + self.u + self.w + (of["bias"] << UNIT) - owed * h)
        v = np.where(rests, 0, v)
        above = v >> UNIT > of["threshold"] if self.graded else v > h
        self.spiked = above & ~rests
        if not self.subtract:
            self.v[...] = np.where(self.spiked, 0, v)
        else:
            self.v[...] = v if self.subtract == "next" else v - (self.spiked.astype(np.int64) - owed) * h
        self.left = np.where(self.spiked, of["refractory"], np.maximum(self.left - 1, 0))
        self.s_out.send(np.where(self.spiked, v >> UNIT if self.graded else 1, 0).astype(np.int32))


def _decayed(state: np.ndarray, decay: np.ndarray) -> np.ndarray:
    """What a step leaves of a state, rounded towards zero."""
    product = state * (UNITY - decay)
    return np.sign(product) * (np.abs(product) >> 12)


def _clip(state: np.ndarray) -> np.ndarray:
    return np.clip(state, -RANGE + 1, RANGE - 1)


@implements(proc=Gate, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyGate(PyLoihiProcessModel):
    """Gate on a CPU."""

    s_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.steps, self.late = proc_params["steps"], proc_params["late"]
        self.open = self.steps - proc_params["last"]

    def run_spk(self) -> None:
        """One step."""
        spikes = self.s_in.recv()
        passes = (self.time_step - 1 - self.late) % self.steps < self.open
        self.s_out.send(spikes if passes else np.zeros_like(spikes))
