"""Screens against golden PNGs, and that nothing runs off the glass."""

import importlib.util
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from alledge.device import digits, lettering
from alledge.device.canvas import SMALL, Canvas
from alledge.device.faults import FAULTS
from alledge.device.lettering import write, write_wrapped
from alledge.device.notice import Notice, cannot_start, of_fault
from alledge.device.screen import drawn, screen
from alledge.device.words import line, percent, why, words
from alledge.errors import UsageError
from alledge.labels import INCONCLUSIVE, LABELS, TITLES
from alledge.verdict import GATE_NOT_MET, RESEARCH_USE_ONLY, Verdict

spec = importlib.util.spec_from_file_location("screens", Path(__file__).with_name("screens.py"))
assert spec is not None
assert spec.loader is not None
screens = importlib.util.module_from_spec(spec)
spec.loader.exec_module(screens)
DRAWN = screens.draw_all()
LARGE, SIZES = screens.LARGE, screens.SIZES
MANY = "; ".join(f"key number{number}.colour is unknown, allowed are red and blue" for number in range(9))
LONG = "a sentence that goes on and on " * 12 + "/with/a/path/" + "x" * 200


@pytest.mark.parametrize("name", DRAWN)
def test_screen_is_the_golden_one(name: str) -> None:
    golden, drawn = Image.open(screens.FOLDER / name), DRAWN[name]
    assert (golden.mode, golden.size) == (drawn.mode, drawn.size)
    difference = np.abs(np.asarray(golden.convert("L"), int) - np.asarray(drawn.convert("L"), int))
    # Exact with the FreeType that made them; another one may set a letter's edge a little differently.
    assert (difference > 64).mean() < 0.01


def test_no_golden_is_left_over() -> None:
    assert {p.name for p in screens.FOLDER.glob("*.png")} == set(DRAWN)


@pytest.mark.parametrize("size", SIZES)
def test_every_screen_says_research_use_only(size: tuple[int, int]) -> None:
    strip = (0, size[1] - 11, *size)
    seen = {screen(screens.SURE, size).crop(strip).tobytes(), screen(screens.UNSURE, size).crop(strip).tobytes(),
            screen(cannot_start(LONG), size).crop(strip).tobytes()}
    assert len(seen) == 1
    assert len(set(seen.pop())) > 1


@pytest.mark.parametrize("mode", ["1", "L"])
@pytest.mark.parametrize("text", [*TITLES.values(), LONG, "日本語.png", ""])
def test_text_stays_in_its_box(mode: str, text: str) -> None:
    box = (30, 20, 150, 60)
    for wrapped in (False, True):
        image = Image.new(mode, (240, 100), 0)
        draw = ImageDraw.Draw(image)
        draw.fontmode = mode
        if wrapped:
            write_wrapped(draw, box, text, (17, 11), 255)
        else:
            write(draw, box, text, 40, 255)
        drawn = image.convert("L").point(lambda v: 255 if v > 100 else 0).getbbox()
        assert (drawn is not None) == bool(text)
        if drawn is not None:  # side bearings of the first letter may reach a pixel out
            assert drawn[0] >= box[0] - 2
            assert drawn[1] >= box[1] - 1
            assert drawn[2] <= box[2] + 2
            assert drawn[3] <= box[3] + 3


def test_confidence_moves_the_picture_and_the_title_names_the_class() -> None:
    shares = dict.fromkeys(LABELS, 0.1)
    seen = {screen(Verdict(label, c, shares), SMALL).tobytes() for label in LABELS for c in (0.5, 0.9)}
    assert len(seen) == 8


def test_thumbnail_is_the_field() -> None:
    tile = np.full((224, 224, 3), (200, 30, 90), np.uint8)
    assert screen(screens.SURE, LARGE, tile).getpixel((40, 90)) == (200, 30, 90)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("pair", [("SURE", "DROPPED"), ("UNSURE", "DROPPED_UNSURE")])
