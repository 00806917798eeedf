"""Three disjoint sets of samples, and how they are drawn from what there is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snnc.errors import InputError
from snnc.models.data.augment import Augmentation
from snnc.ops import Shape
from snnc.samples import Samples


@dataclass(frozen=True, eq=False)
class Dataset:
    """Three disjoint sets of recordings.

    train: to learn from. validation: to watch and to decide by. test: to report, once.
    classes: number of labels. spec: the full specification that gives exactly this data again.
    augment: what a training changes in each batch of `train`, or None.
    """

    train: Samples
    validation: Samples
    test: Samples
    classes: int
    spec: str
    augment: Augmentation | None = None

    @property
    def shape(self) -> Shape:
        """Of one step of one sample."""
        return self.train.shape


def share_out(labels: np.ndarray, parts: tuple[int, ...], generator: np.random.Generator) -> list[np.ndarray]:
    """Disjoint random index sets of sizes `parts`, each with the classes in the proportion of `labels`."""
    shuffled = generator.permutation(len(labels))
    position = np.empty(len(labels))
    for label in np.unique(labels):
        members = shuffled[labels[shuffled] == label]
        # Spread the class evenly over [0, 1): any interval holds its fair share of each class.
        position[members] = (np.arange(len(members)) + 0.5) / len(members)
    order = shuffled[np.argsort(position[shuffled], kind="stable")]
    # Within a set the order is random: neighbours in `order` are alike in class.
    return [generator.permutation(part) for part in np.split(order, np.cumsum(parts))[: len(parts)]]


def divide(
    learning: np.ndarray,
    test: np.ndarray,
    *,
    samples: int,
    validation: int,
    generator: np.random.Generator,
    where: str,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Indices of training and validation samples in `learning`, and of test samples in `test`.

    learning, test: labels (samples,) of the two official sets. samples: use so many in all, of both sets in
    proportion and of each class in proportion; 0, or more than there are: all. validation: percent of those to learn
    from that are held out. Each index set is in random order. InputError where a set would be empty.
    """
    there = len(learning) + len(test)
    count = min(samples or there, there)
    learn = round(count * len(learning) / there)
    held = max(1, round(learn * validation / 100))
    if learn <= held or count == learn:
        raise InputError(f"{count} samples are too few to train, validate and test", where=where)
    (chosen,) = share_out(learning, (learn,), generator)
    training, watching = share_out(learning[chosen], (learn - held, held), generator)
    (testing,) = share_out(test, (count - learn,), generator)
    return chosen[training], chosen[watching], testing
