"""Networks whose layers do not stand in a row: populations, and chains of layers from one to another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from snnc.models.spiking import SpikingNetwork, at_once, run, step_by_step

Chains = Mapping[tuple[str, str], Sequence[nn.Module]]


class Wired(SpikingNetwork):
    """Populations that receive the sum of what arrives by the links that end in them.

    populations: name -> neurons of :func:`snnc.models.spiking.population`, in forward order; the last one is the
    outputs. chains: (from, to) -> the layers between them, none for the spikes as they are; a link begins at
    "input" or at a population. One from a population to itself brings the spikes of the step before. shape: of the
    input without batch and time. ValueError for a link that leads back to another population.
    """

    def __init__(self, populations: Mapping[str, nn.Module], chains: Chains, shape: Sequence[int]) -> None:
        super().__init__(shape)
        order = ["input", *populations]
        for pre, post in chains:
            if order.index(pre) > order.index(post):
                raise ValueError(f"the link {pre}-{post} leads back")
        self.populations = nn.ModuleDict(populations)
        self.links = nn.ModuleDict({f"{pre}-{post}": nn.Sequential(*chain) for (pre, post), chain in chains.items()})
        self.ends = tuple(chains)

    def chains(self) -> Iterator[tuple[str, str, nn.Sequential]]:
        """(from, to, layers) of each link."""
        for (pre, post), chain in zip(self.ends, self.links.values(), strict=True):
            assert isinstance(chain, nn.Sequential)
            yield pre, post, chain

    def trace(self, spikes: Tensor) -> Iterator[tuple[str, Tensor]]:
        known = {"input": spikes}
        for name in self.populations:
            neuron: Any = self.populations[name]
            into = {pre: chain for pre, post, chain in self.chains() if post == name}
            back = into.pop(name, None)
            current = reduce(torch.add, [at_once(chain, known[pre]) for pre, chain in into.items()])
            known[name] = run(neuron, current) if back is None else step_by_step(neuron, current, back)
            yield name, known[name]
