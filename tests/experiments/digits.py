"""Lottery tickets on scikit-learn digits: ``python -m tests.experiments.digits`` (a quarter of an hour on two cores).

Writes its part of docs/numbers.md. Accuracy is on the test split, which nothing
was chosen by; mean and spread are over seeds of the training.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import snnc
from snnc import datasets, models, pipeline, report, runs, tickets
from snnc import target as chips
from snnc.compilation import Options
from snnc.network import Network
from snnc.report import Side
from snnc.samples import Samples, accuracy
from snnc.simulator import simulate
from snnc.simulator.floating.batches import counts
from snnc.targets.lava import environment
from snnc.verification import verify
from tests.benchmarks import executors, timing
from tests.experiments import page

SEEDS = (0, 1, 2)
SPARSITIES = (0.9, 0.95, 0.98)
CHIPS = ("loihi", "loihi2")
BITS = (8, 7, 6, 5, 4, 3, 2, 1)
# Of these, the widths at which there is enough to recover.
TUNED = (4, 3, 2, 1)


def main() -> None:
    """Run everything and write the page."""
    environment.require()  # minutes before it is needed
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = [_tickets(folder, seed) for seed in SEEDS]
        rows = [
            *_accuracy(found),
            *_compiled(folder),
            *_widths(folder),
            *_equality(folder),
            *_speed(folder),
        ]
    head = ["scikit-learn digits, 8 steps, rate code; network 64-256-256-10 of leaky neurons (`mlp`).", ""]
    page.put("digits", "Tickets on digits", head + rows, time.perf_counter() - begin)


def _tickets(folder: Path, seed: int) -> dict[str, float]:
    """Test accuracy of the tickets of one seed, and of the random masks of the sparsest."""
    found = {}
    for sparsity in SPARSITIES:
        out = folder / f"ticket-{sparsity}-{seed}.pt"
        checkpoint = tickets.find(models.recipe("mlp"), sparsity=sparsity, seed=seed, out=out)
        found[f"{sparsity}"] = checkpoint.accuracy["test"]
        found["dense"] = checkpoint.parent.accuracy
    for control in tickets.CONTROLS:
        out = folder / f"{control}-{seed}.pt"
        checkpoint = tickets.find(models.recipe("mlp"), sparsity=SPARSITIES[-1], control=control, seed=seed, out=out)
        found[control] = checkpoint.accuracy["test"]
    return found


def _accuracy(found: list[dict[str, float]]) -> list[str]:
    names = {"dense": "dense"} | {f"{s}": f"ticket, {s:.0%} pruned" for s in SPARSITIES}
    names |= {
        "reinit": f"same places, new weights, {SPARSITIES[-1]:.0%}",
        "random-mask": f"random places, {SPARSITIES[-1]:.0%}",
    }
    rows = ["### Lottery tickets", "", f"Test accuracy of the float network, {len(SEEDS)} seeds, 450 samples.", ""]
    rows += ["| network | mean | spread |", "|---|---|---|"]
    for key, label in names.items():
        values = [100 * f[key] for f in found]
        rows.append(f"| {label} | {statistics.mean(values):.1f} % | {min(values):.1f} .. {max(values):.1f} |")
    return [*rows, ""]


def _figures(
    path: Path, chip: str, *, parent: bool = False, bits: int = 8, finetune: bool = False
) -> tuple[Side, dict[str, Any]]:
    """Compile as `snnc compile` does and run the test split: figures, and what the passes found."""
    network = snnc.load(path, parent=parent)
    calibration, test = datasets.samples("digits", "validation"), datasets.samples("digits", "test")
    tune = tickets.tuner(path) if finetune else None
    options = Options(bits=bits)
    image = pipeline.compile(network, chips.load(chip), samples=calibration, options=options, tune=tune).image
    return report.side(image, simulate(image, test)), image.provenance["passes"]


def _compiled(folder: Path) -> list[str]:
    rows = [
        "### Compiled",
        "",
        "Seed 0, 8 bits, test split, means per sample. Energy and time of loihi2 are assumed.",
        "",
    ]
    rows += [
        "| chip | network | accuracy | cores | synaptic memory | SynOps | time | energy |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for chip in CHIPS:
        cases = [("dense", folder / f"ticket-{SPARSITIES[0]}-0.pt", True)]
        cases += [(f"{s:.0%} pruned", folder / f"ticket-{s}-0.pt", False) for s in SPARSITIES]
        for label, path, parent in cases:
            side, _ = _figures(path, chip, parent=parent)
            assert side.accuracy is not None
            rows.append(
                f"| {chip} | {label} | {side.accuracy:.1%} | {side.cores} | {side.synapse_bits / 8192:.1f} KiB "
                f"| {side.synops:,.0f} | {side.time_ns / 1e3:.1f} us | {side.energy_pj / 1e3:,.0f} nJ |"
            )
    return [*rows, ""]


def _widths(folder: Path) -> list[str]:
    rows = [
        "### Weight width",
        "",
        f"Tickets, 95 % pruned, loihi, test split, means of {len(SEEDS)} seeds; losses in points against the float "
        f"networks. Fine-tuned: with `--finetune`, {tickets.EPOCHS} epochs on the training split, of which the best on "
        "the validation split is kept.",
        "",
        "| bits | float | quantised | loss | fine-tuned | loss | weights that rounded to zero | synaptic memory |",
        "|---|---|---|---|---|---|---|---|",
    ]
    paths = [folder / f"ticket-0.95-{seed}.pt" for seed in SEEDS]
    test = datasets.samples("digits", "test")
    floats = statistics.mean(_float_accuracy(snnc.load(path), test) for path in paths)
    for bits in BITS:
        sides, found = zip(*(_figures(path, "loihi", bits=bits) for path in paths), strict=True)
        ours = statistics.mean(side.accuracy for side in sides)
        zeros = statistics.mean(sum(n["rounded_to_zero"] for n in f["quantize"]["layers"]) for f in found)
        memory = statistics.mean(side.synapse_bits for side in sides) / 8192
        tuned, left = "", ""
        if bits in TUNED:
            again = [_figures(path, "loihi", bits=bits, finetune=True)[0].accuracy or 0.0 for path in paths]
            tuned, left = f"{statistics.mean(again):.1%}", f"{100 * (floats - statistics.mean(again)):.1f}"
        rows.append(
            f"| {bits} | {floats:.1%} | {ours:.1%} | {100 * (floats - ours):.1f} | {tuned} | {left} "
            f"| {zeros:,.0f} | {memory:.1f} KiB |"
        )
    return [*rows, ""]


def _float_accuracy(network: Network, test: Samples) -> float:
    (output,) = network.outputs
    totals = counts(network, {network.inputs[0].name: test.spikes}, [output])[output]
    assert test.labels is not None
    return accuracy(totals, test.labels)


def _equality(folder: Path) -> list[str]:
    rows = ["### Equal to Lava", "", "Spikes of all layers, Lava `fixed_pt` on the CPU, all 450 test samples.", ""]
    rows += ["| network | spikes | differing |", "|---|---|---|"]
    test = datasets.samples("digits", "test")
    for sparsity in SPARSITIES:
        image = snnc.compile(snnc.load(folder / f"ticket-{sparsity}-0.pt"), "loihi")
        found = runs.verdict(verify(image, test, on="lava"), "lava")
        rows.append(f"| ticket, {sparsity:.0%} pruned | {found['spikes']:,} | {found['differing']} |")
    return [*rows, ""]


def _speed(folder: Path) -> list[str]:
    image = snnc.compile(snnc.load(folder / "ticket-0.95-0.pt"), "loihi")
    timings = executors.measure(image, datasets.samples("digits", "test").first(100))
    text = f"Ticket, 95 % pruned, 100 samples x 8 steps, {timing.ROUNDS} rounds in turn."
    return ["### Speed", "", text, "", *timing.table(timings, executors.UNIT)]


if __name__ == "__main__":
    main()
