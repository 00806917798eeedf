"""Convolutions, of images and of lines, and pooling."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from integer_chains import chain, conv, dense
from suite_case import Rng, case, mixed

from snnc.network import Network
from snnc.ops import Conv2d, Pool2d


@case("conv", rate=0.3)
def conv_plain(rng: Rng) -> Network:
    """Every window, no padding."""
    return chain(
        (2, 6, 7),
        (conv(rng.integers(-100, 128, (3, 2, 3, 3))), {"threshold": 200}),
        (conv(rng.integers(-100, 128, (2, 3, 2, 2))), {"threshold": 150}),
    )


@case("stride", "padding", "groups", "own biases", rate=0.25, quick=True)
def conv_strided(rng: Rng) -> Network:
    """Kernels, strides and paddings that differ between rows and columns, groups, and a bias per channel."""
    return chain(
        (2, 9, 10),
        (
            conv(rng.integers(-100, 128, (6, 2, 3, 5)), stride=(2, 1), padding=(1, 2)),
            {"threshold": 300, "bias": np.arange(-30, 30, 10)[:, None, None]},
        ),
        (conv(rng.integers(-100, 128, (4, 3, 3, 3)), stride=(2, 2), padding=(1, 0), groups=2), {"threshold": 300}),
    )


@case("dilation", "padding", rate=0.25)
def conv_dilated(rng: Rng) -> Network:
    """Kernels with gaps that differ between rows and columns."""
    return chain(
        (3, 9, 8),
        (conv(rng.integers(-100, 128, (4, 3, 3, 2)), dilation=(2, 3), padding=(0, 1)), {"threshold": 250}),
        (conv(rng.integers(-100, 128, (5, 4, 2, 2)), stride=(1, 2)), {"threshold": 200}),
    )


@case("dilation", "stride", "padding", "groups", rate=0.3)
def conv_everything(rng: Rng) -> Network:
    """Stride, padding, dilation and groups in one layer."""
    return chain(
        (4, 8, 7),
        (
            conv(mixed(rng, 6, 2, 3, 2), stride=(2, 1), padding=(2, 1), dilation=(2, 3), groups=2),
            {"threshold": 150, "u_decay": 800},
        ),
    )


@case("groups", rate=0.3)
def conv_depthwise(rng: Rng) -> Network:
    """A kernel for each channel alone, then one that mixes channels at each place."""
    return chain(
        (3, 6, 6),
        (conv(rng.integers(-60, 128, (3, 1, 3, 3)), groups=3), {"threshold": 150}),
        (conv(rng.integers(-60, 128, (5, 3, 1, 1))), {"threshold": 70}),
    )


@case("padding", rate=0.2)
def conv_wide_padding(rng: Rng) -> Network:
    """More padding than a kernel needs: windows that see nothing of the image."""
    return chain(
        (1, 4, 5),
        (conv(rng.integers(-60, 128, (2, 1, 2, 3)), padding=(3, 4)), {"threshold": 60, "bias": 9}),
    )


@case("conv", rate=0.3)
def conv_whole_image(rng: Rng) -> Network:
    """A kernel as large as the image: one place per channel, and a layer of one pixel behind it."""
    return chain(
        (2, 5, 4),
        (conv(mixed(rng, 12, 2, 5, 4)), {"threshold": 150}),
        (conv(mixed(rng, 6, 12, 1, 1)), {"threshold": 90}),
    )


@case("line", "padding", "stride", "groups", "flatten", rate=0.3, quick=True)
def conv_line(rng: Rng) -> Network:
    """Convolutions in one dimension, of images of one row."""
    return chain(
        (3, 20),
        (
            conv(rng.integers(-100, 128, (4, 3, 1, 5)), line=True, padding=(0, 2), stride=(1, 2)),
            {"threshold": 200, "bias": np.arange(4)[:, None] * 9},
        ),
        (conv(rng.integers(-100, 128, (6, 2, 1, 3)), line=True, groups=2), {"threshold": 120}),
        (dense(rng.integers(-100, 128, (7, 48))), {"threshold": 60}),
    )


@case("line", "dilation", rate=0.3)
def conv_line_dilated(rng: Rng) -> Network:
    """The same with gaps in the kernel."""
    return chain(
        (2, 18),
        (conv(rng.integers(-100, 128, (4, 2, 1, 3)), line=True, dilation=(1, 4), padding=(0, 4)), {"threshold": 100}),
        (conv(rng.integers(-100, 128, (3, 4, 1, 2)), line=True), {"threshold": 100}),
    )


@case("own biases", "padding", rate=0.1)
def conv_neuron_bias(rng: Rng) -> Network:
    """A bias per neuron, as a convolution with folded padding may have."""
    return chain(
        (2, 6, 5),
        (conv(mixed(rng, 3, 2, 3, 3), padding=(1, 1)), {"bias": rng.integers(-60, 120, (3, 6, 5))}),
    )


@case("conv", "flatten", rate=0.3, sparse=True, quick=True)
def conv_dense(rng: Rng) -> Network:
    """A convolution and dense layers behind it: the order in which images are flattened."""
    return chain(
        (2, 8, 6),
        (conv(rng.integers(-100, 128, (4, 2, 3, 3)), stride=(2, 2)), {"threshold": 200}),
        (dense(mixed(rng, 20, 24)), {"threshold": 200}),
        (dense(mixed(rng, 10, 20)), {"threshold": 120}),
    )


@case("conv", "cuba", rate=0.1, steps=16)
def conv_cuba(rng: Rng) -> Network:
    """Currents that decay, behind kernels."""
    params = {"u_decay": 700, "v_decay": 1, "threshold": 900}
    return chain(
        (2, 6, 6),
        (conv(rng.integers(-100, 128, (3, 2, 3, 3)), padding=(1, 1)), params),
        (dense(rng.integers(-100, 110, (10, 108))), params),
    )


@case("pool", "groups", rate=0.4, quick=True)
def sum_pool(rng: Rng) -> Network:
    """Sums over windows, as the compiler lowers them, into neurons of their own."""
    return chain(
        (3, 6, 8),
        (conv(rng.integers(-100, 128, (4, 3, 3, 3)), padding=(1, 1)), {"threshold": 150}),
        (pool(Pool2d("sum", (2, 2), (2, 2)), 4, 30), {"threshold": 40, "v_decay": 4096}),
        (dense(mixed(rng, 6, 48)), {"threshold": 90}),
    )


@case("pool", "stride", "padding", rate=0.3)
def padded_pool(rng: Rng) -> Network:
    """Windows that overlap, reach beyond the image and are not square."""
    return chain((2, 7, 6), (pool(Pool2d("sum", (3, 2), (2, 1), (1, 1)), 2, 21), {"threshold": 40}))


@case("groups", "stride", rate=0.3)
def fused_pool(rng: Rng) -> Network:
    """A depthwise kernel of 4 with stride 2: a convolution into which a pooling was folded."""
    return chain(
        (2, 13, 13),
        (conv(rng.integers(-20, 60, (2, 1, 4, 4)), stride=(2, 2), groups=2), {"threshold": 150}),
        (conv(rng.integers(-100, 128, (4, 2, 4, 4)), stride=(2, 2), padding=(1, 1)), {"threshold": 200}),
        (dense(mixed(rng, 5, 16)), {"threshold": 60}),
    )


def pool(op: Pool2d, channels: int, weight: int) -> Conv2d:
    """A pooling as a convolution of integers."""
    lowered = op.as_conv(channels)
    return replace(lowered, weight=(weight * lowered.weight).astype(np.int16))


@case("conv", "mixed", rate=0.3)
def conv_pruned(rng: Rng) -> Network:
    """Kernels with holes, and a channel without any tap."""
    kernel = mixed(rng, 4, 2, 3, 3) * (rng.random((4, 2, 3, 3)) < 0.3)
    kernel[1] = 0
    return chain(
        (2, 6, 6),
        (conv(kernel), {"threshold": 60, "bias": np.array([0, 30, 0, 0])[:, None, None]}),
        (conv(mixed(rng, 2, 4, 2, 2)), {"threshold": 60}),
    )


@case("conv", "all negative", "only -2^k", "bias", rate=0.3)
def conv_only_minus_64(rng: Rng) -> Network:
    """Every tap is -64, which convolutions compute rightly."""
    return chain(
        (2, 5, 5),
        (conv(np.full((3, 2, 2, 2), -64)), {"bias": 150, "threshold": 120}),
        (conv(mixed(rng, 2, 3, 2, 2)), {"threshold": 60}),
    )


@case("conv", "all zero", "bias", rate=0.3)
def conv_all_zero(rng: Rng) -> Network:
    """Kernels without a tap."""
    return chain(
        (2, 5, 5),
        (conv(np.zeros((3, 2, 2, 2))), {"bias": 50, "threshold": 120}),
        (conv(mixed(rng, 2, 3, 2, 2)), {"threshold": 60}),
    )


@case("conv", "all positive", "odd above 127", rate=0.3)
def conv_all_positive(rng: Rng) -> Network:
    """Taps up to 255."""
    return chain((2, 5, 5), (conv(rng.integers(1, 256, (3, 2, 2, 2))), {"threshold": 500}))


@case("conv", "odd above 127", "mixed", net="must be even", program="must be even", rate=0.3)
def conv_odd_above_127(rng: Rng) -> Network:
    """An odd tap beyond seven bits among taps of both signs."""
    kernel = mixed(rng, 3, 2, 2, 2)
    kernel[0, 0, 0, 0] = -201
    return chain((2, 5, 5), (conv(kernel), {}))


@case("conv", "saturates above", "saturates below", "wraps", rate=0.9, steps=14, samples=2)
def conv_extreme(rng: Rng) -> Network:
    """Kernels that drive currents and membranes beyond both ends."""
    kernel = np.where(np.arange(4)[:, None, None, None] % 2, 254, -256) * np.ones((4, 8, 5, 5), int)
    return chain(
        (8, 7, 6),
        (conv(kernel), {"u_decay": 0, "v_decay": 0, "threshold": (1 << 17) - 1}),
        (conv(mixed(rng, 3, 4, 2, 2)), {"threshold": 20}),
    )


@case("delayed conv", net="netx ignores such delays", rate=0.3, steps=12, quick=True)
def conv_delayed(rng: Rng) -> Network:
    """Kernels whose spikes arrive three steps later."""
    made = chain(
        (2, 6, 6),
        (conv(rng.integers(-100, 128, (3, 2, 3, 3))), {"threshold": 150}),
        (conv(rng.integers(-60, 128, (2, 3, 2, 2))), {"threshold": 60}),
    )
    first, second = made.projections
    return replace(made, projections=(replace(first, delay=3), replace(second, delay=1)))
