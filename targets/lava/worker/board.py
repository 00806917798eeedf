"""Where a program runs: Lava's simulation on this CPU, or Loihi 2 through Lava's extension for it.

The extension is Intel's, for members of its research community: ``lava.proc.embedded_io`` moves spikes between the
host and the chip, ``lava.utils.loihi2_profiler`` measures. Neither is imported where it is not installed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from lava.magma.core.process.ports.ports import OutPort
from lava.magma.core.run_configs import Loihi2HwCfg, Loihi2SimCfg
from lava.proc.conv.process import Conv
from lava.utils import loihi
from snnc_lava import compat
from snnc_lava.blocks import Net, feed, shaped
from snnc_lava.neurons import Neurons


class Refused(Exception):
    """What the program or the user asks for cannot be done there; the message says why and what can."""


class Simulation:
    """Lava's bit-accurate models on this CPU."""

    words = "simulated by Lava on CPU (no Loihi 2 was used)"

    def check(self, net: Net, samples: int) -> None:
        """Nothing is refused: every process has a model."""

    def feed(self, source: OutPort, net: Net, bits: int) -> None:
        """Connect the spikes of the host to the inputs."""
        feed(source, net)

    def read(self, port: OutPort) -> OutPort:
        """The port from which the host reads spikes."""
        return port

    def config(self, steps: int) -> Any:
        """How to choose models: without the tag Lava takes those in floating point."""
        compat.widen_convolutions()
        return Loihi2SimCfg(select_tag="fixed_pt")

    def report(self) -> None:
        """Nothing was measured."""


class Board:
    """Loihi 2. words: which, as far as it was named. power: whether to measure."""

    def __init__(self, partition: str | None, board: str | None, generation: str | None, *, power: bool) -> None:
        if partition or board or generation:
            chip = _generation(generation or "N3B3")
            try:
                loihi.use_slurm_host(partition=partition, board=board, loihi_gen=chip)
            except (ValueError, OSError) as error:  # the second where there is no SLURM
                raise Refused(f"no such board: {error}") from None
        self.words = f"Loihi 2, {_named(os.environ)}"
        self.power = power
        self.loggers: list[Any] = []

    def check(self, net: Net, samples: int) -> None:
        """Refuse, before anything starts there, what has no model for the chip."""
        for block in net.blocks:
            if isinstance(block.neurons, Neurons):
                why = block.neurons.proc_params["needs"] or "its neurons are not Lava's LIF"
                raise Refused(
                    f"layer '{block.name}' cannot run on the board: {why}, for which there is a model on CPU alone; "
                    "run this program where Lava's extension for Loihi is not installed"
                )
        if net.gated and samples > 1:
            raise Refused(
                f"synapses '{net.gated[0]}' would carry spikes from one sample into the next on the board; "
                "run one sample at a time: --sample 0, then 1, ..."
            )
        if net.gated:
            raise Refused(
                f"synapses '{net.gated[0]}' would carry spikes on the board that a bias fires before the first step "
                "of the sample; run this program where Lava's extension for Loihi is not installed"
            )

    def feed(self, source: OutPort, net: Net, bits: int) -> None:
        """Connect the spikes of the host to the inputs, each through the adapter for what reads it."""
        from lava.proc.embedded_io import spike

        message = {"num_message_bits": bits} if bits else {}
        for port in net.inputs:
            make = spike.PyToN3ConvAdapter if isinstance(port.process, Conv) else spike.PyToNxAdapter
            adapter = make(shape=tuple(port.shape), **message)
            shaped(source, port).connect(adapter.inp)
            adapter.out.connect(port)

    def read(self, port: OutPort) -> OutPort:
        """The port from which the host reads spikes that leave the chip at `port`."""
        from lava.proc.embedded_io import spike

        adapter = spike.NxToPyAdapter(shape=tuple(port.shape))
        port.connect(adapter.inp)
        out: OutPort = adapter.out
        return out

    def config(self, steps: int) -> Any:
        """How to choose models: those of the chip first."""
        if self.power:
            from lava.utils import loihi2_profiler as profiler

            self.loggers = [
                profiler.Loihi2Power(num_steps=steps),
                profiler.Loihi2ExecutionTime(),
                profiler.Loihi2Memory(),
                profiler.Loihi2Activity(),
            ]
        return Loihi2HwCfg(callback_fxs=self.loggers)

    def report(self) -> None:
        """Print every number that was measured."""
        for logger in self.loggers:
            for name, value in sorted(_numbers(logger).items()):
                print(f"{type(logger).__name__}.{name} = {value:g}")


def find(partition: str | None, board: str | None, generation: str | None, *, power: bool) -> Simulation | Board:
    """The board where Lava's extension for Loihi is installed, else the simulation."""
    if loihi.is_installed():
        return Board(partition, board, generation, power=power)
    options = {"--partition": partition, "--board": board, "--generation": generation, "--power": power}
    asked = [name for name, given in options.items() if given]
    if asked:
        raise Refused(f"{asked[0]} is for Loihi 2, and Lava's extension for it is not installed here")
    return Simulation()


def _generation(name: str) -> loihi.ChipGeneration:
    try:
        return loihi.ChipGeneration[name]
    except KeyError:
        known = ", ".join(g.name for g in loihi.ChipGeneration)
        raise Refused(f"--generation {name}: known are {known}") from None


def _named(environment: Mapping[str, str]) -> str:
    """Which board runs it, as far as what Lava reads says so."""
    generation = f" ({environment['LOIHI_GEN']})" if environment.get("LOIHI_GEN") else ""
    for variable, words in (("BOARD", "board"), ("NXSDKHOST", "host"), ("PARTITION", "a board of partition")):
        if environment.get(variable):
            return f"{words} {environment[variable]}{generation}"
    return f"the default board{generation}"


def _numbers(logger: Any) -> dict[str, float]:
    """Public numbers of what a callback holds; of a series its mean."""
    found: dict[str, float] = {}
    for name in dir(logger):
        if name.startswith("_"):
            continue
        value = getattr(logger, name)
        if isinstance(value, Sequence | np.ndarray | int | float | np.number) and not isinstance(value, str | bool):
            array = np.asarray(value)
            if array.dtype.kind in "iuf" and array.size:
                found[name] = float(array.mean())
    return found
