import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from alledge.convert.cli import convert
from alledge.errors import AlledgeError, DataError, GateNotMet, UsageError
from alledge.runfolder import CALIBRATION_TILES, HELD_OUT_TILES, MODEL, RECORD, Tiles, read_tiles, write_tiles

from .conftest import convert_quietly


def test_stdout_is_one_json_document_and_the_report_stands_beside_the_bundle(trained_run, tmp_path, conversion):
    out = tmp_path / "model.alledge"
    done = subprocess.run([sys.executable, "-m", "alledge", "convert", trained_run, "--target", "tflite", "--out", out,
                           "--json"], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["bundle"], document["bytes"]) == (str(out), out.stat().st_size)
    assert all(line.endswith("...") for line in done.stderr.splitlines()), done.stderr
    assert out.read_bytes() == conversion("cpu").bundle.path.read_bytes(), "another process, other bytes"
    page = (tmp_path / "model.html").read_text()
    assert "RESEARCH USE ONLY" in page
    assert "CONV_2D" in page


def _no_record(run):
    (run / RECORD).unlink()


def _damaged_record(run):
    (run / RECORD).write_text('{"format": 1, "run_id"')


def _damaged_tiles(run):
    (run / HELD_OUT_TILES).write_bytes(b"PK" + bytes(100))


def _tiles_of_another_size(run):
    write_tiles(run, HELD_OUT_TILES, Tiles(pixels=np.zeros((4, 32, 32, 3), np.uint8), truth=np.arange(4)))


def _no_model(run):
    (run / MODEL).unlink()


def _damaged_model(run):
    (run / MODEL).write_bytes((run / MODEL).read_bytes()[:5000])


def _foreign_model(run):
    import keras

    image = keras.Input((64, 64, 3))
    keras.Model(image, keras.layers.Dense(4)(keras.layers.GlobalAveragePooling2D()(image))).save(run / MODEL)


@pytest.mark.parametrize(("damage", "kind", "words"), [
    (_no_record, UsageError, "expected a run folder"),
    (_damaged_record, DataError, "not a training record"),
    (_damaged_tiles, DataError, "held_out_tiles.npz: expected tiles"),
    (_tiles_of_another_size, DataError, r"expected uint8 \[n, 64, 64, 3\]"),
    (_no_model, DataError, "expected a Keras model"),
    (_damaged_model, DataError, "expected a Keras model"),
    (_foreign_model, DataError, "outputs probs and embedding"),
])
def test_a_run_that_is_not_whole_is_one_sentence_and_no_bundle(run_copy, damage, kind, words):
    damage(run_copy)
    with pytest.raises(kind, match=words) as caught:
        convert(target="cpu", run=run_copy)
    assert "\n" not in str(caught.value)
    assert not list(run_copy.glob("*.alledge"))


def test_the_record_is_read_once(trained_run, tmp_path, monkeypatch):
    read, names = Path.read_bytes, []
    monkeypatch.setattr(Path, "read_bytes", lambda path: names.append(path.name) or read(path))
    convert_quietly(trained_run, "onnx", tmp_path / "model.alledge")
    assert names.count(RECORD) == 1


def test_a_place_that_cannot_be_written_is_refused_before_converting(trained_run, tmp_path):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file" / "model.alledge", tmp_path):
        with pytest.raises(UsageError, match="--out"):
            convert(target="cpu", run=trained_run, out=out)


def _misleading_ranges(run):
    """Training tiles of bare ground: activation ranges taken from them clip everything a cell gives rise to."""
    tiles = read_tiles(run, CALIBRATION_TILES)
    write_tiles(run, CALIBRATION_TILES, Tiles(pixels=np.full_like(tiles.pixels, 190), truth=tiles.truth))


@pytest.mark.parametrize(("name", "words"), [("model.json", "ends in .alledge"), ("model", "ends in .alledge"),
                                             ("training.alledge", "would replace the run's training.json"),
                                             ("report.alledge", "would replace the run's report.html")])
def test_a_name_under_which_the_report_would_replace_something_is_refused(run_copy, name, words):
    (run_copy / "report.html").write_text("training's")
    before = {path: path.read_bytes() for path in run_copy.iterdir()}
    with pytest.raises(UsageError, match=re.escape(words)):
        convert(target="cpu", run=run_copy, out=run_copy / name)
    assert {path: path.read_bytes() for path in run_copy.iterdir()} == before


def test_a_model_that_lost_too_much_is_refused_unless_accepted_on_record(run_copy, tmp_path):
    _misleading_ranges(run_copy)
    out = tmp_path / "model.alledge"
    with pytest.raises(GateNotMet, match="lost too much on"):
        convert(target="cpu", run=run_copy, out=out)
    assert not out.exists()
    done = convert_quietly(run_copy, "cpu", out, allow_drop=True)
    assert done.bundle.manifest.metrics["allow_drop"] is True
    assert any("--allow-drop" in line for line in done.bundle.manifest.metrics["warnings"])


def test_a_conversion_interrupted_while_it_writes_leaves_no_bundle(trained_run, tmp_path, monkeypatch):
    written = []

    def interrupted(descriptor):
        written.extend(p.stat().st_size for p in tmp_path.iterdir())
        raise KeyboardInterrupt

    monkeypatch.setattr("alledge.files.os.fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        convert(target="cpu", run=trained_run, out=tmp_path / "model.alledge")
    assert max(written) > 10_000  # the bundle's bytes were there
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("option", "targets"), [({"compiler": "edgetpu_compiler"}, "coral"),
                                                 ({"allow_cpu_fallback": True}, "coral"),
                                                 ({"board_memory": 4.0}, "jetson-nano or jetson-orin")])
def test_an_option_of_another_target_is_refused(trained_run, tmp_path, option, targets):
    with pytest.raises(UsageError, match=f"only for --target {targets}"):
        convert(target="cpu", run=trained_run, out=tmp_path / "model.alledge", **option)


def test_errors_keep_their_exit_codes():
    assert (UsageError.exit_code, DataError.exit_code, GateNotMet.exit_code, AlledgeError.exit_code) == (2, 1, 6, 1)
