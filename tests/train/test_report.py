"""The page and the card of a run whose figures are known: what they say and must not say."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

pytest.importorskip("keras", reason="needs the extra `train`")
pytest.importorskip("matplotlib", reason="needs the extra `train`")

from alledge.calibration import Calibration
from alledge.dataset import Item
from alledge.labels import LABELS
from alledge.metrics import score
from alledge.perturb import PERTURBATIONS
from alledge.predictions import write_predictions
from alledge.preprocess import Preprocessing
from alledge.runfolder import ROBUSTNESS, Tiles, TrainingRecord
from alledge.train.card import write_card
from alledge.train.findings import Judged, composition, confusions, proves
from alledge.train.report import renew_report, write_report

N = 40


def make_items(tmp_path, name="field", groups=True):
    return [Item(tmp_path / LABELS[i % 4] / f"{name}_{i}.png", LABELS[i % 4], f"{i:032x}", "test",
                 {"group": f"g{i // 4}"} if groups else {}) for i in range(N)]


def make_run(tmp_path, baseline=0.5, groups=True, name="field", cut=0, protocol="split", misread=4,
             silent=False):
    """A run folder with known predictions: of 40 images 4 (or so many) are misread, half of all or all withheld."""
    items, truth = make_items(tmp_path, name, groups), np.arange(N) % 4
    guess = np.where(np.arange(N) < misread, (truth + 1) % 4, truth)
    probabilities = np.eye(4)[guess] * 0.8 + 0.05
    answered = (np.arange(N) % 2 == 0) & (not silent)
    subsets = {"train": items[:0], "val": items[:0], "test": items}
    record = TrainingRecord(
        run_id="0123456789ab", labels=list(LABELS), preprocessing=Preprocessing(size=32),
        calibration=Calibration(temperature=2.0, abstain_below=0.4),
        options={"backbone": "tiny", "head": "compact", "loss": "focal", "weights": "none", "epochs": 2, "batch": 8,
                 "seed": 0},
        provenance={"protocol": protocol, "split_sha256": "f" * 64, "keras": "3",
                    "composition": {**composition(subsets), "cut_groups": cut}},
        metrics={**score(probabilities, truth, answered, [i.group for i in items]).to_json(),
                 "baseline_histogram_accuracy": baseline},
        history={"loss": [1.0, 0.5], "val_loss": [1.1, 0.7], "accuracy": [0.3, 0.8], "val_accuracy": [0.2, 0.7]})
    write_predictions(tmp_path / "predictions.csv", items, probabilities, answered)
    pixels = np.random.default_rng(0).integers(0, 256, (N, 32, 32, 3), np.uint8)
    write_report(tmp_path, record, Tiles(pixels=pixels, truth=truth))
    write_card(tmp_path, record)
    return (tmp_path / "report.html").read_text(), (tmp_path / "model_card.md").read_text(), record


class Tags(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def test_the_page_stands_alone(tmp_path):
    page, _, _ = make_run(tmp_path)
    tags = Tags(page).found
    assert "http" not in page.replace("http://www.w3.org", "")
    assert not {"script", "link", "iframe"} & {tag for tag, _ in tags}
    images = [attributes for tag, attributes in tags if tag == "img"]
    assert len(images) >= 6 + 4
    assert all(image["src"].startswith("data:image/") and image["alt"] for image in images)
    assert page.count("RESEARCH USE ONLY") >= 1


def test_page_and_card_tell_the_figures_with_their_intervals(tmp_path):
    page, card, record = make_run(tmp_path)
    low, high = record.metrics["accuracy_group_ci95"]
    for text in (page, card):
        assert f"90.0% ({low:.1%} to {high:.1%})" in text or f"<b>90.0%</b><span>({low:.1%} to {high:.1%})" in text
        assert "RESEARCH USE ONLY" in text
    assert "answered 50.0% and was right on 90.0%" in page
    assert "before temperature: " in page


@pytest.mark.parametrize(("misread", "times"), [(4, 0), (30, 1), (N, 1)])
def test_page_and_card_say_once_when_nothing_was_learned(tmp_path, misread, times):
    page, card, _ = make_run(tmp_path, misread=misread)
    for text in (page, card):
        assert text.count("has not been shown to have learned anything") == times


def test_a_page_without_an_answer_still_begins_with_that_warning(tmp_path):
    page, _, _ = make_run(tmp_path, misread=30, silent=True)
    assert "<p class=lead>This network has not been shown to have learned anything" in page
    assert "answered none: all were inconclusive" in page


def test_colour_that_knows_as_much_is_called_so(tmp_path):
    assert "not been shown to see more than colour" in make_run(tmp_path, baseline=0.89)[0]
    assert "not been shown to see more than colour" not in make_run(tmp_path, baseline=0.3)[0]


@pytest.mark.parametrize(("options", "says"), [
    ({}, "no group of the split"), ({"groups": False}, "names no groups"), ({"cut": 3}, "3 groups of images stand in"),
    ({"protocol": "leaky, 1800 tiles per class"}, "say nothing about new images"),
])
def test_page_and_card_say_how_disjoint_the_subsets_are(tmp_path, options, says):
    page, card, _ = make_run(tmp_path, **options)
    assert says in page
    assert says in card


def test_few_groups_are_a_warning(tmp_path):
    lines = " ".join(proves(make_run(tmp_path)[2]))
    assert "hold 10 groups. That is few" in lines


def test_the_gallery_shows_given_mistakes_first_and_withheld_after(tmp_path):
    page, _, _ = make_run(tmp_path)
    gallery = page[page.index("<h2>Misread images"):page.index("<h2>Made of")]
    assert "4 of 40 in all, 2 of them given as an answer (first) and 2 withheld" in gallery
    assert re.findall(r"<b>(answered|withheld)</b>", gallery) == ["answered"] * 2 + ["withheld"] * 2
    assert re.findall(r"<small>(.+?)</small>", gallery) == [f"field_{i}.png" for i in (0, 2, 1, 3)]


def test_a_file_name_cannot_become_markup(tmp_path):
    page, _, _ = make_run(tmp_path, name="<b onclick=x>")
    assert "<b onclick" not in page
    assert "&lt;b onclick=x&gt;_0.png" in page


def test_the_card_names_the_checklist_and_no_image(tmp_path):
    _, card, _ = make_run(tmp_path)
    spans = [m.groups() for line in card.splitlines() if re.search(r"\(items? |^- \d", line)
             for m in re.finditer(r"\b(\d+)(?: to (\d+))?", line)]
    assert set(range(1, 43)) <= {n for first, last in spans for n in range(int(first), int(last or first) + 1)}
    assert "field_" not in card
    assert "data:image" not in card
    assert "- Benign called Early Pre-B: 1, of which 0 withheld" in card
    assert "Not for" in card


def test_robustness_is_drawn_where_it_was_measured_and_asked_for_where_not(tmp_path):
    assert "--robustness" in make_run(tmp_path)[0]
    row = {"accuracy": 0.9, "accuracy_ci95": [0.8, 1.0], "answered": 0.5, "answered_ci95": [0.4, 0.6], "n": N,
           "accuracy_when_answered": None, "accuracy_when_answered_ci95": None, "missed": 0}
    levels = [{**row, "perturbation": "none", "level": 0.0, "unit": ""}] + [
        {**row, "perturbation": p.name, "level": level, "unit": p.unit} for p in PERTURBATIONS for level in p.levels]
    (tmp_path / ROBUSTNESS).write_text(json.dumps(levels))
    page = make_run(tmp_path)[0]
    assert "--robustness" not in page
    assert any("perturbation" in a.get("alt", "") for _, a in Tags(page).found)


def test_a_sweep_on_other_images_leaves_the_page_alone(tmp_path):
    page, _, _ = make_run(tmp_path)
    assert renew_report(tmp_path, make_items(tmp_path)[1:], []) is False
    assert (tmp_path / "report.html").read_text() == page
    assert not (tmp_path / ROBUSTNESS).exists()


def test_confusions_count_what_was_withheld():
    truth = np.array([0, 0, 1, 2])
    judged = Judged(np.eye(4)[[1, 1, 1, 3]], truth, np.array([True, False, True, False]), ["a", "b", "c", "d"])
    assert [(c.truth, c.called, c.n, c.withheld) for c in confusions(judged)] == [(0, 1, 2, 1), (2, 3, 1, 1)]


def test_composition_counts_groups_that_are_cut(tmp_path):
    items = make_items(tmp_path)
    found = composition({"train": items[:10], "val": items[10:12], "test": items[12:]})
    assert found["cut_groups"] == 1
    assert found["groups"] == {"train": 3, "val": 1, "test": 7}
    assert found["per_class"]["val"] == {"benign": 0, "early_pre_b": 0, "pre_b": 1, "pro_b": 1}
