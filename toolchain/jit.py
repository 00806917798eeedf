"""Compilation of kernels with numba, which takes seconds to import: modules of kernels import this, and no others."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])
# Compiled once per machine, then read from the cache; other threads run meanwhile; division without the test for zero
# that Python asks for, since no divisor of a kernel can be zero. Sums keep the order of the source.
_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}


def compiled(function: F) -> F:
    """Compile on first call for the types it gets."""
    return _cached(function, _OPTIONS)


def lean(function: F) -> F:
    """The same for a function that makes no array: without numba's counting of references.

    For dozens of arrays handed from function to function that takes more time, of the compiler and of the kernel,
    than all else.
    """
    return _cached(function, {**_OPTIONS, "_nrt": False})


def _cached(function: F, options: dict[str, Any]) -> F:
    kernel = numba.njit(**options)(function)
    # The cache looks at the file of a kernel only, and not at those of the kernels that are compiled into it.
    index = kernel._cache._cache_file
    index._source_stamp = (index._source_stamp, _stamps(Path(function.__code__.co_filename).parent))
    return cast(F, kernel)


@cache
def _stamps(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """What changes when a module of the folder does."""
    found = ((path.name, path.stat()) for path in sorted(folder.glob("*.py")))
    return tuple((name, stat.st_mtime_ns, stat.st_size) for name, stat in found)
