"""Training in bfloat16, of a network whose last layer is spikes."""

from __future__ import annotations

import numpy as np

from snnc import models
from snnc.samples import Samples
from snnc.tickets.training import Compute, evaluate, seeded


def test_outputs_of_half_the_bits_are_counted() -> None:
    spikes = np.random.default_rng(0).integers(0, 2, (20, 3, 1, 8, 8), np.uint8)
    samples = Samples(spikes, np.arange(20) % 10)
    with seeded(0):
        model = models.model("conv")(shape=[1, 8, 8], classes=10)
    found, rates = evaluate(model, samples, compute=Compute(device="cpu", precision="bfloat16"))
    assert 0 <= found <= 1
    assert all(0 <= rate <= 1 for rate in rates.values())
