"""Dominators: which nodes of a graph cannot be reached but through which others.

Semi-dominators with path compression, after Lengauer and Tarjan (1979); then nearest dominators from them as in
Georgiadis and Tarjan's SNCA (2005). O(edges x log nodes), but for the last step, which is linear in practice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence


class Dominators:
    """Of the nodes that can be reached from `starts` along `targets`; all starts lie behind a common root."""

    def __init__(self, targets: Mapping[str, Sequence[str]], starts: Iterable[str]) -> None:
        self._number, parent, sources = _searched(targets, list(starts))
        semi = _semi_dominators(parent, sources)
        nearest = parent
        for node in range(1, len(nearest)):
            while nearest[node] > semi[node]:
                nearest[node] = nearest[nearest[node]]
        # A node dominates those of its subtree, whose places follow its own.
        self._size = [1] * len(nearest)
        for node in range(len(nearest) - 1, 0, -1):
            self._size[nearest[node]] += self._size[node]
        self._place, free = [0] * len(nearest), [1] * len(nearest)
        for node in range(1, len(nearest)):
            above = nearest[node]
            self._place[node] = free[above]
            free[node] = self._place[node] + 1
            free[above] += self._size[node]

    def dominates(self, a: str, b: str) -> bool:
        """Whether every path from a start to `b` passes `a`. KeyError for a node that no start reaches."""
        first, second = self._number[a], self._number[b]
        return 0 <= self._place[second] - self._place[first] < self._size[first]


def _searched(
    targets: Mapping[str, Sequence[str]], starts: list[str]
) -> tuple[dict[str, int], list[int], list[list[int]]]:
    """Numbers in the order of a depth-first search from a root, 0; the parent of each in it; and all that feed it."""
    number: dict[str, int] = {}
    parent: list[int] = [0]
    sources: list[list[int]] = [[]]
    stack = [(0, iter(starts))]
    while stack:
        above, following = stack[-1]
        for name in following:
            if name in number:
                sources[number[name]].append(above)
                continue
            number[name] = len(parent)
            parent.append(above)
            sources.append([above])
            stack.append((number[name], iter(targets[name])))
            break
        else:
            stack.pop()
    return number, parent, sources


def _semi_dominators(parent: Sequence[int], sources: Sequence[Sequence[int]]) -> list[int]:
    semi = list(range(len(parent)))
    best = list(range(len(parent)))  # the node of smallest semi on the path that `up` has skipped
    up: list[int | None] = [None] * len(parent)  # towards the root, among nodes that are done

    def smallest(node: int) -> int:
        path = []
        while (above := up[node]) is not None and up[above] is not None:
            path.append(node)
            node = above
        for lower in reversed(path):
            above = up[lower]
            assert above is not None
            if semi[best[above]] < semi[best[lower]]:
                best[lower] = best[above]
            up[lower] = up[above]
        return best[path[0] if path else node]

    for node in range(len(parent) - 1, 0, -1):
        semi[node] = min(semi[smallest(source)] for source in sources[node])
        up[node] = parent[node]
    return semi
