"""A camera under watch: every failure gets a name, every frame that cannot be trusted is held back, and a camera that
failed is opened again until it is back.

A live camera (all but images and films on disk) is held to its own past: same size, same colours, never the same frame
twice. What lies on disk may repeat and change, and a read that failed there fails again: its errors pass as they are.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from .camera import Camera, Frame, FrameError, FrameFault, is_live, opener
from .faults import CameraFault
from .pixels import Seen, fault_of, is_picture, measure
from .reader import Reader


@dataclass(frozen=True)
class Patience:
    """How long a watched camera waits, in seconds, and how often it tries.

    Attributes:
        read_s: for a frame; the screen must name a fault within 5 s.
        open_s: for the camera to open.
        pause_s, longest_pause_s: before it is opened again, doubling each time; it must be back within 15 s.
        age_s: how old a frame may be that is asked for now; nobody moves a slide and presses a button within that.
        stale, bad: frames in a row that may be too old, or faulty, before the camera is opened again.
        stuck: threads that may hang in a driver at the same time.
    """

    read_s: float = 3.0
    open_s: float = 20.0
    pause_s: float = 0.5
    longest_pause_s: float = 4.0
    age_s: float = 0.1
    stale: int = 16
    bad: int = 10
    stuck: int = 3


def open_watched(uri: str, patience: Patience = Patience()) -> "WatchedCamera":
    """Open a camera by its URI and keep watch over it. Errors as `open_camera`."""
    return WatchedCamera(opener(uri), is_live(uri), patience)


class WatchedCamera:
    """A `Camera` whose `read` returns within a few seconds whatever happens. One thread reads; any may close.

    Raises:
        CameraFault, BackendMissing, CameraError, UsageError: when it cannot be opened to begin with.
    """

    def __init__(self, open: Callable[[], Camera], live: bool, patience: Patience = Patience()) -> None:
        self._open, self._live, self._patience = open, live, patience
        self._seen = Seen()
        self._closed = threading.Event()
        self._stuck: list[Reader] = []
        self._asked = False
        self._fault = CameraFault("camera-stalled")
        self._retry_at = 0.0
        self._calm()
        self._reader: Reader | None = Reader(open)
        self._since = time.monotonic()
        if not self._reader.opened(patience.open_s):
            raise self._lose(self._fault)

    def read(self) -> Frame | None:
        """The next frame that can be trusted, or None when there are no more.

        Raises:
            FrameFault: when this frame shows a fault and must not be judged; reading may go on.
            FrameError: when this one picture cannot be read; reading may go on.
            CameraFault: when the camera gives none now; reading on is how it comes back.
            CameraError: when images or a film on disk cannot be read further.
        """
        reader = self._ready()
        for _ in range(self._patience.stale):
            wanted = time.monotonic()
            frame = self._next(reader)
            if frame is None or not self._live:
                return frame
            if frame.exposed_at is None or frame.exposed_at >= wanted - self._patience.age_s:
                return self._trusted(frame)
        raise self._lose(CameraFault("camera-stale"))

    def close(self) -> None:
        """Let go of the camera, unless it hangs: then once it no longer does."""
        self._closed.set()
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.leave(self._patience.read_s)

    def _ready(self) -> Reader:
        """The open camera, opened again when it was lost and its pause is over."""
        if self._reader is None:
            pause = self._retry_at - time.monotonic()
            self._closed.wait(max(0.0, min(pause, self._patience.read_s)))
            # a device is free once whoever held it has closed it, so that is given a moment
            self._stuck = [reader for reader in self._stuck if not reader.leave(self._patience.pause_s)]
            if self._closed.is_set() or pause > self._patience.read_s or len(self._stuck) >= self._patience.stuck:
                raise self._fault.with_traceback(None)
            self._reader, self._since = Reader(self._open), time.monotonic()
            if self._closed.is_set():  # meanwhile, by another thread
                raise self._lose(self._fault)
        try:
            if self._reader.opened(self._patience.read_s):
                return self._reader
        except Exception as error:
            raise self._lose(_named(error)) from error
        if time.monotonic() - self._since > self._patience.open_s:
            raise self._lose(CameraFault("camera-stalled", "while it is being opened"))
        raise CameraFault("camera-opening")

    def _next(self, reader: Reader) -> Frame | None:
        if not self._asked:
            reader.ask()
            self._asked = True
        try:
            frame = reader.answer(self._patience.read_s)
        except TimeoutError:
            raise self._lose(CameraFault("camera-stalled", f"none for {self._patience.read_s:g} s")) from None
        except Exception as error:
            self._asked = False
            if isinstance(error, FrameError) or not self._live:
                raise
            raise self._lose(_named(error)) from error
        self._asked = not self._live and frame is not None
        if self._asked:  # what is on disk grows no older: the next is decoded while this one is judged
            reader.ask()
        return frame

    def _trusted(self, frame: Frame) -> Frame:
        name = "camera-wrong-format"
        if is_picture(frame.rgb):
            figures = measure(frame.rgb)
            found = fault_of(figures, self._seen)
            self._seen = self._seen.after(figures, found is None)
            if found is None:
                self._calm()
                return frame
            name = found
        self._bad += 1
        if self._bad >= self._patience.bad:
            self._lose(CameraFault(name))
        raise FrameFault(name, frame)

    def _calm(self) -> None:
        self._bad = 0
        self._pause = self._patience.pause_s

    def _lose(self, fault: CameraFault) -> CameraFault:
        """Leave the camera to its thread, to open it again after a pause. What is on disk is only waited for."""
        self._fault = fault
        if self._live and self._reader is not None:
            if not self._reader.leave():
                self._stuck.append(self._reader)
            self._reader, self._asked, self._bad = None, False, 0
            self._retry_at = time.monotonic() + self._pause
            self._pause = min(2 * self._pause, self._patience.longest_pause_s)
        return fault


def _named(error: Exception) -> CameraFault:
    if isinstance(error, CameraFault):
        return error
    if isinstance(error, OSError):  # a CameraError is one
        return CameraFault("camera-disconnected", str(error))
    return CameraFault("camera-failed", f"{type(error).__name__}: {error}")
