"""One tiny training through the command line, and everything a run folder promises."""

import csv
import json
import re
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from alledge.dataset import read_dataset
from alledge.labels import LABELS
from alledge.runfolder import CALIBRATION_TILES, HELD_OUT_TILES, read_record, read_tiles

pytest.importorskip("keras", reason="needs the extra `train`")
TINY = ("--backbone", "tiny", "--weights", "none", "--epochs", 2, "--batch", 8)


@pytest.fixture(scope="module")
def trained(alledge, smears, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained") / "run"
    done = alledge("train", "--data", smears, *TINY, "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    return out, json.loads(done.stdout), done.stderr


def test_progress_goes_to_stderr_and_one_document_to_stdout(trained):
    _, summary, stderr = trained
    assert len(re.findall(r"^epoch \d/2: loss", stderr, re.M)) == 2
    assert "oneDNN" not in stderr
    assert 0 <= summary["accuracy"] <= 1
    assert summary["accuracy_ci95"][0] <= summary["accuracy"] <= summary["accuracy_ci95"][1]
    assert 0 <= summary["baseline_histogram_accuracy"] <= 1


def test_the_run_folder_is_complete(trained, smears):
    run, _, _ = trained
    record, dataset = read_record(run), read_dataset(smears)
    assert {p.name for p in run.iterdir()} == {
        "model.keras", "training.json", "calibration_tiles.npz", "held_out_tiles.npz", "predictions.csv", "report.html",
        "model_card.md"}
    assert record.provenance["split_sha256"] == dataset.split_sha256
    assert len(record.history["val_loss"]) == 2
    assert record.preprocessing.size == 112
    assert record.calibration.gate is not None


def test_tiles_come_from_the_rows_they_should(trained, smears):
    run, _, _ = trained
    dataset = read_dataset(smears)
    kept, held = read_tiles(run, CALIBRATION_TILES), read_tiles(run, HELD_OUT_TILES)
    assert len(held.truth) == len(dataset.subset("val"))
    assert set(kept.truth) == {0, 1, 2, 3}
    assert kept.pixels.shape[1:] == (112, 112, 3)
    assert not {t.tobytes() for t in kept.pixels} & {t.tobytes() for t in held.pixels}


def test_every_test_row_has_its_prediction(trained, smears):
    run, summary, _ = trained
    with (run / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    tested = read_dataset(smears).subset("test")
    assert [r["md5"] for r in rows] == [i.md5 for i in tested]
    right = [max(LABELS, key=lambda label, r=r: float(r[label])) == r["label"] for r in rows]
    assert np.mean(right) == pytest.approx(summary["accuracy"])


def test_report_and_card_say_what_the_record_says(trained):
    run, summary, _ = trained
    report, card = (run / "report.html").read_text(), (run / "model_card.md").read_text()
    for text in (report, card):
        assert "RESEARCH USE ONLY" in text
        assert f"{summary['accuracy']:.1%}" in text
    assert "http" not in report.replace("http://www.w3.org", "")


def test_the_same_seed_gives_the_same_run(trained, alledge, smears, tmp_path):
    run, _, _ = trained
    assert alledge("train", "--data", smears, *TINY, "--out", tmp_path / "again").returncode == 0
    assert read_record(tmp_path / "again").run_id == read_record(run).run_id


def kill_after(line, *command):
    """Start a command and kill -9 it as soon as it says `line`."""
    with subprocess.Popen([sys.executable, "-m", "alledge", *map(str, command)], stderr=subprocess.PIPE,
                          stdout=subprocess.DEVNULL, text=True) as process:
        for said in process.stderr:
            if said.startswith(line):
                process.kill()
                break
        process.wait(60)
    assert process.returncode == -signal.SIGKILL


def test_a_killed_training_ends_as_if_nothing_had_happened(trained, alledge, smears, tmp_path):
    whole, _, _ = trained
    command = ("train", "--data", smears, *TINY, "--out", tmp_path / "cut")
    kill_after("epoch 1/2", *command)
    done = alledge(*command)
    assert "1 of 2 epochs were finished before" in done.stderr
    assert "epoch 1/2" not in done.stderr
    assert read_record(tmp_path / "cut").run_id == read_record(whole).run_id
    assert read_record(tmp_path / "cut").history == read_record(whole).history
    assert {p.name for p in (tmp_path / "cut").iterdir()} == {p.name for p in whole.iterdir()}


def test_evaluate_gives_the_run_its_own_figures_back(trained, alledge, smears, tmp_path):
    run, summary, _ = trained
    done = alledge("evaluate", run, "--data", smears, "--predictions", tmp_path / "p.csv", "--json")
    report = json.loads(done.stdout)
    assert report["accuracy"] == summary["accuracy"]
    assert report["abstained"] == summary["abstained"]
    assert report["model"] == {"id": read_record(run).run_id, "target": "run", "engine": "keras-tensorflow"}
    assert report["learned_from"] is False
    assert (tmp_path / "p.csv").read_text() == (run / "predictions.csv").read_text()


def test_a_robustness_sweep_lands_in_the_run_and_its_report(trained, alledge, smears, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained[0], run)
    assert "--robustness" in (run / "report.html").read_text()
    done = alledge("evaluate", run, "--data", smears, "--robustness", "--json")
    levels = json.loads(done.stdout)["robustness"]
    assert levels == json.loads((run / "robustness.json").read_text())
    assert levels[0]["perturbation"] == "none"
    assert levels[0]["accuracy"] == json.loads(done.stdout)["accuracy"]
    assert "report.html" in done.stderr
    assert "--robustness" not in (run / "report.html").read_text()


def test_explain_leaves_a_picture_and_says_how_much_of_it_is_nuclei(trained, alledge, smears, tmp_path):
    run, image, out = trained[0], smears / "pro_b" / "pro_b_0001.png", tmp_path / "why.png"
    found = json.loads(alledge("explain", run, image, "--out", out, "--json").stdout)
    with Image.open(out) as picture:
        assert picture.size[0] > 1000
    assert found["run_id"] == read_record(run).run_id
    assert set(found["maps"]) == {"attention", "grad_cam"}
    assert all(0 <= heat["inside_nuclei"] <= 1 for heat in found["maps"].values())
    assert sum(found["probabilities"].values()) == pytest.approx(1)
    assert found["notice"] == "RESEARCH USE ONLY"
    one_sentence(alledge("explain", image, image, "--out", out), 2, "a bundle holds a converted network")
    one_sentence(alledge("explain", tmp_path, image, "--out", out), 2, "expected a run folder")
    one_sentence(alledge("explain", run, image, "--out", tmp_path / "why.jpg"), 2, ".png")
    (tmp_path / "file").touch()
    one_sentence(alledge("explain", run, image, "--out", tmp_path / "file" / "why.png"), 2, "can be written to")


def test_cross_validation_pools_every_fold_and_resumes(alledge, smears, tmp_path):
    command = ("train", "--data", smears, "--folds", "group", "--backbone", "tiny", "--weights", "none", "--epochs", 1,
               "--out", tmp_path / "cv", "--json")
    first = alledge(*command)
    summary = json.loads(first.stdout)
    assert summary["n"] == 48
    assert len(summary["runs"]) == 5
    assert summary["groups"] == len({i.group for i in read_dataset(smears).items}) < 48
    assert summary["accuracy_group_ci95"][0] <= summary["accuracy"] <= summary["accuracy_group_ci95"][1]
    assert sum(r["n"] for r in summary["runs"]) == 48
    shutil.rmtree(tmp_path / "cv" / "group-3")
    again = alledge(*command)
    assert len(re.findall("complete already", again.stderr)) == 4
    assert json.loads(again.stdout)["confusion"] == summary["confusion"]
    other = alledge(*command, "--seed", 9)
    assert other.returncode == 1
    assert "other options" in other.stderr


def one_sentence(done, code, *says):
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert done.stderr.startswith("error: ")
    for word in says:
        assert word in done.stderr


@pytest.mark.parametrize(("options", "code", "says"), [
    (("--backbone", "vgg99"), 2, "mobilenetv2"),
    (("--backbone", "tiny", "--weights", "nowhere.h5"), 2, "nowhere.h5"),
    (("--loss", "hinge"), 2, "crossentropy"),
    (("--head", "giant"), 2, "compact"),
    (("--segment", "otsu"), 2, "stain"),
    (("--folds", "lunar"), 2, "group, family, block, random"),
    (("--folds", "family"), 1, "column 'family'"),
    (("--split", "absent.csv"), 2, "absent.csv"),
])
def test_wrong_options_are_one_sentence(alledge, smears, tmp_path, options, code, says):
    one_sentence(alledge("train", "--data", smears, "--out", tmp_path / "r", *options), code, says)


def test_a_finished_run_is_never_overwritten(trained, alledge, smears):
    run, _, _ = trained
    before = (run / "training.json").read_bytes()
    one_sentence(alledge("train", "--data", smears, *TINY, "--out", run), 2, "finished run")
    assert (run / "training.json").read_bytes() == before


def list_in_turn(root):
    """A split CSV that gives the images of a folder to train, val and test in turn."""
    (root / "split.csv").write_text("file,label,split\n" + "".join(
        f"{path.relative_to(root)},{path.parent.name},{('train', 'val', 'test')[n % 3]}\n"
        for n, path in enumerate(sorted(root.glob("*/*.png")))))


def test_one_class_and_a_bad_image_are_one_sentence(alledge, smears, tmp_path):
    root = tmp_path / "data"
    shutil.copytree(smears / "benign", root / "benign")
    one_sentence(alledge("train", "--data", root, *TINY, "--out", tmp_path / "r"), 1, "at least two")
    shutil.copytree(smears / "pro_b", root / "pro_b")
    list_in_turn(root)
    one_sentence(alledge("train", "--data", root, *TINY, "--out", tmp_path / "r"), 1, "no image of early_pre_b, pre_b")
    for label in ("early_pre_b", "pre_b"):
        shutil.copytree(smears / label, root / label)
    (root / "pro_b" / "bad.png").write_text("no image")
    list_in_turn(root)
    one_sentence(alledge("train", "--data", root, *TINY, "--out", tmp_path / "r"), 1, "bad.png")
    assert not (tmp_path / "r" / "training.json").exists()


def test_damaged_runs_are_refused(trained, alledge, smears, tmp_path):
    run, _, _ = trained
    damaged = tmp_path / "damaged"
    shutil.copytree(run, damaged)
    (damaged / "model.keras").write_bytes((run / "model.keras").read_bytes()[:5000])
    one_sentence(alledge("evaluate", damaged, "--data", smears), 1, "model.keras")
    (damaged / "training.json").write_text("{}")
    one_sentence(alledge("evaluate", damaged, "--data", smears), 1, "not a training record")
    one_sentence(alledge("evaluate", tmp_path / "absent", "--data", smears), 2, "found neither")


def test_audit_says_how_much_colour_alone_knows(alledge, smears, tmp_path):
    root = tmp_path / "data"
    shutil.copytree(smears, root)
    (root / "split.csv").unlink()
    shutil.copy(root / "benign" / "benign_0000.png", root / "benign" / "twin.png")
    (root / "pro_b" / "bad.png").write_text("no image")
    Image.new("L", (64, 64)).save(root / "pro_b" / "grey.png")
    found = json.loads(alledge("data", "audit", root, "--json").stdout)
    bad = tmp_path / "bad"
    for label in ("benign", "pro_b"):
        (bad / label).mkdir(parents=True)
        (bad / label / "x.png").write_text(label)
    one_sentence(alledge("data", "audit", bad), 1, "none of 2 images is usable")
    assert found["images"] == 49
    assert len(found["unusable"]) == 2
    assert all(name in " ".join(found["unusable"]) for name in ("bad.png", "grey.png"))
    assert found["per_class"]["benign"] == 13
    assert len(found["exact_duplicates"]) == 1
    assert 0 <= found["baseline_histogram_accuracy"] < 0.75  # 13 drawn test smears: colour does not solve them
