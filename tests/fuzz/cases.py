"""The cases of each kind of file. Case k follows from (SEED, kind, k) alone."""

from __future__ import annotations

from functools import cache
from importlib import import_module

import numpy as np
from damage import damaged
from formats import Format

SEED = 7
COUNT = 2000
# Where the format of a kind is; imported when it is needed, since torch takes much memory of what a file may take.
KINDS = {
    "nir": ("nir_files", "NIR"),
    "net": ("net_files", "NET"),
    "pt": ("torch_files", "CHECKPOINT"),
    "state": ("torch_files", "STATE"),
}


@cache
def form(kind: str) -> Format:
    """The format of a kind."""
    module, name = KINDS[kind]
    found = getattr(import_module(module), name)
    assert isinstance(found, Format)
    return found


def case(kind: str, number: int) -> tuple[str, bytes]:
    """What a case is, in words, and its content."""
    once = form(kind).once()
    if number < len(once):
        name = list(once)[number]
        return name, once[name]()
    rng = np.random.default_rng([SEED, list(KINDS).index(kind), number])
    seeds = form(kind).seeds()
    name = str(rng.choice(list(seeds)))
    content, what = seeds[name], name
    if rng.random() < 0.5:
        more, content = form(kind).change(rng, content)
        what += f": {more}"
        if rng.random() < 0.8:
            return what, content
    more, content = damaged(rng, content, form(kind).landmarks)
    return f"{what}: {more}", content
