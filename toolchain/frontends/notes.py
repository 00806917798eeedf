"""What a frontend assumed where a file leaves something open, and what the user should know of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from snnc.errors import InputError


@dataclass(frozen=True)
class _Note:
    kind: str
    text: str
    node: str
    fix: str
    assumed: bool


@dataclass(eq=False)
class Notes:
    """Collects assumptions; with `strict` the first one is an InputError instead.

    where: the file. An assumption that holds for several nodes is told once.
    """

    where: str
    strict: bool = False
    _notes: list[_Note] = field(default_factory=list)

    def assume(self, text: str, node: str = "", *, fix: str = "", kind: str = "note") -> None:
        """Record that `text` was assumed at `node` (its `where`, if not the whole file). kind: "note" or "warning".

        A warning is about the meaning of the network, a note about the form of the file.
        """
        if self.strict:
            raise InputError(f"strict reading assumes nothing: {text}", where=node or self.where, fix=fix)
        self._notes.append(_Note(kind, text, node, fix, assumed=True))

    def tell(self, text: str, kind: str = "note") -> None:
        """Record something that was not assumed but found."""
        self._notes.append(_Note(kind, text, "", "", assumed=False))

    def take(self, other: Notes) -> None:
        """Add what another collection holds; what was assumed there is assumed here, too."""
        for note in other._notes:
            if note.assumed:
                self.assume(note.text, note.node, fix=note.fix, kind=note.kind)
            else:
                self.tell(note.text, note.kind)

    @property
    def entries(self) -> list[dict[str, str]]:
        """The notes in order: kind and text."""
        places: dict[tuple[str, str], list[str]] = {}
        for note in self._notes:
            cure = f" ({note.fix})" if note.fix and note.kind == "warning" else ""
            nodes = places.setdefault((note.kind, note.text + cure), [])
            if note.node:
                nodes.append(note.node.removeprefix(f"{self.where}: ").removeprefix("node "))
        return [{"kind": kind, "text": text + _listed(nodes)} for (kind, text), nodes in places.items()]


def _listed(nodes: list[str]) -> str:
    if not nodes:
        return ""
    rest = f" and {len(nodes) - 6} more" if len(nodes) > 6 else ""
    return f" (node{'s' if len(nodes) > 1 else ''} {', '.join(nodes[:6])}{rest})"
