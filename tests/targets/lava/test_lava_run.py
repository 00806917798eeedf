"""Reference and engine equal Lava's bit-accurate CPU models, spike for spike, in every layer."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from integer_chains import chain, conv, dense, layer, spikes

from snnc.compare import compare
from snnc.errors import InputError, UsageError
from snnc.network import Network, Projection
from snnc.ops import Linear
from snnc.samples import Samples
from snnc.simulator import reference, simulate
from snnc.simulator.reference import RANGE, step
from snnc.targets.lava import dialogue, netx, run
from snnc.targets.lava.dialogue import LavaError

Rng = np.random.Generator
Build = Callable[[Rng], Network]


def mlp(rng: Rng) -> Network:
    return chain(
        (60,),
        (dense(rng.integers(-127, 128, (40, 60))), {"threshold": 300}),
        (dense(rng.integers(-127, 128, (30, 40))), {"threshold": 250}),
        (dense(rng.integers(-127, 128, (10, 30))), {"threshold": 150}),
    )


def mlp_bias(rng: Rng) -> Network:
    return chain(
        (60,),
        (dense(rng.integers(-127, 128, (40, 60))), {"bias": rng.integers(-200, 200, 40)}),
        (dense(rng.integers(-127, 128, (10, 40))), {"bias": rng.integers(-4096, 4096, 10), "threshold": 1000}),
    )


def mlp_wide_even(rng: Rng) -> Network:
    """Mixed signs beyond seven bits: even weights only."""
    return chain(
        (60,),
        (dense(2 * rng.integers(-128, 128, (40, 60))), {"threshold": 300}),
        (dense(2 * rng.integers(-128, 128, (10, 40))), {"threshold": 300}),
    )


def mlp_few_levels(rng: Rng) -> Network:
    """Weights that share powers of two, which netx turns into fewer bits and an exponent."""
    return chain(
        (60,),
        (dense(16 * rng.integers(-3, 4, (40, 60))), {"threshold": 100}),
        (dense(rng.integers(-1, 2, (30, 40))), {"threshold": 2}),
        (dense(64 * rng.integers(0, 2, (10, 30))), {"threshold": 300}),
    )


def strided_conv(rng: Rng) -> Network:
    """Kernels, strides and paddings that differ between rows and columns, and groups."""
    return chain(
        (2, 11, 14),
        (
            conv(rng.integers(-100, 128, (6, 2, 3, 5)), stride=(2, 1), padding=(1, 2)),
            {"threshold": 300, "bias": np.arange(-30, 30, 10)[:, None, None]},
        ),
        (conv(rng.integers(-100, 128, (4, 3, 3, 3)), stride=(2, 2), padding=(1, 0), groups=2), {"threshold": 400}),
    )


def dilated_conv(rng: Rng) -> Network:
    return chain(
        (3, 12, 9),
        (conv(rng.integers(-100, 128, (4, 3, 3, 2)), dilation=(2, 3), padding=(0, 1)), {"threshold": 250}),
        (conv(rng.integers(-100, 128, (5, 4, 2, 2)), stride=(1, 2)), {"threshold": 250}),
    )


def conv_line(rng: Rng) -> Network:
    """Convolutions in one dimension, of images of one row."""
    options = {"line": True, "padding": (0, 2), "stride": (1, 2)}
    return chain(
        (3, 20),
        (conv(rng.integers(-100, 128, (4, 3, 1, 5)), **options), {"threshold": 200, "bias": np.arange(4)[:, None] * 9}),
        (conv(rng.integers(-100, 128, (6, 2, 1, 3)), line=True, groups=2), {"threshold": 120}),
        (dense(rng.integers(-100, 128, (7, 48))), {"threshold": 60}),
    )


def conv_neuron_bias(rng: Rng) -> Network:
    """A bias per neuron, as a convolution with folded padding may have."""
    return chain(
        (2, 6, 5),
        (conv(rng.integers(-127, 128, (3, 2, 3, 3)), padding=(1, 1)), {"bias": rng.integers(-60, 120, (3, 6, 5))}),
    )


def conv_dense(rng: Rng) -> Network:
    return chain(
        (2, 8, 6),
        (conv(rng.integers(-100, 128, (4, 2, 3, 3)), stride=(2, 2)), {"threshold": 200}),
        (dense(rng.integers(-127, 128, (20, 4 * 3 * 2))), {"threshold": 200}),
        (dense(rng.integers(-127, 128, (10, 20))), {"threshold": 150}),
    )


def image_dense(rng: Rng) -> Network:
    """Dense layers straight on an image, without a convolution."""
    return chain(
        (2, 5, 4),
        (dense(rng.integers(-127, 128, (20, 40))), {}),
        (dense(rng.integers(-127, 128, (10, 20))), {}),
    )


def fused_pool(rng: Rng) -> Network:
    """A depthwise kernel of 4 with stride 2: a convolution into which a pooling was folded."""
    return chain(
        (2, 13, 13),
        (conv(rng.integers(-20, 60, (2, 1, 4, 4)), stride=(2, 2), groups=2), {"threshold": 150}),
        (conv(rng.integers(-100, 128, (4, 2, 4, 4)), stride=(2, 2), padding=(1, 1)), {"threshold": 200}),
        (dense(rng.integers(-127, 128, (5, 16))), {"threshold": 100}),
    )


def cuba(rng: Rng) -> Network:
    params = {"u_decay": 1024, "v_decay": 400}
    return chain(
        (60,),
        (dense(rng.integers(-100, 110, (40, 60))), {**params, "threshold": 900}),
        (dense(rng.integers(-100, 110, (10, 40))), {**params, "threshold": 500}),
    )


def cuba_conv(rng: Rng) -> Network:
    params = {"u_decay": 700, "v_decay": 1, "threshold": 2000}
    return chain(
        (2, 8, 8),
        (conv(rng.integers(-100, 128, (4, 2, 3, 3)), padding=(1, 1)), params),
        (dense(rng.integers(-100, 110, (10, 256))), params),
    )


def integrate_fire(rng: Rng) -> Network:
    return chain(
        (60,),
        (dense(rng.integers(-100, 110, (40, 60))), {"v_decay": 0, "threshold": 500}),
        (dense(rng.integers(-100, 110, (10, 40))), {"v_decay": 0, "threshold": 300}),
    )


def no_memory(rng: Rng) -> Network:
    return chain(
        (60,),
        (dense(rng.integers(-100, 110, (40, 60))), {"v_decay": 4096}),
        (dense(rng.integers(-100, 110, (10, 40))), {"v_decay": 4096}),
    )


def pruned(rng: Rng) -> Network:
    def ticket(shape: tuple[int, int]) -> np.ndarray:
        return rng.integers(-127, 128, shape) * (rng.random(shape) < 0.1)

    return chain((200,), (dense(ticket((80, 200))), {"threshold": 120}), (dense(ticket((10, 80))), {"threshold": 60}))


def excitatory(rng: Rng) -> Network:
    return chain(
        (60,),
        (dense(rng.integers(0, 256, (40, 60))), {"threshold": 1500}),
        (dense(rng.integers(1, 200, (10, 40))), {"threshold": 1600}),
    )


def inhibitory(rng: Rng) -> Network:
    """Nowhere positive, minimum not a power of two; spikes come from the bias."""
    return chain(
        (60,),
        (dense(rng.integers(-101, 1, (40, 60))), {"bias": 700, "threshold": 500}),
        (dense(rng.integers(-255, 0, (10, 40))), {"bias": 4000, "threshold": 2500}),
    )


def saturating(rng: Rng) -> Network:
    """Integrators whose v runs into both ends of its range; some spike at the top."""
    weight = np.where(np.arange(40)[:, None] % 2, 254, -256) * (rng.random((40, 600)) < 0.9)
    return chain(
        (600,),
        (dense(weight), {"v_decay": 0, "u_decay": 4096, "threshold": (1 << 17) - 1, "bias": 4095}),
        (dense(rng.integers(-100, 128, (10, 40))), {"threshold": 500}),
    )


def wrapping(rng: Rng) -> Network:
    """Integrated currents beyond 2^23, where u changes sign."""
    return chain(
        (600,),
        (dense(rng.integers(0, 256, (40, 600))), {"u_decay": 0, "v_decay": 4096, "threshold": 60_000}),
        (dense(rng.integers(-100, 128, (10, 40))), {"threshold": 300}),
    )


def delayed(rng: Rng) -> Network:
    """A delay of a whole layer, and delays that differ from synapse to synapse."""
    made = mlp(rng)
    first, second, third = made.projections
    steps = rng.choice([0, 3, 7], second.op.weight.shape)
    parts = tuple(
        replace(second, name=f"p2@{k}", delay=int(k), ops=(dense(second.op.weight.toarray() * (steps == k)),))
        for k in np.unique(steps)
    )
    return replace(made, projections=(replace(first, delay=2), *parts, third))


def recurrent(rng: Rng) -> Network:
    """Loops behind an image and behind a dense layer; the second has weights of one sign, scaled by the first's."""
    made = chain(
        (2, 5, 4),
        (dense(rng.integers(-100, 110, (30, 40))), {"u_decay": 1024, "v_decay": 400, "threshold": 900, "bias": 3}),
        (dense(rng.integers(0, 60, (20, 30))), {"threshold": 300}),
        (dense(rng.integers(-100, 128, (10, 20))), {"threshold": 150}),
    )
    loops = (
        Projection("loop1", "l1", "l1", (dense(rng.integers(-127, 128, (30, 30))),)),
        Projection("loop2", "l2", "l2", (dense(rng.integers(-63, 1, (20, 20))),)),
    )
    return replace(made, projections=(*made.projections, *loops))


