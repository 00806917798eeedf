"""Compilation of the kernels of the search with numba, which is imported here and nowhere else in this package."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """Compile on first call for the types it gets, kept on disk; other threads run meanwhile.

    For functions that allocate nothing: without numba's counting of references, which for dozens of arrays takes
    more time, of the compiler and of the kernel, than all else. And without the test for zero that Python asks
    for; no divisor of a kernel can be zero.
    """
    options: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy", "_nrt": False}
    return cast(F, numba.njit(**options)(function))
