import json

import cv2
import numpy as np
import pytest

from alledge.images import read_image, write_png
from alledge.synthetic import draw_field


@pytest.fixture
def smear(tmp_path):
    path = tmp_path / "smear.png"
    write_png(path, draw_field("pre_b", 2).rgb)
    return path


@pytest.mark.parametrize("mode", ["paper", "stain", "none"])
def test_segment_writes_a_binary_mask_and_an_overlay(alledge, smear, tmp_path, mode):
    done = alledge("segment", smear, "--mode", mode, "--out", tmp_path / "out", "--json")
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)["images"]
    mask = cv2.imread(found["mask"], cv2.IMREAD_UNCHANGED)
    assert mask.shape == (224, 224)
    assert set(np.unique(mask)) <= {0, 255}
    assert found["coverage"] == pytest.approx((mask > 0).mean())
    assert read_image(tmp_path / "out" / "smear_overlay.png").shape == (224, 224, 3)
    assert found["mode"] == mode


def test_one_bad_image_does_not_cost_the_others(alledge, smear, tmp_path):
    (tmp_path / "bad.png").write_text("nothing")
    done = alledge("segment", tmp_path / "bad.png", smear, "--out", tmp_path / "out", "--json")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "bad.png" in done.stderr
    report = json.loads(done.stdout)
    assert [i["path"] for i in report["images"]] == [str(smear)]
    assert len(report["failed"]) == 1


def test_equal_names_from_two_folders_both_keep_their_mask(alledge, smear, tmp_path):
    for folder in ("x/b", "y/b"):
        write_png(tmp_path / folder / "smear.png", draw_field("benign", 2).rgb)
    write_png(tmp_path / "smear.bmp.png", draw_field("benign", 3).rgb)
    done = alledge("segment", smear, smear, tmp_path / "x", tmp_path / "y", "--out", tmp_path / "out", "--json")
    masks = [i["mask"] for i in json.loads(done.stdout)["images"]]
    assert len(set(masks)) == len(masks) == 3
    assert len(list((tmp_path / "out").glob("*_mask.png"))) == 3


@pytest.mark.parametrize(("arguments", "code", "says"), [
    (("segment", "absent.png", "--out", "x"), 2, "absent.png"),
    (("segment", "SMEAR", "--mode", "otsu", "--out", "x"), 2, "stain"),
    (("segment", "SMEAR", "--out", "SMEAR"), 1, "cannot be written"),
    (("synth", "SMEAR"), 2, "new or empty folder"),
    (("evaluate", "SMEAR", "--data", "absent"), 2, "absent"),
    (("inspect", "SMEAR"), 5, "bundle"),
])
def test_errors_are_one_line_with_their_exit_code(alledge, smear, tmp_path, arguments, code, says):
    done = alledge(*(smear if a == "SMEAR" else a for a in arguments), env={"XDG_CONFIG_HOME": str(tmp_path)})
    assert done.returncode == code, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert done.stderr.startswith("error: ")
    assert says in done.stderr
    assert done.stdout == ""


def test_debug_shows_the_traceback_wherever_it_stands(alledge):
    command = ("segment", "absent.png", "--out", "x")
    for line in (("--debug", *command), (*command, "--debug")):
        done = alledge(*line)
        assert done.returncode != 0
        assert "Traceback" in done.stderr


def test_an_unknown_command_is_answered_with_the_nearest(alledge):
    done = alledge("trian")
    assert done.returncode == 2
    assert "train" in done.stderr


def test_synth_is_repeatable(alledge, tmp_path):
    for name in ("a", "b"):
        done = alledge("synth", tmp_path / name, "--per-class", 2, "--seed", 3, "--size", 96, "--json")
        assert json.loads(done.stdout)["per_class"] == 2
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file())
    assert len(files) == 17
    assert all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)


def test_version(alledge):
    assert alledge("--version").stdout.startswith("alledge 0.")
