import csv
import shutil

import pytest

from alledge.dataset import cut_groups, fold_names, hold_out, read_dataset
from alledge.errors import DataError, UsageError
from alledge.labels import LABELS, find_label


@pytest.fixture
def copied(smears, tmp_path):
    root = tmp_path / "data"
    shutil.copytree(smears, root)
    return root


def rewrite(root, change):
    path = root / "split.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    rows = [change(dict(row)) for row in rows]
    with path.open("w", newline="") as file:
        out = csv.DictWriter(file, rows[0].keys())
        out.writeheader()
        out.writerows(rows)


def test_the_split_csv_in_the_folder_is_found_and_masks_are_no_class(smears):
    dataset = read_dataset(smears)
    assert len(dataset.items) == 48
    assert not dataset.dealt
    assert {i.label for i in dataset.items} == set(LABELS)
    assert {i.subset for i in dataset.items} == {"train", "val", "test"}
    assert not any("masks" in i.path.parts for i in dataset.items)


def test_without_a_csv_identical_files_stay_together(copied):
    (copied / "split.csv").unlink()
    shutil.copy(next((copied / "pre_b").iterdir()), copied / "pre_b" / "twin.png")
    dataset = read_dataset(copied)
    twin = next(i for i in dataset.items if i.path.name == "twin.png")
    assert len({i.subset for i in dataset.items if i.md5 == twin.md5}) == 1


def test_without_a_csv_every_class_is_dealt_by_content_alone(copied):
    (copied / "split.csv").unlink()
    for path in sorted(copied.glob("*/*_00[01]?.png"))[::2]:
        path.unlink() if path.parent.name == "benign" else path.rename(path.with_stem(f"renamed_{path.stem}"))
    first = read_dataset(copied)
    assert first.dealt
    for label, numbers in (("benign", (2, 1, 3)), ("pro_b", (3, 2, 7))):
        assert tuple(sum(i.label == label for i in first.subset(s)) for s in ("test", "val", "train")) == numbers
    for path in copied.glob("pro_b/*.png"):
        path.rename(path.with_stem(f"z{path.stem[::-1]}"))
    assert read_dataset(copied).split_sha256 == first.split_sha256


def test_a_file_in_two_classes_is_dealt_once(copied):
    (copied / "split.csv").unlink()
    for path in (copied / "benign").iterdir():
        shutil.copy(path, copied / "pro_b" / path.name)
    assert len(read_dataset(copied).items) == 48 + 12


def test_moved_files_are_found_by_their_md5(copied):
    (copied / "pro_b").rename(copied / "[Malignant] Pro-B")
    assert len(read_dataset(copied).items) == 48


@pytest.mark.parametrize(("name", "label"), [
    ("Early", "early_pre_b"), ("[Malignant] early Pre-B", "early_pre_b"), ("Pre", "pre_b"), ("Benign", "benign"),
    ("Pro-B", "pro_b"), ("masks", None), ("Normal", None),
])
def test_folder_names_in_circulation_are_understood(name, label):
    assert find_label(name) == label


@pytest.mark.parametrize("folds", ["group", "random"])
def test_folds_cover_every_item_once_and_cut_no_group(smears, folds):
    dataset = read_dataset(smears)
    tested = []
    for name in fold_names(dataset, folds):
        held = hold_out(dataset, folds, name)
        assert {i.subset for i in held.items} == {"train", "val", "test"}
        tested += [i.path for i in held.subset("test")]
        assert bool(cut_groups(dataset, folds)) == (folds == "random")
        if folds == "group":
            groups = {s: {i.group for i in held.subset(s)} for s in ("train", "val", "test")}
            assert not (groups["train"] & groups["val"])
            assert not (groups["train"] & groups["test"])
            for subset in ("train", "val"):
                assert {i.label for i in held.subset(subset)} == set(LABELS)
    assert sorted(tested) == sorted(i.path for i in dataset.items)


def test_a_cut_group_is_named_by_two_fields_that_are_apart(copied):
    rewrite(copied, lambda row: {**row, "fold": "9" if row["file"] == "pro_b/pro_b_0001.png" else row["fold"]})
    (said,) = cut_groups(read_dataset(copied), "group")
    assert "pro_b_0001.png (fold 9)" in said
    assert said.count(".png (fold ") == 2
    assert "share group " in said


