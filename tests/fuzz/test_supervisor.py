"""Whoever watches must see everything that must not happen."""

from __future__ import annotations

from harness import outcomes
from misdeeds import MISDEEDS


def test_each_misdeed_is_seen() -> None:
    found = outcomes("misdeeds", len(MISDEEDS))
    assert {o["what"]: o["fault"] for o in found} == {name: fault for name, (_, fault) in MISDEEDS.items()}
