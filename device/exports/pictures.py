"""Pictures on a page that needs no other file."""

import base64
from html import escape

import cv2
import numpy as np
from numpy.typing import NDArray

_SIDE = 480  # px of a picture on the page: 2 columns on paper at 150 dots per inch
_JPEG_QUALITY = 90  # of these copies; the archive has the original


def fitted(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A frame, uint8 [H, W, 3], at the page's size."""
    scale = min(1.0, _SIDE / max(rgb.shape[:2]))
    return np.asarray(cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)


def middle(rgb: NDArray[np.uint8]) -> tuple[int, int, int]:
    """Top, left and side of the middle square, which is what a model sees (`alledge.preprocess.resize`)."""
    side = min(rgb.shape[:2])
    return (rgb.shape[0] - side) // 2, (rgb.shape[1] - side) // 2, side


def embedded(rgb: NDArray[np.uint8], title: str) -> str:
    """An image of HTML."""
    jpeg = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1]
    return f"<img alt='{escape(title)}' src='data:image/jpeg;base64,{base64.b64encode(jpeg.tobytes()).decode()}'>"
