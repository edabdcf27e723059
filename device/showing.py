"""The display at its own pace: it shows the newest result a few times a second and never holds judging up.

A display that fails is a fault of the machine like any other: it is told, the display is opened again and again, and
judging goes on meanwhile.
"""

from collections.abc import Callable
from functools import partial
from queue import Empty, SimpleQueue
from threading import Condition, Lock, Thread
from time import monotonic

import numpy as np
from numpy.typing import NDArray

from alledge.sample import SampleVerdict
from alledge.verdict import Verdict

from .display import Display
from .events import FaultEvent, FaultsOn
from .faults import FAULTS
from .notice import Notice
from .screen import notice_screen, sample_screen, screen
from .words import sample_words, words

Scene = Callable[[Display], None]
REOPEN_S = 2.0  # between two attempts to open a display that was lost


def verdict_scene(verdict: Verdict, tile: NDArray[np.uint8] | None) -> Scene:
    """A result, as `screen` draws it."""
    return partial(_show_verdict, verdict, tile)


def sample_scene(verdict: SampleVerdict) -> Scene:
    """A sample's outcome, as `sample_screen` draws it. On a terminal nothing: `run` prints it."""
    return partial(_show_sample, verdict)


def notice_scene(notice: Notice) -> Scene:
    """How the machine is. On a terminal nothing: the same follows on stderr."""
    return partial(_show_notice, notice)


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
        self._changed, self._using = Condition(), Lock()
        self._closing = False
        self._on = FaultsOn()
        self._events: SimpleQueue[FaultEvent] = SimpleQueue()
        self._thread = Thread(target=self._work, name="show", daemon=True)
        self._thread.start()

    def post(self, scene: Scene) -> None:
        """Show this next, instead of whatever has been waiting."""
        if self._terminal is not None:
            scene(self._terminal)
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
            self._closing = True
            self._changed.notify()
        self._thread.join()
        if self._display is not None:
            self._display.close()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._scene or self._closing)
                scene, self._scene = self._scene, None
            if scene is None:
                return
            began = monotonic()
            shown = self._try(scene)
            if not shown:
                self._keep(scene)
            self._rest((self._pause if shown else REOPEN_S) - (monotonic() - began))

    def _try(self, scene: Scene) -> bool:
        """Show it; a display that fails is put away."""
        with self._using:
            try:
                if self._display is None:
                    self._display = self._open()
                scene(self._display)
            except Exception as error:  # drivers raise what they like
                self._lose(error)
                return False
            self._tell({})
            return True

    def _keep(self, scene: Scene) -> None:
        """For the next attempt, unless there is something newer to show."""
        with self._changed:
            if self._scene is None and not self._closing:
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

    def _rest(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closing, max(0.0, seconds))


def _show_verdict(verdict: Verdict, tile: NDArray[np.uint8] | None, display: Display) -> None:
    picture = None if display.mode == "text" else screen(verdict, display.size, tile)
    display.show(picture, words(verdict))


def _show_sample(verdict: SampleVerdict, display: Display) -> None:
    if display.mode != "text":
        display.show(sample_screen(verdict, display.size), sample_words(verdict))


def _show_notice(notice: Notice, display: Display) -> None:
    if display.mode != "text":
        display.show(notice_screen(notice, display.size), notice.words)
