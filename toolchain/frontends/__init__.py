"""The front door: files of several frameworks in, one Network out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from snnc.errors import InputError, UsageError
from snnc.files import sniff
from snnc.frontends.reading import AS_WRITTEN, Reading
from snnc.network import Network

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def load(path: Path, reading: Reading = AS_WRITTEN, *, parent: bool = False) -> tuple[Network, dict[str, Any]]:
    """The network in a checkpoint (.pt), NIR file (.nir) or lava-dl network (.net), and what it says about itself.

    reading: what the file does not say; the state dict of a module needs its `model`, and often the `shape`.
    parent: the dense parent of a ticket instead of the ticket; InputError if the file holds none. The format is told
    by content, not by name.
    """
    head = sniff(path)
    hdf5 = head.startswith(HDF5_SIGNATURE) or path.suffix in (".nir", ".net")
    if hdf5 and parent:
        raise InputError("the file holds one network, no dense parent", where=str(path))
    if hdf5:
        return _hdf5(path, reading)
    if reading.of_nir:
        raise UsageError("a checkpoint says itself how its neurons behave", where=str(path))
    from snnc.frontends import torch
    from snnc.frontends.notes import Notes

    notes = Notes(str(path), reading.strict)
    network, about = torch.open_file(path, reading, parent=parent, notes=notes)
    return network, {**about, "notes": notes.entries}


def _hdf5(path: Path, reading: Reading) -> tuple[Network, dict[str, Any]]:
    from snnc.frontends import netx, nir
    from snnc.frontends.hdf5 import read_tree
    from snnc.frontends.notes import Notes

    tree = read_tree(path)
    notes = Notes(str(path), reading.strict)
    if "layer" in tree and "node" not in tree:
        if reading.of_nir:
            raise UsageError("a .net file says itself how its neurons behave", where=str(path))
        return netx.network(tree, path, reading, notes), {"format": "netx", "data": "", "notes": notes.entries}
    network, extra = nir.from_tree(tree, path, reading, notes)
    data = extra.get("data", "")
    return network, {"format": "nir", "data": data if isinstance(data, str) else "", "notes": notes.entries}


def load_module(module: Any, example: Any, reading: Reading) -> tuple[Network, dict[str, Any]]:
    """The network of a live torch module, see :func:`snnc.frontends.torch.from_module`, and notes on it."""
    from snnc.frontends import torch
    from snnc.frontends.notes import Notes

    if reading.of_nir or reading.model is not None:
        raise UsageError("a module says itself how its neurons behave")
    name = type(module).__name__
    notes = Notes(name, reading.strict)
    network = torch.from_module(
        module, example, dt=reading.dt or torch.DT, shape=reading.shape, name=name.lower(), notes=notes
    )
    return network, {"format": "module", "data": "", "notes": notes.entries}