def test_a_group_of_several_classes_is_not_cut_either(copied):
    """The fields of a patient may be of more than one class."""
    rewrite(copied, lambda row: {**row, "group": f"{row['fold']}-{row['group'][-1]}", "split": "train"})
    dataset = read_dataset(copied)
    assert len({(i.group, i.label) for i in dataset.items}) > len({i.group for i in dataset.items})
    for name in fold_names(dataset, "group"):
        held = hold_out(dataset, "group", name)
        learned, judged = ({i.group for i in held.subset(s)} for s in ("train", "val"))
        assert learned
        assert judged
        assert not learned & judged


def test_the_split_hash_knows_content_and_subsets_but_not_names(smears, copied):
    assert read_dataset(smears).split_sha256 == read_dataset(copied).split_sha256
    rewrite(copied, lambda row: {**row, "split": "train" if row["split"] == "val" else row["split"]})
    assert read_dataset(smears).split_sha256 != read_dataset(copied).split_sha256


def test_a_missing_folder_and_csv_are_usage_errors(smears, tmp_path):
    with pytest.raises(UsageError, match="one sub-folder per class"):
        read_dataset(tmp_path / "absent")
    with pytest.raises(UsageError, match="split CSV"):
        read_dataset(smears, tmp_path / "absent.csv")


def test_no_class_folder_and_only_one_class_are_refused(copied, tmp_path):
    (tmp_path / "other" / "cats").mkdir(parents=True)
    with pytest.raises(DataError, match="found cats"):
        read_dataset(tmp_path / "other")
    (copied / "split.csv").unlink()
    for label in LABELS[1:]:
        shutil.rmtree(copied / label)
    with pytest.raises(DataError, match="at least two"):
        read_dataset(copied)


def test_a_csv_that_names_absent_files_is_refused_with_their_names(copied):
    (copied / "benign" / "benign_0003.png").unlink()
    with pytest.raises(DataError, match=r"names 1 files.*benign_0003\.png"):
        read_dataset(copied)


def test_an_unknown_label_is_refused(copied):
    rewrite(copied, lambda row: {**row, "label": "t_cell"} if row["file"].endswith("0.png") else row)
    with pytest.raises(DataError, match="unknown label 't_cell'"):
        read_dataset(copied)


def test_a_changed_file_is_refused(copied):
    path = copied / "benign" / "benign_0000.png"
    path.write_bytes((copied / "benign" / "benign_0001.png").read_bytes())
    with pytest.raises(DataError, match="was changed"):
        read_dataset(copied)


def test_a_group_cut_by_the_split_is_a_leak(copied):
    seen = {}

    def cut(row):
        row["split"] = "test" if seen.setdefault(row["group"], row["split"]) == "train" and row["group"] in cut.once \
            else row["split"]
        cut.once.add(row["group"])
        return row

    cut.once = set()
    rewrite(copied, cut)
    with pytest.raises(DataError, match="the split leaks"):
        read_dataset(copied)


def test_the_same_bytes_in_two_subsets_are_a_leak_that_names_the_files(copied):
    with (copied / "split.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    original = next(row for row in rows if row["split"] == "test" and row["label"] == "pro_b")
    shutil.copy(copied / original["file"], copied / "pro_b" / "twin.png")
    rewritten = {**original, "file": "pro_b/twin.png", "split": "train", "group": "another"}
    with (copied / "split.csv").open("a", newline="") as file:
        csv.DictWriter(file, rows[0].keys()).writerow(rewritten)
    with pytest.raises(DataError, match="the split leaks") as refused:
        read_dataset(copied)
    for said in (original["file"], "pro_b/twin.png", "(test)", "(train)", original["md5"], "in one subset"):
        assert said in str(refused.value)


def test_a_class_folder_without_images_is_refused(copied):
    (copied / "split.csv").unlink()
    for path in (copied / "pre_b").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"pre_b: expected images of the class, found none; add some or remove"):
        read_dataset(copied)


@pytest.mark.parametrize("text", ["file,label\na,b\n", "", "\x00\x01"])
def test_a_csv_without_the_columns_is_refused(copied, text):
    (copied / "split.csv").write_text(text)
    with pytest.raises(DataError, match="expected"):
        read_dataset(copied)
