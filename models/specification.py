"""The text that asks for data, ``name[=FOLDER][:key=value,...]``: what may be said in it, and what is left out."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from snnc.errors import UsageError

Options: TypeAlias = dict[str, int | str]


@dataclass(frozen=True)
class Family:
    """A kind of data. folder: whether it is read from one. options: with their defaults, whose type is the option's."""

    folder: Literal["none", "optional", "needed"]
    options: Options


FAMILIES: dict[str, Family] = {
    "digits": Family("none", {"steps": 8, "encoding": "rate", "seed": 0}),
    "nmnist": Family("optional", {"steps": 10, "window": 0, "samples": 0, "augment": "none", "seed": 0}),
    "idx": Family(
        "needed", {"steps": 4, "encoding": "rate", "samples": 0, "validation": 10, "augment": "none", "seed": 0}
    ),
    "cifar10": Family(
        "needed", {"steps": 4, "encoding": "direct", "samples": 0, "validation": 10, "augment": "crop-flip", "seed": 0}
    ),
    "dvsgesture": Family(
        "optional",
        {"steps": 20, "window": 0, "size": 32, "samples": 0, "validation": 10, "augment": "none", "seed": 0},
    ),
    "cifar10dvs": Family(
        "optional",
        {"steps": 10, "window": 0, "size": 48, "samples": 0, "validation": 10, "augment": "none", "seed": 0},
    ),
    "shd": Family("optional", {"steps": 100, "window": 14, "channels": 140, "samples": 0, "validation": 10, "seed": 0}),
}
OPTIONS: dict[str, Options] = {name: family.options for name, family in FAMILIES.items()}

# What a word may be, and from where to where a number; any other number is 0 or more.
CHOICES: dict[str, tuple[str, ...]] = {
    "encoding": ("rate", "latency", "direct"),
    "augment": ("none", "shift", "crop-flip"),
}
LIMITS: dict[str, tuple[int, int | None]] = {
    "steps": (1, None),
    "validation": (1, 50),
    "size": (1, 128),
    "channels": (1, 700),
}


def names() -> str:
    """All data sets as the user types them, in a row."""
    place = {"none": "", "optional": "[=DIR]", "needed": "=DIR"}
    return ", ".join(name + place[family.folder] for name, family in FAMILIES.items())


def parse(spec: str) -> tuple[str, Path | None, dict[str, Any]]:
    """Name, folder and all options of a specification, or UsageError. The folder is absolute."""
    # Options are whatever follows the last colon and looks like them, so that a folder may hold colons.
    match = re.fullmatch(r"([^=:]*)(?:=(.*?))?(?::((?:\w+=[^,=:]*)(?:,\w+=[^,=:]*)*))?", spec)
    name = match[1] if match else re.split("[=:]", spec)[0]
    if name not in FAMILIES:
        close = difflib.get_close_matches(name, FAMILIES, n=1)
        fix = f"did you mean '{close[0]}'?" if close else f"data: {', '.join(FAMILIES)}"
        raise UsageError(f"there is no data set '{name}'", where=spec, fix=fix)
    if not match:
        raise UsageError("this is not name[=FOLDER][:key=value,...]", where=spec, fix=f"for instance {_example(name)}")
    family = FAMILIES[name]
    if match[2] == "" or (match[2] and family.folder == "none"):
        raise UsageError(f"'{name}' cannot be read from the folder '{match[2]}'", where=spec, fix=_example(name))
    if match[2] is None and family.folder == "needed":
        raise UsageError(f"'{name}' is read from a folder", where=spec, fix=_example(name))
    options: dict[str, Any] = dict(family.options)
    for pair in match[3].split(",") if match[3] else []:
        key, value = pair.split("=")
        if key not in options:
            close = difflib.get_close_matches(key, options, n=1)
            fix = f"did you mean '{close[0]}'?" if close else f"options: {', '.join(options)}"
            raise UsageError(f"'{name}' has no option '{key}'", where=spec, fix=fix)
        options[key] = _value(spec, key, value)
    return name, Path(match[2]).expanduser().resolve() if match[2] else None, options


def complete(name: str, folder: Path | None, options: Mapping[str, Any]) -> str:
    """The full specification. The folder must be absolute: a checkpoint is used from anywhere."""
    place = f"={folder}" if folder else ""
    return f"{name}{place}:" + ",".join(f"{key}={value}" for key, value in options.items())


def _value(spec: str, key: str, value: str) -> int | str:
    if key in CHOICES:
        if value not in CHOICES[key]:
            close = difflib.get_close_matches(value, CHOICES[key], n=1)
            fix = f"did you mean '{close[0]}'?" if close else ""
            raise UsageError(f"{key} must be one of {', '.join(CHOICES[key])}; got '{value}'", where=spec, fix=fix)
        return value
    least, most = LIMITS.get(key, (0, None))
    if not re.fullmatch("[0-9]{1,9}", value) or int(value) < least or (most and int(value) > most):
        span = f"from {least} to {most}" if most else f"of at least {least}"
        raise UsageError(f"{key} must be a whole number {span}; got '{value}'", where=spec)
    return int(value)


def _example(name: str) -> str:
    options = ",".join(f"{key}={value}" for key, value in OPTIONS[name].items())
    return f"{name}{'' if FAMILIES[name].folder == 'none' else '=FOLDER'}:{options}"
