"""Instances from files: npz with the keys ``indptr``, ``indices``, ``rates`` and ``layers``.

Row u of the CSR matrix lists the neurons that neuron u sends to, neurons being numbered layer by layer. rates: spikes
per step of each neuron. layers (or ``layer_sizes``, or ``sizes``): neurons of each. Weights are not given; memory is
counted for the widest that a chip with 8-bit weights has.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import sparse

from snnc.errors import InputError
from snnc.files import sniff
from snnc.network import Network, Projection
from snnc.ops import Linear
from tests.instances.families import LARGEST_WEIGHT, Instance, cores, neurons

LAYERS = ("layers", "layer_sizes", "sizes")


def read(path: Path, say: Callable[[str], None]) -> Instance:
    """The instance in a file; InputError names what is wrong with it. say: receives what was done to it."""
    sniff(path)
    try:
        indptr, indices, rates, layers = _arrays(path)
        matrix = _matrix(indptr, indices, layers)
        _check_rates(rates, len(indptr) - 1)
    except InputError as error:
        raise InputError(error.message, where=f"{path} {error.where}".strip(), fix=error.fix) from None
    if matrix.nnz < len(indices):
        say(f"{path}: {len(indices) - matrix.nnz:,} synapses are there twice; each counts once")
    if _leads_backward(matrix, layers):
        say(f"{path}: every synapse between layers leads backward, so rows are taken as targets, not as sources")
        matrix = matrix.T.tocsr()
    network = _network(path.stem, matrix, layers)
    return Instance(path.stem, network, rates.astype(np.float64), cores(network.size))


def _arrays(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    try:
        with path.open("rb") as handle:
            file = np.load(handle, allow_pickle=False)
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise InputError("this is one array, not an npz file of several")
            names = ["indptr", "indices", "rates", next((n for n in LAYERS if n in file.files), LAYERS[0])]
            missing = [n for n in names if n not in file.files]
            if missing:
                had = ", ".join(file.files) or "nothing"
                raise InputError(
                    f"it lacks {', '.join(missing)}; it has {had}", fix=f"for layers: {' or '.join(LAYERS)}"
                )
            found = {n: _array(file, n) for n in names}
    except (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"this is not a readable npz file: {error}") from None
    for name, value in found.items():
        if value.ndim != 1 or (not value.size and name != "indices"):
            raise InputError(f"it has the shape {value.shape}; a list of numbers is needed", where=name)
        kinds = "iuf" if name == "rates" else "iu"
        if value.dtype.kind not in kinds and value.size:
            raise InputError(f"it is of type {value.dtype}; {_noun(kinds)} are needed", where=name)
    indptr, indices, rates, layers = found.values()
    return indptr, indices, rates, layers


def _array(file: np.lib.npyio.NpzFile, name: str) -> np.ndarray:
    try:
        return np.asarray(file[name])
    except ValueError as error:  # of objects, which would have to be unpickled
        raise InputError(f"it cannot be read: {error}", where=name) from None


def _noun(kinds: str) -> str:
    return "numbers" if "f" in kinds else "whole numbers"


def _matrix(indptr: np.ndarray, indices: np.ndarray, layers: np.ndarray) -> sparse.csr_array:
    """The synapses, each once, rows sorted."""
    count = len(indptr) - 1
    if layers.min() < 1:
        raise InputError(f"a layer of {layers.min()} neurons is none", where="layers")
    if sum(layers.tolist()) != count:
        raise InputError(
            f"they hold {sum(layers.tolist()):,} neurons, but indptr has {count:,} rows (one more entry than neurons)",
            where="layers",
        )
    if indptr[0] != 0 or np.any(indptr[1:] < indptr[:-1]):
        raise InputError("it must start at 0 and never fall", where="indptr")
    if indptr[-1] != len(indices):
        raise InputError(f"it ends at {indptr[-1]:,}, but there are {len(indices):,} indices", where="indptr")
    if len(indices) and (indices.min() < 0 or indices.max() >= count):
        wrong = indices.min() if indices.min() < 0 else indices.max()
        raise InputError(f"there is no neuron {wrong:,}; they are 0 .. {count - 1:,}", where="indices")
    wide = np.int64 if len(indices) > np.iinfo(np.int32).max else np.int32
    values = np.ones(len(indices), np.int8)
    matrix = sparse.csr_array((values, indices.astype(wide), indptr.astype(wide)), shape=(count, count))
    matrix.sum_duplicates()
    return matrix


def _check_rates(rates: np.ndarray, count: int) -> None:
    if len(rates) != count:
        raise InputError(f"there are {len(rates):,}, for {count:,} neurons", where="rates")
    for what, wrong in (("not a number", np.isnan(rates)), ("infinite", np.isinf(rates)), ("negative", rates < 0)):
        if np.any(wrong):
            first = int(np.argmax(wrong))
            more = int(wrong.sum()) - 1
            raise InputError(
                f"that of neuron {first:,}{f' and {more:,} more' if more else ''} is {what}", where="rates"
            )


def _leads_backward(matrix: sparse.csr_array, layers: np.ndarray) -> bool:
    """Whether no synapse leads to a later layer, and some lead to an earlier one."""
    ends = np.cumsum(layers)
    row = np.searchsorted(ends, np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr)), side="right")
    column = np.searchsorted(ends, matrix.indices, side="right")
    return bool(np.any(column < row) and not np.any(column > row))


def _network(name: str, matrix: sparse.csr_array, layers: np.ndarray) -> Network:
    ends = np.cumsum([0, *layers.tolist()])
    populations = tuple(neurons(f"layer{k}", (int(n),)) for k, n in enumerate(layers))
    projections = []
    for k, pre in enumerate(populations):
        rows = matrix[int(ends[k]) : int(ends[k + 1])]
        reached = np.unique(np.searchsorted(ends, np.unique(rows.indices), side="right") - 1)
        for j in reached.tolist():
            weight = rows[:, int(ends[j]) : int(ends[j + 1])].T.tocsr()
            weight.sort_indices()
            values = np.full(weight.nnz, LARGEST_WEIGHT, np.int16)
            op = Linear(sparse.csr_array((values, weight.indices, weight.indptr), shape=weight.shape))
            projections.append(Projection(f"{pre.name} to layer{j}", pre.name, f"layer{j}", (op,)))
    return Network(populations, tuple(projections), (populations[-1].name,), 1e-3, name)