def test_a_bundle_that_did_not_meet_its_gate_says_so_on_every_screen(size: tuple[int, int],
                                                                     pair: tuple[str, str]) -> None:
    met, dropped = (getattr(screens, name) for name in pair)
    assert screen(met, size).tobytes() != screen(dropped, size).tobytes()
    assert GATE_NOT_MET not in "\n".join(words(met))
    assert GATE_NOT_MET in "\n".join(words(dropped))
    assert GATE_NOT_MET in line(dropped)


def test_unknown_size_is_refused() -> None:
    with pytest.raises(UsageError, match="320x200 is unknown"):
        screen(screens.SURE, (320, 200))


@pytest.mark.parametrize("size", [(240, 240), (320, 240), (240, 320), (480, 320), (800, 480), (1920, 1080)])
def test_any_colour_screen_has_a_layout(size: tuple[int, int]) -> None:
    assert screen(screens.SURE, size).size == size


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_and_what_to_do_fit_the_smallest_glass(name: str) -> None:
    """Four rows of the letters that can still be read, and a heading."""
    told, canvas = of_fault(FAULTS[name]), Canvas(SMALL)
    assert canvas.height_of(told.says, 10, 126) + canvas.height_of(told.remedy, 10, 123) <= 4 * 10, told


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("told", [screens.UNSURE, screens.DROPPED_UNSURE, screens.MIXED, cannot_start(MANY)])
def test_a_reason_is_readable_to_its_end(size: tuple[int, int], told: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit has pages, and together they have every word."""
    written: list[str] = []
    put = lettering._put
    monkeypatch.setattr(lettering, "_put", lambda draw, x, y, text, *how: (written.append(text),
                                                                          put(draw, x, y, text, *how)))
    pages = drawn(told, size)[1]
    written.clear()
    pictures = {screen(told, size, page=page).tobytes() for page in range(pages)}
    assert len(pictures) == pages
    assert screen(told, size, page=pages).tobytes() == screen(told, size).tobytes()
    sentence = told.says if isinstance(told, Notice) else why(told)
    said = "".join(written).replace("...", "").replace(" ", "")
    position = -1
    for word in sentence.split():
        position = said.find(word[:10], position + 1)
        assert position >= 0, word


def test_two_faults_have_a_row_each_on_the_smallest_glass_and_more_are_counted() -> None:
    crashed, both, three = (replace(screens.SURE, faults=names) for names in (
        ("engine-crashed",), ("engine-crashed", "engine-on-cpu"), ("engine-crashed", "engine-on-cpu", "camera-torn")))
    assert len({screen(verdict, SMALL).tobytes() for verdict in (crashed, both, three)}) == 3
    assert words(three)[-4:-1] == ["  ! Engine crashed", "  ! Engine on CPU", "  ! Camera torn"]


def test_small_digits_cannot_be_taken_for_each_other() -> None:
    shapes = {digit: digits.shape_of(digit) for digit in "0123456789"}
    boards = {digit: np.asarray(shape.crop((0, 0, 5, digits.HEIGHT))) for digit, shape in shapes.items() if shape}
    for one, other in combinations(boards, 2):
        assert (boards[one] != boards[other]).sum() >= 4, (one, other)
    for mode, size in (("1", 11), ("1", 10)):
        assert lettering.width_of("93%", size, mode) == 6 + 6 + 8


def test_words_say_everything_that_the_picture_says() -> None:
    text = "\n".join(words(screens.UNSURE))
    assert text.startswith(TITLES[INCONCLUSIVE])
    assert screens.UNSURE.reasons[0] in text
    assert RESEARCH_USE_ONLY in text
    assert "field 13" in text
    assert "43%" not in words(screens.UNSURE)[0]


@pytest.mark.parametrize(("share", "shown"), [(1.0, ">99%"), (0.996, ">99%"), (0.99, "99%"),
                                               (0.004, "<1%"), (0.5, "50%")])
def test_percent_never_claims_certainty(share: float, shown: str) -> None:
    assert percent(share) == shown
