"""From images to tokens: the spiking patch embeddings of a Spikformer."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import torch
from torch import Tensor, nn

from snnc.errors import UsageError
from snnc.models.selection import gather
from snnc.models.spiking import at_once, population, run

# (name of a population, its spikes) one after the other, and at last the values for what comes behind.
Traced = Generator[tuple[str, Tensor], None, Tensor]

STAGES = 4


def outcome(traced: Traced) -> Tensor:
    """The values at the end."""
    while True:
        try:
            next(traced)
        except StopIteration as end:
            found: Tensor = end.value
            return found


def cut(images: Tensor, patch: int) -> Tensor:
    """Square patches of images (steps, batch, channels, rows, columns), row by row: (..., tokens, channels, p, p)."""
    parts = images.unfold(3, patch, patch).unfold(4, patch, patch)
    return parts.flatten(3, 4).transpose(2, 3)


class Patchwise(nn.Module):
    """Each patch by itself: a convolution whose kernel and stride are the patch, normalisation, neurons.

    The position is a learned current of each token, added in front of the neurons. Patches that are not asked for
    are not computed.
    """

    def __init__(self, channels: int, dim: int, patch: int, tokens: int, beta: float, device: str | None) -> None:
        super().__init__()
        self.patch = patch
        self.conv = nn.Conv2d(channels, dim, patch, patch, bias=False, device=device)
        self.norm = nn.BatchNorm1d(dim, device=device)
        # As strong as the normalised current: otherwise the mean of the tokens hardly tells where they were.
        self.position = nn.Parameter(torch.randn(tokens, dim, device=device))
        self.neurons: Any = population("leaky", beta, 0.0)

    def trace(self, images: Tensor, ids: Tensor | None) -> Traced:
        """Spikes (steps, batch, tokens, dim) of the patches `ids` (of :func:`gather`) of images (steps, batch, ...)."""
        patches = gather(cut(images, self.patch), ids)
        current = self.norm(self.conv(patches.flatten(0, 2)).flatten(1)).unflatten(0, patches.shape[:3])
        spikes = run(self.neurons, current + (self.position if ids is None else self.position[ids]))
        yield "embedding", spikes
        return spikes

    def obstacles(self) -> list[tuple[str, str]]:
        return []


class Staged(nn.Module):
    """The spiking patch splitting of Zhou et al., "Spikformer" (ICLR 2023), fig. 2.

    Four convolutions 3x3 to dim/8, dim/4, dim/2 and dim channels, with normalisation and neurons; behind the
    last ones maximum pooling 2x2, until the patch is one place. The position comes from another convolution,
    whose spikes are added. A place sees its neighbours, so all patches are computed and the choice follows.
    """

    def __init__(self, channels: int, dim: int, patch: int, beta: float, device: str | None) -> None:
        super().__init__()
        pools = patch.bit_length() - 1
        if patch != 1 << pools or pools > STAGES:
            raise UsageError(f"patch must be 1, 2, 4, 8 or 16 for an embedding in stages, got {patch}")
        if dim % 8:
            raise UsageError(f"dim must be a multiple of 8 for an embedding in stages, got {dim}")

        def stage(before: int, after: int) -> nn.Sequential:
            conv = nn.Conv2d(before, after, 3, padding=1, bias=False, device=device)
            return nn.Sequential(conv, nn.BatchNorm2d(after, device=device))

        widths = (channels, dim // 8, dim // 4, dim // 2, dim)
        self.stages = nn.ModuleList(stage(widths[k], widths[k + 1]) for k in range(STAGES))
        self.neurons = nn.ModuleList(population("leaky", beta, 0.0) for _ in range(STAGES + 1))
        self.pools = nn.ModuleList(nn.MaxPool2d(2) if k >= STAGES - pools else nn.Identity() for k in range(STAGES))
        self.position = stage(dim, dim)

    def trace(self, images: Tensor, ids: Tensor | None) -> Traced:
        """Spikes of both kinds added, as in :meth:`Patchwise.trace`."""
        x = images
        *neurons, last = self.neurons
        for k, (stage, neuron, pool) in enumerate(zip(self.stages, neurons, self.pools, strict=True)):
            spikes = run(neuron, at_once(stage, x))
            yield f"conv{k + 1}", spikes
            x = at_once(pool, spikes)
        spikes = run(last, at_once(self.position, x))
        yield "position", spikes
        return gather((x + spikes).flatten(3).transpose(2, 3), ids)

    def obstacles(self) -> list[tuple[str, str]]:
        return [
            (f"embedding.pools.{k}", "the maximum of spikes")
            for k, pool in enumerate(self.pools)
            if isinstance(pool, nn.MaxPool2d)
        ]