def values_in(rng: Rng) -> Network:
    """Neurons that the input feeds without synapses, as netx has them behind an image."""
    made = chain(
        (2, 5, 4),
        (conv(rng.integers(-100, 128, (3, 2, 3, 2))), {"threshold": 100}),
        (dense(rng.integers(-100, 128, (6, 27))), {"threshold": 90}),
    )
    values = layer("values", (2, 5, 4), threshold=1, v_decay=1000)
    first, *others = made.projections
    into = Projection("p0", "in", "values", (dense(np.eye(40)),))
    return replace(
        made,
        populations=(made["in"], values, *made.layers),
        projections=(into, replace(first, pre="values"), *others),
    )


def values_in_line(rng: Rng) -> Network:
    """The same behind 40 inputs in a row."""
    return chain(
        (40,),
        (dense(np.eye(40)), {"threshold": 1, "u_decay": 2000}),
        (dense(rng.integers(-100, 128, (10, 40))), {"threshold": 90}),
    )


APART = (delayed, recurrent)
"""Networks in which spikes of one sample could reach the next: each of their samples is a run of Lava of its own."""

CASES: dict[str, tuple[Build, float, int, bool]] = {
    # name: (network, input rate, steps, Lava's Sparse process)
    "mlp": (mlp, 0.2, 12, False),
    "mlp-sparse-process": (mlp, 0.2, 12, True),
    "mlp-bias": (mlp_bias, 0.2, 9, False),
    "mlp-one-step": (mlp_bias, 0.3, 1, False),
    "mlp-even-weights": (mlp_wide_even, 0.2, 8, False),
    "mlp-few-levels": (mlp_few_levels, 0.2, 8, False),
    "mlp-few-levels-sparse": (mlp_few_levels, 0.2, 8, True),
    "conv-strided": (strided_conv, 0.2, 8, False),
    "conv-dilated": (dilated_conv, 0.2, 8, False),
    "conv-line": (conv_line, 0.3, 10, False),
    "conv-neuron-bias": (conv_neuron_bias, 0.1, 8, False),
    "conv-dense": (conv_dense, 0.3, 10, False),
    "conv-dense-sparse": (conv_dense, 0.3, 10, True),
    "image-dense": (image_dense, 0.2, 8, False),
    "fused-pool": (fused_pool, 0.2, 10, False),
    "cuba": (cuba, 0.1, 16, False),
    "cuba-conv": (cuba_conv, 0.1, 16, False),
    "if": (integrate_fire, 0.1, 12, False),
    "no-memory": (no_memory, 0.2, 8, False),
    "pruned": (pruned, 0.2, 10, True),
    "excitatory": (excitatory, 0.2, 8, False),
    "inhibitory": (inhibitory, 0.2, 10, False),
    "saturating": (saturating, 0.9, 6, False),
    "wrapping": (wrapping, 0.9, 14, False),
    "delayed": (delayed, 0.2, 16, False),
    "delayed-sparse": (delayed, 0.2, 16, True),
    "values-in": (values_in, 0.6, 9, False),
    "values-in-line": (values_in_line, 0.6, 9, False),
    "recurrent": (recurrent, 0.2, 16, False),
    "recurrent-sparse": (recurrent, 0.2, 16, True),
}


