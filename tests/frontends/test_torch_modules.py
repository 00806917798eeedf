"""Modules as people write them become networks that spike alike: 100 steps, float64, every layer.

The module is run by itself, with nothing of ours between its layers but a cast: the surrogates of snntorch
answer in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import snntorch as snn
import torch
from snn_modules import MODULES, STEPS, B, Late, Pair, Tutorial
from torch import Tensor, nn

import snnc
from snnc.errors import InputError
from snnc.frontends import nir
from snnc.network import Network, identical
from snnc.simulator.floating import simulate


@contextmanager
def in_float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


def spikes_of(module: nn.Module, inputs: list[Tensor]) -> dict[str, np.ndarray]:
    """Spikes of every layer of neurons, name -> bool (batch, steps, *shape). A module of one step is called for
    each of `inputs`' leading axis."""
    found: dict[str, list[np.ndarray]] = {}
    hooks = []
    module = module.double().eval()
    for name, layer in module.named_modules():
        if isinstance(layer, snn.SpikingNeuron):
            layer.spike_grad = lambda x, f=layer.spike_grad: f(x).double()
            found[name] = []
            hooks.append(
                layer.register_forward_hook(
                    lambda m, i, o, k=name: found[k].append((o[0] if isinstance(o, tuple) else o).numpy() != 0)
                )
            )
            layer.reset_mem()
    with in_float64(), torch.no_grad():
        single = [x for x in inputs if len(x) == STEPS and x.ndim > 1] and isinstance(module, MODULES_OF_ONE_STEP)
        if single:
            for now in inputs[0]:
                module(now)
        else:
            module(*inputs)
    for hook in hooks:
        hook.remove()
    return {name: np.stack(steps, axis=1) for name, steps in found.items()}


MODULES_OF_ONE_STEP = (type(MODULES["residual"]()[0]),)


def drive(case: str, network: Network) -> tuple[list[Tensor], dict[str, np.ndarray]]:
    """Random spikes for the module, and the same for the network, (batch, steps, *shape)."""
    torch.manual_seed(2)
    _, examples = MODULES[case]()
    names = [p.name for p in network.inputs]
    if case == "static":
        inputs = [torch.rand(examples[0].shape).double() * 2]
        return inputs, {names[0]: np.repeat(inputs[0].numpy()[:, None], STEPS, axis=1)}
    if case == "residual":
        inputs = [(torch.rand(STEPS, *examples[0].shape) < 0.4).double()]
        return inputs, {names[0]: inputs[0].numpy().swapaxes(0, 1)}
    inputs = [(torch.rand(e.shape) < 0.4).double() for e in examples]
    time_first = inputs[0].shape[0] == STEPS
    return inputs, {
        name: x.numpy().swapaxes(0, 1) if time_first else x.numpy() for name, x in zip(names, inputs, strict=True)
    }


@pytest.mark.parametrize("case", MODULES)
def test_the_network_spikes_as_the_module_does(case: str) -> None:
    torch.manual_seed(1)
    module, examples = MODULES[case]()
    excite(module)
    network = snnc.load(module, examples if len(examples) > 1 else examples[0])
    inputs, fed = drive(case, network)
    theirs = spikes_of(module, inputs)
    ours = simulate(network, fed)
    assert {p.name for p in network.populations if p.neuron in ("if", "lif", "cuba_lif")} == set(theirs)
    for name, raster in theirs.items():
        assert raster.shape[:2] == (B, STEPS)
        np.testing.assert_array_equal(ours[name], raster, err_msg=name)
        assert 0.01 < raster.mean() < 0.95, name


