"""Small spiking networks and the recipes that train them.

A model is named, never pickled: a checkpoint stores the name and plain arguments, and
:func:`model` turns the name into the class. Torch is imported only when a model is asked for.
"""

from __future__ import annotations

import difflib
import importlib
from typing import TYPE_CHECKING, Any

from snnc.errors import UsageError
from snnc.models.recipe import Recipe

if TYPE_CHECKING:
    from snnc.models.spiking import SpikingNetwork

# Name -> module and class. Each of these modules also holds the model's RECIPE.
MODELS: dict[str, str] = {
    "conv": "snnc.models.conv:Conv",
    "mlp": "snnc.models.mlp:Mlp",
}

__all__ = ["MODELS", "Recipe", "model", "recipe"]


def model(name: str) -> type[SpikingNetwork]:
    """The class of the model `name`; its arguments are keywords. UsageError for an unknown name."""
    module, _, attribute = _locate(name).partition(":")
    factory: type[SpikingNetwork] = getattr(importlib.import_module(module), attribute)
    return factory


def recipe(name: str) -> Recipe:
    """The recipe of the model `name`. UsageError for an unknown name."""
    module: Any = importlib.import_module(_locate(name).partition(":")[0])
    found: Recipe = module.RECIPE
    return found


def _locate(name: str) -> str:
    if name in MODELS:
        return MODELS[name]
    close = difflib.get_close_matches(name, MODELS, n=1)
    raise UsageError(
        f"there is no model '{name}'",
        fix=f"did you mean '{close[0]}'?" if close else f"models: {', '.join(MODELS)}",
    )
