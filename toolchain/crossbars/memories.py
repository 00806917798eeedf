"""The files that the Verilog of a chip loads its memories from, and the reading of them.

``$readmemh`` and ``$readmemb`` take one word a line, from address 0 on; ``//`` begins a comment. Of a crossbar:

- ``neurons.hex``: 256 words of 32 bits; from the top disable 1, leak 7, threshold 12, membrane 12.
- ``synapses.hex``: 8,192 words of 32 bits, 32 for each row, with eight weights of 4 bits, the first at the low end.
- ``spi.hex``: the same and the configuration as writes over SPI, for a chip whose memories cannot be loaded otherwise:
  an address of 20 bits and data of 20 bits a line, in the order in which they are to be sent. The activity is gated at
  the beginning and let go at the end.

Of a grid, for each core NNN = x + y * columns that has neurons:

- ``csram_NNN.mem``: a word for each neuron, in binary; from the top the synapses (that of the last axon first),
  potential, reset potential, four weights, leak, threshold, lower threshold, reset mode, dx, dy, axon, delay.
- ``tc_NNN.mem``: the type of each axon, in binary.

The RTL asks for both files of every core; those of cores without neurons are written as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from snnc.crossbars.image import Image
from snnc.crossbars.packets import Loaded
from snnc.errors import InputError
from snnc.files import atomic, sniff
from snnc.simulator.clocked import grid_rules as rules
from snnc.simulator.clocked.crossbar import Crossbar
from snnc.simulator.clocked.grid import Grid

# Of a crossbar's words: bits of each field, from the low end; weights in a word.
MEMBRANE, THRESHOLD, LEAK, WEIGHT, WEIGHTS = 12, 12, 7, 4, 8
# Addresses over SPI: writes to the neurons, to the synapses; configuration registers by their numbers.
WRITE, TO_NEURONS, TO_SYNAPSES = 1 << 18, 1 << 16, 2 << 16
GATE, OPEN_LOOP, SOURCE, LAST = range(4)


def write(image: Image, folder: Path) -> list[str]:
    """Write the files of an image into a folder, each whole or not at all; returns their names."""
    loaded = image.loaded
    texts = _crossbar(loaded) if isinstance(loaded, Crossbar) else _grid(loaded, image.chip.name)
    names = []
    for name, lines in texts:
        with atomic(folder / name) as temporary:
            temporary.write_text("\n".join(lines) + "\n")
        names.append(name)
    return names


def neuron_words(chip: Crossbar) -> np.ndarray:
    """The neuron memory of a crossbar, int64 (neurons,)."""
    words = chip.disabled.astype(np.int64) << LEAK | chip.leak
    words = words << THRESHOLD | chip.threshold
    return words << MEMBRANE | chip.potential & ((1 << MEMBRANE) - 1)


def synapse_words(chip: Crossbar) -> np.ndarray:
    """The synapse memory of a crossbar, int64 (rows * words of a row,)."""
    nibbles = (chip.weights & ((1 << WEIGHT) - 1)).reshape(-1, WEIGHTS)
    return (nibbles << (WEIGHT * np.arange(WEIGHTS))).sum(axis=1)


def _crossbar(chip: Crossbar) -> Iterator[tuple[str, list[str]]]:
    neurons, synapses = neuron_words(chip), synapse_words(chip)
    yield "neurons.hex", [f"{word:08x}" for word in neurons.tolist()]
    yield "synapses.hex", [f"{word:08x}" for word in synapses.tolist()]
    lines = [
        f"{address:05x} {data:05x}"
        for address, data in ((GATE, 1), (OPEN_LOOP, chip.open_loop), (SOURCE, 0), (LAST, chip.last))
    ]
    for kind, words, shift in ((TO_NEURONS, neurons, 8), (TO_SYNAPSES, synapses, 13)):
        lines += [
            f"{WRITE | kind | byte << shift | at:05x} {word >> 8 * byte & 0xFF:05x}"
            for at, word in enumerate(words.tolist())
            for byte in range(4)
        ]
    yield "spi.hex", [*lines, f"{GATE:05x} {0:05x}"]


def _grid(load: Loaded, name: str) -> Iterator[tuple[str, list[str]]]:
    grid = load.grid
    for core in range(len(grid.potential)):
        if core != grid.port:
            yield f"csram_{core:03d}.mem", _core_words(grid, core)
            bits = (grid.weights.shape[2] - 1).bit_length()
            yield f"tc_{core:03d}.mem", [f"{kind:0{bits}b}" for kind in grid.axon_type[core].tolist()]


def _core_words(grid: Grid, core: int) -> list[str]:
    """Words of the neurons of a core, as text of 0 and 1."""
    synapses = grid.synapses[core][:, ::-1].astype(np.uint8)
    half = 1 << rules.WIDTH
    bits = (synapses.shape[1] - 1).bit_length()
    fields = [grid.potential, grid.reset, *np.moveaxis(grid.weights, 2, 0), grid.leak, grid.positive, grid.negative]
    lines = []
    for neuron in range(len(synapses)):
        text = "".join(map(str, synapses[neuron].tolist()))
        text += "".join(f"{int(field[core, neuron]) % half:0{rules.WIDTH}b}" for field in fields)
        text += f"{int(grid.subtract[core, neuron])}"
        text += "".join(f"{int(field[core, neuron]) % half:0{rules.WIDTH}b}" for field in (grid.dx, grid.dy))
        text += f"{int(grid.axon[core, neuron]):0{bits}b}{int(grid.delay[core, neuron]):0{rules.DELAY}b}"
        lines.append(text)
    return lines


def read_words(path: Path, base: int) -> list[int]:
    """The words of a memory file, in hexadecimal or binary; InputError for what is none."""
    sniff(path)
    lines = (line.partition("//")[0].strip() for line in path.read_text().splitlines())
    try:
        return [int(line, base) for line in lines if line]
    except ValueError as error:
        raise InputError(f"this is no memory file: {error}", where=str(path)) from None
