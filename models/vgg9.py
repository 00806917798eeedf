"""VGG-9: seven convolutions and two linear layers, for images of 32x32."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from snnc.errors import UsageError
from snnc.models.recipe import Recipe
from snnc.models.spiking import Row, check_count, check_neuron, check_whole, population, scaled

# Channels of the convolutions, and the sizes of the average poolings between them. With them and HIDDEN the
# network has 2.27 million parameters for (3, 32, 32) and ten classes. arXiv 2311.12060 says 2.26 million, no widths.
PLAN: tuple[tuple[str, int], ...] = (
    ("conv", 64), ("conv", 64), ("pool", 2),
    ("conv", 128), ("conv", 128), ("pool", 2),
    ("conv", 256), ("conv", 256), ("conv", 256), ("pool", 4),
)  # fmt: skip
HIDDEN = 512
SHRINKS = 16  # by all poolings


class Vgg9(Row):
    """Convolutions 3x3 with batch normalisation and neurons, average poolings between them, two linear layers.

    shape: (channels, rows, columns) of the input, spikes or values; at least 16x16. classes: outputs. width: factor
    of all widths but the last. neuron: "leaky" or "synaptic". beta, alpha: what membrane and synapse keep per step
    (alpha: synaptic only). device: of the weights, as in torch. Raises UsageError for impossible arguments.
    """

    def __init__(
        self,
        shape: Sequence[int],
        classes: int,
        width: float = 1.0,
        neuron: str = "leaky",
        beta: float = 0.9,
        alpha: float = 0.5,
        device: str | None = None,
    ) -> None:
        before, rows, columns = check_whole("shape", shape, range(3, 4))
        classes = check_count("classes", classes)
        check_neuron(neuron, beta, alpha)
        if min(rows, columns) < SHRINKS:
            raise UsageError(f"images of {rows}x{columns} are too small for a vgg9: {SHRINKS}x{SHRINKS} are needed")
        layers: list[nn.Module] = []
        for kind, size in PLAN:
            if kind == "pool":
                layers.append(nn.AvgPool2d(size))
                rows, columns = rows // size, columns // size
                continue
            after = scaled(size, width)
            layers += [
                nn.Conv2d(before, after, 3, padding=1, bias=False, device=device),
                nn.BatchNorm2d(after, device=device),
                population(neuron, beta, alpha),
            ]
            before = after
        layers.append(nn.Flatten())
        before *= rows * columns
        for after in (scaled(HIDDEN, width), classes):
            layers += [
                nn.Linear(before, after, bias=False, device=device),
                nn.BatchNorm1d(after, device=device),
                population(neuron, beta, alpha),
            ]
            before = after
        super().__init__(layers, shape)


RECIPE = Recipe(
    name="vgg9",
    model="vgg9",
    args={"width": 1.0, "neuron": "leaky", "beta": 0.9, "alpha": 0.5},
    data="cifar10",
    epochs=60,
    rewind=4,
    batch=128,
    lr=2e-3,
)
