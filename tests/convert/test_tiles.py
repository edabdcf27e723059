"""Where conversion's tiles come from, and what is said when they are drawn."""

import json

import numpy as np
import pytest

from alledge.convert.cli import convert
from alledge.convert.tiles import Sample, draw_tiles, spread
from alledge.errors import DataError, UsageError
from alledge.images import write_png
from alledge.labels import LABELS
from alledge.palette import Palette, fit_palette, recolour, tile_figures
from alledge.preprocess import Preprocessing
from alledge.runfolder import CALIBRATION_TILES, HELD_OUT_TILES, RECORD, Tiles, read_record, read_tiles, write_record

from .conftest import convert_quietly


@pytest.fixture
def tileless(run_copy):
    """A run as it may be passed on: without any image, with the palette of what it was trained on."""
    tiles = read_tiles(run_copy, CALIBRATION_TILES)
    record = read_record(run_copy).model_copy(update={"palette": fit_palette(tiles.pixels, tiles.truth)})
    write_record(run_copy, record)
    (run_copy / CALIBRATION_TILES).unlink()
    (run_copy / HELD_OUT_TILES).unlink()
    return run_copy


def test_a_run_without_tiles_is_converted_on_drawn_smears_and_says_so(tileless, tmp_path):
    done = convert_quietly(tileless, "cpu", tmp_path / "a.alledge", allow_drop=True)
    metrics = done.bundle.manifest.metrics
    assert (metrics["ranged_on"], metrics["judged_on"]) == ("drawn smears", "drawn smears")
    document = json.loads(json.dumps(done.to_json()))
    assert document["accuracy"] == {"float": None, "converted": None, "delta_ci95": None}
    assert "accuracy_drop" not in document["gates"]
    assert 40 <= document["agreement"]["n"] <= 300
    assert sum("drawn smears" in line for line in document["warnings"]) == 2
    assert done.bundle.manifest.calibration == read_record(tileless).calibration
    again = convert_quietly(tileless, "cpu", tmp_path / "b.alledge", allow_drop=True)
    assert again.bundle.path.read_bytes() == done.bundle.path.read_bytes()


def test_the_users_images_are_used_instead_of_tiles(tileless, tmp_path):
    """Classes of drawn smears as images; the run's record says that these were its split."""
    from alledge.dataset import read_dataset
    from alledge.synthetic import write_dataset

    write_dataset(tmp_path / "data", 30, 1, 64)
    with pytest.raises(DataError, match="not the one the run was trained with"):
        convert(target="cpu", run=tileless, data=tmp_path / "data")
    record = read_record(tileless)
    provenance = {**record.provenance, "split_sha256": read_dataset(tmp_path / "data").split_sha256}
    write_record(tileless, record.model_copy(update={"provenance": provenance}))
    done = convert_quietly(tileless, "onnx", tmp_path / "a.alledge", data=tmp_path / "data")
    assert done.bundle.manifest.metrics["judged_on"] == "images given with --data"
    assert done.to_json()["accuracy"]["float"] is not None
    assert not any("drawn" in line for line in done.warnings)


def test_a_float_target_does_not_speak_of_activation_ranges(tileless, tmp_path):
    done = convert_quietly(tileless, "onnx", tmp_path / "a.alledge", allow_drop=True)
    assert done.bundle.manifest.metrics["ranged_on"] == "nothing"
    assert not any("activation ranges" in line for line in done.warnings)


def test_a_split_without_images_is_a_usage_error(tileless):
    with pytest.raises(UsageError, match="expected --data DIR"):
        convert(target="cpu", run=tileless, split=tileless / RECORD)


def stained(colours, n):
    """n tiles of each colour, all of one class, a little noisy."""
    rng = np.random.default_rng(0)
    pixels = np.repeat(np.array(colours), n, 0)[:, None, None] + rng.normal(0, 3, (n * len(colours), 8, 8, 3))
    return Tiles(pixels=pixels.clip(0, 255).astype(np.uint8), truth=np.zeros(n * len(colours), np.int64))


