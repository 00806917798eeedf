"""The three splits of a data set, to compare."""

from __future__ import annotations

import numpy as np

from snnc.models.data import Dataset
from snnc.samples import Samples


def parts(dataset: Dataset) -> tuple[Samples, Samples, Samples]:
    return dataset.train, dataset.validation, dataset.test


def labels_of(samples: Samples) -> np.ndarray:
    assert samples.labels is not None
    return samples.labels


def same(a: Dataset, b: Dataset) -> bool:
    return a.spec == b.spec and all(
        np.array_equal(x.spikes, y.spikes) and np.array_equal(labels_of(x), labels_of(y))
        for x, y in zip(parts(a), parts(b), strict=True)
    )
