"""What `v4l2` and `csi` share: a live camera through OpenCV's `VideoCapture`."""

import os
from collections.abc import Callable

import cv2
import numpy as np

from alledge.errors import CameraError

from ..faults import CameraFault
from . import Frame, now

os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", "2")  # s; OpenCV's own 10 would outlast the watch's patience


class LiveCapture:
    """The next frame of a device that OpenCV holds open.

    Args:
        capture: an open `cv2.VideoCapture`, which gives blue, green, red.
        uri: for messages and the source of frames.
        size: width and height that were asked for.
        there: whether the device is still plugged in, where that can be told; OpenCV says only that no frame came.
        exposed_at: when the frame read last was taken, in seconds of the monotonic clock, where that is known.

    Raises:
        CameraError: when it is not open, or opens with another size.
    """

    def __init__(self, capture: cv2.VideoCapture, uri: str, size: tuple[int, int],
                 there: Callable[[], bool] = lambda: True,
                 exposed_at: Callable[[], float | None] = lambda: None) -> None:
        self._capture, self._uri, self._there, self._exposed_at = capture, uri, there, exposed_at
        self._given = 0
        received = tuple(int(capture.get(side)) for side in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        if received != size:
            capture.release()
            raise CameraError(f"camera {uri} cannot be opened: expected pictures of {size[0]}x{size[1]}, the camera "
                              f"offers {received[0]}x{received[1]}; ask for these with ?width=...&height=...")

    def read(self) -> Frame:
        """The next frame.

        Raises:
            CameraFault: `camera-disconnected` when the device is gone, `camera-stalled` when it gives none.
        """
        got, bgr = self._capture.read()
        if not got or bgr is None:  # of an unplugged camera some drivers say that it went well
            raise self._lost()
        self._given += 1
        rgb = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
        return Frame(rgb, now(), {"source": f"{self._uri}#{self._given}"}, exposed_at=self._exposed_at())

    def skip(self, frames: int) -> None:
        """Pass by frames that the driver has kept waiting. Raises as `read`."""
        for _ in range(frames):
            if not self._capture.grab():
                raise self._lost()

    def close(self) -> None:
        """Let go of the device."""
        self._capture.release()

    def _lost(self) -> CameraFault:
        return CameraFault("camera-stalled" if self._there() else "camera-disconnected", self._uri)
