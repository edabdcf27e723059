"""CSI cameras of a Jetson, through NVIDIA's image processor, GStreamer and OpenCV: `csi://0?width=1280&height=720`.

Keys: `width` and `height`; `fps`; `flip`, 0 to 7 as `nvvidconv flip-method`; `exposure` in microseconds together with
`gain`, which locks both; `white_balance`, one of NVIDIA's presets, which locks the colours. PyPI's OpenCV has no
GStreamer: this needs the one that JetPack brings.
"""

import re

import cv2

from alledge.errors import BackendMissing, CameraError

from ._argus import parse
from ._opencv import LiveCapture

FREE_RUNNING = True

if not re.search(r"GStreamer:\s+YES", cv2.getBuildInformation()):
    raise BackendMissing("camera 'csi' needs an OpenCV with GStreamer, which PyPI's is not; JetPack's is seen from a "
                         "virtual environment made with --system-site-packages",
                         "sudo apt install python3-opencv && pip uninstall opencv-python-headless")


def create(rest: str) -> LiveCapture:
    """Open `csi://` followed by the sensor's number and the keys above.

    Raises:
        UsageError: for an unknown key or a value out of range.
        CameraError: when it cannot be opened.
    """
    pipeline, size = parse(rest)
    capture = cv2.VideoCapture(pipeline, cv2.CAP_GSTREAMER)
    if not capture.isOpened():
        raise CameraError(f"camera csi://{rest} cannot be opened: check the ribbon cable, then `sudo systemctl restart "
                          f"nvargus-daemon`; `gst-launch-1.0 {pipeline.replace('appsink', 'fakesink')}` says more")
    return LiveCapture(capture, f"csi://{rest}", size)
