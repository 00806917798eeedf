"""What is known of each kind of file to make hostile ones of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from numpy.random import Generator


@dataclass(frozen=True)
class Format:
    """A kind of file.

    seeds: good files. change: a damage that knows their structure; what it did, and the file. once: cases made by
    hand. landmarks: bytes near which damage does most. options: of the command, fields of Source.
    """

    suffix: str
    seeds: Callable[[], dict[str, bytes]]
    change: Callable[[Generator, bytes], tuple[str, bytes]]
    once: Callable[[], dict[str, Callable[[], bytes]]]
    landmarks: tuple[bytes, ...]
    options: Mapping[str, str] = field(default_factory=dict)
