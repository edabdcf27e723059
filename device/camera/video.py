"""A video file as a camera, frame by frame, through OpenCV."""

import os

import cv2
import numpy as np

from alledge.errors import CameraError

from . import Frame, now
from ._paths import path_of


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
    """Every frame in turn; a file that ends before its first frame is a fault, not an empty run."""

    def __init__(self, capture: cv2.VideoCapture, path: str) -> None:
        self._capture = capture
        self._path = path
        self._sequence = 0

    def read(self) -> Frame | None:
        """The next frame of the film."""
        got, bgr = self._capture.read()
        if not got:
            if self._sequence == 0:
                raise CameraError(f"camera video://{self._path}: expected at least one frame, received none; "
                                  "the file is damaged")
            return None
        self._sequence += 1
        rgb = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
        return Frame(rgb, self._sequence, now(), {"source": f"{self._path}#{self._sequence}"})

    def close(self) -> None:
        """Close the file."""
        self._capture.release()
