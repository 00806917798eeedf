"""Records u and v of neurons where they are computed, without stopping Lava.

Lava hands variables out only while it stands still, one number at a time. A probe is a process model that is a
subclass of the one Lava would take anyway: it does that one's step, and then writes u and v into memory-mapped ``.npy``
files, which are shared with the worker. So it serves any process that has u and v, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.run_configs import Loihi2SimCfg

PARAMETER = "probe"
"""Under this name a process tells its model what to record: files by register, and the first step."""


def probe(neurons: AbstractProcess, *, files: Mapping[str, str], first: int) -> None:
    """Have registers of a process recorded, where it is run with :class:`Probing`.

    files: "u", "v" or both -> existing ``.npy`` of integers, (rows, *shape reversed), C order, while Lava's shapes are
    (columns, rows, channels). first: the step, counted from 0, that goes to row 0; steps outside the rows are not kept.
    """
    neurons.proc_params[PARAMETER] = (dict(files), first)


class Probing(Loihi2SimCfg):
    """Bit-accurate simulation on the CPU in which some processes are probed.

    models: processes whose models need not be looked for, in which Lava would run all files beside theirs.
    """

    def __init__(self, probed: Iterable[AbstractProcess], models: Mapping[AbstractProcess, type]) -> None:
        # Without the tag Lava takes floating point models.
        super().__init__(select_tag="fixed_pt", exception_proc_model_map=dict(models))
        self.probed = set(probed)

    def select(self, process: AbstractProcess, proc_models: list[type]) -> type:
        """The model that Lava takes, or its probe."""
        model = super().select(process, proc_models)
        return _probe_of(model) if process in self.probed else model


def _probe_of(model: Any) -> type:
    class Probe(model):
        """The model, and a look at its registers after each step."""

        def __init__(self, proc_params: Any) -> None:
            super().__init__(proc_params)
            files, self.probe_first = proc_params[PARAMETER]
            self.probe_rows = {name: np.load(path, mmap_mode="r+") for name, path in files.items()}

        def run_spk(self) -> None:
            super().run_spk()
            row = self.time_step - 1 - self.probe_first
            for name, rows in self.probe_rows.items():
                if 0 <= row < len(rows):
                    rows[row] = getattr(self, name).T

    return Probe