def excite(module: nn.Module) -> None:
    """Fresh weights leave deep layers silent: make them larger, and positive on average."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if "weight" in name and parameter.ndim > 1 and "recurrent" not in name and "own" not in name:
                parameter.mul_(2).add_(1.5 / parameter[0].numel())


@pytest.mark.parametrize("case", ["leaky subtract", "rsynaptic zero", "residual", "by hand", "whole", "pair", "late"])
def test_it_goes_through_nir_unchanged(case: str, tmp_path: Any) -> None:
    torch.manual_seed(1)
    module, examples = MODULES[case]()
    network = snnc.load(module, examples if len(examples) > 1 else examples[0])
    nir.write(network, tmp_path / "net.nir")
    again = nir.read(tmp_path / "net.nir")
    assert identical(network, again)
    nir.write(again, tmp_path / "again.nir")
    assert (tmp_path / "net.nir").read_bytes() == (tmp_path / "again.nir").read_bytes()


def test_the_module_is_left_as_it_was() -> None:
    torch.manual_seed(0)
    module, (example,) = MODULES["pruned"]()
    module.train()
    before = {k: v.clone() for k, v in module.state_dict().items()}
    dtypes = {k: v.dtype for k, v in before.items()}
    snnc.load(module, example)
    assert module.training
    for name, tensor in module.state_dict().items():
        assert tensor.dtype == dtypes[name]
        assert torch.equal(tensor, before[name])
    assert torch.get_default_dtype() == torch.float32
    assert not any(m._forward_hooks for m in module.modules())


def test_pruned_weights_are_absent_and_keep_their_type() -> None:
    torch.manual_seed(0)
    module, (example,) = MODULES["pruned"]()
    first, second = (p.ops[0] for p in snnc.load(module, example).projections)
    assert first.weight.nnz == int(module.fc1.weight_mask.sum())
    assert second.weight.nnz == int(torch.count_nonzero(module.fc2.weight))
    assert first.weight.dtype == np.float32


def test_shapes_are_enough_where_a_module_says_the_rest() -> None:
    """Time first, time second, and one step per call are told apart by what the module does."""
    torch.manual_seed(0)
    for case, shape in (("leaky zero", (12,)), ("by hand", (12,)), ("residual", (2, 6, 8))):
        module, (example,) = MODULES[case]()
        assert identical(snnc.load(module, shape=shape), snnc.load(module, example))


def test_layers_in_a_row_need_no_run() -> None:
    torch.manual_seed(0)
    hidden = {"init_hidden": True, "reset_mechanism": "zero"}
    row = nn.Sequential(
        nn.Flatten(),
        nn.Linear(12, 9),
        snn.Leaky(0.9, graded_spikes_factor=0.3, **hidden),
        nn.Sequential(nn.Linear(9, 9), snn.RLeaky(0.8, linear_features=9, **hidden)),
        snn.Synaptic(0.5, 0.8, **hidden),
        nn.Linear(9, 7),
        snn.RSynaptic(0.5, 0.8, all_to_all=False, V=0.2, **hidden),
        nn.Linear(7, 5),
        snn.Lapicque(0.7, **hidden),
    )
    excite(row)
    read, run = snnc.load(row, shape=(3, 4)), snnc.load(row, torch.rand(B, 3, 4))
    spikes = np.random.default_rng(0).random((B, STEPS, 3, 4)) < 0.4
    ours, theirs = simulate(read, spikes), simulate(run, spikes)
    for a, b in zip(read.layers, run.layers, strict=True):
        np.testing.assert_array_equal(ours[a.name], theirs[b.name])
        assert 0.01 < ours[a.name].mean() < 0.99, a.name


def test_delays_and_several_inputs_and_outputs() -> None:
    torch.manual_seed(0)
    late = snnc.load(Late(), torch.rand(9, 2, 12))
    assert [p.delay for p in late.projections] == [0, 2]
    pair = snnc.load(Pair(), [torch.rand(9, 2, 5), torch.rand(9, 2, 1, 3, 3)])
    assert [(p.name, p.shape) for p in pair.inputs] == [("sound", (5,)), ("image", (1, 3, 3))]
    assert pair.outputs == ("one", "two")


def test_what_is_returned_beside_the_last_layer_is_no_output(caplog: pytest.LogCaptureFixture) -> None:
    class Both(Tutorial):
        def forward(self, x: Tensor) -> Any:
            mem1, mem2, out = self.lif1.reset_mem(), self.lif2.reset_mem(), []
            for now in x:
                spk1, mem1 = self.lif1(self.fc1(now), mem1)
                spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
                out += [spk1, spk2]
            return out

    with caplog.at_level("INFO", "snnc"):
        network = snnc.load(Both(lambda n: snn.Leaky(0.9)), torch.rand(9, 2, 12))
    assert network.outputs == ("lif2",)
    assert "returns 'lif1', too" in caplog.text


# --- what is refused -------------------------------------------------------------------------------


class Broken(nn.Module):
    """fc1, lif1, something, fc2, lif2."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(12, 8), nn.Linear(8, 4)
        self.lif1, self.lif2 = snn.Leaky(0.9), snn.Leaky(0.9)
        self.pool, self.extra = nn.MaxPool1d(2), nn.Parameter(torch.ones(8))

    def between(self, spk: Tensor, mem: Tensor, step: int) -> Tensor:
        return spk

    def forward(self, x: Tensor) -> Tensor:
        mem1, mem2, out = self.lif1.reset_mem(), self.lif2.reset_mem(), []
        for step, now in enumerate(x):
            spk, mem1 = self.lif1(self.fc1(now), mem1)
            spk, mem2 = self.lif2(self.fc2(self.between(spk, mem1, step)), mem2)
            out.append(spk)
        return torch.stack(out)


BETWEEN = {
    "a function": (lambda s, spk, mem, t: torch.relu(spk), "'relu' on the way to it"),
    "a constant": (lambda s, spk, mem, t: spk + s.extra, "a constant is added"),
    "the membrane": (lambda s, spk, mem, t: mem, "receives the membrane of 'lif1'"),
    "cat": (lambda s, spk, mem, t: torch.cat([spk[:, :4], spk[:, 4:]], 1), "side by side|'__getitem__'"),
    "a product": (lambda s, spk, mem, t: spk * spk, "'mul' on the way to it"),
    "a choice": (lambda s, spk, mem, t: spk if t % 2 else 2 * spk, "made differently in steps"),
    "a swap": (lambda s, spk, mem, t: spk.flip(1), "'flip' on the way to it"),
    "a layer": (lambda s, spk, mem, t: s.pool(spk.repeat(1, 2)), "'repeat' on the way|MaxPool1d are not supported"),
}


