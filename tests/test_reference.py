"""The model that comes with the package: small, labelled, without anyone's images, and the default of the commands."""

import json
import subprocess
import sys
from typing import get_args

import numpy as np
import pytest

from alledge import reference
from alledge.bundle import Bundle
from alledge.manifest import Target
from alledge.quiet import quiet
from alledge.runfolder import CALIBRATION_TILES, HELD_OUT_TILES, MODEL, MODEL_CARD, read_record


def test_it_is_small_and_holds_no_tiles():
    assert reference.BUNDLE.stat().st_size <= 4.5e6
    assert (reference.RUN / MODEL).stat().st_size <= 6e6
    assert not any((reference.RUN / name).exists() for name in (CALIBRATION_TILES, HELD_OUT_TILES))
    assert {p.name for p in reference.RUN.iterdir()} == {MODEL, MODEL_CARD, "training.json"}


def test_run_and_bundle_are_the_same_model_and_say_what_it_is_not_for():
    bundle, record = Bundle.open(reference.BUNDLE), read_record(reference.RUN)
    assert bundle.manifest.provenance["run_id"] == record.run_id
    assert bundle.manifest.calibration == record.calibration
    assert not bundle.caveat
    card = (reference.RUN / MODEL_CARD).read_text("utf-8")
    assert bundle.read(MODEL_CARD).decode() == card
    assert "RESEARCH USE ONLY" in card
    assert "What it is not for" in card


def test_its_figures_are_of_folds_that_it_did_not_see_and_its_record_says_so():
    record = read_record(reference.RUN)
    assert record.out_of_fold
    assert "cross-validated" in record.provenance["figures"]
    assert record.metrics["n"] == record.provenance["images"]["train"]


def test_run_needs_no_bundle(alledge, tmp_path):
    quiet = {"XDG_CONFIG_HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path)}
    done = alledge("run", "--camera", "synthetic://?seed=1", "--frames", 2, "--json", env=quiet)
    assert done.returncode in (0, 3), done.stderr
    fields = [json.loads(line) for line in done.stdout.splitlines()]
    assert [field["bundle_id"] for field in fields] == [Bundle.open(reference.BUNDLE).id] * 2
    assert all(field["verdict"] == "inconclusive" for field in fields)  # drawn smears are not what it learned from


@pytest.mark.parametrize("target", get_args(Target))
def test_convert_needs_no_run_for_any_target_and_writes_where_one_is(target, tmp_path):
    pytest.importorskip("tensorflow", reason="needs the extra `convert`")
    before = sorted(reference.RUN.iterdir())
    done = subprocess.run([sys.executable, "-m", "alledge", "convert", "--target", target, "--json"], cwd=tmp_path,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    bundle = Bundle.open(tmp_path / f"{target}.alledge")
    assert bundle.manifest.target == target
    assert not bundle.caveat
    assert document["compiled"] is False
    assert not [row for row in document["ops"] if row["mapped"] is False]
    assert document["agreement"]["top1"] >= 0.98
    assert sorted(reference.RUN.iterdir()) == before


def test_it_can_be_split_for_an_edge_tpu_that_takes_no_form_of_its_attention():
    pytest.importorskip("tensorflow", reason="needs the extra `convert`")
    import keras

    from alledge.convert.edge_split import split
    from alledge.convert.tflite import to_float
    from alledge.convert.tflite_run import specs
    from alledge.convert.trained import open_trained, ranging_tensors

    with quiet():
        trained = open_trained(reference.RUN)
        trunk, head = split(trained.model)
        tile = ranging_tensors(trained)[0]
        crossing = trunk(tile, training=False)
        answer, wanted = head(list(crossing.values()), training=False), trained.model(tile, training=False)
        for name in wanted:
            assert np.asarray(answer[name]) == pytest.approx(np.asarray(wanted[name]), abs=1e-5)
        inside = specs(to_float(head, tuple(crossing)))
    assert {name: spec.shape for name, spec in inside.items() if name in crossing} == {
        name: tuple(tensor.shape) for name, tensor in crossing.items()}
    assert not any(isinstance(layer, keras.layers.MultiHeadAttention) for layer in trunk.layers)