@pytest.mark.parametrize("case", CASES)
def test_every_layer_equals_lava(case: str, lava: Path) -> None:
    build, rate, steps, sparse = CASES[case]
    rng = np.random.default_rng(sum(case.encode()))
    network = build(rng)
    data = Samples(spikes(rng, 2 if build in APART else 6, steps, network["in"].shape, rate))
    theirs = run(network, data, timeout=120, sparse=sparse)
    assert list(theirs) == [p.name for p in network.layers]
    ours = reference.simulate(network, data.spikes)
    for executor in (ours, simulate(network, data, rasters=list(theirs)).rasters):
        result = compare(executor, theirs)
        assert result.first is None, f"{result.first}; differing {result.differing}"
    for name in theirs:  # equal silence, or equal constant fire, would prove little
        assert ours[name].sum() >= 10, (name, result.spikes)
        assert not ours[name].all(), name


@pytest.mark.parametrize(("case", "register"), [("saturating", "v"), ("wrapping", "u")])
def test_the_extreme_cases_are_extreme(case: str, register: str) -> None:
    build, rate, steps, _ = CASES[case]
    rng = np.random.default_rng(sum(case.encode()))
    network = build(rng)
    data = spikes(rng, 6, steps, network["in"].shape, rate)
    op = network.projections[0].ops[0]
    assert isinstance(op, Linear)
    params = {name: value.astype(np.int64) for name, value in network["l1"].params.items()}
    u = v = np.zeros((6, 40), np.int64)
    lowest, highest, wraps = 0, 0, 0
    for t in range(steps):
        before = u
        u, v, fired = step(params, u, v, data[:, t].astype(np.int64) @ op.weight.astype(np.int64).T)
        lowest, highest = min(lowest, v.min()), max(highest, int(fired.sum()))
        wraps += int(((before > 0) & (u < 0)).sum())
    if register == "v":  # fires only above its threshold of 2^23 - 64, so at the upper end of its range
        assert lowest == -RANGE + 1
        assert highest > 0
    else:  # only positive weights: u turns negative by wrapping
        assert wraps > 0


