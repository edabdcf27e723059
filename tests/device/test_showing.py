"""The display at its own pace: never in the way, the last word always shown, a lost one found again."""

import time
from collections.abc import Sequence
from typing import Any

import pytest

from alledge.device import showing as module
from alledge.device.notice import cannot_start
from alledge.device.screen import drawn
from alledge.device.showing import Showing, notice_scene, verdict_scene
from alledge.errors import BackendMissing
from alledge.verdict import Verdict


class Glass:
    """A stand-in for a display: remembers the words, may be slow, may be unplugged."""

    size, mode = (128, 64), "1"

    def __init__(self, takes_s: float = 0.0) -> None:
        self.takes_s, self.unplugged = takes_s, False
        self.shown: list[str] = []
        self.pictures: list[bytes] = []
        self.opened = self.closed = 0

    def open(self) -> "Glass":
        if self.unplugged:
            raise BackendMissing("no display there")
        self.opened += 1
        return self

    def show(self, image: Any, words: Sequence[str]) -> None:
        if self.unplugged:
            raise OSError(121, "Remote I/O error")
        time.sleep(self.takes_s)
        self.shown.append(words[0])
        self.pictures.append(image.tobytes())

    def close(self) -> None:
        self.closed += 1


def scene(number: int) -> Any:
    return verdict_scene(Verdict("pre_b", number / 100, {"pre_b": number / 100}), None)


def test_a_slow_display_holds_nothing_up_and_shows_the_last() -> None:
    glass = Glass(takes_s=0.05)
    showing = Showing(glass.open, rate=50)
    began = time.monotonic()
    for number in range(1, 51):
        showing.post(scene(number))
    assert time.monotonic() - began < 0.05
    showing.close()
    assert glass.shown[-1] == "Pre-B  50%"
    assert len(glass.shown) <= 3
    assert glass.closed == 1


def test_no_more_screens_a_second_than_asked_for() -> None:
    glass = Glass()
    showing = Showing(glass.open, rate=20)
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        showing.post(scene(7))
        time.sleep(0.001)
    showing.close()
    assert 3 <= len(glass.shown) <= 12


def test_with_rate_0_every_scene_is_shown_before_the_next() -> None:
    glass = Glass()
    showing = Showing(glass.open, rate=0)
    for number in range(1, 11):
        showing.post(scene(number))
        assert len(glass.shown) == number
    showing.close()


@pytest.mark.parametrize("rate", [0, 50])
def test_a_lost_display_is_told_found_again_and_shows_the_newest(rate: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alledge.device.showing.REOPEN_S", 0.02)
    glass = Glass()
    showing = Showing(glass.open, rate)
    glass.unplugged = True
    for number in range(1, 4):
        showing.post(scene(number))
        time.sleep(0.05)
    (event,) = showing.events()
    assert (event.fault.name, event.began) == ("display-lost", True)
    assert "Remote I/O error" in event.detail
    glass.unplugged = False
    end = time.monotonic() + 2
    while not glass.shown and time.monotonic() < end:
        time.sleep(0.01)
    assert glass.shown == ["Pre-B  3%"]
    time.sleep(0.05)
    assert [(e.fault.name, e.began) for e in showing.events()] == [("display-lost", False)]
    showing.post(notice_scene(cannot_start("the lamp")))
    showing.close()
    assert glass.shown[-1] == "Cannot start: The lamp."
    assert glass.opened == 2


LONG = cannot_start("the reason goes on for longer than a small display has room for, so that it takes pages")


def test_a_long_sentence_is_shown_page_by_page_and_again_from_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE_S", 0.02)
    monkeypatch.setattr(module, "TURNS", 3)
    glass = Glass()
    pages = drawn(LONG, glass.size)[1]
    assert pages == 2
    showing = Showing(glass.open, rate=0)
    showing.post(notice_scene(LONG))
    time.sleep(0.3)
    assert glass.pictures == [drawn(LONG, glass.size, None, page)[0].tobytes() for page in (0, 1, 0, 1, 0)]
    showing.post(scene(93))  # a newer scene ends it
    time.sleep(0.1)
    showing.close()
    assert glass.shown[-1] == "Pre-B  93%"


def test_why_it_cannot_start_is_shown_whole_before_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE_S", 0.02)
    for whole in (True, False):
        glass = Glass()
        showing = Showing(glass.open, rate=5)
        showing.post(notice_scene(LONG), whole=whole)
        showing.close()
        shown = (0, 1, 0) if whole else (0,)
        assert glass.pictures == [drawn(LONG, glass.size, None, page)[0].tobytes() for page in shown]


def test_a_display_that_is_gone_at_the_end_does_not_hold_up_the_end() -> None:
    glass = Glass()
    showing = Showing(glass.open, rate=50)
    glass.unplugged = True
    showing.post(scene(1))
    began = time.monotonic()
    showing.close()
    assert time.monotonic() - began < 1


def test_a_display_that_cannot_be_opened_at_the_start_is_refused() -> None:
    glass = Glass()
    glass.unplugged = True
    with pytest.raises(BackendMissing):
        Showing(glass.open, rate=5)
