"""A video file as a camera, frame by frame, through OpenCV."""

import os

import cv2
import numpy as np

from alledge.errors import CameraError

from . import Frame, now
from ._paths import path_of

ON_DISK = True


def create(rest: str) -> "VideoCamera":
    """Open `video://` followed by the path of a file.

    Raises:
        CameraError: when there is no such file or OpenCV cannot play it.
    """
    path = path_of(rest)
    if not rest or not os.path.isfile(path):
        raise CameraError(f"camera video://{rest} cannot be opened: expected a video file, found none there")
    capture = cv2.VideoCapture(str(path))
    if not capture.isOpened():
        raise CameraError(f"camera video://{rest} cannot be opened: OpenCV cannot play this file; convert it to MJPEG "
                          "in an .avi or H.264 in an .mp4")
    return VideoCamera(capture, str(path))


class VideoCamera:
    """Every frame in turn; a file that ends before its last frame is a fault, not a shorter film."""

    def __init__(self, capture: cv2.VideoCapture, path: str) -> None:
        self._capture = capture
        self._path = path
        # Exact, so nothing is allowed for: 432 films (avi, mkv, mp4, mov; 1 to 61 frames; 1 to 60 a second) gave as
        # many as they promised. Not positive where a container does not say.
        self._promised = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self._given = 0

    def read(self) -> Frame | None:
        """The next frame of the film.

        Raises:
            CameraError: when the film ends before its first frame, or before the last that its container promises.
        """
        got, bgr = self._capture.read()
        if not got:
            promised = max(1, self._promised)
            if self._given < promised:
                raise CameraError(f"camera video://{self._path}: expected {promised:.0f} frames, received "
                                  f"{self._given}; the file is damaged or cut short")
            return None
        self._given += 1
        rgb = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
        return Frame(rgb, now(), {"source": f"{self._path}#{self._given}"})

    def close(self) -> None:
        """Close the file."""
        self._capture.release()