@pytest.mark.parametrize("case", BETWEEN)
def test_what_no_network_can_express_is_refused(case: str) -> None:
    function, message = BETWEEN[case]
    kind = type("Made", (Broken,), {"between": function})
    with pytest.raises(InputError, match=message) as caught:
        snnc.load(kind(), torch.rand(6, 2, 12))
    assert caught.value.where.startswith("lif2 (Leaky)")


class Hidden(nn.Module):
    """Does something behind the recorder's back in the fifth of nine steps."""

    def __init__(self, tamper: Callable[[Any, Tensor, Tensor], object]) -> None:
        super().__init__()
        self.fc, self.lif, self.tamper = nn.Linear(12, 4), snn.Leaky(0.9), tamper

    def forward(self, x: Tensor) -> Tensor:
        mem, out = self.lif.reset_mem(), []
        for step, now in enumerate(x):
            spk, mem = self.lif(self.fc(now), mem)
            if step == 4:
                self.tamper(self, spk, mem)
            out.append(spk)
        return torch.stack(out)


class Choosy(Hidden):
    """Does something else for strong inputs."""

    def __init__(self) -> None:
        super().__init__(lambda *_: None)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(-x if 0.5 < x.mean() < 1 else x)


def tutorial() -> nn.Module:
    return Tutorial(lambda n: snn.Leaky(0.9))


@pytest.mark.parametrize(
    ("make", "example", "where", "message"),
    [
        (lambda: Hidden(lambda m, s, v: v.data.mul_(0.5)), (9, 2, 12), "lif", "not its own of the step before"),
        (lambda: Hidden(lambda m, s, v: v.mul_(0.5)), (9, 2, 12), "lif", "not its own of the step before"),
        (lambda: Hidden(lambda m, s, v: m.lif.threshold.mul_(2)), (9, 2, 12), "lif", "spikes otherwise than"),
        (lambda: Hidden(lambda m, s, v: m.fc.weight.neg_()), (9, 2, 12), "lif", "spikes otherwise than"),
        (Choosy, (9, 2, 12), "lif", "spikes otherwise than"),
        (lambda: nn.Linear(3, 2), (4, 3), "Linear", "no layer of neurons was called"),
        (tutorial, (2, 3, 12), "Tutorial", "2 steps, too few"),
        (tutorial, (9, 12), "", "no batch axis|failed on the example"),
        (tutorial, (9, 3, 11), "Tutorial", "failed on the example"),
        (tutorial, None, "", "what Tutorial takes is not known"),
    ],
)
def test_modules_and_examples_that_do_not_do(
    make: Callable[[], nn.Module], example: tuple[int, ...] | None, where: str, message: str
) -> None:
    torch.manual_seed(0)
    module = make()
    with pytest.raises(InputError, match=message) as caught:
        snnc.load(module, None if example is None else torch.rand(example))
    assert caught.value.where.startswith(where)


def test_states_must_be_the_neurons_own() -> None:
    class Swapped(Tutorial):
        def forward(self, x: Tensor) -> Any:
            mem1, out = self.lif1.reset_mem(), []
            mem2 = mem1
            for now in x:
                spk1, mem1 = self.lif1(self.fc1(now), mem1)
                spk2, _mem2 = self.lif2(self.fc2(spk1), mem2 if len(out) == 0 else mem1)
                out.append(spk2)
            return out

    class Forgetful(Tutorial):
        def forward(self, x: Tensor) -> Any:
            out = []
            for now in x:
                spk, _ = self.lif1(self.fc1(now), self.lif1.reset_mem())
                out.append(spk)
            return out

    with pytest.raises(InputError, match="not its own of the step before") as caught:
        snnc.load(Swapped(lambda n: snn.Leaky(0.9), hidden=6), torch.rand(9, 2, 12))
    assert caught.value.where == "lif2"
    with pytest.raises(InputError, match="too few"):
        snnc.load(Forgetful(lambda n: snn.Leaky(0.9)), torch.rand(9, 2, 12))


def test_a_reset_that_snntorch_ignores_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """RSynaptic with reset_delay=False returns the membrane without its reset, and fails on states of reset_mem."""

    class Zeros(Tutorial):
        def __init__(self) -> None:
            super().__init__(lambda n: snn.RSynaptic(0.5, 0.8, linear_features=n, reset_delay=False))
            for lif, n in ((self.lif1, 20), (self.lif2, 6)):
                lif.reset_mem = lambda n=n: (torch.zeros(B, n),) * 3

    module, example = Zeros(), torch.rand(STEPS, B, 12)
    network = snnc.load(module, example)
    assert network["lif1"].semantics.when == "next"
    assert "ignores reset_delay=False of RSynaptic" in caplog.text
