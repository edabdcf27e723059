"""Cameras: where fields come from. Each other file here is one of them, named after its URI scheme."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from alledge import backends
from alledge.errors import ImageError, UsageError

from ..faults import FAULTS, CameraFault

EXAMPLES = {
    "picamera2": "picamera2://0?width=1280&height=720",
    "v4l2": "v4l2:///dev/video0",
    "csi": "csi://0",
    "file": "file:///path/image-or-folder",
    "video": "video:///path.mkv",
    "synthetic": "synthetic://?seed=1&class=pre_b",
    "emulated": "emulated://stalled@3s-8s/synthetic://?seed=1",
}


@dataclass(frozen=True)
class Frame:
    """One field as a camera gave it.

    Attributes:
        rgb: uint8 [H, W, 3].
        taken_at: ISO 8601, UTC; from a clock that may be wrong, so never order by it.
        metadata: `source` (file name, URI ...); `emulated`: which faults an emulated camera put in.
        encoded: the file it came in, byte for byte (a JPEG, say), where the camera has one; for the archive.
        original: the same field at full resolution, uint8 [H', W', 3] RGB, for the archive; None when `rgb` is that.
        exposed_at: when its first row was read from the sensor, in seconds of the monotonic clock; None when unknown.
    """

    rgb: NDArray[np.uint8]
    taken_at: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    encoded: bytes = b""
    original: NDArray[np.uint8] | None = None
    exposed_at: float | None = None


class FrameError(ImageError):
    """Raised when this one field cannot be read or prepared and the next may be fine. `source` names it."""

    def __init__(self, message: str, source: str, taken_at: str) -> None:
        super().__init__(message)
        self.source = source
        self.taken_at = taken_at


class FrameFault(FrameError, CameraFault):
    """Raised when a frame shows that its camera is at fault, and must not be judged. `fault` names it."""

    def __init__(self, name: str, frame: Frame) -> None:
        self.fault, self.detail = FAULTS[name], ""
        self.source, self.taken_at = frame.metadata.get("source", ""), frame.taken_at
        Exception.__init__(self, self.fault.sentence)  # its two parents want different arguments


class Camera(Protocol):
    """A source of frames. `create(location, query)` of a back end makes one."""

    def read(self) -> Frame | None:
        """The next frame, or None when there are no more.

        Raises:
            FrameError: when one field is lost; reading may go on.
            CameraError: when the camera gives no more frames although it should.
        """

    def close(self) -> None:
        """Let go of the device."""


def open_camera(uri: str) -> Camera:
    """Open a camera by its URI.

    Raises:
        UsageError: for an unknown scheme, or a query key or value that the camera does not have.
        BackendMissing: when the library behind it is not installed.
        CameraError: when it cannot be opened.
    """
    return opener(uri)()


def opener(uri: str) -> Callable[[], Camera]:
    """What opens the camera of a URI, again and again.

    That is its back end's `create`, unless the back end has an `opener` of its own because something has to be
    remembered from one opening to the next.

    Raises:
        UsageError, BackendMissing: as `open_camera`.
    """
    create, rest = _back_end(uri)
    own: Callable[[str], Callable[[], Camera]] | None = _says(uri, "opener", None)
    return partial(create, rest) if own is None else own(rest)


def check_camera(uri: str) -> None:
    """Read a URI as its back end's `parse` does, where it has one, and open nothing.

    Raises:
        UsageError: for all in it that cannot be used.
        BackendMissing: when the library behind it is not installed.
    """
    _, rest = _back_end(uri)
    parse: Callable[[str], object] | None = _says(uri, "parse", None)
    if parse is not None:
        parse(rest)


def is_live(uri: str) -> bool:
    """Whether these frames come from a device now, which is to be watched, and not from something stored.

    The back end of stored frames says so by `ON_DISK = True`.
    """
    return not _says(uri, "ON_DISK", False)


def cannot_wait(uri: str) -> bool:
    """Whether the camera runs on while nobody reads it, so that only its newest frame is of interest.

    Its back end says so by `FREE_RUNNING = True`. From every other camera, each frame is judged.
    """
    return bool(_says(uri, "FREE_RUNNING", False))


def _back_end(uri: str) -> tuple[Callable[[str], Camera], str]:
    """The `create` of a URI's back end, and what follows the scheme."""
    scheme, mark, rest = uri.partition("://")
    shown = ", ".join(EXAMPLES.values())
    if not mark:
        raise UsageError(f"camera {uri!r} is not a URI: expected one of {shown}")
    if scheme not in backends.names("camera"):
        raise UsageError(f"camera {uri!r}: scheme {scheme!r} is unknown, expected one of {shown}")
    return backends.load("camera", scheme), rest


def _says(uri: str, name: str, otherwise: Any) -> Any:
    """What the back end of a URI says about itself."""
    create = backends.load("camera", uri.partition("://")[0])
    return getattr(sys.modules[create.__module__], name, otherwise)


def now() -> str:
    """The wall clock as ISO 8601 in UTC, to the millisecond."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")
