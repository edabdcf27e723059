"""USB cameras through Video4Linux and OpenCV: `v4l2:///dev/video0?width=1280&height=720`.

Keys: `width` and `height`; `fps`; `format`, MJPG (smaller, altered by compression) or YUYV; `exposure` in microseconds,
`gain` in the camera's own units and `white_balance` in kelvin, each of which takes that control out of the camera's
hands and holds it. `v4l2-ctl -d /dev/video0 -l` lists a camera's controls and their ranges.
"""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2

from alledge.errors import CameraError

from ..faults import CameraFault
from . import Frame
from ._opencv import LiveCapture
from ._paths import path_of
from ._query import Query

FREE_RUNNING = True
KEYS = ("width", "height", "fps", "format", "exposure", "gain", "white_balance")
_BUFFERS = 4  # frames that OpenCV lets the driver keep ready
_IDLE_S = 0.1  # after a longer pause those are old, and are passed by
_MANUAL, _OFF = 1, 0  # of V4L2_CID_EXPOSURE_AUTO, of V4L2_CID_AUTO_WHITE_BALANCE
_EXPOSURE_US = 100  # unit of V4L2_CID_EXPOSURE_ABSOLUTE


@dataclass(frozen=True)
class Control:
    """A control to hold. key: of the URI; switch: OpenCV's property of the automatism to turn off; value: as sent."""

    key: str
    property: int
    value: int
    switch: tuple[int, int] | None = None


@dataclass(frozen=True)
class Settings:
    """What a URI asks for. size: width and height; setup: OpenCV's properties and values; controls: to hold."""

    device: Path
    size: tuple[int, int]
    setup: Mapping[int, float]
    controls: tuple[Control, ...]


def create(rest: str) -> "V4l2Camera":
    """Open `v4l2://` followed by a device file and the keys above.

    Raises:
        UsageError: for an unknown key or a value out of range.
        CameraError: when it cannot be opened, or does not take a size or control.
    """
    uri, settings = f"v4l2://{rest}", parse(rest)
    device = str(settings.device)
    capture = cv2.VideoCapture(device, cv2.CAP_V4L2) if os.path.exists(device) else None
    if capture is None or not capture.isOpened():
        raise CameraError(f"camera {uri} cannot be opened: {_why(device)}")
    for name, value in settings.setup.items():
        capture.set(name, value)
    return V4l2Camera(capture, uri, device, settings.size, settings.controls)


def parse(rest: str) -> Settings:
    """Settings of `v4l2://` + rest.

    Raises:
        UsageError: for whatever in it cannot be used.
    """
    place, _, query = rest.partition("?")
    with Query(f"v4l2://{rest}", query, KEYS) as asked:
        if not place:
            asked.refuse("expected a device file, e.g. v4l2:///dev/video0")
        size, controls = asked.size(), _controls(asked)
        code = cv2.VideoWriter.fourcc(*(asked.choice("format", ("MJPG", "YUYV")) or "MJPG"))
        setup = {cv2.CAP_PROP_FOURCC: code, cv2.CAP_PROP_FRAME_WIDTH: size[0], cv2.CAP_PROP_FRAME_HEIGHT: size[1],
                 cv2.CAP_PROP_FPS: asked.whole("fps", range(1, 241)) or 30, cv2.CAP_PROP_BUFFERSIZE: _BUFFERS}
    return Settings(path_of(place), size, setup, controls)


def present() -> list[str]:
    """The device files there are, with the names their drivers give them."""
    return [f"/dev/{entry.name}: {(entry / 'name').read_text().strip()}"
            for entry in sorted(Path("/sys/class/video4linux").glob("video*"))]


class V4l2Camera:
    """Fresh frames, each taken while the controls that were asked for still held."""

    def __init__(self, capture: cv2.VideoCapture, uri: str, device: str, size: tuple[int, int],
                 controls: tuple[Control, ...]) -> None:
        self._device, self._controls = capture, controls
        self._frames = LiveCapture(capture, uri, size, lambda: os.path.exists(device), self._exposed_at)
        self._read_at = 0.0
        for control in controls:
            if control.switch is not None:
                capture.set(*control.switch)
            capture.set(control.property, control.value)
        if changed := self._changed():
            self.close()
            raise CameraError(f"camera {uri} cannot be opened: {changed}; `v4l2-ctl -d {device} -l` lists what "
                              "it takes")

    def read(self) -> Frame:
        """The next frame that was not lying ready since before this call.

        Raises:
            CameraFault: `camera-disconnected`, `camera-stalled`; `camera-unsettled` when a control was changed.
        """
        if time.monotonic() - self._read_at > _IDLE_S:
            self._frames.skip(_BUFFERS)
        frame = self._frames.read()
        self._read_at = time.monotonic()
        if changed := self._changed():
            raise CameraFault("camera-unsettled", changed)
        return frame

    def close(self) -> None:
        """Let go of the device."""
        self._frames.close()

    def _changed(self) -> str:
        given = {control: self._device.get(control.property) for control in self._controls}
        return "; ".join(f"{control.key}: expected {control.value}, received {value:g} (the camera's units)"
                         for control, value in given.items() if value != control.value)

    def _exposed_at(self) -> float | None:
        """The driver's own stamp of the frame, unless its clock is another one."""
        stamp = self._device.get(cv2.CAP_PROP_POS_MSEC) / 1000
        return stamp if 0 <= time.monotonic() - stamp < 60 else None


def _controls(asked: Query) -> tuple[Control, ...]:
    exposure, gain = asked.whole("exposure", range(100, 10_000_001)), asked.whole("gain", range(65536))
    kelvin = asked.whole("white_balance", range(1000, 20001))
    found = []
    if exposure is not None:
        found.append(Control("exposure", cv2.CAP_PROP_EXPOSURE, round(exposure / _EXPOSURE_US),
                             (cv2.CAP_PROP_AUTO_EXPOSURE, _MANUAL)))
    if gain is not None:
        found.append(Control("gain", cv2.CAP_PROP_GAIN, gain))
    if kelvin is not None:
        found.append(Control("white_balance", cv2.CAP_PROP_WB_TEMPERATURE, kelvin, (cv2.CAP_PROP_AUTO_WB, _OFF)))
    return tuple(found)


def _why(device: str) -> str:
    if not os.path.exists(device):
        return f"there is no {device}; plug the camera in, then `ls /dev/video*`"
    if not os.access(device, os.R_OK | os.W_OK):
        return f"no permission for {device}; `sudo usermod -aG video $USER`, then log in again"
    return f"{device} gives no pictures; close other programs that use it, or name another /dev/video*"
