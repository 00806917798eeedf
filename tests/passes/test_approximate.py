"""What a chip cannot do is replaced only when asked, by what comes nearest, and the drift is measured."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from float_networks import mlp, spikes
from small_chips import chip

from snnc import pipeline
from snnc.compilation import Options
from snnc.errors import DoesNotFit
from snnc.frontends import nir
from snnc.network import Network, Semantics
from snnc.samples import Samples
from snnc.simulator.floating import simulate

# Everything that semantics may ask of a chip, and which rule speaks of it.
UNUSUAL: dict[str, tuple[Semantics, str, str]] = {
    "subtract": (Semantics("subtract"), "reset", "reset subtract -> zero"),
    "value": (Semantics("value"), "reset", "potentials counted from v_reset"),
    "at threshold": (Semantics(compare=">="), "compare", "compare >= -> >"),
    "late reset": (Semantics(when="next"), "updates", "when next -> now"),
    "snntorch": (Semantics("subtract", when="recheck"), "reset", "when recheck -> now"),
    "many": (Semantics("subtract", ">=", spikes="many"), "updates", "spikes many -> one"),
    "floor": (Semantics(floor="threshold"), "updates", "floor threshold -> none"),
    "start": (Semantics(start="leak"), "updates", "start leak -> zero"),
    "late spikes": (Semantics(output="next"), "updates", "output next -> now"),
}


def network(semantics: Semantics) -> Network:
    """Both layers behave so; v_leak and v_reset are set where that matters."""
    base = mlp((12, 20, 5), seed=3)

    def changed(p: Any) -> Any:
        if p.neuron == "input":
            return p
        params = dict(p.params)
        if semantics.reset == "value":
            params["v_reset"] = np.full(p.shape, -0.25)
        if semantics.start == "leak":
            params["v_leak"] = np.full(p.shape, 0.5)
        return replace(p, params=params, semantics=semantics)

    return replace(base, populations=tuple(map(changed, base.populations)))


@pytest.mark.parametrize("case", UNUSUAL)
def test_it_is_refused_with_the_cure_unless_asked(case: str) -> None:
    semantics, rule, change = UNUSUAL[case]
    made = network(semantics)
    with pytest.raises(DoesNotFit) as caught:
        pipeline.check_only(made, chip())
    found = {v.rule: v for v in caught.value.violations}
    assert rule in found
    assert "--approximate" in found[rule].fix or "v_reset is 0" in found[rule].fix
    data = Samples(spikes(made, samples=8, steps=30), np.zeros(8, np.int64))
    state = pipeline.start(made, chip(), data, Options(approximate=True))
    compiled, _ = pipeline.run(state, pipeline.PASSES, None)
    layers = compiled.log["approximate"]["layers"]
    assert [entry["layer"] for entry in layers] == ["fc1", "fc2"]
    assert all(change in entry["changes"] for entry in layers)
    # The drift is that of the float network, measured by itself.
    assert compiled.lowered is not None
    drift = compiled.log["verify"]["drift"]
    exact, nearest = simulate(made, data.spikes), simulate(compiled.lowered, data.spikes)
    for name in ("fc1", "fc2"):
        assert drift["layers"][name] == {
            "spikes_exact": int(exact[name].sum()),
            "spikes_approximated": int(nearest[name].sum()),
        }
    usual = {p.semantics for p in compiled.lowered.layers}
    assert usual == {Semantics()}


def test_what_the_chip_can_do_is_left_alone() -> None:
    passes = pipeline.compile(mlp(), chip(), options=Options(approximate=True)).image.provenance["passes"]
    assert passes["approximate"] == {"asked": True, "layers": []}
    assert "drift" not in passes["verify"]


def test_neurons_that_never_reset_have_no_nearest() -> None:
    with pytest.raises(DoesNotFit, match="it resets by 'none'") as caught:
        pipeline.check_only(network(Semantics("none")), chip(), Options(approximate=True))
    assert all("--approximate" not in v.fix for v in caught.value.violations)


def test_as_a_user_meets_it(tmp_path: Path) -> None:
    """A network trained with snntorch's default: the error names the cure, --approximate reports the drift."""
    made = network(Semantics("subtract", when="recheck"))
    nir.write(made, tmp_path / "net.nir")
    np.savez(tmp_path / "data.npz", spikes=spikes(made, samples=8, steps=30), labels=np.zeros(8, int))

    def snnc(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "snnc", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    refused = snnc("compile", "net.nir", "--data", "data.npz")
    assert refused.returncode == 4
    assert "layers 'fc1', 'fc2': it resets by 'subtract'; loihi resets by 'zero'" in refused.stderr
    assert 'reset_mechanism="zero"' in refused.stderr
    assert "use a target that can" in refused.stderr
    assert "--approximate" in refused.stderr
    assert not (tmp_path / "net.loihi").exists()
    done = snnc("compile", "net.nir", "--data", "data.npz", "--approximate")
    assert done.returncode == 0, done.stderr
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if line.strip()}
    assert "2 layers" in lines["approximated"]
    assert "reset subtract -> zero" in lines["approximated"]
    drift = json.loads((tmp_path / "net.loihi" / "report.json").read_text())["passes"]["verify"]["drift"]
    exact, nearest = (sum(v[f"spikes_{k}"] for v in drift["layers"].values()) for k in ("exact", "approximated"))
    assert exact != nearest
    assert f"spikes {nearest / exact - 1:+.1%}" in lines["drift"]
    assert "same prediction" in lines["drift"]
    assert "accuracy" in lines["drift"]
