"""Small networks of IF neurons for chips with a clock, and slow models of such chips that read their memory files."""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from snnc import families
from snnc.crossbars import memories
from snnc.network import Network, Population, Projection, Semantics
from snnc.ops import Linear, canonical

ODIN, RANC = families.load("tinyodin"), families.load("ranc")


def neurons(name: str, size: int, threshold: object = 1.0, reset: str = "zero", compare: str = ">=") -> Population:
    """IF neurons of gain 1."""
    one = np.ones(size)
    params = {"r": one, "v_threshold": np.broadcast_to(threshold, size).astype(float), "v_reset": 0 * one}
    return Population(name, (size,), "if", params, Semantics(reset, compare))


def synapses(pre: str, post: str, weight: np.ndarray, bias: np.ndarray | None = None, delay: int = 0) -> Projection:
    return Projection(f"{pre}-{post}", pre, post, (Linear(canonical(weight.astype(float)), bias),), delay)


def network(*parts: Population | Projection, size: int, name: str = "small") -> Network:
    """Populations and projections behind an input of a size; the last population is read out."""
    populations = tuple(p for p in parts if isinstance(p, Population))
    projections = tuple(p for p in parts if isinstance(p, Projection))
    return Network((Population("in", (size,), "input"), *populations), projections, (populations[-1].name,), 1e-3, name)


def mlp(*sizes: int, seed: int = 0, reset: str = "zero", bias: bool = False) -> Network:
    """Layers of random weights, h1, h2, ..."""
    rng = np.random.default_rng(seed)
    parts: list[Population | Projection] = []
    for k, (before, size) in enumerate(pairwise(sizes), 1):
        parts.append(neurons(f"h{k}", size, reset=reset))
        added = rng.normal(0, 0.05, size) if bias else None
        weight = rng.normal(0.1, 0.4, (size, before))
        parts.append(synapses("in" if k == 1 else f"h{k - 1}", f"h{k}", weight, added))
    return network(*parts, size=sizes[0])


