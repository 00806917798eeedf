"""What training changes in its samples."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from snnc.models.data.augment import Augmentation, crop_flip, shift

BOTH = [crop_flip, shift]


def drawn(augment: Augmentation, batch: Tensor, seed: int = 0) -> Tensor:
    return augment(batch, torch.Generator().manual_seed(seed))


def some(dtype: torch.dtype = torch.float32, side: int = 32) -> Tensor:
    values = torch.randint(1, 255, (64, 3, 2, side, side), generator=torch.Generator().manual_seed(1))
    return values.to(dtype)


def crops(image: np.ndarray, most: int, mirror: bool) -> dict[bytes, tuple[int, int, bool]]:
    """Every image that one (channels, rows, columns) can become, and how."""
    rows, columns = image.shape[-2:]
    found = {}
    for flipped in (False, True) if mirror else (False,):
        padded = np.pad(image[..., ::-1] if flipped else image, [(0, 0), (most, most), (most, most)])
        for y in range(2 * most + 1):
            for x in range(2 * most + 1):
                found[padded[:, y : y + rows, x : x + columns].tobytes()] = (y, x, flipped)
    return found


@pytest.mark.parametrize(("augment", "most", "mirror"), [(crop_flip, 4, True), (shift, 2, False)])
def test_a_sample_is_moved_and_mirrored_as_a_whole(augment: Augmentation, most: int, mirror: bool) -> None:
    batch = some()
    after = drawn(augment, batch)
    assert after.shape == batch.shape
    ways = []
    for before, sample in zip(batch.numpy(), after.numpy(), strict=True):
        how = {crops(step, most, mirror)[now.tobytes()] for step, now in zip(before, sample, strict=True)}
        assert len(how) == 1  # all steps alike
        ways.append(how.pop())
    # 64 samples, each by itself: every offset in each direction is there, and both hands.
    assert {y for y, _, _ in ways} == {x for _, x, _ in ways} == set(range(2 * most + 1))
    assert {flipped for _, _, flipped in ways} == ({False, True} if mirror else {False})


@pytest.mark.parametrize("augment", BOTH)
def test_the_generator_decides(augment: Augmentation) -> None:
    batch = some()
    state = torch.get_rng_state()
    assert torch.equal(drawn(augment, batch), drawn(augment, batch))
    assert not torch.equal(drawn(augment, batch), drawn(augment, batch, seed=1))
    generator = torch.Generator().manual_seed(0)
    assert not torch.equal(augment(batch, generator), augment(batch, generator))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(batch, some())


@pytest.mark.parametrize("augment", BOTH)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.float64])
def test_spikes_stay_what_they_are(augment: Augmentation, dtype: torch.dtype) -> None:
    after = drawn(augment, some(dtype))
    assert after.dtype == dtype
    assert torch.equal(after.float(), drawn(augment, some()))


def test_a_held_step_may_be_augmented_and_small_frames_move_by_a_pixel() -> None:
    one = some()[:, :1]
    assert torch.equal(drawn(shift, one.expand(-1, 3, -1, -1, -1)), drawn(shift, one).expand(-1, 3, -1, -1, -1))
    small = some(side=8)
    centre = drawn(shift, small)[..., 1:-1, 1:-1]
    offsets = {
        (y, x)
        for sample, now in zip(small, centre, strict=True)
        for y in range(3)
        for x in range(3)
        if torch.equal(sample[..., y : y + 6, x : x + 6], now)
    }
    assert len(offsets) == 9
