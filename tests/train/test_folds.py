"""Who learns and who tests: folds that cut groups, and images without a split CSV."""

import io
from dataclasses import replace

import pytest

pytest.importorskip("keras", reason="needs the extra `train`")

from alledge.dataset import SUBSETS, Dataset, read_dataset
from alledge.errors import DataError
from alledge.labels import LABELS
from alledge.output import Progress
from alledge.synthetic import write_dataset
from alledge.train.crossval import cross_validate
from alledge.train.options import Options

OPTIONS = Options("tiny", "compact", weights="none", epochs=1)


def cut(smears, column):
    """Two classes whose images go into two folds in turn, whatever their group is."""
    items = [i for i in read_dataset(smears).items if i.label in ("benign", "pro_b")]
    return Dataset(smears, tuple(replace(item, columns={**item.columns, column: str(n % 2)})
                                 for n, item in enumerate(items)))


@pytest.mark.parametrize(("folds", "column"), [("group", "fold"), ("family", "family")])
def test_a_column_that_cuts_a_group_is_refused_with_two_of_its_files(smears, tmp_path, folds, column):
    with pytest.raises(DataError, match=rf"--folds {folds} leaks: .*\.png \(fold 0\) and .*\.png \(fold 1\) share "
                                        rf"group .*column '{column}'"):
        cross_validate(cut(smears, column), folds, tmp_path, OPTIONS, Progress(io.StringIO()))
    assert not any(tmp_path.iterdir())


def test_blocks_that_cut_groups_are_said_to_with_two_files(smears, tmp_path):
    told = io.StringIO()
    with pytest.raises(DataError, match="hold no image of"):  # two classes are not trained on: the warning comes first
        cross_validate(cut(smears, "block"), "block", tmp_path, OPTIONS, Progress(told))
    assert "warning: --folds block cuts " in told.getvalue()
    assert told.getvalue().count(".png (fold ") == 2


def test_three_images_per_class_are_dealt_and_two_are_too_few(alledge, tmp_path):
    write_dataset(tmp_path, 3, seed=1, size=64)
    (tmp_path / "split.csv").unlink()
    dealt = read_dataset(tmp_path)
    assert all({i.label for i in dealt.subset(name)} == set(LABELS) for name in SUBSETS)
    next((tmp_path / "pre_b").iterdir()).unlink()
    done = alledge("train", "--data", tmp_path, "--out", tmp_path / "run", "--backbone", "tiny")
    assert done.returncode == 1
    warned, error = done.stderr.strip().splitlines()
    assert warned.startswith("no split CSV: images are dealt by their content")
    assert error.startswith("error: too few different images of pre_b: expected at least 3 of each class")
