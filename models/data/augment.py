"""Small changes to training data, drawn anew for each sample whenever it is shown.

All steps of a sample are changed alike. What is drawn follows from the generator alone, on any device.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from torch import Generator, Tensor

# (batch (samples, steps, channels, rows, columns) of any type, a generator on the CPU) -> such a batch.
Augmentation: TypeAlias = "Callable[[Tensor, Generator], Tensor]"

# By how many pixels an image of 32x32 is moved, as usual for CIFAR (He et al., arXiv 1512.03385, section 4.2).
CROP = 4
# Share of the side by which frames and digits are moved: 2 pixels of 28 or 34.
_SHIFT = 1 / 14


def crop_flip(batch: Tensor, generator: Generator) -> Tensor:
    """A random crop of the image with 4 dark pixels around it, mirrored left to right every other time."""
    return _moved(batch, CROP, True, generator)


def shift(batch: Tensor, generator: Generator) -> Tensor:
    """Moved at random by up to a fourteenth of its height (at least a pixel) in both directions; dark moves in."""
    return _moved(batch, max(1, round(batch.shape[-2] * _SHIFT)), False, generator)


AUGMENTATIONS: dict[str, Augmentation | None] = {"none": None, "shift": shift, "crop-flip": crop_flip}


def _moved(batch: Tensor, most: int, mirror: bool, generator: Generator) -> Tensor:
    """Each sample moved by -most..most rows and columns and, with `mirror`, mirrored with probability one half."""
    import torch
    from torch.nn import functional

    samples, steps, channels, height, width = batch.shape
    offsets = torch.randint(0, 2 * most + 1, (samples, 2), generator=generator)
    flipped = torch.randint(0, 2, (samples, 1), generator=generator, dtype=torch.bool)
    rows = (torch.arange(height) + offsets[:, :1]).to(batch.device)
    columns = torch.arange(width).expand(samples, width)
    if mirror:
        columns = torch.where(flipped, width - 1 - columns, columns)
    columns = (columns + offsets[:, 1:]).to(batch.device)
    padded = functional.pad(batch.flatten(1, 2), (most, most, most, most))
    planes = steps * channels
    padded = padded.gather(2, rows[:, None, :, None].expand(samples, planes, height, width + 2 * most))
    return padded.gather(3, columns[:, None, None, :].expand(samples, planes, height, width)).view(batch.shape)
