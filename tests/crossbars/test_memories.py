"""Memory files: read back they are what the simulator loaded, and traces of the RTL have words of the same form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from clocked_networks import ODIN, RANC, SlowGrid, mlp

from snnc.crossbars import memories
from snnc.crossbars.compiler import compile
from snnc.crossbars.packets import Loaded
from snnc.errors import InputError
from snnc.simulator.clocked.crossbar import Crossbar
from tests.differential import rtl


def test_words_of_a_crossbar_are_those_of_the_rtl(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every trace: its memories, read as the differential test does, are written as they were."""
    files = sorted((shared / "rtl/tinyodin").glob("*.npz"))
    assert len(files) >= 60
    taken: list[Crossbar] = []

    class Taken(Exception):
        pass

    def keep(chip: Crossbar, *rest: object, **named: object) -> None:
        taken.append(chip)
        raise Taken

    monkeypatch.setattr(rtl.crossbar, "run", keep)
    for path in files:
        with pytest.raises(Taken):
            rtl.check(path)
        with np.load(path) as trace:
            assert np.array_equal(memories.neuron_words(taken[-1]), trace["neuron_memory"])
            assert np.array_equal(memories.synapse_words(taken[-1]), trace["synapse_memory"])


def test_files_of_a_crossbar_hold_what_was_loaded(tmp_path: Path) -> None:
    image = compile(mlp(9, 12, 4, bias=True), ODIN)
    assert memories.write(image, tmp_path) == ["neurons.hex", "synapses.hex", "spi.hex"]
    loaded = image.loaded
    assert isinstance(loaded, Crossbar)
    neurons = np.array(memories.read_words(tmp_path / "neurons.hex", 16))
    assert np.array_equal(neurons >> 31, loaded.disabled)
    assert np.array_equal(neurons >> 24 & 127, loaded.leak)
    assert np.array_equal(neurons >> 12 & 4095, loaded.threshold)
    assert not np.any(neurons & 4095)
    synapses = np.array(memories.read_words(tmp_path / "synapses.hex", 16)).reshape(256, 32, 1)
    nibbles = (synapses >> 4 * np.arange(8) & 15).reshape(256, 256)
    assert np.array_equal(np.where(nibbles > 7, nibbles - 16, nibbles), loaded.weights)
    assert np.count_nonzero(loaded.weights) == sum(p.op.taps for p in image.network.projections) + sum(
        np.count_nonzero(p.params["bias"]) for p in image.network.layers
    )


def test_writes_over_spi_make_the_same_memories(tmp_path: Path) -> None:
    image = compile(mlp(9, 12, 4), ODIN)
    memories.write(image, tmp_path)
    registers: list[tuple[int, int]] = []
    stored = {1: np.zeros(256, np.int64), 2: np.zeros(8192, np.int64)}
    for line in (tmp_path / "spi.hex").read_text().splitlines():
        address, data = (int(word, 16) for word in line.split())
        kind = address >> 16 & 3
        if kind == 0:
            registers.append((address, data))
            continue
        assert address >> 18 == 1  # a write
        assert data >> 8 == 0  # nothing is masked
        assert registers[0] == (0, 1), "the activity is not gated"
        at, byte = (address & 255, address >> 8 & 3) if kind == 1 else (address & 8191, address >> 13 & 3)
        stored[kind][at] |= data << 8 * byte
    assert registers == [(0, 1), (1, 0), (2, 0), (3, 15), (0, 0)]
    assert stored[1].tolist() == memories.read_words(tmp_path / "neurons.hex", 16)
    assert stored[2].tolist() == memories.read_words(tmp_path / "synapses.hex", 16)


def test_files_of_a_grid_hold_what_was_loaded(tmp_path: Path) -> None:
    image = compile(mlp(9, 12, 4, bias=True, reset="subtract"), RANC)
    names = memories.write(image, tmp_path)
    assert len(names) == 30
    assert "csram_015.mem" not in names  # the port
    loaded = image.loaded
    assert isinstance(loaded, Loaded)
    grid, slow = loaded.grid, SlowGrid(tmp_path, 4, 15)
    for core, rows in slow.neurons.items():
        assert slow.types[core] == grid.axon_type[core].tolist()
        for name in ("potential", "reset", "leak", "positive", "negative", "dx", "dy", "axon", "delay"):
            assert [row[name] for row in rows] == getattr(grid, name)[core].tolist(), name
        assert [row["weights"] for row in rows] == grid.weights[core].tolist()
        assert [row["mode"] for row in rows] == grid.subtract[core].astype(int).tolist()
        bits = [[int(bit) for bit in row["synapses"][::-1]] for row in rows]
        assert np.array_equal(bits, grid.synapses[core])
    assert grid.synapses.any()
    assert len(slow.neurons) == 15


def test_a_file_that_is_no_memory(tmp_path: Path) -> None:
    (tmp_path / "bad.hex").write_text("00ff // the first\nxyz\n")
    with pytest.raises(InputError, match="memory"):
        memories.read_words(tmp_path / "bad.hex", 16)
    (tmp_path / "good.hex").write_text("00ff // the first\n\n10\n")
    assert memories.read_words(tmp_path / "good.hex", 16) == [255, 16]
