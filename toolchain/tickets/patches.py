"""Patch tickets, alone and on top of a connection ticket in the patch embedding.

PatchS (arXiv 2311.12060; for transformers that do not spike: Shen et al., arXiv 2211.01484): some patches of the input
are all that a network needs. A dense network is trained, its embedding tells which patches these are, and a new
network learns on them alone. Fixed patches are those that score best in the mean over the training samples, and need
no selector afterwards; others are chosen for each sample by the new network's own embedding, at test time, too, which
costs what :meth:`snnc.models.spikformer.Spikformer.selection_cost` counts.

ECPT (Algorithm 1 there; with binary weights MultiSp, arXiv 2309.13302): first the embedding becomes a connection ticket
(:mod:`snnc.tickets.popup`), trained in front of a linear classifier that is dropped afterwards; it chooses the patches;
then the encoder is trained behind the frozen embedding. The printed algorithm multiplies each new mask into the one
before, so that a weight that was dropped once could never return; as in edge-popup itself, masks are made anew here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from snnc.errors import UsageError
from snnc.models.embedding import Patchwise, Staged, cut
from snnc.models.selection import EARLY, SCORES, best
from snnc.models.spikformer import Spikformer
from snnc.models.spiking import SpikingNetwork
from snnc.tickets import popup
from snnc.tickets.checkpoint import Checkpoint
from snnc.tickets.masks import Masks, prunable
from snnc.tickets.search import Search
from snnc.tickets.session import Session
from snnc.tickets.training import EVALUATION_BATCH, derive, seeded

EMBEDDING = "embedding."


class Probe(SpikingNetwork):
    """A patch embedding with a linear classifier of all its spikes, for the search of the embedding's ticket."""

    def __init__(self, embedding: Patchwise | Staged, shape: tuple[int, ...], features: int, classes: int) -> None:
        super().__init__(shape)
        self.embedding = embedding
        self.head = nn.Linear(features, classes)

    def trace(self, spikes: Tensor) -> Iterator[tuple[str, Tensor]]:
        tokens = yield from self.embedding.trace(spikes, None)
        yield "output", self.head(tokens.flatten(2))


def find(session: Session, search: Search) -> Checkpoint:
    """See :func:`snnc.tickets.find`."""
    assert search.patches is not None
    assert search.score is not None
    model = _patched(session, session.fresh())
    count = max(1, round((1 - search.patches) * model.tokens))
    if search.score not in SCORES:
        raise UsageError(f"there is no score '{search.score}'", fix=f"scores: {', '.join(SCORES)}")
    epochs = session.recipe.epochs
    dense = session.train("dense", model, epochs=epochs)
    state: Mapping[str, Tensor] = dense.state
    masks: Masks | None = None
    if search.method == "ecpt":
        state, masks = _embedding_ticket(session, search)
    args = {"patches": _choice(session, search, count, state)}
    student = _patched(session, session.fresh(1, **args))
    if masks is not None:
        own = student.state_dict() | {name: value for name, value in state.items() if name.startswith(EMBEDDING)}
        student.load_state_dict(own)
        popup.freeze(student.embedding)
        masks = {n: masks.get(n, np.ones(tuple(layer.weight.shape), bool)) for n, layer in prunable(student).items()}
    name = search.control or search.method
    found = session.train(name, student, masks, epochs=epochs)
    note = {"stage": "patches", "kept": count, "of": model.tokens, **_cost(session, found.state, args)}
    return session.finish(found, dense, args=args, alive=not search.control, notes=[note])


def _patched(session: Session, model: SpikingNetwork) -> Spikformer:
    if not isinstance(model, Spikformer):
        raise UsageError(
            f"model '{session.recipe.model}' has no patch embedding, so there are no patches to choose",
            fix="take recipe spikformer, or a method for connections: imp, conns, binw-conns",
        )
    return model


def _embedding_ticket(session: Session, search: Search) -> tuple[Mapping[str, Tensor], Masks]:
    """The state of the embedding as a connection ticket, under its names in the whole network, and its masks."""
    assert search.sparsity is not None
    whole = _patched(session, session.fresh())
    features = whole.tokens * whole.head.in_features
    with seeded(derive(session.draw(), 1)):
        probe = Probe(whole.embedding, whole.shape, features, session.data.classes)
    popup.freeze(probe.embedding)
    names = [name for name in prunable(probe) if name.startswith(EMBEDDING)]
    popup.search_connections(probe, names, search.sparsity, binary=search.binary, seed=session.draw())
    stage = session.train("embedding", probe, epochs=session.recipe.epochs)
    return stage.state, {name: stage.masks[name] for name in names}


def _choice(session: Session, search: Search, count: int, state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The argument `patches` of the new network."""
    assert search.score is not None
    score = "random" if search.control else search.score
    if search.selector == "sample":
        return {"count": count, "score": score}
    model = _patched(session, session.fresh())
    if search.control:
        drawn = np.random.default_rng(session.draw(1)).permutation(model.tokens)[:count]
        return {"keep": sorted(int(k) for k in drawn)}
    model.load_state_dict(model.state_dict() | {n: v for n, v in state.items() if n.startswith(EMBEDDING)})
    ids = best(mean_scores(model, session.data.train.spikes, score)[None], count)[0]
    return {"keep": [int(k) for k in ids]}


@torch.no_grad()
def mean_scores(model: Spikformer, spikes: np.ndarray, score: str) -> Tensor:
    """The score of each patch, (tokens,), in the mean over samples (samples, steps, *shape)."""
    model.eval()
    total = torch.zeros(model.tokens, dtype=torch.float64)
    for batch in torch.from_numpy(spikes).split(EVALUATION_BATCH):
        x = batch.transpose(0, 1).float()
        values = cut(x, model.patch).flatten(3) if score in EARLY else model.embed(x)
        total += SCORES[score](values).double().sum(0)
    return total / len(spikes)


def _cost(session: Session, state: Mapping[str, Tensor], args: Mapping[str, Any]) -> dict[str, float]:
    """What choosing the patches costs per validation sample."""
    model = _patched(session, session.loaded(state, **args)).eval()
    samples = torch.from_numpy(session.data.validation.spikes[:EVALUATION_BATCH])
    return {f"selector {name}": cost for name, cost in model.selection_cost(samples.transpose(0, 1).float()).items()}
