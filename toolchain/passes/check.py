"""Check: the rules of the target, operations before the work starts, capacity after mapping."""

from __future__ import annotations

from snnc import rules
from snnc.compilation import Compilation
from snnc.errors import DoesNotFit


def operations(c: Compilation) -> Compilation:
    """Raise DoesNotFit with every breach of an operation rule."""
    violations = rules.check_operations(c.network, c.target)
    if violations:
        raise DoesNotFit(violations)
    return c.found(check={"rules": [r.name for r in rules.OPERATION_RULES]})


def capacity(c: Compilation) -> Compilation:
    """Raise DoesNotFit with every breach of a capacity rule by the mapped network."""
    assert c.core_of is not None
    assert c.usage is not None
    violations = rules.check_capacity(c.network, c.usage, c.core_of, c.target, c.options.chips)
    if violations:
        raise DoesNotFit(violations)
    return c.found(fit={"rules": [r.name for r in rules.CAPACITY_RULES]})
