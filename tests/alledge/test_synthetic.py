"""Synthetic smears: deterministic, honest masks, and no class to be had from colour alone."""

import csv
from collections import Counter, defaultdict
from pathlib import Path

import cv2
import numpy as np
import pytest

from alledge import synthetic
from alledge.errors import UsageError
from alledge.labels import LABELS
from alledge.synthetic import STAINS, draw_field, draw_slide, write_dataset
from alledge.synthetic.appearance import APPEARANCE


def read_rows(table: Path) -> list[dict[str, str]]:
    with table.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("smears"), per_class=60, seed=5, size=64)


def test_front_door_offers_what_it_names() -> None:
    assert all(hasattr(synthetic, name) for name in synthetic.__all__)
    assert tuple(APPEARANCE) == LABELS


@pytest.mark.parametrize("label", [*LABELS, None])
def test_same_arguments_give_the_same_picture(label: str | None) -> None:
    first, second, other = draw_field(label, 7), draw_field(label, 7), draw_field(label, 8)
    np.testing.assert_array_equal(first.rgb, second.rgb)
    np.testing.assert_array_equal(first.nuclei, second.nuclei)
    assert first.slide == second.slide
    assert (first.rgb != other.rgb).any()


@pytest.mark.parametrize("size", [64, 224, 331])
def test_size_is_honoured(size: int) -> None:
    field = draw_field("pre_b", 3, size)
    assert (field.rgb.shape, field.rgb.dtype) == ((size, size, 3), np.uint8)
    assert (field.nuclei.shape, field.nuclei.dtype) == ((size, size), np.uint8)
    assert set(np.unique(field.nuclei)) <= {0, 255}


def test_a_field_holds_as_much_at_any_size() -> None:
    shares = [np.mean(draw_field("pro_b", 11, size).nuclei > 0) for size in (112, 224, 448)]
    assert max(shares) < 1.1 * min(shares)


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("stain", STAINS)
def test_mask_marks_the_darkest_green(label: str, stain: str) -> None:
    field = draw_field(label, 21, stain=stain)
    green = field.rgb[..., 1].astype(float)
    inside = field.nuclei > 0
    outside = ~cv2.dilate(field.nuclei, np.ones((7, 7), np.uint8)).astype(bool)
    assert field.stain == stain
    assert np.median(green[inside]) < np.percentile(green[outside], 5)


def test_empty_field_has_no_nuclei_but_red_cells() -> None:
    field = draw_field(None, 4)
    assert field.white_cells == 0
    assert field.red_cells > 0
    assert not field.nuclei.any()


def test_slide_does_not_depend_on_the_label() -> None:
    for seed in range(6):
        assert len({draw_field(label, seed, 32).slide for label in (*LABELS, None)}) == 1


def test_every_stain_turns_up() -> None:
    rng = np.random.default_rng(0)
    assert {draw_slide(rng).stain for _ in range(100)} == set(STAINS)


def test_focus_exposure_and_cast_do_what_they_say() -> None:
    def sharpness(focus: float) -> float:
        green = draw_field("pre_b", 2, focus=focus, noise=0).rgb[..., 1]
        return float(cv2.Laplacian(green, cv2.CV_64F).var())

    dark, normal, burnt = (draw_field("benign", 2, exposure=e).rgb.mean() for e in (0.15, 0.8, 2.0))
    yellow = draw_field("benign", 2, cast=(1.0, 1.0, 0.5)).rgb.mean((0, 1))
    assert sharpness(0.5) > 10 * sharpness(4)
    assert dark < 0.6 * normal < normal < burnt
    assert yellow[2] < yellow[0] - 30


def test_files_masks_and_checksums(dataset: Path) -> None:
    rows = read_rows(dataset)
    assert list(rows[0]) == ["file", "label", "md5", "group", "fold", "stain", "split"]
    assert Counter(row["label"] for row in rows) == dict.fromkeys(LABELS, 60)
    assert len({row["md5"] for row in rows}) == len(rows)
    for row in rows[::17]:
        mask = cv2.imread(str(dataset.parent / "masks" / row["file"]), cv2.IMREAD_UNCHANGED)
        assert row["file"].startswith(f"{row['label']}/")
        assert mask.shape == (64, 64)
        assert mask.any()
    assert sorted(p.name for p in dataset.parent.iterdir()) == sorted([*LABELS, "masks", "split.csv"])


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    first, again, other = (
        write_dataset(tmp_path / name, per_class=3, seed=seed, size=64).read_bytes()
        for name, seed in (("first", 5), ("again", 5), ("other", 6))
    )
    assert first == again  # the table holds the MD5 of every picture
    assert first != other


def test_no_group_is_cut_and_shares_hold(dataset: Path) -> None:
    rows = read_rows(dataset)
    places = defaultdict(set)
    for row in rows:
        places[row["group"]].add((row["label"], row["stain"], row["split"], row["fold"]))
    assert all(len(place) == 1 for place in places.values())
    for label in LABELS:
        counts = Counter(row["split"] for row in rows if row["label"] == label)
        assert counts["test"] == 16
        assert counts["val"] == 8
        assert {row["fold"] for row in rows if row["label"] == label} == set("01234")


def test_stain_is_as_frequent_in_every_class(dataset: Path) -> None:
    rows = read_rows(dataset)
    counts = [Counter(row["stain"] for row in rows if row["label"] == label) for label in LABELS]
    assert all(count == counts[0] for count in counts)


@pytest.mark.parametrize("per_class", [1, 2, 7])
def test_small_sets_work(tmp_path: Path, per_class: int) -> None:
    rows = read_rows(write_dataset(tmp_path, per_class, seed=1, size=48))
    assert len(rows) == 4 * per_class
    assert "train" in {row["split"] for row in rows}


def test_colour_alone_does_not_give_the_class(dataset: Path) -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    rows = read_rows(dataset)
    histograms = np.array([_histogram(dataset.parent / row["file"]) for row in rows])
    labels = np.array([row["label"] for row in rows])
    train = np.array([row["split"] == "train" for row in rows])
    test = np.array([row["split"] == "test" for row in rows])
    model = linear.LogisticRegression(C=100, class_weight="balanced", max_iter=500)
    model.fit(histograms[train], labels[train])
    assert model.score(histograms[test], labels[test]) < 0.60


def _histogram(path: Path) -> np.ndarray:
    image = cv2.imread(str(path))
    counts = cv2.calcHist([image], [0, 1, 2], None, [8, 8, 8], [0, 256] * 3).ravel()
    return counts / counts.sum()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"label": "t_all", "seed": 1}, "t_all"),
        ({"label": "benign", "seed": -1}, "-1"),
        ({"label": "benign", "seed": 1, "size": 8}, "8"),
        ({"label": "benign", "seed": 1, "stain": "crayon"}, "crayon"),
        ({"label": "benign", "seed": 1, "exposure": 0.0}, "exposure"),
        ({"label": "benign", "seed": 1, "focus": -1.0}, "focus"),
    ],
)
def test_bad_arguments_get_one_clear_sentence(arguments: dict, named: str) -> None:
    with pytest.raises(UsageError, match=named) as caught:
        draw_field(**arguments)
    assert "must be" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bad_dataset_arguments(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="per_class must be"):
        write_dataset(tmp_path, 0, 1)
    with pytest.raises(UsageError, match="seed must be"):
        write_dataset(tmp_path, 1, -1)
