"""Teaching a head alone: who judges whom, what the run says of it, and that it converts and runs like any other."""

import json

import numpy as np
import pytest

keras = pytest.importorskip("keras", reason="needs the extra `train`")

from alledge.bundle import Bundle  # noqa: E402
from alledge.dataset import read_dataset  # noqa: E402
from alledge.errors import DataError, UsageError  # noqa: E402
from alledge.output import Progress  # noqa: E402
from alledge.runfolder import read_record  # noqa: E402
from alledge.train import frozen  # noqa: E402
from alledge.train.backbones import preprocessing_for  # noqa: E402
from alledge.train.batches import read_tiles  # noqa: E402
from alledge.train.checkpoint import Checkpoint, forget  # noqa: E402
from alledge.train.frozen import PARTS, deal  # noqa: E402
from alledge.train.options import Options, default_epochs, default_head, trains_head_alone  # noqa: E402
from alledge.train.recipe import recipe_for  # noqa: E402


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Weights of a MobileNetV2 that has learned nothing: enough to teach a head on."""
    path = tmp_path_factory.mktemp("weights") / "random.weights.h5"
    keras.utils.set_random_seed(0)
    keras.applications.MobileNetV2(weights=None, include_top=False, input_shape=(224, 224, 3)).save_weights(path)
    return path


@pytest.fixture(scope="module")
def run(alledge, smears, weights, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "nuclei"
    done = alledge("train", "--data", smears, "--weights", weights, "--epochs", 3, "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    return out


def test_no_group_is_cut_and_every_part_has_every_class():
    random = np.random.default_rng(0)
    truth = random.integers(0, 4, 400)
    groups = [f"{t}-{random.integers(9)}" for t in truth]
    part = deal(groups, truth)
    homes = {}
    for group, p in zip(groups, part, strict=True):
        assert homes.setdefault(group, p) == p
    counts = np.array([[np.sum((part == p) & (truth == c)) for c in range(4)] for p in range(PARTS)])
    assert counts.min() > 0
    assert counts.max() <= 2 * counts.min()


def test_a_group_of_two_classes_stays_whole():
    truth = np.tile([0, 1, 2, 3], 30)
    groups = [f"slide {i // 8}" for i in range(120)]  # every slide holds every class
    part = deal(groups, truth)
    assert all(len({p for g, p in zip(groups, part, strict=True) if g == group}) == 1 for group in set(groups))
    assert set(part) == set(range(PARTS))


def test_what_a_head_alone_has_no_use_for_is_refused():
    with pytest.raises(UsageError, match="choose --head compact"):
        Options("mobilenetv2", "nuclei", precision="mixed_bfloat16")


def test_a_class_of_one_group_cannot_be_held_out():
    truth = np.repeat([0, 1, 2, 3], 6)
    groups = [f"{t}-{i % 3 if t != 2 else 0}" for i, t in enumerate(truth)]
    with pytest.raises(DataError, match="pre_b are of one group"):
        deal(groups, truth)
    assert deal([f"{t}-{i % 3}" for i, t in enumerate(truth)], truth).max() == 2


def test_the_default_on_mobilenet_is_to_teach_a_head_on_nuclei():
    assert default_head("mobilenetv2") == "nuclei"
    assert default_head("tiny") == default_head("vgg19") == "compact"
    assert trains_head_alone("mobilenetv2", "nuclei", "imagenet")
    assert not trains_head_alone("mobilenetv2", "nuclei", "none")
    assert default_epochs("mobilenetv2", "nuclei", "imagenet") > default_epochs("mobilenetv2", "compact", "imagenet")


def test_the_run_says_how_it_was_calibrated_and_what_it_sees(run):
    record = read_record(run)
    assert record.out_of_fold
    assert record.preprocessing.nuclei
    assert record.options["head"] == "nuclei"
    assert len(record.history["loss"]) == 3
    assert len(record.calibration.gate.means[0]) == 192 + 6
    assert record.history["loss"][-1] < record.history["loss"][0]


def test_it_converts_keeps_its_calibration_and_judges_fields(run, alledge, smears, tmp_path):
    bundle = tmp_path / "nuclei.alledge"
    done = alledge("convert", run, "--target", "cpu", "--out", bundle, "--allow-drop", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert any("has learned from the rows" in warning for warning in told["warnings"])
    agreement = told["agreement"]
    manifest = Bundle.open(bundle).manifest
    assert manifest.input.shape == (1, 224, 224, 4)
    assert manifest.calibration == read_record(run).calibration
    # Not accuracy: features of chance put every field between the classes, where a rounding turns the verdict.
    assert agreement["max_abs"] < 0.2
    for model in (run, bundle):
        done = alledge("evaluate", model, "--data", smears, "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["n"] == 16


class Killed(BaseException):
    """Stands in for kill -9: nothing of ours runs after it."""


def test_the_same_seed_gives_the_same_head_also_when_it_was_killed_twice(smears, weights, tmp_path, monkeypatch):
    options = Options(weights=str(weights), head="nuclei", epochs=2)
    preprocessing = preprocessing_for("mobilenetv2", "none", nuclei=True)
    items = read_dataset(smears).subset("train")[::3]
    tiles = read_tiles(items, preprocessing)
    told = []

    class Told(Progress):
        def say(self, line):
            told.append(line)

    def teach(folder=None):
        return frozen.teach(tiles, [i.group for i in items], preprocessing, options, recipe_for(options), Told(None),
                            folder)

    whole = teach()
    monkeypatch.setattr(frozen, "_views", None)  # the trunk has looked at every tile and never has to again
    written, write = [], Checkpoint.write

    def dying(self, state):
        write(self, state)
        written.append(1)
        if len(written) in (3, 4):  # in the second head's first epoch, and, gone on with, after its last
            raise Killed

    monkeypatch.setattr(Checkpoint, "write", dying)
    for _ in range(2):
        with pytest.raises(Killed):
            teach(tmp_path)
    told.clear()
    resumed = teach(tmp_path)
    heads = len([line for line in told if line.startswith("judging")]) + 1
    assert [line for line in told if "finished before" in line] == [
        "2 of 2 epochs were finished before: going on from there"] * 2
    assert len(written) == 2 * heads, "an epoch was taught twice"
    assert resumed.calibration == whole.calibration
    assert resumed.history == whole.history
    for a, b in zip(whole.model.get_weights(), resumed.model.get_weights(), strict=True):
        assert np.array_equal(a, b)
    forget(tmp_path)
    assert not list(tmp_path.iterdir())
