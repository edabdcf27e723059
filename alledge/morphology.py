"""Binary morphology on 0/255 masks, bit-equal to scipy.ndimage's defaults but several times faster.

scipy's default structuring element is the 3x3 cross and everything outside the image counts as background, in
erosion too; OpenCV needs to be told both.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

_BORDER: dict[str, Any] = {"borderType": cv2.BORDER_CONSTANT, "borderValue": 0}
_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
_DIAMOND = (np.abs(np.indices((5, 5)) - 2).sum(0) <= 2).astype(np.uint8)
_OUTSIDE = 255  # above background and holes (0) and foreground (1)


def fill_holes(levels: NDArray[np.uint8], least: int = 1) -> NDArray[np.uint8]:
    """0/255 mask [H, W] of what is at least `least`, with every hole in it closed that is not 4-connected to the border
    (`scipy.ndimage.binary_fill_holes`).
    """
    framed = np.zeros((levels.shape[0] + 2, levels.shape[1] + 2), np.uint8)
    inner = framed[1:-1, 1:-1]
    cv2.threshold(levels, least - 1, 1, cv2.THRESH_BINARY, inner)
    cv2.floodFill(framed, None, (0, 0), _OUTSIDE, flags=4)
    cv2.threshold(inner, 1, 255, cv2.THRESH_BINARY_INV, inner)
    return inner


def open_close(mask: NDArray[np.uint8], into: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    """`binary_opening` (drops specks), then `binary_closing` (bridges cracks), one iteration each.

    `into`, of the mask's size, is overwritten with the result.
    """
    changed = np.asarray(cv2.erode(mask, _CROSS, into, **_BORDER), np.uint8)
    cv2.dilate(changed, _DIAMOND, changed, **_BORDER)  # twice by the cross: of the opening and of the closing
    cv2.erode(changed, _CROSS, changed, **_BORDER)
    return changed
