"""ResNet-19 of spiking neurons: eight residual blocks, whose branches are added in front of the neurons.

The network of Zheng et al., "Going deeper with directly-trained larger spiking neural networks" (AAAI 2021),
with batch normalisation over all steps in place of theirs, which also scales by the threshold. It has
12.70 million parameters for (3, 32, 32) and ten classes; arXiv 2311.12060 says 12.63.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from snnc.models.recipe import Recipe
from snnc.models.spiking import check_count, check_neuron, check_whole, population, scaled
from snnc.models.wired import Wired

# (blocks, channels, stride of the first one) of each stage; before them a convolution to STEM channels.
STEM = 128
STAGES = ((3, 128, 1), (3, 256, 2), (2, 512, 2))
HIDDEN = 256


class ResNet19(Wired):
    """A convolution, eight blocks of two, average pooling over the image, two linear layers.

    shape: (channels, rows, columns) of the input, spikes or values. classes: outputs. width: factor of all widths
    but the last. neuron: "leaky" or "synaptic". beta, alpha: what membrane and synapse keep per step (alpha:
    synaptic only). device: of the weights, as in torch. Raises UsageError for impossible arguments.
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
        channels, rows, columns = check_whole("shape", shape, range(3, 4))
        classes = check_count("classes", classes)
        check_neuron(neuron, beta, alpha)

        def conv(before: int, after: int, kernel: int, stride: int) -> list[nn.Module]:
            layer = nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False, device=device)
            return [layer, nn.BatchNorm2d(after, device=device)]

        def linear(before: int, after: int) -> list[nn.Module]:
            return [nn.Linear(before, after, bias=False, device=device), nn.BatchNorm1d(after, device=device)]

        before, last, count = scaled(STEM, width), "conv1", 1
        chains: dict[tuple[str, str], list[nn.Module]] = {("input", last): conv(channels, before, 3, 1)}
        for blocks, size, first in STAGES:
            after = scaled(size, width)
            for block in range(blocks):
                stride = 1 if block else first
                middle, end = f"conv{count + 1}", f"conv{count + 2}"
                chains[last, middle] = conv(before, after, 3, stride)
                chains[middle, end] = conv(after, after, 3, 1)
                plain = before == after and stride == 1
                chains[last, end] = [] if plain else conv(before, after, 1, stride)
                before, last, count = after, end, count + 2
                rows, columns = -(-rows // stride), -(-columns // stride)
        hidden = scaled(HIDDEN, width)
        chains[last, "fc1"] = [nn.AvgPool2d((rows, columns)), nn.Flatten(), *linear(before, hidden)]
        chains["fc1", "fc2"] = linear(hidden, classes)
        names = [*(f"conv{k + 1}" for k in range(count)), "fc1", "fc2"]
        super().__init__({name: population(neuron, beta, alpha) for name in names}, chains, shape)


RECIPE = Recipe(
    name="resnet19",
    model="resnet19",
    args={"width": 1.0, "neuron": "leaky", "beta": 0.9, "alpha": 0.5},
    data="cifar10",
    epochs=60,
    rewind=4,
    batch=128,
    lr=2e-3,
)