@st.composite
def networks(draw: st.DrawFn, resets: tuple[str, ...] = ("zero",)) -> Network:
    """One to three layers with any of: whole weights, biases, recurrence, short cuts, both comparisons."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    sizes = draw(st.lists(st.integers(1, 7), min_size=2, max_size=4))
    density = draw(st.sampled_from([0.4, 1.0]))

    def weight(out: int, into: int) -> np.ndarray:
        whole = draw(st.booleans())
        values = rng.integers(-7, 8, (out, into)) / 8 if whole else rng.normal(0.1, 0.4, (out, into))
        return values * (rng.random((out, into)) < density)

    parts: list[Population | Projection] = []
    names = ["in", *(f"h{k}" for k in range(1, len(sizes)))]
    for k in range(1, len(sizes)):
        compare, reset = draw(st.sampled_from([">", ">="])), draw(st.sampled_from(resets))
        parts.append(neurons(names[k], sizes[k], rng.uniform(0.5, 2.0, sizes[k]), reset, compare))
        bias = rng.normal(0, 0.1, sizes[k]) if draw(st.booleans()) else None
        first = weight(sizes[k], sizes[k - 1])
        first[0, 0] = 0.5  # a layer without synapses is refused
        parts.append(synapses(names[k - 1], names[k], first, bias))
        if draw(st.booleans()):
            parts.append(synapses(names[k], names[k], -np.abs(weight(sizes[k], sizes[k]))))
        if k > 1 and draw(st.booleans()):
            parts.append(synapses(names[k - 2], names[k], weight(sizes[k], sizes[k - 2])))
    return network(*parts, size=sizes[0])


def trains(net: Network, samples: int = 3, steps: int = 12, rate: float = 0.4, seed: int = 0) -> np.ndarray:
    """Random spikes, uint8 (samples, steps, inputs)."""
    rng = np.random.default_rng(seed)
    return (rng.random((samples, steps, net.inputs[0].size)) < rate).astype(np.uint8)


def signed(word: int, bits: int) -> int:
    """The low bits of a word as a number with sign."""
    word &= (1 << bits) - 1
    return word - (1 << bits) if word >> (bits - 1) else word


class SlowCrossbar:
    """One core, event after event, in plain Python, from the files that its Verilog loads. It knows no cycles."""

    def __init__(self, folder: Path) -> None:
        words = memories.read_words(folder / "neurons.hex", 16)
        self.disabled = [word >> 31 for word in words]
        self.leak = [word >> 24 & 127 for word in words]
        self.threshold = [word >> 12 & 4095 for word in words]
        self.v = [signed(word, 12) for word in words]
        self.rows = memories.read_words(folder / "synapses.hex", 16)
        writes = [line.split() for line in (folder / "spi.hex").read_text().splitlines()[:4]]
        self.open_loop, self.last = int(writes[1][1], 16), int(writes[3][1], 16)
        self.queue: deque[int] = deque()
        self.lost = 0

    def step(self, events: list[int]) -> list[int]:
        """Work off events and all that come of them; returns the neurons that spiked, in order.

        Between two events that are worked off, one is taken in, if there is one and there is room.
        """
        spikes: list[int] = []
        left = deque(events)
        while left or self.queue:
            if left and len(self.queue) < 128:
                event = left.popleft()
                if event == 0x1FF:
                    for n in range(self.last + 1):
                        v = self.v[n]
                        self.v[n] = max(0, v - self.leak[n]) if v > 0 else min(0, v + self.leak[n])
                    continue
                self.queue.append(event)
            event = self.queue[0]
            for n in range(self.last + 1):
                weight = signed(self.rows[event * 32 + n // 8] >> 4 * (n % 8), 4)
                v = max(-2048, min(2047, self.v[n] + weight))
                if v >= 0 and v >= self.threshold[n]:
                    v = 0
                    if not self.disabled[n]:
                        spikes.append(n)
                        if not self.open_loop and len(self.queue) == 128:
                            self.lost += 1
                        elif not self.open_loop:
                            self.queue.append(n)
                self.v[n] = v
            self.queue.popleft()
        return spikes


class SlowGrid:
    """Cores in ticks, in plain Python, from the files that their Verilog loads. Packets take no time."""

    def __init__(self, folder: Path, columns: int, port: int) -> None:
        self.columns, self.port = columns, port
        self.types, self.neurons = {}, {}
        for path in sorted(folder.glob("tc_*.mem")):
            core = int(path.stem[3:])
            self.types[core] = memories.read_words(path, 2)
            self.neurons[core] = [_neuron(line) for line in (folder / f"csram_{core:03d}.mem").read_text().split()]
        self.v = {core: [n["potential"] for n in rows] for core, rows in self.neurons.items()}
        self.waiting: dict[tuple[int, int], set[int]] = {}  # (tick, core) -> axons

    def send(self, core: int, dx: int, dy: int, axon: int, tick: int) -> int | None:
        """Deliver a packet for a tick; returns the axon if it left the chip."""
        to = core + dx + self.columns * dy
        if to == self.port:
            return axon
        self.waiting.setdefault((tick, to), set()).add(axon)
        return None

    def tick(self, now: int) -> tuple[list[tuple[int, int]], list[int]]:
        """One pass of all cores: (core, neuron) of spikes, and the axons of packets that left the chip."""
        spikes, left = [], []
        for core, rows in self.neurons.items():
            axons = self.waiting.pop((now, core), set())
            for k, n in enumerate(rows):
                v = self.v[core][k] + n["leak"]
                v += sum(n["weights"][self.types[core][a]] for a in axons if n["synapses"][-1 - a] == "1")
                v = signed(v, 9)
                if v >= n["positive"]:
                    v = signed(v - n["positive"], 9) if n["mode"] else n["reset"]
                    spikes.append((core, k))
                    out = self.send(core, n["dx"], n["dy"], n["axon"], now + 1 + n["delay"])
                    left += [] if out is None else [out]
                elif v < n["negative"]:
                    v = signed(v - n["negative"], 9) if n["mode"] else -n["reset"]
                self.v[core][k] = v
        return spikes, left


def _neuron(line: str) -> dict:
    """The fields of a word of the core's memory, 256 axons."""
    fields: dict = {"synapses": line[:256]}
    at = 256

    def take(bits: int) -> str:
        nonlocal at
        at += bits
        return line[at - bits : at]

    for name in ("potential", "reset", "w0", "w1", "w2", "w3", "leak", "positive", "negative"):
        fields[name] = signed(int(take(9), 2), 9)
    fields["mode"] = int(take(1), 2)
    fields["dx"], fields["dy"] = (signed(int(take(9), 2), 9) for _ in range(2))
    fields["axon"], fields["delay"] = int(take(8), 2), int(take(4), 2)
    assert at == len(line) == 368
    fields["weights"] = [fields[f"w{k}"] for k in range(4)]
    return fields
