"""Dominators, against those of networkx."""

from __future__ import annotations

from itertools import pairwise

import networkx
from hypothesis import given
from hypothesis import strategies as st

from snnc.frontends.dominators import Dominators


@st.composite
def graphs(draw: st.DrawFn) -> tuple[dict[str, list[str]], list[str]]:
    """Targets of each node, and some starts."""
    names = [f"n{k}" for k in range(draw(st.integers(1, 12)))]
    node = st.sampled_from(names)
    edges = draw(st.lists(st.tuples(node, node), max_size=40))
    starts = draw(st.lists(node, min_size=1, max_size=3, unique=True))
    return {name: [b for a, b in edges if a == name] for name in names}, starts


@given(graphs())
def test_every_path_passes_those_of_networkx(case: tuple[dict[str, list[str]], list[str]]) -> None:
    targets, starts = case
    graph = networkx.DiGraph([(a, b) for a, following in targets.items() for b in following])
    graph.add_edges_from(("root", start) for start in starts)
    nearest = networkx.immediate_dominators(graph, "root")
    found = Dominators(targets, starts)

    def above(node: str | None) -> set[str]:
        result = set()
        while node is not None and node != "root":
            result.add(node)
            node = nearest[node]
        return result

    reached = networkx.descendants(graph, "root")
    for b in reached:
        assert {a for a in reached if found.dominates(a, b)} == above(b)


def test_a_long_chain_with_edges_back() -> None:
    """Whoever walks up the chain for each edge back takes minutes."""
    names = [f"n{k}" for k in range(50_000)]
    targets = {name: [after] for name, after in pairwise(names)} | {names[-1]: []}
    for name in names[1:]:
        targets[name] = [*targets[name], names[1]]
    found = Dominators(targets, [names[0]])
    assert all(found.dominates(names[1], name) for name in names[1:])
    assert not found.dominates(names[2], names[1])
