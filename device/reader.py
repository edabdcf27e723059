"""A camera in a thread of its own, so that one which hangs takes only that thread along.

Nobody but this thread touches the camera: closing one while another thread reads it crashes some drivers.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue

from .camera import Camera, Frame


class Reader:
    """Opens the camera at once, reads it when asked, closes it when left; all of it in its thread."""

    def __init__(self, open: Callable[[], Camera]) -> None:
        self._asked: SimpleQueue[bool] = SimpleQueue()
        self._answers: SimpleQueue[Frame | Exception | None] = SimpleQueue()
        self._opened = threading.Event()
        self._refused: Exception | None = None
        self._thread = threading.Thread(target=self._work, args=(open,), name="camera", daemon=True)
        self._thread.start()

    def opened(self, timeout_s: float) -> bool:
        """Whether the camera is open, after waiting at most so long.

        Raises:
            Exception: whatever opening it raised.
        """
        done = self._opened.wait(timeout_s)
        if self._refused is not None:
            raise self._refused
        return done

    def ask(self) -> None:
        """Ask for one frame; `answer` gives it."""
        self._asked.put(True)

    def answer(self, timeout_s: float) -> Frame | None:
        """The frame asked for, or None when there are no more.

        Raises:
            TimeoutError: when it takes longer; the answer may still come.
            Exception: whatever reading it raised.
        """
        try:
            answer = self._answers.get(timeout=timeout_s)
        except Empty:
            raise TimeoutError from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def leave(self, timeout_s: float = 0.0) -> bool:
        """Have the camera closed once its read returns; whether that was so after waiting at most so long."""
        self._asked.put(False)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _work(self, open: Callable[[], Camera]) -> None:
        try:
            camera = open()
        except Exception as error:
            self._refused = error
            return
        finally:
            self._opened.set()
        while self._asked.get():
            try:
                self._answers.put(camera.read())
            except Exception as error:
                self._answers.put(error)
        with suppress(Exception):  # it is let go because it failed; that it fails at closing too is no news
            camera.close()
