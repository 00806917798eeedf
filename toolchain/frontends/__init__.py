"""The front door: files of several frameworks in, one Network out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from snnc.errors import InputError
from snnc.files import sniff
from snnc.network import Network

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def load(path: Path, *, parent: bool = False, dt: float | None = None) -> tuple[Network, dict[str, Any]]:
    """The network in a checkpoint (.pt) or NIR file (.nir), and what the file says about itself.

    parent: the dense parent of a ticket instead of the ticket; InputError if the file holds none.
    dt: seconds per step where a NIR file does not say. The format is told by content, not by name.
    """
    head = sniff(path)
    if head.startswith(HDF5_SIGNATURE) or path.suffix == ".nir":
        from snnc.frontends import nir

        if parent:
            raise InputError("a NIR file holds one network, no dense parent", where=str(path))
        notes: list[str] = []
        network, extra = nir.open_file(path, dt=dt, notes=notes)
        data = extra.get("data", "")
        return network, {"format": "nir", "data": data if isinstance(data, str) else "", "notes": notes}
    from snnc.frontends import torch

    checkpoint = torch.read_checkpoint(path)
    about = {
        "format": "checkpoint",
        "model": checkpoint.model,
        "data": checkpoint.data,
        "seed": checkpoint.seed,
        "accuracy": checkpoint.accuracy,
        "parent": checkpoint.parent is not None,
    }
    return torch.network(checkpoint, parent=parent), about
