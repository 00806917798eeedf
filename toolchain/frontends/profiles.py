"""What the frameworks mean by a NIR file: one profile each.

NIR describes neurons in continuous time. A framework that reads or writes it has a step, a reset, an
order of updates and a few habits, none of which the file tells. A profile states them, as
:class:`snnc.network.Semantics` of each neuron and what becomes of recurrent biases. Where the meaning
depends on the framework's class of neuron, so does the profile.

Each is compared with the framework itself, spike for spike (``tests/differential``). Habits that
contradict the file are not followed: that norse and sinabs ignore `r`, say, or that norse resets to 0
whatever v_reset is. But spyx writes a decay into `r` of its own files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from snnc.errors import UsageError
from snnc.frontends.assembly import LoopBias
from snnc.network import Semantics

RESETS = ("zero", "subtract", "value")


@dataclass(frozen=True)
class Profile:
    """The habits of one framework.

    text: in a few words, for notes and documentation. semantics: (neuron model, whether it is in a loop) -> its
    semantics; a reset of "value" means v_reset, which is 0 in most files. loop_bias: see graph.build.
    dt: the step that its files imply, if they imply one. unit_gain: its neurons add what arrives as it is, whatever r
    and w_in its exporter wrote.
    """

    text: str
    semantics: Callable[[str, bool], Semantics]
    loop_bias: LoopBias = "always"
    dt: float | None = None
    unit_gain: bool = False


def _same(semantics: Semantics) -> Callable[[str, bool], Semantics]:
    return lambda neuron, looped: semantics


def _spyx(neuron: str, looped: bool) -> Semantics:
    """spyx.nn 1.0: LIF and IF subtract after the next leak, CuBaLIF before it, and all three in loops likewise.

    CuBaLIF of earlier releases subtracted both times, which 1.0 calls an error.
    """
    when = "next" if neuron in ("if", "lif") else "now"
    return Semantics("subtract", when=when, output="next")


def _sinabs(neuron: str, looped: bool) -> Semantics:
    """sinabs.layers: IAF as its NIR import builds it, with min_v_mem = -threshold; LIF without a minimum."""
    floor = "threshold" if neuron == "if" else "none"
    return Semantics("subtract", ">=", spikes="many", floor=floor, decay="exponential")


PROFILES: dict[str, Profile] = {
    "nir": Profile(
        "forward Euler, spikes above v_threshold, reset to v_reset",
        _same(Semantics("value")),
    ),
    "snntorch": Profile(
        "reset by subtraction as with reset_delay=False",
        _same(Semantics("subtract", when="recheck")),
    ),
    "norse": Profile(
        "reset to v_reset, the membrane starts at v_leak, no recurrent bias in step 0",
        _same(Semantics("value", start="leak")),
        "late",
    ),
    "sinabs": Profile(
        "several spikes per step at v >= v_threshold, each subtracting it; exponential decay; tau counts steps; "
        "no recurrent bias in step 0",
        _sinabs,
        "late",
        dt=1.0,
    ),
    "spyx": Profile(
        "reset by subtraction, spikes leave one step late; what arrives is added as it is",
        _spyx,
        unit_gain=True,
    ),
    "lava-dl": Profile(
        "SLAYER's fixed-point CUBA, reset to zero, no recurrent bias",
        _same(Semantics("zero", arithmetic="slayer")),
        "never",
    ),
    "spikingjelly": Profile(
        "spikes at v >= v_threshold, reset to v_reset, where the membrane also starts; no recurrent bias in step 0",
        _same(Semantics("value", ">=", start="reset", gain="time")),
        "late",
    ),
}


def profile(name: str) -> Profile:
    """The profile of that name, or UsageError."""
    if name not in PROFILES:
        raise UsageError(f"there are no semantics '{name}'", fix=f"choose one of {', '.join(PROFILES)}")
    return PROFILES[name]
