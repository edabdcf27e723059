"""The paper's tables, on drawn smears and the smallest network."""

import json

import numpy as np
import pytest

pytest.importorskip("keras", reason="needs the extra `train`")

from alledge.dataset import read_dataset
from alledge.errors import DataError, UsageError
from alledge.output import Progress
from alledge.train.comparison import Cell, compare, page
from alledge.train.paired import interval, mcnemar
from alledge.train.paper import DEPARTURES, Paper
from alledge.train.reproduce import Plan, reproduce

QUICK = {"backbones": ("tiny",), "weights": "none", "epochs": 1, "test_per_class": 3, "per_class": 10}


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    return tmp_path_factory.mktemp("told") / "told.txt"


@pytest.fixture(scope="module")
def made(smears, tmp_path_factory, told):
    out = tmp_path_factory.mktemp("reproduced")

    def make(table, **changes):
        with told.open("w") as file:
            plan = Plan(table, **{**QUICK, **changes})
            return reproduce(read_dataset(smears), out, plan, " ".join(["alledge reproduce", *plan.wishes]),
                             Progress(file))

    make(6)
    return out, make


def row_of(report, head, backbone="tiny"):
    return next(r for r in report["rows"] if (r["backbone"], r["head"]) == (backbone, head))


def test_finished_cells_are_kept_and_heads_are_compared_on_the_same_images(made, told):
    out, make = made
    before = (out / "paper" / "tiny-plain-focal-0" / "model.keras").stat().st_mtime_ns
    report = make(7)
    assert "tiny-plain-focal-0: complete already, kept" in told.read_text()
    assert (out / "paper" / "tiny-plain-focal-0" / "model.keras").stat().st_mtime_ns == before
    ours = row_of(report, "mhsa")
    assert ours["ci95"][0] <= ours["accuracy"] <= ours["ci95"][1]
    assert 0 < ours["versus_plain"]["p"] <= 1
    assert row_of(report, "plain")["versus_plain"] is None
    assert report["comparisons"] == 2
    assert "With 2 comparisons in this table, p below 0.025 holds for all of them together, and in this table " \
           "alone" in page(report)
    assert report["test_images"] == 12
    assert json.loads((out / "table-7-paper.json").read_text()) == json.loads(json.dumps(report))


def test_what_is_not_measured_is_listed_with_its_command_and_no_figure_is_invented(made):
    _, make = made
    report = make(6)
    missing = row_of(report, "plain", "vgg19")
    assert missing["accuracy"] is None
    same = "alledge reproduce --table 6 --weights none --epochs 1 --test-per-class 3 --per-class 10"
    assert missing["missing"] == {"reason": "not trained yet", "command": f"{same} --backbones vgg19"}
    text = page(report)
    assert "| tiny | plain | focal | not at hand |" in text
    assert f"`{same} --backbones tiny`, " in text
    assert text.count(f"`{same} --backbones ") == 1 + 8
    assert text.index("histogram") < text.index("Not measured here")
    assert "RESEARCH USE ONLY" in text


def test_what_is_not_measured_takes_a_line_per_backbone(made):
    _, make = made
    lines = [line for line in page(make(7)).splitlines() if line.startswith("- ")]
    assert len(lines) == 8
    assert lines[0].startswith("- vgg19 (mhsa focal, compact focal, plain focal): not trained yet: `alledge ")


def test_what_is_not_the_papers_is_told_under_its_tables_and_only_there(made):
    _, make = made
    for protocol, told in (("paper", True), ("leaky", True), ("split", False)):
        assert (DEPARTURES in page({**make(6), "protocol": protocol})) == told
    for ours in ("stay frozen", "dropout 0.3", "L2 of 0.0001", "8 attention heads of 64", "256 and 64 units",
                 "patience 5"):
        assert ours in DEPARTURES


def test_the_command_repeats_what_was_asked_for():
    asked = ["--table", "7", "--seeds", "3", "--per-class", "60"]
    assert Plan(7, seeds=3, per_class=60).wishes == asked
    assert Plan(7, seeds=3, per_class=60, weights="w.h5", backbones=("tiny",)).wishes == asked
    assert Plan(7, seeds=3, per_class=60, weights="none").wishes == [*asked[:4], "--weights", "none", *asked[4:]]


def test_the_papers_own_figure_stands_in_its_row(made):
    _, make = made
    assert row_of(make(7), "mhsa", "vgg19")["paper"] == 0.9925


def test_runs_of_another_split_or_size_are_not_shown_as_this_tables(made, smears):
    out, _ = made
    dealt = Paper(3, 10).deal(read_dataset(smears))
    cell = Cell("tiny", "plain", "focal")

    def shown(dataset, protocol):
        return compare([cell], out / "paper", dataset, protocol, {}, "")["rows"][0]["accuracy"] is not None

    assert shown(dealt, "paper, 10 tiles per class")
    assert not shown(dealt, "paper, 11 tiles per class")
    assert not shown(Paper(2, 10).deal(read_dataset(smears)), "paper, 10 tiles per class")


def test_the_card_of_a_leaky_run_says_so(made):
    out, make = made
    report = make(6, protocol="leaky")
    assert report["rows"][-1]["accuracy"] is not None
    assert "copies of the test images themselves" in page(report)
    card = (out / "leaky" / "tiny-plain-focal-0" / "model_card.md").read_text()
    assert "varied copies of the test images were trained on" in " ".join(card.split())
    assert "varied copies" not in (out / "paper" / "tiny-plain-focal-0" / "model_card.md").read_text()


def test_a_finished_run_is_not_taken_for_another(made):
    _, make = made
    for changes in ({"epochs": 2}, {"per_class": 11}, {"test_per_class": 2}):
        with pytest.raises(DataError, match="choose another --out"):
            make(6, **changes)


@pytest.mark.parametrize(("changes", "says"), [
    ({"table": 4}, "5, 6, 7, 8"),
    ({"protocol": "fair"}, "paper, leaky, split"),
    ({"backbones": ("vgg99",)}, "vgg99"),
    ({"weights": "some.h5"}, "--backbones"),
])
def test_wrong_wishes_are_one_sentence(changes, says):
    with pytest.raises(UsageError, match=says):
        Plan(**{"table": 5, **changes})


def test_mcnemar_is_the_exact_binomial_on_images_one_of_two_called_right():
    first = np.array([[True] * 10 + [False] * 2 + [True] * 5 + [False] * 3])
    second = np.array([[False] * 10 + [True] * 2 + [True] * 5 + [False] * 3])
    test = mcnemar(first, second)
    assert (test.only_first, test.only_second) == (10, 2)
    assert test.p == pytest.approx(2 * (1 + 12 + 66) / 2 ** 12)
    assert mcnemar(first, first).p == 1.0
    assert mcnemar(np.repeat(first, 5, 0), np.repeat(second, 5, 0)) == test  # more seeds are not more images


def test_intervals_grow_with_groups_and_never_vanish():
    random = np.random.default_rng(0)
    by_group = np.repeat(random.random(20) < 0.8, 10)[None]
    alone, grouped = interval(by_group, [str(i) for i in range(200)]), interval(by_group, np.repeat(range(20), 10))
    assert grouped[1] - grouped[0] > 2 * (alone[1] - alone[0])
    low, high = interval(np.ones((3, 100), bool), [str(i) for i in range(100)])
    assert 0.95 < low < 1.0
    assert high == 1.0
