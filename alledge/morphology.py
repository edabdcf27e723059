"""Binary morphology on 0/255 masks, bit-equal to scipy.ndimage's defaults but several times faster.

scipy's default structuring element is the 3x3 cross and everything outside the image counts as background, in
erosion too; OpenCV needs to be told both.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
_OUTSIDE = 128  # any value that is neither background nor foreground


def fill_holes(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Close every hole that is not 4-connected to the border (`scipy.ndimage.binary_fill_holes`)."""
    framed = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    cv2.floodFill(framed, None, (0, 0), _OUTSIDE, flags=4)
    return np.asarray(cv2.compare(framed[1:-1, 1:-1], _OUTSIDE, cv2.CMP_NE), np.uint8)


def open_close(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`binary_opening` (drops specks), then `binary_closing` (bridges cracks), one iteration each."""
    for operation in (cv2.MORPH_OPEN, cv2.MORPH_CLOSE):
        mask = np.asarray(cv2.morphologyEx(mask, operation, _CROSS, borderType=cv2.BORDER_CONSTANT,
                                           borderValue=0), np.uint8)
    return mask
