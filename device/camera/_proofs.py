"""What a Raspberry Pi's frames have to prove: that they were taken as asked, in light, in true colours. Pure."""

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from alledge.errors import CameraError

from ..faults import CameraFault

Pixels = NDArray[np.uint8]

LOCKS = {"ExposureTime": 0.05, "AnalogueGain": 0.05, "ColourGains": 0.02}
"""What is locked, by libcamera's names, and the relative difference that counts as none: sensors count in steps."""
_ROWS_US = 60.0  # of exposure: two rows of a slow sensor's read-out; a short exposure is a few rows
_STEADY = 0.02  # relative change from frame to frame that counts as none
_LIGHT = range(40, 251)  # mean grey level that automatic exposure reaches unless the lamp is off or far too bright
_APART = 8.0  # mean grey levels; limited range taken for full is 15 apart in a bright field


def differences(metadata: Mapping[str, Any], locked: Mapping[str, Any]) -> str:
    """What a frame's metadata says was not as locked; empty when all is."""
    wrong = []
    for name, wanted in locked.items():
        given = metadata.get(name)
        if given is None or not _near(name, given, wanted):
            wrong.append(f"{name}: expected {shown(wanted)}, received {shown(given)}")
    return "; ".join(wrong)


def rgb_of_yuv(planes: Pixels, size: tuple[int, int]) -> Pixels:
    """uint8 [H, W, 3] RGB of a full-range BT.601 YUV420 frame.

    OpenCV's own conversion of YUV420 takes the range for limited and would shift every colour.

    Args:
        planes: uint8 [H * 3 / 2, stride], as picamera2 gives it: H rows of Y, then U and V, two of their rows in one.
        size: width and height.
    """
    width, height = size
    halves = planes.reshape(planes.shape[0] * 2, planes.shape[1] // 2)
    blue, red = (cv2.resize(halves[top:top + height // 2, :width // 2], size, interpolation=cv2.INTER_LINEAR)
                 for top in (2 * height, 2 * height + height // 2))
    return np.asarray(cv2.cvtColor(cv2.merge([planes[:height, :width], red, blue]), cv2.COLOR_YCrCb2RGB), np.uint8)


def rgb_of_bgr(bgr: Pixels) -> Pixels:
    """libcamera names formats by the order in a word, so its RGB888 lies in memory as blue, green, red."""
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def _near(name: str, given: Any, wanted: Any) -> bool:
    off = np.abs(np.subtract(given, wanted))
    allowed = np.multiply(LOCKS[name], wanted)
    return bool((off <= (np.maximum(allowed, _ROWS_US) if name == "ExposureTime" else allowed)).all())


def steady(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether automatic exposure and white balance have come to rest between two frames."""
    return all(np.allclose(after[name], before[name], rtol=_STEADY, atol=0) for name in LOCKS)


def shown(value: Any) -> str:
    """A value of libcamera's for a person."""
    return ", ".join(f"{float(v):g}" for v in value) if isinstance(value, tuple) else str(value)


def expect_told(uri: str, metadata: Mapping[str, Any]) -> None:
    """USB and black-and-white cameras lack some of it also here."""
    lacking = [name for name in LOCKS if name not in metadata]
    if lacking:
        raise CameraError(f"camera {uri} cannot be used: expected a camera that tells its settings with every frame, "
                          f"received no {' and no '.join(lacking)}; USB cameras go by v4l2:///dev/video0")


def expect_light(picture: Pixels) -> None:
    """Settings found with the lamp off would be kept when it is on."""
    level = int(picture.mean())
    if level not in _LIGHT:
        raise CameraFault("camera-black" if level < _LIGHT.start else "camera-saturated", "while it finds its settings")


def expect_same_colours(uri: str, rgb: Pixels, original: Pixels) -> None:
    """The two streams come in two formats, each with an order, a range and a matrix of its own to be mistaken in."""
    small, large = (cv2.resize(picture, (64, 64), interpolation=cv2.INTER_AREA) for picture in (rgb, original))
    apart = float(cv2.absdiff(small, large).mean())
    if apart > _APART:
        exchanged = float(cv2.absdiff(small, large[..., ::-1].copy()).mean()) < apart / 2
        raise CameraError(f"camera {uri}: its two streams show the same field in different colours, {apart:.0f} grey "
                          f"levels apart{'; red and blue are exchanged' if exchanged else ''}; leave out full=")
