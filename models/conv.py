"""A small convolutional network of spiking neurons, for images and event frames."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from snnc.errors import UsageError
from snnc.models.recipe import Recipe
from snnc.models.spiking import MAX_LAYERS, Row, check_count, check_neuron, check_whole, population


class Conv(Row):
    """Blocks of convolution 3x3, batch normalisation, neurons and average pooling 2x2; then one linear layer,
    normalised too: its weights are small for a threshold of 1, and a silent output teaches nothing.

    shape: (channels, rows, columns) of the input. classes: outputs. channels: of each block.
    neuron: "leaky" or "synaptic". beta, alpha: what membrane and synapse keep per step (alpha: synaptic only).
    device: of the weights, as in torch. Raises UsageError for impossible arguments.
    """

    def __init__(
        self,
        shape: Sequence[int],
        classes: int,
        channels: Sequence[int] = (16, 32),
        neuron: str = "leaky",
        beta: float = 0.9,
        alpha: float = 0.5,
        device: str | None = None,
    ) -> None:
        before, rows, columns = check_whole("shape", shape, range(3, 4))
        classes = check_count("classes", classes)
        check_neuron(neuron, beta, alpha)
        layers: list[nn.Module] = []
        for after in check_whole("channels", channels, range(1, MAX_LAYERS)):
            layers += [
                nn.Conv2d(before, after, 3, padding=1, bias=False, device=device),
                nn.BatchNorm2d(after, device=device),
                population(neuron, beta, alpha),
                nn.AvgPool2d(2),
            ]
            before, rows, columns = after, rows // 2, columns // 2
        if not rows or not columns:
            raise UsageError(f"{len(channels)} blocks, each of which halves the image, are too many for {shape}")
        layers += [
            nn.Flatten(),
            nn.Linear(before * rows * columns, classes, bias=False, device=device),
            nn.BatchNorm1d(classes, device=device),
            population(neuron, beta, alpha),
        ]
        super().__init__(layers, shape)


RECIPE = Recipe(
    name="conv",
    model="conv",
    args={"channels": [8, 16], "neuron": "leaky", "beta": 0.9, "alpha": 0.5},
    epochs=8,
    batch=32,
)
