"""Reports: every number in them is the one that was counted, and all forms tell the same."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from float_networks import chain, conv, lif, linear, mlp, spikes
from small_chips import chip

import snnc
from snnc import report
from snnc.compilation import Spent
from snnc.errors import InputError
from snnc.image import Image
from snnc.network import Population
from snnc.report import Report
from snnc.report.schema import from_json, to_json
from snnc.samples import Samples
from snnc.simulator import Run, accounting


@pytest.fixture(scope="module")
def case() -> tuple[Image, Run, Report]:
    network = conv()
    data = Samples(spikes(network), np.array([0, 1, 2, 3]), "random")
    image = snnc.compile(network, chip(neurons=60), data=data)
    run = snnc.simulate(image, data)
    return image, run, report.build(image, run, data="random", spent={"lower": Spent(0.5, 80.0)})


def test_totals_agree_with_their_parts(case: tuple[Image, Run, Report]) -> None:
    image, run, document = case
    total, this = accounting.account(image, run).totals, document.this
    assert document.cost is not None
    assert this.cores == image.cores == len(document.cores) > 5
    assert this.accuracy == run.accuracy
    for name in ("synops", "spikes", "effective_synops", "messages"):
        assert getattr(this, name) == pytest.approx(getattr(total, name).mean())
        assert sum(getattr(c, name) for c in document.cores) == pytest.approx(getattr(this, name))
    inner = [layer for layer in document.layers if layer.operation != "input"]
    for name in ("synops", "spikes", "hops", "weights", "synapse_bits"):
        assert sum(getattr(layer, name) for layer in inner) == pytest.approx(getattr(this, name))
    cost = document.cost
    assert cost.synapse_pj + cost.neuron_pj + cost.spike_pj + cost.hop_pj == pytest.approx(this.energy_pj)
    for parts in (document.layers, document.cores):
        assert sum(part.energy_pj for part in parts) == pytest.approx(this.energy_pj)
        for kind in ("synapse_pj", "neuron_pj", "spike_pj", "hop_pj", "crossing_pj"):
            assert sum(getattr(part, kind) for part in parts) == pytest.approx(getattr(cost, kind))
        for name in ("hops", "crossings"):
            assert sum(getattr(part, name) for part in parts) == pytest.approx(getattr(this, name))
    assert document.activity is not None
    assert sum(layer.active_updates for layer in document.layers) == pytest.approx(document.activity.active_updates)
    assert sum(c.neurons for c in document.cores) == this.neurons == document.resources["neurons"].used
    for name, use in document.resources.items():
        assert use.fullest_use == max(getattr(c, name) for c in document.cores) <= use.limit_per_core


def test_synops_of_the_chip_and_of_neurobench_are_the_same_where_the_chip_stores_no_zeros(
    case: tuple[Image, Run, Report],
) -> None:
    found, this = case[2].neurobench, case[2].this
    assert found is not None
    assert found.synaptic_operations.effective_acs == this.effective_synops
    assert found.synaptic_operations.effective_macs == 0
    assert json.loads(to_json(case[2]))["neurobench"]["SynapticOperations"]["Effective_ACs"] == this.effective_synops


def test_several_chips_are_told(case: tuple[Image, Run, Report]) -> None:
    """150 cores: two chips, with the traffic and the energy between them."""
    network = mlp((10, 148, 2))
    data = Samples(spikes(network), None, "random")
    image = snnc.compile(network, chip(neurons=1), data=data, map="layers")
    run = snnc.simulate(image, data)
    document = report.build(image, run, data="random")
    assert (document.chips, document.chips_available, document.cores_available) == (2, 32, 256)
    assert {c.chip for c in document.cores} == {0, 8}  # one above the other
    assert all(c.tile_y // 4 == c.chip // 8 and c.tile_x < 8 for c in document.cores)
    total = accounting.account(image, run).totals
    assert document.this.crossings == pytest.approx(total.crossings.mean())
    assert document.cost is not None
    assert document.cost.crossing_pj == pytest.approx(105 * total.crossings.mean())
    parts = [document.cost.synapse_pj, document.cost.neuron_pj, document.cost.spike_pj, document.cost.hop_pj]
    assert sum(parts) + document.cost.crossing_pj == pytest.approx(document.this.energy_pj)
    text = report.summary(document)
    assert max(map(len, text.splitlines())) <= 80
    assert "150 / 256" in text
    assert "chips        2 / 32" in text
    assert "crossings/step" in text
    assert "crossings" in report.cost_table(document)
    assert "chips " not in report.summary(case[2])
    assert "crossing" not in report.cost_table(case[2])


def test_the_hottest_link_and_the_longest_route_are_told(case: tuple[Image, Run, Report]) -> None:
    route = case[2].passes["route"]
    (x, y), (to_x, to_y) = route["hottest_link"]["from"], route["hottest_link"]["to"]
    line = f"hottest {route['hottest_link_per_step']:,.1f} spikes/step ({x},{y} to {to_x},{to_y})"
    assert f"links        {line}   longest route {route['longest_route']['hops']} hop" in report.summary(case[2])
    assert abs(x - to_x) + abs(y - to_y) == 1
    alone = report.build(snnc.compile(mlp()))
    assert alone.passes["route"]["hottest_link"] is None
    assert "links" not in report.summary(alone)


def test_sparsity_counts_the_weights_that_do_not_exist() -> None:
    image = snnc.compile(mlp((40, 30, 5), density=0.2))
    for layer in report.build(image).layers[1:]:
        into = image.network.into(layer.name)[0].op
        assert layer.weights == into.taps
        assert layer.sparsity == 1 - into.taps / np.prod(into.weight.shape)


def test_json_round_trip(case: tuple[Image, Run, Report]) -> None:
    document = case[2]
    assert from_json(to_json(document), "") == from_json(to_json(from_json(to_json(document), "")), "")
    assert from_json(to_json(document), "").this == document.this


def test_another_schema_is_refused(case: tuple[Image, Run, Report]) -> None:
    with pytest.raises(InputError, match="schema 2"):
        from_json(to_json(case[2]).replace(b'"schema": 1', b'"schema": 2'), "report.json")
    with pytest.raises(InputError, match="not a report"):
        from_json(b'{"schema": 1}', "report.json")


def test_tables_hold_what_the_report_holds(case: tuple[Image, Run, Report]) -> None:
    document = case[2]
    for text, things in ((report.layers_csv(document), document.layers), (report.cores_csv(document), document.cores)):
        rows = list(csv.DictReader(io.StringIO(text)))
        assert len(rows) == len(things)
        for row, thing in zip(rows, things, strict=True):
            assert float(row["synops"]) == thing.synops
            assert int(row["neurons"]) == thing.neurons
    for row in csv.DictReader(io.StringIO(report.cores_csv(document))):
        for name, use in document.resources.items():
            assert int(row[name]) <= int(row[f"{name}_max"]) == use.limit_per_core


def test_tables_of_a_run_add_up_to_the_report(case: tuple[Image, Run, Report]) -> None:
    image, run, document = case
    this = document.this
    assert document.activity is not None
    steps, links, samples = (
        [{name: float(value) for name, value in row.items()} for row in csv.DictReader(io.StringIO(table(image, run)))]
        for table in (report.steps_csv, report.links_csv, report.samples_csv)
    )
    assert [row["step"] for row in steps] == list(range(run.steps))
    for name in ("spikes", "synops", "effective_synops", "messages", "crossings", "time_ns", "energy_pj"):
        assert sum(row[name] for row in steps) == pytest.approx(getattr(this, name)), name
        assert np.mean([row[name] for row in samples]) == pytest.approx(getattr(this, name)), name
    assert sum(row["hops_x"] + row["hops_y"] for row in steps) == pytest.approx(this.hops)
    assert sum(row["messages"] for row in links) == pytest.approx(this.hops)
    assert sum(row["messages"] * row["crossing"] for row in links) == pytest.approx(this.crossings)
    assert all(abs(row["from_x"] - row["to_x"]) + abs(row["from_y"] - row["to_y"]) == 1 for row in links)
    busiest = document.activity.busiest_link
    assert busiest is not None
    assert busiest.messages == pytest.approx(max(row["messages"] for row in links))
    assert max(row["link_messages"] for row in samples) == max(row["messages_max"] for row in links)
    assert all(row["time_ns_max"] >= row["time_ns"] for row in steps)


def test_the_summary_fits_the_screen_and_tells_the_numbers(case: tuple[Image, Run, Report]) -> None:
    image, _, document = case
    verified = [{"on": "lava", "samples": 4, "compared": 9, "spikes": 1234567, "differing": 0}]
    dense = report.side(image, snnc.simulate(image, Samples(spikes(conv()), None)))
    full = report.build(image, case[1], data="random", dense=dense, verified=verified)
    text = report.summary(full)
    assert max(map(len, text.splitlines())) <= 80
    assert f"{document.this.cores} / 128" in text
    assert f"{document.this.synops:,.0f} SynOps" in text
    assert "0 of 1,234,567 spikes differ" in text
    assert "saved" in text


def test_a_dense_parent_that_does_not_fit_is_told(case: tuple[Image, Run, Report]) -> None:
    document = report.build(case[0], dense_note="does not fit: too large")
    assert "does not fit: too large" in report.summary(document)


def test_an_image_without_a_run_has_no_measured_numbers() -> None:
    document = report.build(snnc.compile(mlp()))
    assert document.activity is None
    assert document.this.synops is None
    assert "simulated" not in report.summary(document)


def test_the_table_of_passes_tells_what_each_took_and_found(case: tuple[Image, Run, Report]) -> None:
    image, run, _ = case
    spent = {"lower": Spent(0.5, 80.0), "quantize": Spent(1.5, 1234.0)}
    text = report.passes_table(report.build(image, run, spent=spent))
    lines = {line.split()[0]: line for line in text.splitlines()}
    assert max(map(len, text.splitlines())) <= 80
    assert set(lines) == {"pass", *image.provenance["passes"], "total"}
    assert lines["lower"].split()[1:4] == ["0.500", "25%", "80"]
    assert lines["quantize"].replace(",", "").split()[1:6] == ["1.500", "75%", "1234", "bits", "8"]
    assert lines["total"].split()[1:] == ["2.000", "1,234"]
    assert lines["route"].split()[1:3] == ["-", "-"]


def test_the_cost_table_names_every_kind_and_source(case: tuple[Image, Run, Report]) -> None:
    text = report.cost_table(case[2])
    assert "no source gives the static power" in text
    rng = np.random.default_rng(0)
    network = chain([Population("input", (4,), "input"), lif("out", (3,))], [(linear(rng, 3, 4),)])
    data = Samples(spikes(network))
    image = snnc.compile(network, "loihi2")
    other = report.cost_table(report.build(image, snnc.simulate(image, data), data="random"))
    assert "assumed" in other
    assert "no source gives" not in other
