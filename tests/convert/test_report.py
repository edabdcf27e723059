"""The report beside the bundle, what the bundle keeps of it, and what is tried when a gate fails."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from alledge.convert import remedies
from alledge.convert.converted import Operation
from alledge.convert.layer_error import layer_errors
from alledge.convert.options import Options
from alledge.convert.report import write_report
from alledge.convert.report_tables import operations
from alledge.convert.tflite import INPUT, to_float
from alledge.convert.trained import open_trained, ranging_tensors
from alledge.device import inspection
from alledge.edgetpu import key_figures
from alledge.quiet import quiet


def test_page_and_json_tell_the_same(conversion):
    done = conversion("cpu")
    path = write_report(done)
    page, document = path.read_text(), json.loads(path.with_suffix(".json").read_text())
    assert document["bundle"] == str(done.bundle.path)
    assert document["agreement"]["n"] in {c["n"] for c in document["comparisons"].values()}
    assert set(document["comparisons"]["xnnpack"]["recall"]) == {"benign", "early_pre_b", "pre_b", "pro_b"}
    worst = np.array([np.abs(np.subtract(case["float"], case["converted"])).max() for case in document["worst_images"]])
    assert (np.diff(worst) <= 2e-4).all()  # the JSON has four decimals
    assert worst[0] == pytest.approx(done.comparisons["xnnpack"].max_abs, abs=1e-3)
    assert document["latency_ms"]["mean"] > 0
    for words in (document["worst_images"][0]["name"], document["layers"][0]["layer"], "CONV_2D", "Recall by class",
                  "data:image/png", "alledge bench cpu.alledge"):
        assert words in page
    assert "src='http" not in page


def test_report_and_inspect_tell_the_key_figures_of_the_edge_tpu(conversion):
    done = conversion("coral")
    page, lint = write_report(done).read_text(), done.bundle.manifest.metrics["ladder"][-1]["lint"]
    figures = key_figures(done.bundle.manifest.metrics)
    assert figures["first blocking operation"] == "none, by the table"
    assert figures["work before it"] == f"100% of {lint['macs'] / 1e6:.4g} million multiply-accumulates"
    assert (figures["over USB per inference"], figures["dynamic tensors"]) == ("0.00 MiB of parameters at least", "0")
    assert figures["largest activation"] == f"{lint['largest_activation_bytes'] / 1024:.4g} KiB"
    assert "only the compiler can confirm" in figures["verdicts"]
    said = inspection.lines(done.bundle)
    for name, value in figures.items():
        assert f"<th>{name}<td>{value}" in page
        assert any(line.split() == [*name.split(), *value.split()] for line in said), name
    assert not key_figures(conversion("cpu").bundle.manifest.metrics)
    assert "Edge TPU:" not in inspection.lines(conversion("cpu").bundle)


def test_both_tables_of_a_page_name_layers_alike(conversion):
    done = conversion("coral").converted
    assert {row.layer for row in done.layers} <= {row.layer for row in done.operations}
    named = {row.layer for row in conversion("cpu").converted.layers}
    assert {"attention_lookup/query", "attention_lookup/key"} <= named


def test_what_operations_have_in_common_is_said_once_and_refused_ones_come_first():
    rows = [Operation("ADD", 1, "unknown", "allowed"), Operation("MUL", 1, "unknown", "allowed"),
            *[Operation("PAD", 1, "unknown", "limit: few")] * 3,
            Operation("GELU", 1, False, "not in it", "use ReLU", "bend")]
    page = operations(rows)
    assert (page.count("allowed"), page.count("limit: few")) == (1, 3)
    assert page.index("GELU") < page.index("ADD") < page.index("PAD")
    assert "shapes" not in page
    assert "what would help" in page
    assert "what would help" not in operations(rows[:-1])
    assert "says no more" not in operations(rows[2:])


def test_the_bundle_keeps_the_tables_and_no_image(conversion):
    bundle = conversion("cpu").bundle
    metrics = bundle.manifest.metrics
    assert metrics["operations"]
    assert len(metrics["layers"]) == 9
    assert metrics["remedies"] == [{"ranging_tiles": 64, "agreement": metrics["remedies"][0]["agreement"],
                                    "passed": True}]
    assert {m.name.split("/")[0] for m in bundle.manifest.members} <= {"model.tflite", "goldens", "model_card.md"}


@pytest.mark.parametrize("target", ["cpu", "coral"])
def test_layers_are_listed_worst_first_for_what_is_in_integers(conversion, target):
    layers = conversion(target).converted.layers
    assert [row.error for row in layers] == sorted((row.error for row in layers), reverse=True)
    assert all(0 < row.error < 0.5 for row in layers)
    assert len({row.place for row in layers}) == len(layers) >= 8


def test_a_spoilt_layer_stands_out(conversion, trained_run):
    """Its weights are damaged in the integer model only; layers before it must stay as good as they were."""
    import flatbuffers
    from tensorflow.lite.python import schema_py_generated as schema

    from alledge.convert.bias_correction import _layers

    content = conversion("cpu").bundle.model
    with quiet():
        trained = open_trained(trained_run)
        real = to_float(trained.model, (INPUT,))
    model = schema.ModelT.InitFromPackedBuf(content)
    spoilt = 2
    buffer = model.buffers[model.subgraphs[0].tensors[_layers(model)[spoilt].filter].buffer]
    buffer.data = np.asarray(buffer.data, np.uint8)[::-1].copy()
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    tiles = ranging_tensors(trained)[:4]
    before = {row.place: row.error for row in layer_errors(content, real, tiles)}
    after = {row.place: row.error for row in layer_errors(bytes(builder.Output()), real, tiles)}
    assert all(after[place] == before[place] for place in range(spoilt))
    assert after[spoilt] > 5 * before[spoilt]


def test_more_tiles_are_tried_once_and_the_better_attempt_is_kept(conversion, trained_run, monkeypatch):
    """The converter is a stand-in here: it gives a good network only when all training tiles choose the ranges."""
    with quiet():
        trained = open_trained(trained_run)
    good = conversion("cpu").converted

    def spoilt(images):
        outputs = good.run(images)
        return replace(outputs, probs=outputs.probs[:, ::-1])

    def convert(given, options):
        return good if given.ranging > 64 else replace(good, kernels={"xnnpack": spoilt})

    monkeypatch.setattr(remedies, "load_target", lambda target: convert)
    said: list[str] = []
    converted, judgement, record = remedies.convert_until_it_holds(trained, "cpu", Options(), said.append)
    assert converted is good
    assert judgement.comparisons["xnnpack"].agreement > 0.98
    assert [(r["ranging_tiles"], r["passed"]) for r in record] == [(64, False), (160, True)]
    assert any("trying all 160" in line for line in said)


def test_nothing_else_is_tried_where_ranges_play_no_part(conversion, trained_run, monkeypatch):
    with quiet():
        trained = open_trained(trained_run)
    good = conversion("cpu").converted
    tried = []

    def spoilt(images):
        outputs = good.run(images)
        return replace(outputs, probs=outputs.probs[:, ::-1])

    def convert(given, options):
        tried.append(given.ranging)
        return replace(good, kernels={"k": spoilt})

    monkeypatch.setattr(remedies, "load_target", lambda target: convert)
    _, _, record = remedies.convert_until_it_holds(trained, "onnx", Options(), lambda line: None)
    assert (len(tried), record[0]["passed"], record[0]["ranging_tiles"]) == (1, False, 0)


def test_the_report_goes_where_the_bundle_goes(conversion):
    path = write_report(conversion("onnx"))
    assert path == Path(conversion("onnx").bundle.path).with_suffix(".html")
    assert "nothing is computed in 8 bits" in path.read_text()
