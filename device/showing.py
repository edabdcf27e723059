"""The display at its own pace: it shows the newest result a few times a second and never holds judging up.

A display that fails is a fault of the machine like any other: it is told, the display is opened again and again, and
judging goes on meanwhile.
"""

from collections.abc import Callable, Sequence
from functools import partial
from queue import Empty, SimpleQueue
from threading import Condition, Event, RLock, Thread
from time import monotonic, sleep
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alledge.sample import SampleVerdict
from alledge.verdict import Verdict

from .display import Display
from .events import FaultEvent, FaultsOn
from .faults import FAULTS
from .notice import Notice
from .screen import Told, drawn
from .words import sample_words, words

Scene = Callable[[Display, int], int]  # shows a page, counted from 0, and says how many there are
REOPEN_S = 2.0  # between two attempts to open a display that was lost
PAGE_S = 2.5  # for which a page is shown: 60 letters are read in that time
TURNS = 120  # pages turned of one scene: after five minutes nobody reads on, and a PNG display would fill the disk
WHOLE_PAGES = 5  # of a last scene that is to be seen whole


def verdict_scene(verdict: Verdict, tile: NDArray[np.uint8] | None) -> Scene:
    """A field's result, as `screen` draws it."""
    return partial(_show, verdict, tile, words, True)


def sample_scene(verdict: SampleVerdict) -> Scene:
    """A sample's outcome. On a terminal nothing: `run` prints it."""
    return partial(_show, verdict, None, sample_words, False)


def notice_scene(notice: Notice) -> Scene:
    """How the machine is. On a terminal nothing: the same follows on stderr."""
    return partial(_show, notice, None, lambda told: told.words, False)


class Showing:
    """A display in a thread of its own.

    Args:
        open_it: opens the display; called again when it was lost.
        rate: screens per second at most. With 0, and on a terminal, each scene is shown before `post` returns. What a
            terminal raises is passed on: nobody is there to read on.

    Raises:
        AlledgeError: when the display cannot be opened now.
    """

    def __init__(self, open_it: Callable[[], Display], rate: float) -> None:
        self._open = open_it
        self._display: Display | None = open_it()
        self._terminal = self._display if self._display.mode == "text" else None
        self._in_line = rate == 0
        self._pause = 0.0 if rate == 0 else 1 / rate
        self._scene: Scene | None = None
        self._shown: Scene | None = None  # and how many pages it has, and how many were turned
        self._pages = self._turned = 0
        self._whole = False
        self._changed, self._using = Condition(), RLock()
        self._closing = Event()  # its own: whoever rests must not be woken by every scene that is posted
        self._on = FaultsOn()
        self._events: SimpleQueue[FaultEvent] = SimpleQueue()
        self._thread = Thread(target=self._work, name="show", daemon=True)
        self._thread.start()

    def post(self, scene: Scene, whole: bool = False) -> None:
        """Show this next, instead of whatever has been waiting; `whole`: all its pages, before it is closed."""
        self._whole = whole
        if self._terminal is not None:
            scene(self._terminal, 0)
            return
        if self._in_line and self._display is not None and self._try(scene):
            return
        with self._changed:
            self._scene = scene
            self._changed.notify()

    def events(self) -> list[FaultEvent]:
        """What has happened to the display since the last asking."""
        found = []
        while True:
            try:
                found.append(self._events.get_nowait())
            except Empty:
                return found

    def close(self) -> None:
        """Show what was posted last, and let go of the display."""
        with self._changed:
            self._closing.set()
            self._changed.notify()
        self._thread.join()
        if self._display is not None:
            self._display.close()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._scene or self._closing.is_set(), PAGE_S)
                scene, self._scene = self._scene, None
            if scene is None:
                if self._closing.is_set():
                    return self._end()
                self._turn()
                continue
            began = monotonic()
            shown = self._try(scene)
            if not shown:
                self._keep(scene)
            self._closing.wait(max(0.0, (self._pause if shown else REOPEN_S) - (monotonic() - began)))

    def _turn(self) -> None:
        """The next page of what is shown, where it has more than one."""
        with self._using:  # else something newer might be shown meanwhile, and be covered again
            shown, turned = self._shown, self._turned
            if shown is None or self._pages < 2 or (turned >= TURNS and turned % self._pages == 0):
                return
            if not self._try(shown, turned + 1):
                self._keep(shown)

    def _end(self) -> None:
        """The pages that nobody has seen yet, and then the first, which stays."""
        shown, pages = self._shown, min(self._pages, WHOLE_PAGES)
        if not self._whole or shown is None or pages < 2 or getattr(self._display, "read_later", False):
            return
        for page in (*range(self._turned + 1, pages), 0):
            sleep(PAGE_S)
            if not self._try(shown, page):
                return

    def _try(self, scene: Scene, page: int = 0) -> bool:
        """Show it; a display that fails is put away."""
        with self._using:
            try:
                if self._display is None:
                    self._display = self._open()
                self._pages = scene(self._display, page)
                self._shown, self._turned = scene, page
            except Exception as error:  # drivers raise what they like
                self._lose(error)
                return False
            self._tell({})
            return True

    def _keep(self, scene: Scene) -> None:
        """For the next attempt, unless there is something newer to show."""
        with self._changed:
            if self._scene is None and not self._closing.is_set():
                self._scene = scene

    def _lose(self, error: Exception) -> None:
        self._tell({"display-lost": f"{type(error).__name__}: {error}"})
        display, self._display = self._display, None
        try:
            if display is not None:
                display.close()
        except Exception:  # it is lost already
            return

    def _tell(self, on: dict[str, str]) -> None:
        for event in self._on.become({FAULTS[name]: detail for name, detail in on.items()}):
            self._events.put(event)


def _show(told: Told, tile: NDArray[np.uint8] | None, said: Callable[[Any], Sequence[str]], on_terminal: bool,
          display: Display, page: int = 0) -> int:
    if display.mode == "text":
        if on_terminal:
            display.show(None, said(told))
        return 1
    picture, pages = drawn(told, display.size, tile, page)
    display.show(picture, said(told))
    return pages
