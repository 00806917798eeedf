"""A ``.pt`` in all forms in which people have it: read with the code of its model, or refused with the way out."""

from __future__ import annotations

import argparse
import collections
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import snnc
from snnc import frontends
from snnc.errors import InputError, UsageError
from snnc.frontends.reading import Reading
from snnc.network import identical

NETS = (
    (Path(__file__).parents[1] / "spiking_net.py").read_text()
    + """

def with_example():
    return Net(), torch.zeros(5, 1, 6)


class Nested:
    @staticmethod
    def make():
        return Net()


def row():
    layers = nn.Linear(6, 8), snn.Leaky(0.9, init_hidden=True), nn.Linear(8, 3), snn.Leaky(0.9, init_hidden=True)
    return nn.Sequential(*layers)


def broken():
    return Net(hiden=8)


def wide():
    return Net(hidden=9)


class Plain(nn.Linear):
    pass


number = 5
answer = lambda: 42
"""
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, in which the user's code lies."""
    (tmp_path / "mynets.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "mynets", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return tmp_path


@pytest.fixture
def module(folder: Path) -> nn.Module:
    import mynets

    torch.manual_seed(0)
    net: nn.Module = mynets.Net()
    with torch.no_grad():
        net.get_parameter("lif1.beta").fill_(0.7)
    return net


def prefixed(module: nn.Module, prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + name: tensor for name, tensor in module.state_dict().items()}


def training(module: nn.Module) -> dict[str, Any]:
    """A training checkpoint with what people put beside the weights."""
    optimizer = torch.optim.Adam(module.parameters())
    sum(p.sum() for p in module.parameters()).backward()  # type: ignore[union-attr]
    optimizer.step()
    return {
        "epoch": 7,
        "loss": np.float64(0.3),
        "best": np.float32(0.9),
        "args": argparse.Namespace(lr=1e-3, hidden=[8]),
        "optimizer_state_dict": optimizer.state_dict(),
        "history": collections.OrderedDict(loss=[1.0, 0.3]),
        "model_state_dict": module.state_dict(),
    }


FORMS: dict[str, Callable[[nn.Module], Any]] = {
    "state dict": lambda m: m.state_dict(),
    "plain dict": lambda m: dict(m.state_dict()),
    "training checkpoint": training,
    "lightning": lambda m: {"state_dict": prefixed(m, "model."), "pytorch-lightning_version": "2.0", "epoch": 3},
    # Another model in front of it, of which one tensor has a name of ours; the prefix that fits most is meant.
    "teacher": lambda m: {"teacher.fc1.weight": torch.ones(2, 2), **prefixed(m, "student.")},
    "data parallel": lambda m: prefixed(m, "module."),
    "compiled": lambda m: {"net": prefixed(m, "_orig_mod.module.")},
    "nested": lambda m: {"run": {"ema": {}, "weights": m.state_dict()}},
}


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_network_of_the_module(module: nn.Module, form: str, legacy: bool) -> None:
    made = FORMS[form](module)
    torch.save(made, "net.pt", _use_new_zipfile_serialization=not legacy)
    found, about = frontends.load(Path("net.pt"), Reading(model="mynets:Net", shape=(6,)))
    expected = snnc.load(module, torch.zeros(5, 1, 6))
    assert identical(replace(found, name=""), replace(expected, name=""))
    assert about["model"] == "mynets:Net"
    assert about["notes"] == []


@pytest.mark.parametrize("factory", ["mynets:with_example", "mynets:Nested.make"])
def test_a_factory_is_any_function_and_may_give_an_example(module: nn.Module, factory: str) -> None:
    torch.save(module.state_dict(), "net.pt")
    expected = snnc.load("net.pt", model="mynets:Net", shape=(6,))
    shape = None if "example" in factory else (6,)
    assert identical(snnc.load("net.pt", model=factory, shape=shape), expected)


def test_layers_in_a_row(module: nn.Module) -> None:
    import mynets

    row = mynets.row()
    torch.save(row.state_dict(), "row.pt")
    network = snnc.load("row.pt", model="mynets:row", shape=(6,))
    assert identical(replace(network, name=""), replace(snnc.load(row, shape=(6,)), name=""))


def saved_on_cuda(path: Path) -> None:
    """Change where the storages of a file say that they lay."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            if name.endswith("data.pkl"):
                content = content.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")
                assert b"cuda:0" in content
            archive.writestr(name, content)


def test_a_file_saved_on_a_gpu_needs_none(module: nn.Module) -> None:
    torch.save(module.state_dict(), "net.pt")
    expected = snnc.load("net.pt", model="mynets:Net", shape=(6,))
    saved_on_cuda(Path("net.pt"))
    assert identical(snnc.load("net.pt", model="mynets:Net", shape=(6,)), expected)


def test_states_of_neurons_in_the_file_do_not_matter(module: nn.Module) -> None:
    """Versions of snntorch register a membrane or not; a run leaves one behind."""
    state = module.state_dict() | {"lif1.mem": torch.ones(4, 8), "lif2.spk": torch.ones(4, 3)}
    del state["lif1.graded_spikes_factor"]
    torch.save(state, "net.pt")
    found, about = frontends.load(Path("net.pt"), Reading(model="mynets:Net", shape=(6,)))
    expected = snnc.load(module, torch.zeros(5, 1, 6))
    assert identical(replace(found, name=""), replace(expected, name=""))
    assert ["lif1.graded_spikes_factor" in note["text"] for note in about["notes"]] == [True]
    with pytest.raises(InputError, match=r"graded_spikes_factor"):
        snnc.load("net.pt", model="mynets:Net", shape=(6,), strict=True)


# --- what is refused -------------------------------------------------------------------------------


def without(name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda state: {k: v for k, v in state.items() if k != name}


def put(name: str, change: Callable[[torch.Tensor], Any]) -> Callable[[dict[str, Any]], Any]:
    return lambda state: {**state, name: change(state[name])}


BAD: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "no tensors": (lambda s: {"epoch": 3}, "holds no tensors by name"),
    "a list": (lambda s: [1, 2], "holds no tensors by name"),
    "missing": (without("fc2.bias"), "missing 'fc2.bias'; not in the model none"),
    "more": (lambda s: {**s, "fc3.weight": torch.ones(3, 3)}, "missing none; not in the model 'fc3.weight'"),
    "other shape": (
        put("fc1.weight", lambda w: w[:, :5].clone()),
        "'fc1.weight' has shape (8, 5), the model needs (8, 6)",
    ),
    "NaN": (put("fc1.weight", lambda w: w * float("nan")), "'fc1.weight' holds NaN or infinity"),
    "complex": (put("fc1.weight", lambda w: w.to(torch.complex64)), "'fc1.weight' is of type torch.complex64"),
    "integers": (put("fc1.weight", lambda w: w.long()), "'fc1.weight' is of type torch.int64"),
    "sparse": (
        put("fc1.weight", lambda w: w.to_sparse()),
        "'fc1.weight' must be a tensor whose every element",
    ),
    "expanded": (put("fc1.weight", lambda w: torch.ones(1).expand(8, 6)), "whose every element is stored"),
}


@pytest.mark.parametrize("case", BAD)
def test_state_dicts_that_do_not_fit_name_the_tensor(module: nn.Module, case: str) -> None:
    change, message = BAD[case]
    torch.save(change(module.state_dict()), "net.pt")
    with pytest.raises(InputError) as caught:
        snnc.load("net.pt", model="mynets:Net", shape=(6,))
    assert message in caught.value.message
    assert caught.value.where == "net.pt"


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("mynets", "is not package.module:factory"),
        (":Net", "is not package.module:factory"),
        ("nowhere:Net", "No module named 'nowhere'"),
        ("mynets:Nett", "no attribute 'Nett'"),
        ("mynets:broken", "unexpected keyword argument 'hiden'"),
        ("mynets:number", "'int' object is not callable"),
        ("mynets:answer", "returned a int, not a torch module"),
    ],
)
def test_factories_that_fail_are_the_users_error(module: nn.Module, factory: str, message: str) -> None:
    torch.save(module.state_dict(), "net.pt")
    with pytest.raises(UsageError) as caught:
        snnc.load("net.pt", model=factory, shape=(6,))
    assert message in caught.value.message


def script(path: Path) -> None:
    torch.jit.script(nn.Linear(2, 2)).save(path)


def exported(path: Path) -> None:
    torch.export.save(torch.export.export(nn.Linear(2, 2), (torch.ones(1, 2),)), path)


def plain() -> nn.Module:
    """A module of a class of the user's; snntorch's neurons cannot be pickled at all."""
    import mynets

    made: nn.Module = mynets.Plain(6, 3)
    return made


SAVED: dict[str, tuple[Callable[[Path], object], str]] = {
    "module": (lambda path: torch.save(plain(), path), "reading it would run code of mynets.Plain"),
    "legacy module": (
        lambda path: torch.save(plain(), path, _use_new_zipfile_serialization=False),
        "reading it would run code of mynets.Plain",
    ),
    "module in a dict": (
        lambda path: torch.save({"net": plain(), "state_dict": plain().state_dict()}, path),
        "reading it would run code of mynets.Plain",
    ),
    "TorchScript": (script, "this is TorchScript"),
    "pt2": (exported, "torch.export archive (.pt2), whose reader can run code hidden in it"),
}


# TorchScript is on its way out, and says so.
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
@pytest.mark.parametrize("kind", SAVED)
@pytest.mark.parametrize("model", [None, "mynets:Net"])
def test_programs_are_refused_with_the_reason_and_the_way_out(folder: Path, kind: str, model: str | None) -> None:
    save, message = SAVED[kind]
    path = Path("net.pt2" if kind == "pt2" else "net.pt")
    save(path)
    with pytest.raises(InputError) as caught:
        snnc.load(path, model=model, shape=(6,))
    assert message in caught.value.message
    assert "--model package.module:factory" in caught.value.fix
    assert "snnc.load(module, example)" in caught.value.fix


# --- as a user meets it ----------------------------------------------------------------------------


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "snnc", *arguments], capture_output=True, text=True, check=False)


def test_the_command_line_finds_the_model_in_the_current_folder(module: nn.Module) -> None:
    torch.save(training(module), "net.pt")
    alone = run("check", "net.pt", "--target", "loihi2")
    assert alone.returncode == 3
    assert "--model package.module:factory" in alone.stderr
    done = run("export", "net.pt", "--model", "mynets:Net", "--shape", "6", "-o", "net.nir")
    assert done.returncode == 0, done.stderr
    back = snnc.load("net.nir")
    assert identical(back, replace(snnc.load(module, torch.zeros(5, 1, 6)), name="net"))
    wide = run("check", "net.pt", "--model", "mynets:wide", "--shape", "6")
    assert wide.returncode == 3
    assert "'fc1.weight' has shape (8, 6), the model needs (9, 6)" in wide.stderr
    assert "Traceback" not in wide.stderr
