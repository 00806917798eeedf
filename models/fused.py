"""All steps of a population in one node of torch's graph: forward and backward through time, written by hand.

A loop over snntorch modules makes some ten nodes of each step; here a step is three operations, and only the
membranes are kept for the way back. The equations, with H the step function, theta the threshold, g the
derivative that stands for H's, and o what a step puts out, are those of ``snntorch._neurons`` 1.0.0:

leaky (Leaky to zero)::

    v[t] = beta v[t-1] (1 - o[t-1]) + x[t]        o[t] = H(v[t] - theta)

    The reset is detached. d/dv[t] = do[t] g(v[t] - theta) + beta (1 - o[t]) d/dv[t+1],  d/dx = d/dv

synaptic (Synaptic to zero, ``reset_delay=False``)::

    i[t] = alpha i[t-1] + x[t]    v[t] = beta m[t-1] + i[t]    o[t] = H(v[t] - theta)    m[t] = v[t] - o[t] v[t]

    The reset is not detached: m depends on v through o, too. With d/dm[t] = beta d/dv[t+1],
    d/dv[t] = (do[t] - v[t] d/dm[t]) g(v[t] - theta) + (1 - o[t]) d/dm[t],
    d/dx[t] = d/di[t] = d/dv[t] + alpha d/di[t+1]

As in snntorch membranes are float32 at least, whatever the current is; thresholds are not negative.
"""

from __future__ import annotations

from typing import Any

import torch
from snntorch import surrogate
from torch import Tensor
from torch.autograd.function import once_differentiable


class FastSigmoid:
    """Spikes where its argument is positive; the derivative is that of x / (1 + slope |x|), as snntorch has it."""

    def __init__(self, slope: float) -> None:
        self.slope = slope
        self._spike = surrogate.fast_sigmoid(slope)

    def __call__(self, x: Tensor) -> Tensor:
        spikes: Tensor = self._spike(x)
        return spikes


def leaky(current: Tensor, beta: Tensor, threshold: Tensor, slope: float) -> Tensor:
    """Spikes from rest for currents (steps, batch, ...), of the type of the currents; beta, threshold: constants."""
    spikes: Tensor = _Leaky.apply(current, beta, threshold, slope)
    return spikes


def synaptic(current: Tensor, alpha: Tensor, beta: Tensor, threshold: Tensor, slope: float) -> Tensor:
    """The same with a synapse that keeps alpha of its current per step."""
    spikes: Tensor = _Synaptic.apply(current, alpha, beta, threshold, slope)
    return spikes


class _Leaky(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, current: Tensor, beta: Tensor, threshold: Tensor, slope: float) -> Tensor:
        membrane, spikes = _room(current)
        kept = torch.zeros_like(membrane[0])
        for x, v, o in zip(current, membrane, spikes, strict=True):
            torch.mul(kept, beta, out=v).add_(x)
            torch.gt(v, threshold, out=o)
            torch.addcmul(v, v, o, value=-1, out=kept)
        ctx.save_for_backward(membrane, spikes, beta, threshold)
        ctx.slope = slope
        return spikes.to(current.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        membrane, spikes, beta, threshold = ctx.saved_tensors
        onto = _slopes(membrane, threshold, ctx.slope).mul_(grad)
        passed = 1.0 - spikes
        for step in range(len(onto) - 2, -1, -1):
            onto[step].addcmul_(onto[step + 1] * beta, passed[step])
        return onto.to(grad.dtype), None, None, None


class _Synaptic(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, current: Tensor, alpha: Tensor, beta: Tensor, threshold: Tensor, slope: float) -> Tensor:
        membrane, spikes = _room(current)
        kept = torch.zeros_like(membrane[0])
        synapse = torch.zeros_like(current[0])  # of the type of the currents, as in snntorch
        for x, v, o in zip(current, membrane, spikes, strict=True):
            synapse.mul_(alpha).add_(x)
            torch.mul(kept, beta, out=v).add_(synapse)
            torch.gt(v, threshold, out=o)
            torch.addcmul(v, v, o, value=-1, out=kept)
        ctx.save_for_backward(membrane, spikes, alpha, beta, threshold)
        ctx.slope = slope
        return spikes.to(current.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        membrane, spikes, alpha, beta, threshold = ctx.saved_tensors
        slopes = _slopes(membrane, threshold, ctx.slope)
        onto = slopes * grad  # v; below it becomes what arrives at i
        # d m / d v, with the way through the spike.
        passed = torch.mul(membrane, slopes, out=slopes).add_(spikes).neg_().add_(1.0)
        onto_v = onto[-1].clone()
        for step in range(len(onto) - 2, -1, -1):
            onto_v.mul_(beta).mul_(passed[step]).add_(onto[step])
            torch.mul(onto[step + 1], alpha, out=onto[step]).add_(onto_v)
        return onto.to(grad.dtype), None, None, None, None


def _room(current: Tensor) -> tuple[Tensor, Tensor]:
    """For membranes and spikes of all steps; spikes are numbers, for torch is slow with truth values on CPUs."""
    membrane = torch.empty_like(current, dtype=torch.promote_types(current.dtype, torch.float32))
    return membrane, torch.empty_like(membrane)


def _slopes(membrane: Tensor, threshold: Tensor, slope: float) -> Tensor:
    return (membrane - threshold).abs_().mul_(slope).add_(1.0).square_().reciprocal_()
