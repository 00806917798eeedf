"""Compilation of kernels with numba, which takes seconds to import: modules of kernels import this, and no others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])
# Compiled once per machine, then read from the cache; other threads run meanwhile; division without the test for zero
# that Python asks for, since no divisor of a kernel can be zero. Sums keep the order of the source.
_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}


def compiled(function: F) -> F:
    """Compile on first call for the types it gets."""
    return cast(F, numba.njit(**_OPTIONS)(function))


def lean(function: F) -> F:
    """The same for a function that makes no array: without numba's counting of references.

    For dozens of arrays handed from function to function that takes more time, of the compiler and of the kernel,
    than all else.
    """
    options = {**_OPTIONS, "_nrt": False}
    return cast(F, numba.njit(**options)(function))
