"""The digits of scikit-learn, which are always at hand: 1,797 images of 8x8 in 17 grey levels."""

from __future__ import annotations

from typing import Any

import numpy as np

from snnc.models.data.coding import SPIKING, direct
from snnc.models.data.dataset import Dataset, share_out
from snnc.samples import Samples

# Training, validation and test.
PARTS = (1197, 150, 450)


def load(folder: None, spec: str, options: dict[str, Any]) -> Dataset:
    """The digits of that full specification."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    values = images.reshape(-1, 1, 8, 8) / 16.0
    steps, encoding = options["steps"], options["encoding"]
    generator = np.random.default_rng(options["seed"])
    parts = share_out(labels, PARTS, generator)
    if encoding == "direct":
        spikes = [direct(values[part], steps) for part in parts]
    else:
        coded = SPIKING[encoding](values, steps, generator)
        spikes = [coded[part] for part in parts]
    train, validation, test = (Samples(s, labels[p], "digits") for s, p in zip(spikes, parts, strict=True))
    return Dataset(train, validation, test, 10, spec)
