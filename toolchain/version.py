"""The version of snnc, as it is installed."""

from importlib.metadata import version

VERSION = version("snnc")
