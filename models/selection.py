"""Which patches of a sample are looked at: patch tickets (Cheng et al., arXiv 2311.12060, PatchS).

What a patch is scored by is not specified there; the mean rate of its embedding is the usual reading. A ticket
that is fixed needs no selector; one that is chosen for each sample needs one at test time, too, and its cost is
counted (:meth:`snnc.models.spikformer.Spikformer.selection_cost`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from snnc.errors import UsageError
from snnc.models.spiking import check_count


def rate(values: Tensor) -> Tensor:
    """Mean over steps and features: of spikes their rate."""
    return values.float().mean((0, 3))


def at_random(values: Tensor) -> Tensor:
    """Uniform random numbers from torch's generator of the CPU, whatever the values are."""
    return torch.rand(values.shape[1:3]).to(values.device)


# Name -> the score of each patch, (batch, tokens), larger is better, for values (steps, batch, tokens, features).
# These are the spikes of the embedding, for EARLY ones the values of the input in the patch: such patches need not
# be embedded before they are chosen.
SCORES: dict[str, Callable[[Tensor], Tensor]] = {"rate": rate, "events": rate, "random": at_random}
EARLY = frozenset({"events", "random"})


@dataclass(frozen=True)
class Choice:
    """Patches of each sample: those of the ids `keep`, or the `count` that are best by `score`."""

    keep: tuple[int, ...] = ()
    count: int = 0
    score: str = ""


def check_patches(patches: Any, tokens: int) -> Choice | None:
    """The choice among `tokens` patches that an argument asks for; UsageError if it is none.

    patches: None for all, {"keep": sorted ids}, or {"count": number, "score": a key of SCORES}.
    """
    if patches is None:
        return None
    if isinstance(patches, Mapping) and set(patches) == {"keep"}:
        keep = patches["keep"]
        good = isinstance(keep, (list, tuple)) and keep and all(type(k) is int and 0 <= k < tokens for k in keep)
        if not good or list(keep) != sorted(set(keep)):
            raise UsageError(f"keep must be different patches of 0 to {tokens - 1}, in order; got {keep!r}")
        return Choice(keep=tuple(keep))
    if isinstance(patches, Mapping) and set(patches) == {"count", "score"}:
        if patches["score"] not in SCORES:
            raise UsageError(f"score must be one of {', '.join(SCORES)}; got {patches['score']!r}")
        if check_count("count", patches["count"]) > tokens:
            raise UsageError(f"count is {patches['count']}, but an image has {tokens} patches")
        return Choice(count=patches["count"], score=patches["score"])
    raise UsageError(f"patches must be null, {{keep}}, or {{count, score}}; got {patches!r}")


def best(scores: Tensor, count: int) -> Tensor:
    """The ids of the `count` largest scores of each sample, (batch, count), in order; of equals the first ones."""
    return scores.argsort(dim=1, descending=True, stable=True)[:, :count].sort(dim=1).values


def gather(values: Tensor, ids: Tensor | None) -> Tensor:
    """The tokens `ids` of values (steps, batch, tokens, ...).

    ids: (count), the same of all samples; or (batch, count); or None for all tokens.
    """
    if ids is None:
        return values
    if ids.ndim == 1:
        return values[:, :, ids]
    samples = torch.arange(len(ids), device=ids.device)[:, None]
    return values[:, samples, ids]
