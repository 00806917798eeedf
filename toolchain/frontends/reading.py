"""What the user says of a file that does not say it itself."""

from __future__ import annotations

from dataclasses import dataclass

from snnc.errors import UsageError
from snnc.frontends.profiles import RESETS, profile
from snnc.ops import Shape


@dataclass(frozen=True)
class Reading:
    """How to read a file.

    dt: seconds per step, where a file does not say. semantics: a name of :data:`snnc.frontends.profiles.PROFILES`,
    i.e. the framework whose habits the network was trained with. reset: "zero", "subtract" or "value", instead of
    the profile's. late_reset: the reset takes effect in the step after the spike (snntorch's reset_delay=True).
    All of these override the metadata of a NIR file. strict: nothing is assumed; what a file leaves open is an
    error. model: ``package.module:factory``, which builds the torch module that a state dict belongs to; it may
    return an example of the module's input, too. shape: of one step of one sample, where a file does not say.
    """

    dt: float | None = None
    semantics: str | None = None
    reset: str | None = None
    late_reset: bool = False
    strict: bool = False
    model: str | None = None
    shape: Shape | None = None

    def __post_init__(self) -> None:
        if self.semantics is not None:
            profile(self.semantics)
        if self.reset is not None and self.reset not in RESETS:
            raise UsageError(f"unknown reset '{self.reset}'", fix=f"use one of {', '.join(RESETS)}")
        if self.dt is not None and not 0 < self.dt < float("inf"):
            raise UsageError(f"the step must be a positive number of seconds, got {self.dt}")

    @property
    def of_nir(self) -> bool:
        """Whether anything is said that only a NIR file leaves open."""
        return self.semantics is not None or self.reset is not None or self.late_reset


AS_WRITTEN = Reading()
