"""The compiler for chips with a clock: a network in, an image out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, fields
from typing import Any

from snnc.compilation import Options
from snnc.crossbars import approximate, core, integers, rules, steps, tiles
from snnc.crossbars.image import NOWHERE, Image, widths
from snnc.errors import DoesNotFit, UsageError
from snnc.families import ClockedChip, CrossbarChip
from snnc.network import Network
from snnc.passes.trim import trim
from snnc.samples import Samples
from snnc.version import VERSION

# Of Options, those that say something here; the others are about a mesh.
KNOWN = ("bits", "max_drop", "approximate", "seed")

Progress = Callable[[str, int, int], None]


def compile(
    network: Network,
    chip: ClockedChip,
    *,
    samples: Samples | None = None,
    options: Options | None = None,
    provenance: dict[str, Any] | None = None,
    progress: Progress | None = None,
) -> Image:
    """Compile a network for a chip with a clock.

    samples: calibration data, for the units of the integers. provenance: plain data on the source. progress: called
    with (pass, index, passes). DoesNotFit, InputError; UsageError for options of another family.
    """
    options = options or Options()
    refuse(options)
    told = progress or (lambda name, index, count: None)
    if samples is not None and network.inputs:
        samples.expect(network.inputs[0].shape)
    told("check", 0, 4)
    lowered = rules.checked(network, chip, approximate=options.approximate)
    told("trim", 1, 4)
    trimmed = trim(lowered)
    if options.approximate:
        folded, changes = approximate.approximated(trimmed.network, chip, samples)
    else:
        folded, changes = integers.folded(trimmed.network), []
    if isinstance(chip, CrossbarChip) and (found := core.violations(folded, chip)):
        raise DoesNotFit(found)
    told("quantize", 2, 4)
    teacher, followed = None, 0
    if samples is not None:
        samples.require_integers()
        first = samples.first(integers.FOLLOWED)
        teacher, followed = steps.simulate(folded, first.spikes), len(first)
    whole, notes = integers.quantize(folded, widths(chip, options.bits), teacher)
    if found := list(rules.vanished(folded, whole, widths(chip, options.bits).threshold)):
        raise DoesNotFit(found)
    told("place", 3, 4)
    placement = NOWHERE if isinstance(chip, CrossbarChip) else tiles.place(whole, chip)
    log = {
        "approximate": {"asked": options.approximate, "layers": changes},
        "trim": {"silent": sum(trimmed.silent.values()), "unread": sum(trimmed.unread.values())},
        "quantize": {"layers": notes, "samples": followed},
    }
    record = {"snnc": VERSION, "source": provenance or {}, "options": asdict(options), "passes": log}
    return Image(whole, chip, placement, record)


def refuse(options: Options) -> None:
    """UsageError for options that mean nothing here."""
    usual = Options()
    for entry in fields(Options):
        if entry.name not in KNOWN and getattr(options, entry.name) != getattr(usual, entry.name):
            raise UsageError(
                f"--{entry.name} is for chips of a mesh, and this one is not", fix=f"leave out --{entry.name}"
            )
