"""Lets lava-nc 0.10 and lava-dl 0.6 load on Python 3.11 to 3.13, without torch and without editing them.

Both were last released for Python 3.10, where :func:`enable` does nothing. It goes before the first ``import lava.*``,
:func:`enable_netx` before that of ``lava.lib.dl.netx``. Both may be called again. The processes that Lava forks inherit
what is done here.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from pathlib import Path

import numpy as np


def enable() -> None:
    """Make ``lava.*`` importable. ImportError where Lava is not installed.

    Repairs ``lava.magma.compiler.var_model``: its dataclass ByteEncoder is the default value of eight fields. Python
    3.11 refuses defaults that cannot be hashed, so the module is loaded from a copy of its text in which it can be.
    """
    name = "lava.magma.compiler.var_model"
    if name in sys.modules:
        return
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise ImportError("lava-nc is not installed")
    if sys.version_info < (3, 11):  # noqa: UP036, an installation of the user's may have it
        return
    text = Path(spec.origin).read_text(encoding="utf-8")
    text = text.replace("@dataclass\nclass ByteEncoder:", "@dataclass(unsafe_hash=True)\nclass ByteEncoder:")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses looks its own module up
    exec(compile(text, spec.origin, "exec"), module.__dict__)
    importlib.import_module("lava.magma.compiler").var_model = module  # type: ignore[attr-defined]


def widen_convolutions() -> None:
    """Make Lava's Conv simulate images with more than 127 rows or columns, and as many groups; after :func:`enable`.

    Its models on the CPU hold stride, padding, dilation and groups in 8 bits. Together with the size of the image these
    are an error in numpy 2, where they were promoted in numpy 1, and more than 127 groups never were right.
    """
    models = importlib.import_module("lava.proc.conv.models")
    held = importlib.import_module("lava.magma.core.model.py.type").LavaPyType(np.ndarray, np.int32, precision=8)
    for name in ("kernel_size", "stride", "padding", "dilation", "groups"):
        setattr(models.AbstractPyConvModel, name, held)


def enable_netx() -> None:
    """Make ``lava.lib.dl.netx.hdf5`` importable; ImportError where lava-dl is not installed.

    Stands in for the two torch modules that netx imports and, for LIF networks, never calls. Where they are, an
    installation with torch, they are left out all the same: they take seconds. Whoever has imported them keeps them.

    Each stand-in carries the path of the real file: Lava runs every ``.py`` in the folder of every
    module that it finds in a package, so the folder must be Lava's own.
    """
    if "lava.lib.dl.slayer" in sys.modules:
        return
    spec = importlib.util.find_spec("lava.lib.dl")
    folders = (spec.submodule_search_locations if spec else None) or []
    root = next((Path(folder) for folder in folders if (Path(folder) / "netx").is_dir()), None)
    if root is None:
        raise ImportError("lava-dl is not installed")
    for name in ("slayer", "slayer.neuron"):
        package = types.ModuleType(f"lava.lib.dl.{name}")
        package.__path__ = []
        sys.modules[package.__name__] = package
    resonate = types.ModuleType("lava.lib.dl.slayer.neuron.rf")
    resonate.__file__ = str(root / "slayer" / "neuron" / "rf.py")
    resonate.neuron_params = _no_resonators  # type: ignore[attr-defined]
    sequential = types.ModuleType("lava.lib.dl.netx.sequential_modules")
    sequential.__file__ = str(root / "netx" / "sequential_modules.py")
    sys.modules[resonate.__name__] = resonate
    sys.modules[sequential.__name__] = sequential


def _no_resonators(_: object) -> None:
    raise NotImplementedError("resonate-and-fire neurons need lava-dl with torch")
