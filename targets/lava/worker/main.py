"""The command line of an exported program: plays spikes into its processes, on a board or in Lava's simulation.

Spikes come as ``.npz`` with the array ``spikes``, whole numbers (samples, steps, *shape), C order; an input of k
delivers k times its weights. What is found goes into another: an array per layer, by name, bool (samples, steps,
*shape), or of a layer that is read out by its membrane int32. All of it is in the time of the network: a layer
answers in the step of its input.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lava.magma.core.run_conditions import RunSteps
from snnc_lava import board
from snnc_lava.blocks import Block, Net, failures
from snnc_lava.board import Refused
from snnc_lava.taps import Player, Recorder

Build = Callable[..., Net]


class Failed(Exception):
    """A process of Lava failed; the message is its traceback."""


def main(build: Build, arguments: Sequence[str] | None = None) -> None:
    """Run the processes that `build(steps, samples, message_bits)` makes, as the command line says."""
    options = _parser().parse_args(arguments)
    try:
        if not options.output.absolute().parent.is_dir():
            raise Refused(f"there is no folder {options.output.absolute().parent} to write to")
        spikes = _spikes(options)
        found, where = run(build, spikes, options)
    except Refused as error:
        sys.exit(f"error: {error}")
    except Failed as error:
        sys.exit(f"{error}\nerror: a process of Lava failed, see above")
    _save(options.output, found)
    for name, values in found.items():
        what = "" if values.dtype == bool else ", membranes"
        print(f"{name}: {int(values.sum()):,} spikes" if not what else f"{name}{what}")
    print(f"{where}: {len(spikes)} samples x {spikes.shape[1]} steps -> {options.output}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Run this network in Lava: on Loihi 2 where there is one, else on CPU."
    )
    parser.add_argument("spikes", type=Path, help="an .npz with 'spikes', (samples, steps, *shape of the input)")
    parser.add_argument("--output", "-o", type=Path, required=True, help="the .npz to write")
    parser.add_argument("--record", nargs="+", default=[], metavar="LAYER", help="layers to write besides the outputs")
    parser.add_argument("--steps", type=int, help="only so many steps of each sample")
    parser.add_argument("--sample", type=int, help="only this sample, counted from 0")
    hardware = parser.add_argument_group("Loihi 2")
    hardware.add_argument("--partition", help="of SLURM, from which to take a board")
    hardware.add_argument("--board", help="of SLURM, to take no other")
    hardware.add_argument("--generation", help="of the chip (default: N3B3)")
    hardware.add_argument("--power", action="store_true", help="measure power, time, memory and activity")
    return parser


def _spikes(options: argparse.Namespace) -> np.ndarray:
    """The spikes that were asked for, (samples, steps, *shape)."""
    try:
        with np.load(options.spikes, allow_pickle=False) as file:
            spikes = np.asarray(file["spikes"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise Refused(f"{options.spikes} is no .npz with an array 'spikes': {error}") from None
    if spikes.ndim < 3 or 0 in spikes.shape:
        raise Refused(f"spikes must be (samples, steps, *shape) and not empty, got {spikes.shape}")
    if spikes.dtype.kind not in "buif" or not np.array_equal(spikes, np.rint(spikes)):
        raise Refused("spikes must be whole numbers; threshold or round them first")
    samples, steps = spikes.shape[:2]
    if options.sample is not None:
        if not 0 <= options.sample < samples:
            raise Refused(f"there is no sample {options.sample}; there are {samples}, counted from 0")
        spikes = spikes[options.sample : options.sample + 1]
    if options.steps is not None:
        if not 0 < options.steps <= steps:
            raise Refused(f"--steps {options.steps}: the samples have {steps} steps")
        spikes = spikes[:, : options.steps]
    return spikes


def run(build: Build, spikes: np.ndarray, options: argparse.Namespace) -> tuple[dict[str, np.ndarray], str]:
    """What was found, by name, and in words where it ran."""
    samples, steps = spikes.shape[:2]
    binary = bool(np.isin(spikes, (0, 1)).all())
    bits = 0 if binary else 24
    place = board.find(options.partition, options.board, options.generation, power=options.power)
    net = build(steps, samples, bits)
    _check(net, spikes, options.record)
    place.check(net, samples)
    wanted = [b for b in net.blocks if b.name in {*net.outputs, *options.record}]
    rows = samples * steps
    with tempfile.TemporaryDirectory(prefix="snnc-lava-") as name:
        folder = Path(name)
        np.save(folder / "spikes.npy", spikes.reshape(rows, *spikes.shape[2:]).astype(np.uint8 if binary else np.int32))
        player = Player(shape=net.shape, path=str(folder / "spikes.npy"))
        place.feed(player.s_out, net, bits)
        for k, block in enumerate(wanted):
            if not block.membrane:
                _record(place, block, folder / f"{k}.npy", rows)
        total = rows + max(block.late for block in net.blocks)
        membranes = _play(player, place.config(total), total, [b for b in wanted if b.membrane])
        place.report()
        found = {}
        for k, block in enumerate(wanted):
            values = membranes[block.name][block.late :][:rows] if block.membrane else np.load(folder / f"{k}.npy")
            shape = block.shape or tuple(block.out.shape)[::-1]
            found[block.name] = np.asarray(values).reshape(samples, steps, *shape)
    return found, place.words


def _save(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """An .npz of arrays by any name, of which np.savez keeps some for itself; whole or not there."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, values in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, values, allow_pickle=False)
    unfinished.replace(path)


def _check(net: Net, spikes: np.ndarray, record: Sequence[str]) -> None:
    shape = net.shaped or tuple(net.shape)[::-1]
    if spikes.shape[2:] != shape:
        raise Refused(f"the spikes have shape {spikes.shape[2:]} per step, the input {shape}")
    if _largest(spikes) > net.largest:
        more = "sums may overflow in Lava" if net.largest > 1 else "this network takes no values in Lava"
        raise Refused(f"the input holds {_largest(spikes):.0f}; beyond {net.largest} {more}")
    names = [block.name for block in net.blocks]
    for name in record:
        if name not in names:
            raise Refused(f"there is no layer '{name}'; there are {', '.join(names)}")


def _largest(spikes: np.ndarray) -> float:
    return max(-float(spikes.min()), float(spikes.max()))


def _record(place: Any, block: Block, path: Path, rows: int) -> None:
    shape = tuple(int(n) for n in block.out.shape)
    np.lib.format.open_memmap(path, "w+", np.bool_, (rows, *shape[::-1])).flush()
    place.read(block.out).connect(Recorder(shape=shape, path=str(path), first=block.late).a_in)


def _play(player: Player, config: Any, total: int, watched: Sequence[Block]) -> dict[str, np.ndarray]:
    """Run `total` steps; v of the blocks to watch after each of them, (steps, *shape reversed)."""
    seen: dict[str, list[np.ndarray]] = {block.name: [] for block in watched}
    for _ in range(total if watched else 1):
        try:
            player.run(condition=RunSteps(num_steps=1 if watched else total), run_cfg=config)
        except RuntimeError as error:
            raise Failed(next(iter(failures(player)), str(error))) from error
        for block in watched:
            seen[block.name].append(block.neurons.v.get().T.astype(np.int32))
    player.stop()
    return {name: np.stack(values) for name, values in seen.items()}
