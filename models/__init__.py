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

# Name -> module and class.
MODELS: dict[str, str] = {
    "conv": "snnc.models.conv:Conv",
    "mlp": "snnc.models.mlp:Mlp",
    "resnet19": "snnc.models.resnet19:ResNet19",
    "spikformer": "snnc.models.spikformer:Spikformer",
    "srnn": "snnc.models.srnn:Srnn",
    "vgg9": "snnc.models.vgg9:Vgg9",
}
# Name -> module and recipe; each model has one of its own name.
RECIPES: dict[str, str] = {
    "conv": "snnc.models.conv:RECIPE",
    "mlp": "snnc.models.mlp:RECIPE",
    "mlp-idx": "snnc.models.mlp:IDX",
    "resnet19": "snnc.models.resnet19:RECIPE",
    "spikformer": "snnc.models.spikformer:RECIPE",
    "spikformer-small": "snnc.models.spikformer:SMALL",
    "spikformer-tiny": "snnc.models.spikformer:TINY",
    "srnn": "snnc.models.srnn:RECIPE",
    "vgg9": "snnc.models.vgg9:RECIPE",
}

__all__ = ["MODELS", "RECIPES", "Recipe", "model", "recipe"]


def model(name: str) -> type[SpikingNetwork]:
    """The class of the model `name`; its arguments are keywords. UsageError for an unknown name."""
    factory: type[SpikingNetwork] = _found(name, MODELS)
    return factory


def recipe(name: str) -> Recipe:
    """The recipe `name`. UsageError for an unknown name."""
    found: Recipe = _found(name, RECIPES)
    return found


def _found(name: str, known: dict[str, str]) -> Any:
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        raise UsageError(
            f"there is no model '{name}'",
            fix=f"did you mean '{close[0]}'?" if close else f"models: {', '.join(known)}",
        )
    module, _, attribute = known[name].partition(":")
    return getattr(importlib.import_module(module), attribute)