def small() -> tuple[Network, Samples]:
    rng = np.random.default_rng(0)
    return mlp(rng), Samples(spikes(rng, 4, 6, (60,), 0.2))


def test_progress_counts_to_the_end(lava: Path) -> None:
    network, data = small()
    seen: list[tuple[int, int]] = []
    run(network, data, progress=lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (24, 24)


def test_samples_must_fit_the_input() -> None:
    network, _ = small()
    with pytest.raises(InputError, match="shape"):
        run(network, Samples(np.ones((1, 2, 59), np.uint8)))


def test_time_is_limited(lava: Path) -> None:
    network, data = small()
    with pytest.raises(UsageError, match=r"no sign of life within 0\.2 s"):
        run(network, data, timeout=0.2)


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf")])
def test_a_time_limit_is_positive(timeout: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNNC_LAVA_PYTHON", sys.executable)
    network, data = small()
    with pytest.raises(UsageError, match="positive"):
        run(network, data, timeout=timeout)


def test_a_python_without_lava_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNNC_LAVA_PYTHON", sys.executable)
    network, data = small()
    with pytest.raises(LavaError, match="No module named 'lava'") as caught:
        run(network, data)
    assert "snnc lava setup" in caught.value.fix


def test_a_failure_inside_lava_is_reported_with_its_cause(lava: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export = netx.export

    def spoil(network: Network, path: Path, steps: int) -> None:
        export(network, path, steps)
        with h5py.File(path, "r+") as file:
            del file["layer/1/neuron/type"]
            file["layer/1/neuron/type"] = np.array([b"ALIF"])

    monkeypatch.setattr(netx, "export", spoil)
    network, data = small()
    with pytest.raises(LavaError, match="AttributeError") as caught:
        run(network, data)
    assert any("hdf5.py" in note for note in caught.value.__notes__)


def test_a_worker_that_dies_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho 'Segmentation fault' >&2\nexit 139\n")
    program.chmod(0o755)
    monkeypatch.setenv("SNNC_LAVA_PYTHON", str(program))
    network, data = small()
    with pytest.raises(LavaError, match="Segmentation fault"):
        run(network, data)


def test_nothing_runs_on_after_a_time_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that ignores the request to end, with a child, is ended by force."""
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\ntrap '' TERM\necho $$ > {tmp_path}/pid\nsleep 600 &\nwhile :; do sleep 1; done\n")
    program.chmod(0o755)
    monkeypatch.setenv("SNNC_LAVA_PYTHON", str(program))
    monkeypatch.setattr(dialogue, "GRACE", 0.2)
    network, data = small()
    with pytest.raises(UsageError, match="no sign of life"):
        run(network, data, timeout=1)
    group = int((tmp_path / "pid").read_text())
    # What was killed stays visible until init has collected it.
    for _ in range(100):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("a process of the worker still runs")
