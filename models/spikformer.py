"""Spikformer: attention between the patches of an image, of spikes alone; with tickets that keep some patches.

After Zhou et al., "Spikformer: when spiking neural network meets transformer" (ICLR 2023). Its head has no neurons:
the classes are linear in the rates of the last tokens, so that outputs are values, whose sum over steps decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from snnc.errors import UsageError
from snnc.models.embedding import Patchwise, Staged, Traced, cut, outcome
from snnc.models.recipe import Recipe
from snnc.models.selection import EARLY, SCORES, best, check_patches, gather
from snnc.models.spiking import MAX_LAYERS, SpikingNetwork, check_count, check_neuron, check_whole, population, run

EMBEDDINGS = ("patchwise", "staged")
# Of the patches at random in evaluation.
SEED = 0


class Dense(nn.Module):
    """A linear layer without bias, normalisation and neurons, on the last axis of (steps, batch, ..., features)."""

    def __init__(self, before: int, after: int, beta: float, device: str | None) -> None:
        super().__init__()
        self.linear = nn.Linear(before, after, bias=False, device=device)
        self.norm = nn.BatchNorm1d(after, device=device)
        self.neurons: Any = population("leaky", beta, 0.0)

    def forward(self, spikes: Tensor) -> Tensor:
        current = self.norm(self.linear(spikes.flatten(0, -2))).unflatten(0, spikes.shape[:-1])
        return run(self.neurons, current)


class Attention(nn.Module):
    """Spiking self-attention: spikes of (q k^T v) scale per head, then a dense layer; no softmax."""

    def __init__(self, dim: int, heads: int, scale: float, beta: float, device: str | None) -> None:
        super().__init__()
        self.heads, self.scale = heads, scale
        self.q, self.k, self.v, self.out = (Dense(dim, dim, beta, device) for _ in range(4))
        self.neurons: Any = population("leaky", beta, 0.0)

    def trace(self, spikes: Tensor, prefix: str) -> Traced:
        parts = []
        for name in "qkv":
            part = self.get_submodule(name)(spikes)
            yield prefix + name, part
            parts.append(part.unflatten(-1, (self.heads, -1)).transpose(2, 3))  # steps, batch, heads, tokens, features
        q, k, v = parts
        mixed = run(self.neurons, ((q @ k.mT) @ v * self.scale).transpose(2, 3).flatten(3))
        yield f"{prefix}attention", mixed
        result: Tensor = self.out(mixed)
        yield f"{prefix}out", result
        return result


class Block(nn.Module):
    """Attention, then two dense layers; the spikes of both are added to what they were made of."""

    def __init__(self, dim: int, heads: int, scale: float, hidden: int, beta: float, device: str | None) -> None:
        super().__init__()
        self.attention = Attention(dim, heads, scale, beta, device)
        self.fc1 = Dense(dim, hidden, beta, device)
        self.fc2 = Dense(hidden, dim, beta, device)

    def trace(self, x: Tensor, prefix: str) -> Traced:
        x = x + (yield from self.attention.trace(x, prefix))
        hidden = self.fc1(x)
        yield f"{prefix}fc1", hidden
        spikes = self.fc2(hidden)
        yield f"{prefix}fc2", spikes
        return x + spikes


class Spikformer(SpikingNetwork):
    """Patches to tokens, blocks of attention, and a linear layer on the mean of the tokens, traced as "output".

    shape: (channels, rows, columns) of the input, spikes or values, whose sides are multiples of the patch.
    classes: outputs. dim, depth, heads: features of a token, blocks, and heads of each. mlp_ratio: hidden features
    of a block, in units of dim. patch: its side. embedding: "patchwise" or "staged", see
    :mod:`snnc.models.embedding`. patches: None for all, {"keep": sorted ids}, a fixed ticket, or {"count": number,
    "score": a key of SCORES}, chosen for each sample anew. With the score "random" the choice is drawn from torch's
    generator in training; in evaluation it follows from the place of the sample in its batch. scale: of
    q k^T v, which counts coincidences of spikes. beta: what membranes keep per step. device: of the weights, as in
    torch. Raises UsageError for impossible arguments.

    tokens: the number of all patches, which are counted row by row.
    """

    def __init__(
        self,
        shape: Sequence[int],
        classes: int,
        dim: int = 48,
        depth: int = 1,
        heads: int = 4,
        mlp_ratio: int = 4,
        patch: int = 2,
        embedding: str = "patchwise",
        patches: Mapping[str, Any] | None = None,
        scale: float = 0.25,
        beta: float = 0.5,
        device: str | None = None,
    ) -> None:
        channels, rows, columns = shape = check_whole("shape", shape, range(3, 4))
        sizes = {"dim": dim, "depth": depth, "heads": heads, "mlp_ratio": mlp_ratio, "patch": patch}
        for name, value in sizes.items():
            check_count(name, value)
        check_count("classes", classes)
        check_neuron("leaky", beta, 0.0)
        if depth > MAX_LAYERS:
            raise UsageError(f"depth must be at most {MAX_LAYERS}, got {depth}")
        if type(scale) not in (int, float) or not 0 < scale <= 1:  # NaN is not
            raise UsageError(f"scale must be a number above 0 and up to 1, got {scale!r}")
        if dim % heads:
            raise UsageError(f"dim must be a multiple of heads; got {dim} and {heads}")
        if rows % patch or columns % patch:
            raise UsageError(f"images of {rows}x{columns} do not divide into patches of {patch}x{patch}")
        if embedding not in EMBEDDINGS:
            raise UsageError(f"embedding must be one of {', '.join(EMBEDDINGS)}; got {embedding!r}")
        super().__init__(shape)
        self.patch = patch
        self.tokens = (rows // patch) * (columns // patch)
        self.choice = check_patches(patches, self.tokens)
        self.embedding: Patchwise | Staged
        if embedding == "patchwise":
            self.embedding = Patchwise(channels, dim, patch, self.tokens, beta, device)
        else:
            self.embedding = Staged(channels, dim, patch, beta, device)
        self.blocks = nn.ModuleList(Block(dim, heads, scale, mlp_ratio * dim, beta, device) for _ in range(depth))
        self.head = nn.Linear(dim, classes, device=device)
        # No part of the state: it follows from the arguments.
        kept = torch.tensor(self.choice.keep) if self.choice and self.choice.keep else None
        self.register_buffer("kept", kept, persistent=False)

    kept: Tensor | None

    def trace(self, spikes: Tensor) -> Iterator[tuple[str, Tensor]]:
        ids = self.kept
        if self.choice and self.choice.score in EARLY:
            ids = self._chosen(cut(spikes, self.patch).flatten(3))
        x = yield from self.embedding.trace(spikes, ids)
        if self.choice and self.choice.count and self.choice.score not in EARLY:
            x = gather(x, self._chosen(x))
        for number, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            x = yield from block.trace(x, f"block{number + 1}.")
        yield "output", self.head(x.mean(2))

    def embed(self, spikes: Tensor) -> Tensor:
        """Embedding (steps, batch, tokens, dim) of all patches, of a fixed ticket's alone, for input spikes."""
        return outcome(self.embedding.trace(spikes, self.kept))

    def choose(self, spikes: Tensor) -> Tensor:
        """Ids (batch, count) of the patches that each sample keeps, in order."""
        if self.choice is None or self.kept is not None:
            ids = torch.arange(self.tokens, device=spikes.device) if self.kept is None else self.kept
            return ids.expand(spikes.shape[1], -1)
        early = self.choice.score in EARLY
        return self._chosen(cut(spikes, self.patch).flatten(3) if early else self.embed(spikes))

    def _chosen(self, values: Tensor) -> Tensor:
        assert self.choice is not None
        score = SCORES[self.choice.score]
        if self.training:
            scores = score(values)
        else:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(SEED)
                scores = score(values)
        return best(scores, self.choice.count)

    @torch.no_grad()
    def selection_cost(self, spikes: Tensor) -> dict[str, float]:
        """Operations per sample that choosing patches takes, the mean of input spikes (steps, batch, *shape).

        synops: spikes that meet a weight that is not zero in the embedding of all patches (those that are kept are
        embedded for the network, too). updates: of neurons in it. additions: of spikes into scores. comparisons: of
        scores, by insertion among the best so far. All are zero where nothing is chosen at run time.
        """
        names = ("synops", "updates", "additions", "comparisons")
        if self.choice is None or self.kept is not None:
            return dict.fromkeys(names, 0.0)
        synops = updates = additions = 0.0
        score = self.choice.score
        if score not in EARLY:
            met: list[Tensor] = []

            def count(layer: Any, args: tuple[Tensor, ...], _: Any) -> None:
                spikes, weight = ((x != 0).double() for x in (args[0], layer.weight))
                met.append(functional.conv2d(spikes, weight, None, layer.stride, layer.padding).sum())

            layers = [m for m in self.embedding.modules() if isinstance(m, nn.Conv2d)]
            handles = [layer.register_forward_hook(count) for layer in layers]
            try:
                parts = [part for _, part in self.embedding.trace(spikes, None)]
            finally:
                for handle in handles:
                    handle.remove()
            batch = spikes.shape[1]
            synops, updates = float(sum(met)) / batch, float(sum(part.numel() for part in parts)) / batch
            additions = float((self.embed(spikes) != 0).sum()) / batch
        elif score != "random":
            additions = float((spikes != 0).sum()) / spikes.shape[1]
        comparisons = float(sum(min(token, self.choice.count) for token in range(self.tokens)))
        return dict(zip(names, (synops, updates, additions, comparisons), strict=True))

    def obstacles(self) -> list[tuple[str, str]]:
        found = self.embedding.obstacles()
        if self.choice and self.choice.count:
            found.append(("patches", "a choice of patches made anew for each sample"))
        attention = "the product of spikes q k^T v"
        return found + [(f"blocks.{k}.attention", attention) for k in range(len(self.blocks))]


RECIPE = Recipe(
    name="spikformer",
    model="spikformer",
    args={
        "dim": 48, "depth": 1, "heads": 4, "mlp_ratio": 2, "patch": 2,
        "embedding": "patchwise", "patches": None, "scale": 0.25, "beta": 0.5,
    },
    data="digits:steps=4",
    epochs=12,
    batch=32,
    lr=1e-2,
)  # fmt: skip


def _like_deit(name: str, dim: int, depth: int, heads: int) -> Recipe:
    """For images of 32x32: DeiT's dimensions, the depth that meets the paper's size, the scale of Zhou et al."""
    args = {"dim": dim, "depth": depth, "heads": heads, "mlp_ratio": 4, "patch": 4, "embedding": "staged"}
    args |= {"patches": None, "scale": 0.125, "beta": 0.5}
    return Recipe(name, "spikformer", args, data="cifar10", epochs=60, rewind=4, batch=128, lr=1e-3)


# 5.01 and 21.7 million parameters for (3, 32, 32) and ten classes; arXiv 2311.12060 says 4.89 and 22.12.
TINY = _like_deit("spikformer-tiny", 192, 10, 3)
SMALL = _like_deit("spikformer-small", 384, 11, 6)
