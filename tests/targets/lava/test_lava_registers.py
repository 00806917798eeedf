"""u and v of Lava's neurons, recorded while it runs, are those of the specification and of the engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
from integer_chains import chain, conv, cuba, dense, spikes

from snnc.network import Network
from snnc.samples import Samples
from snnc.targets.lava import netx, run, session
from snnc.targets.lava.dialogue import Worker, worker
from snnc.verification import verify


@pytest.fixture(scope="module")
def shared_worker(lava: Path) -> Iterator[Worker]:
    with worker(lava, 120) as running:
        yield running


def test_whole_data_sets_are_played_in_blocks(
    shared_worker: Worker, lava: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of as many samples as memory is given, one at least; what comes out does not depend on it."""
    rng = np.random.default_rng(2)
    network = cuba(rng)
    data = Samples(spikes(rng, 7, 12, (60,), 0.2))
    at_once = run(network, data, registers=True, lava=shared_worker)
    step_bytes = 60 + 13 * 50
    for bound, sizes in ((1, [1] * 7), (3 * 12 * step_bytes, [2, 2, 3]), (7 * 12 * step_bytes, [7])):
        monkeypatch.setattr(session, "BLOCK_BYTES", bound)
        seen: list[int] = []
        progress = partial(_note, seen)
        played = list(session.play(network, data, registers=True, lava=shared_worker, progress=progress))
        assert [block.stop - block.start for block, _ in played] == sizes
        assert [(block.start, block.stop) for block, _ in played][-1][1] == 7
        assert seen == sorted(seen)
        assert seen[-1] == 7 * 12
        for trace, values in at_once.items():
            np.testing.assert_array_equal(np.concatenate([part[trace] for _, part in played]), values)
    result = verify(network, data, on="lava", registers=True)
    assert (result.equal, result.samples, result.steps) == (True, 7, 12)
    assert (result.compared, result.registers) == (7 * 12 * 50 * 3, 7 * 12 * 50 * 2)
    assert result.spikes == {name: at_once["spikes", name].sum() for name in ("l1", "l2")}


def _note(seen: list[int], done: int, every: int) -> None:
    assert every == 7 * 12
    seen.append(done)


def spoiled(monkeypatch: pytest.MonkeyPatch, change: Callable[[h5py.File], None]) -> None:
    """Let Lava run another network than ours."""
    export = netx.export

    def spoil(network: Network, path: Path, steps: int) -> None:
        export(network, path, steps)
        with h5py.File(path, "r+") as file:
            change(file)

    monkeypatch.setattr(netx, "export", spoil)


def test_one_weight_that_differs_is_found_and_explained(lava: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No spike changes, since the weight is one of 128 steps too large: only registers tell."""
    rng = np.random.default_rng(0)
    network = cuba(rng)
    data = Samples(spikes(rng, 3, 16, (60,), 0.2))

    def change(file: h5py.File) -> None:
        file["layer/1/weight"][17, 3] += 1

    spoiled(monkeypatch, change)
    first_spike = int(data.spikes[0, :, 3].argmax())
    assert verify(network, data, on="lava").equal
    result = verify(network, data, on="lava", registers=True)
    assert result.differing["l1"] > 0
    assert result.first is not None
    assert (result.first.kind, result.first.layer, result.first.neuron) == ("u", "l1", (17,))
    assert (result.first.sample, result.first.step) == (0, first_spike)
    assert result.first.theirs - result.first.ours == 64
    told = result.explanation
    assert told is not None
    assert told.first == result.first
    assert (told.ours[1].u, told.theirs[1].u) == (result.first.ours, result.first.theirs)
    assert told.ours[0] == told.theirs[0]
    assert told.threshold == 900 << 6
    assert told.alone


def test_a_spike_that_differs_is_traced_to_its_cause(lava: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A decay of the first layer: the spike of the second that differs is explained by a membrane of the first."""
    rng = np.random.default_rng(0)
    network = cuba(rng)
    data = Samples(spikes(rng, 20, 16, (60,), 0.2))

    def change(file: h5py.File) -> None:
        file["layer/1/neuron/vDecay"][()] += 1

    spoiled(monkeypatch, change)
    result = verify(network, data, on="lava")
    assert result.first is not None
    assert result.first.kind == "spikes"
    told = result.explanation
    assert told is not None
    assert (told.first.kind, told.first.layer, told.first.sample) == ("v", "l1", result.first.sample)
    assert told.first.step <= result.first.step
    assert told.ours[1].u == told.theirs[1].u
    assert told.ours[1].v != told.theirs[1].v


def test_what_is_left_of_the_sample_before_is_told(lava: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without resets, a sample differs only behind others."""
    network = chain((4,), (dense(np.full((2, 4), 9)), {"v_decay": 0, "threshold": 100_000}))
    data = Samples(np.ones((3, 5, 4), np.uint8))
    ask = Worker.ask

    def never_reset(self: Worker, request: dict, progress: Callable[[int, int], None]) -> dict:
        return ask(self, request | {"steps": 1000}, progress)

    monkeypatch.setattr(Worker, "ask", never_reset)
    result = verify(network, data, on="lava", registers=True)
    assert result.first is not None
    assert (result.first.sample, result.first.step, result.first.kind) == (1, 0, "v")
    assert result.explanation is not None
    assert not result.explanation.alone
    assert result.explanation.first == result.first
    assert result.explanation.ours == (None, result.explanation.ours[1])
    assert "left of the samples before it" in str(result.explanation)


def test_places_in_images_are_ours(lava: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lava has columns, rows, channels; a neuron is named by channel, row, column."""
    kernel = np.zeros((3, 1, 1, 1))
    kernel[:, 0, 0, 0] = [5, 6, -7]
    network = chain((1, 4, 5), (conv(kernel), {"threshold": 1000}))
    data = np.zeros((2, 3, 1, 4, 5), np.uint8)
    data[1, 1, 0, 2, 4] = 1

    def change(file: h5py.File) -> None:
        file["layer/1/weight"][1] += 1

    spoiled(monkeypatch, change)
    result = verify(network, Samples(data), on="lava", registers=True)
    assert result.first is not None
    assert (result.first.sample, result.first.step, result.first.neuron) == (1, 1, (1, 2, 4))
    assert (result.first.ours, result.first.theirs) == (6 << 6, 7 << 6)
