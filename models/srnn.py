"""A recurrent spiking network: each layer of CUBA neurons also receives its own spikes of the step before."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod, sqrt

from torch import nn

from snnc.models.recipe import Recipe
from snnc.models.spiking import MAX_LAYERS, check_count, check_neuron, check_whole, population
from snnc.models.wired import Wired

# The deviation of the recurrent weights at first, in units of 1/sqrt(neurons): a layer shall not excite itself.
RECURRENT = 0.5


class Srnn(Wired):
    """Flatten, then recurrent layers of CUBA neurons (synaptic), then a linear layer into LIF neurons (leaky).

    shape: of the input without batch and time. classes: outputs. hidden: widths of the recurrent layers. beta,
    alpha: what membranes and synapses keep per step. device: of the weights, as in torch. Raises UsageError for
    impossible arguments.
    """

    def __init__(
        self,
        shape: Sequence[int],
        classes: int,
        hidden: Sequence[int] = (128,),
        beta: float = 0.9,
        alpha: float = 0.5,
        device: str | None = None,
    ) -> None:
        shape = check_whole("shape", shape, range(1, 4))
        classes = check_count("classes", classes)
        widths = check_whole("hidden", hidden, range(1, MAX_LAYERS))
        check_neuron("synaptic", beta, alpha)

        def linear(before: int, after: int) -> nn.Linear:
            return nn.Linear(before, after, bias=False, device=device)

        names = ["input", *(f"fc{k + 1}" for k in range(len(widths) + 1))]
        chains: dict[tuple[str, str], list[nn.Module]] = {}
        sizes = pairwise((prod(shape), *widths, classes))
        for (before, after), (pre, post) in zip(sizes, pairwise(names), strict=True):
            chains[pre, post] = [nn.Flatten(), linear(before, after)] if pre == "input" else [linear(before, after)]
            if post != names[-1]:
                back = linear(after, after)
                nn.init.normal_(back.weight, std=RECURRENT / sqrt(after))
                chains[post, post] = [back]
        kinds = {name: "leaky" if name == names[-1] else "synaptic" for name in names[1:]}
        super().__init__({name: population(kind, beta, alpha) for name, kind in kinds.items()}, chains, shape)


RECIPE = Recipe(name="srnn", model="srnn", args={"hidden": [128], "beta": 0.9, "alpha": 0.5}, data="nmnist", batch=32)