def test_every_stain_and_class_has_its_share_of_the_ranging_tiles():
    one = stained([(200, 150, 210), (150, 160, 220), (230, 200, 150), (90, 60, 120)], 25)
    tiles = Tiles(pixels=np.tile(one.pixels, (4, 1, 1, 1)), truth=np.repeat(np.arange(4), 100))
    chosen = spread(tiles, 64)
    assert len(set(chosen)) == 64
    counts = np.zeros((4, 4), int)
    np.add.at(counts, (tiles.truth[chosen], chosen % 100 // 25), 1)
    assert counts.min() >= 3
    assert counts.max() <= 5


def test_few_tiles_are_all_taken():
    assert spread(stained([(1, 2, 3)], 5), 64).tolist() == [0, 1, 2, 3, 4]


def test_drawn_smears_wear_the_colours_of_the_training_set():
    real = stained([(120, 60, 130), (130, 66, 140)], 30)
    plain = draw_tiles(Preprocessing(size=64), None, 8, 5)
    palette = fit_palette(real.pixels, np.arange(60) % 4)
    matched = draw_tiles(Preprocessing(size=64), palette, 8, 5)
    wanted = fit_palette(real.pixels, real.truth).mean[0][:3]
    for tile, before in zip(matched.pixels, plain.pixels, strict=True):
        assert np.abs(tile_figures(tile)[:3] - wanted).max() < 0.2
        assert np.abs(tile_figures(before)[:3] - wanted).max() > 0.2
    assert len(LABELS) == len(palette.mean)


def test_what_a_mask_made_black_stays_black():
    tile = np.full((64, 64, 3), 150, np.uint8)
    tile[:32] = 0
    palette = Palette(mean=[[1.0, 1.2, 0.9, -3, -3, -3]], covariance=[np.zeros((6, 6)).tolist()])
    coloured = recolour(tile, 0, palette, np.random.default_rng(0))
    assert not coloured[:32].any()
    assert np.allclose(tile_figures(coloured)[:3], [1.0, 1.2, 0.9], atol=0.02)


def test_an_image_that_cannot_be_read_is_named(tileless, tmp_path):
    write_png(tmp_path / "data" / "benign" / "a.png", np.zeros((64, 64, 3), np.uint8))
    with pytest.raises((DataError, UsageError)):
        convert(target="cpu", run=tileless, data=tmp_path / "data")


def test_of_drawn_smears_those_count_on_which_a_verdict_would_be_given(tileless):
    from alledge.calibration import Calibration
    from alledge.convert.judgement import _compare
    from alledge.convert.trained import Outputs, Trained

    record = read_record(tileless).model_copy(update={"calibration": Calibration(abstain_below=0.6)})
    drawn = Sample(draw_tiles(Preprocessing(size=64), None, 100, 5), "drawn", ("",) * 100)
    before = np.tile(np.array([0.8, 0.2, 0, 0], np.float32), (100, 1))
    after = before.copy()
    before[60:], after[60:] = [0.51, 0.49, 0, 0], [0.49, 0.51, 0, 0]  # in two minds: a hair tips it
    none = np.zeros((100, 2), np.float32)
    trained, rows = Trained(record, None, drawn, drawn), np.arange(100)
    found = _compare(trained, Outputs(before, none), Outputs(after, none), rows)
    assert (found.n, found.agreement, found.accuracy) == (60, 1.0, None)
    after[60:70] = [0.1, 0.9, 0, 0]  # the converted one would speak up, and of another class
    found = _compare(trained, Outputs(before, none), Outputs(after, none), rows)
    assert (found.n, found.disagreed) == (70, 10)
    few = _compare(trained, Outputs(before[30:], none[30:]), Outputs(before[30:], none[30:]), rows[30:])
    assert few.n == 70
