"""Neurons of snntorch 1.0 -> neurons of a network, with the moment at which each class resets.

The equations are those of ``snntorch._neurons``. With r = [v > threshold] of the step before and v* the
membrane after leak and input:

============================  ================  ================  =========================
class                         subtract          zero              with ``reset_delay=False``
============================  ================  ================  =========================
Leaky                         v* - r threshold  v* from v (1-r)   subtract: see "recheck" in
Synaptic, RLeaky, RSynaptic   v* - r threshold  v* (1-r)          :class:`snnc.network.Semantics`;
Lapicque                      v* - r threshold  v* (1-r)          zero: at once
============================  ================  ================  =========================

Leaky to zero is a reset at once in other words. RSynaptic of 1.0.0 computes a reset without delay and
throws it away. A decay of 1 becomes a time constant of 2^60 steps, which keeps everything in float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import snntorch as snn
import torch
from torch import Tensor, nn

from snnc.errors import InputError
from snnc.frontends.graph import Neuron
from snnc.frontends.torch_layers import array, operation
from snnc.network import NEURONS as PARAMETERS
from snnc.network import Semantics
from snnc.ops import Op, Scale, Shape

NEURONS = (snn.Leaky, snn.Synaptic, snn.RLeaky, snn.RSynaptic, snn.Lapicque)
NAMES = "Leaky, Synaptic, RLeaky, RSynaptic, Lapicque"
RECURRENT = (snn.RLeaky, snn.RSynaptic)
# Steps; 1 - 2^-60 is 1 in float64, and powers of two cancel exactly.
FOREVER = 2.0**60


@dataclass(frozen=True, eq=False)
class Layer:
    """What a snntorch neuron is in a network.

    recurrent: the operation from its spikes back to its input, or None. scale: factor of its spikes (graded_spikes),
    or None. warning: something the user should know, or "".
    """

    neuron: Neuron
    recurrent: Op | None
    scale: Scale | None
    warning: str = ""


def states(layer: nn.Module) -> tuple[str, ...]:
    """Names of the state tensors of a neuron in the order in which forward takes and returns them."""
    names = ["mem"]
    if isinstance(layer, (snn.Synaptic, snn.RSynaptic)):
        names.insert(0, "syn")
    if isinstance(layer, RECURRENT):
        names.insert(0, "spk")
    return tuple(names)


def convert(layer: Any, shape: Shape, dt: float, where: str) -> Layer:
    """The neurons of a snntorch layer of `shape`; InputError naming `where` for what no network can express."""
    compare = _check(layer, where)
    threshold = _per_neuron(layer.threshold, shape, where, "threshold")
    if np.any(threshold < 0):
        raise InputError(f"the threshold {threshold.min():g} is negative", where=where)
    zero = np.zeros(shape)
    beta = _per_neuron(layer.beta.clamp(0, 1), shape, where, "beta")
    integrates = not isinstance(layer, snn.Lapicque) and bool(np.all(beta == 1))
    if isinstance(layer, (snn.Synaptic, snn.RSynaptic)):
        alpha = _per_neuron(layer.alpha.clamp(0, 1), shape, where, "alpha")
        tau_syn, tau_mem = _tau(alpha, dt), _tau(beta, dt)
        params = {"tau_syn": tau_syn, "tau_mem": tau_mem, "r": tau_mem / dt, "v_leak": zero, "w_in": tau_syn / dt}
        kind = "cuba_lif"
    elif isinstance(layer, snn.Lapicque):
        resistance, capacity, step = (
            _per_neuron(t, shape, where, name) for t, name in ((layer.R, "R"), (layer.C, "C"), (layer.time_step, "dt"))
        )
        params = {"tau": resistance * capacity * dt / step, "r": resistance, "v_leak": zero}
        kind = "lif"
    elif integrates:
        params, kind = {"r": np.ones(shape)}, "if"
    else:
        tau = _tau(beta, dt)
        params, kind = {"tau": tau, "r": tau / dt, "v_leak": zero}, "lif"
    how, warning = _reset(layer, compare, integrates=kind == "if")
    params |= {"v_threshold": threshold, "v_reset": zero}
    return Layer(
        Neuron(kind, {name: params[name] for name in PARAMETERS[kind]}, how),
        _recurrent(layer, shape, where),
        _graded(layer, shape, where),
        warning,
    )


def _tau(decay: np.ndarray, dt: float) -> np.ndarray:
    """Time constants of decays per step; what never decays gets a very long one."""
    return dt * np.where(decay == 1, FOREVER, 1 / np.where(decay == 1, 1.0, 1 - decay))


def _reset(layer: Any, compare: str, *, integrates: bool) -> tuple[Semantics, str]:
    """How a neuron resets, and a warning where snntorch does not do what it was asked."""
    kind = layer.reset_mechanism
    delayed = bool(getattr(layer, "reset_delay", True))
    warning = ""
    if isinstance(layer, snn.RSynaptic) and not delayed:
        warning = "snntorch 1.0.0 ignores reset_delay=False of RSynaptic; the network does as the module does"
        delayed = True
    if kind == "none":
        return Semantics("none", compare), warning
    if kind == "zero":
        at_once = type(layer) is snn.Leaky or not delayed
        return Semantics("zero", compare, when="now" if at_once else "next"), warning
    if not delayed:
        return Semantics("subtract", compare, when="recheck"), warning
    # Without leak it makes no difference whether the threshold is taken off before or after it.
    return Semantics("subtract", compare, when="now" if integrates else "next"), warning


def _check(layer: Any, where: str) -> str:
    """Refuse what no neuron of a network does; returns how the layer compares."""
    if int(layer.reset_mechanism_val) != layer.reset_dict[layer.reset_mechanism]:
        raise InputError("its state dict is of a neuron with another reset mechanism", where=where)
    if layer.inhibition or layer.state_quant:
        raise InputError("inhibition and state_quant are not supported", where=where, fix="train without them")
    # Custom surrogates may spike at the threshold, at random, or not with 0 and 1.
    probe = torch.tensor([-2.0, -0.1, -1e-6, 0.0, 1e-6, 0.1, 2.0])
    with torch.no_grad():
        fired = [layer.spike_grad(probe).float().tolist() for _ in range(3)]
    for compare, at in ((">", 0.0), (">=", 1.0)):
        if all(f == [0.0, 0.0, 0.0, at, 1.0, 1.0, 1.0] for f in fired):
            return compare
    raise InputError(
        "its spike_grad does not spike where the membrane is above the threshold", where=where, fix="use another one"
    )


def _recurrent(layer: Any, shape: Shape, where: str) -> Op | None:
    if not isinstance(layer, RECURRENT):
        return None
    inner = f"{where}.recurrent"
    if layer.all_to_all:
        op = operation(layer.recurrent, shape, inner)
        if op.output_shape(shape) != shape:
            raise InputError(f"it turns {shape} into {op.output_shape(shape)}", where=inner)
        return op
    return Scale(_per_neuron(layer.recurrent.V, shape, inner, "V"))


def _graded(layer: Any, shape: Shape, where: str) -> Scale | None:
    factor = _per_neuron(layer.graded_spikes_factor, shape, where, "graded_spikes_factor")
    return None if np.all(factor == 1) else Scale(factor)


def _per_neuron(value: Tensor, shape: Shape, where: str, name: str) -> np.ndarray:
    values = array(value).astype(np.float64)
    if not np.all(np.isfinite(values)):
        raise InputError(f"{name} holds NaN or infinity", where=where)
    try:
        return np.broadcast_to(values, shape).copy()
    except ValueError:
        raise InputError(f"{name} has shape {values.shape}, the layer {shape}", where=where) from None
