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
        membrane = _states(current)
        for step, v in enumerate(membrane):
            if step:
                before = membrane[step - 1]
                torch.mul(torch.where(before > threshold, 0, before), beta, out=v).add_(current[step])
            else:
                v.copy_(current[step])
        ctx.save_for_backward(membrane, beta, threshold)
        ctx.slope = slope
        return (membrane > threshold).to(current.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        membrane, beta, threshold = ctx.saved_tensors
        onto = grad.to(membrane.dtype) * _slopes(membrane, threshold, ctx.slope)
        for step in range(len(onto) - 2, -1, -1):
            onto[step] += torch.where(membrane[step] > threshold, 0, onto[step + 1] * beta)
        return onto.to(grad.dtype), None, None, None


class _Synaptic(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, current: Tensor, alpha: Tensor, beta: Tensor, threshold: Tensor, slope: float) -> Tensor:
        membrane = _states(current)
        synapse = torch.zeros_like(current[0])  # of the type of the currents, as in snntorch
        for step, v in enumerate(membrane):
            synapse.mul_(alpha).add_(current[step])
            if step:
                before = membrane[step - 1]
                torch.mul(torch.where(before > threshold, 0, before), beta, out=v).add_(synapse)
            else:
                v.copy_(synapse)
        ctx.save_for_backward(membrane, alpha, beta, threshold)
        ctx.slope = slope
        return (membrane > threshold).to(current.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        membrane, alpha, beta, threshold = ctx.saved_tensors
        slopes = _slopes(membrane, threshold, ctx.slope)
        onto = grad.to(membrane.dtype) * slopes  # v; below it becomes what arrives at i
        onto_v = onto[-1].clone()
        for step in range(len(onto) - 2, -1, -1):
            v, onto_m = membrane[step], onto_v * beta
            onto_v = onto[step] + torch.where(v > threshold, 0, onto_m) - onto_m * v * slopes[step]
            torch.mul(onto[step + 1], alpha, out=onto[step]).add_(onto_v)
        return onto.to(grad.dtype), None, None, None, None


def _states(current: Tensor) -> Tensor:
    """Room for the membranes of all steps."""
    return torch.empty_like(current, dtype=torch.promote_types(current.dtype, torch.float32))


def _slopes(membrane: Tensor, threshold: Tensor, slope: float) -> Tensor:
    return (membrane - threshold).abs_().mul_(slope).add_(1.0).square_().reciprocal_()
