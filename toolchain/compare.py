"""Spike for spike: do two executors of one network agree?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from snnc.errors import InputError


@dataclass(frozen=True)
class Difference:
    """One neuron in one step in which two executors differ.

    neuron: index along each axis of the layer. ours, theirs: whether it spiked; of a read-out its membrane.
    """

    layer: str
    sample: int
    step: int
    neuron: tuple[int, ...]
    ours: int
    theirs: int

    def __str__(self) -> str:
        neuron = ", ".join(map(str, self.neuron))
        ours, theirs = (
            ("is silent", "spikes")[value] if isinstance(value, bool) else f"holds {value:,}"
            for value in (self.ours, self.theirs)
        )
        return (
            f"layer '{self.layer}', neuron ({neuron}), sample {self.sample}, step {self.step}: "
            f"{ours} here, {theirs} there"
        )


@dataclass(frozen=True)
class Comparison:
    """Outcome of :func:`compare`.

    samples, steps: of each raster. compared: pairs of values looked at. spikes: layer -> spikes
    of ours (of a read-out: values that are not 0), which tell whether there was anything to compare. differing: layer
    -> pairs that differ.
    first: the earliest difference, or None.
    """

    samples: int
    steps: int
    compared: int
    spikes: dict[str, int]
    differing: dict[str, int]
    first: Difference | None

    @property
    def equal(self) -> bool:
        return self.first is None


def compare(ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray]) -> Comparison:
    """Compare the rasters of all layers that both executors report.

    ours, theirs: name -> bool (samples, steps, *shape), or membranes of a read-out; ours in the order in which spikes
    flow.
    The first difference is that of the lowest sample, in it the earliest step, in it the first
    layer: the one that caused all later ones of that sample. Raises InputError where there is no
    common layer or two rasters differ in shape.
    """
    names = [name for name in ours if name in theirs]
    if not names:
        raise InputError("the two runs have no layer in common", fix="compare runs of the same network")
    for name in names:
        if ours[name].shape != theirs[name].shape or ours[name].shape[:2] != ours[names[0]].shape[:2]:
            raise InputError(
                f"the rasters have shapes {ours[name].shape} and {theirs[name].shape}",
                where=f"layer '{name}'",
                fix="compare runs of the same network on the same samples",
            )
    samples, steps = (int(n) for n in ours[names[0]].shape[:2])
    unequal = {name: ours[name] != theirs[name] for name in names}
    return Comparison(
        samples=samples,
        steps=steps,
        compared=sum(raster.size for raster in unequal.values()),
        spikes={name: int(np.count_nonzero(ours[name])) for name in names},
        differing={name: int(np.count_nonzero(raster)) for name, raster in unequal.items()},
        first=_first(ours, theirs, unequal),
    )


def _first(
    ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray], unequal: Mapping[str, np.ndarray]
) -> Difference | None:
    found: list[Difference] = []
    for name, raster in unequal.items():
        if raster.any():
            first = np.unravel_index(int(raster.argmax()), raster.shape)  # argmax: the first True in C order
            at = tuple(int(k) for k in first)
            found.append(Difference(name, at[0], at[1], at[2:], ours[name][at].item(), theirs[name][at].item()))
    # Of equal steps min keeps the first, which is the first layer.
    return min(found, key=lambda d: (d.sample, d.step), default=None)
