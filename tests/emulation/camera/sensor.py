"""What a sensor and its image processor have and libcamera's virtual camera lacks, put into the real picamera2.

Stand-ins, each named: the list of raw modes; memory for frames where the kernel has none to give out (no dma_heap);
the conversion to RGB; exposure, gain and white balance, told as if they had taken effect at once. Not stood in for:
libcamera, its Python, picamera2's events, requests, queues, timestamps and mapping of buffers.
"""

import mmap
import os
from typing import Any

import cv2
import libcamera
import numpy as np
from picamera2 import Picamera2, picamera2
from picamera2.allocators.allocator import Allocator

RAW = [{"format": "NV12", "size": (640, 480)}]
TOLD = {"ExposureTime": 10000, "AnalogueGain": 1.0, "ColourGains": (2.0, 1.5)}


class Mapped:
    """One frame's memory while somebody looks at it. Not picamera2's own: that compares descriptors, which differ."""

    def __init__(self, allocator: Allocator, buffer: Any, write: bool) -> None:
        self._descriptor, self._size = buffer.planes[0].fd, sum(plane.length for plane in buffer.planes)

    def __enter__(self) -> mmap.mmap:
        self._memory = mmap.mmap(self._descriptor, self._size)
        return self._memory

    def __exit__(self, *ignored: object) -> None:
        self._memory.close()


class Memory(Allocator):
    """Frames of NV12 in files in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.sync = Mapped
        self._buffers: dict[Any, list[Any]] = {}

    def allocate(self, libcamera_config: Any, use_case: Any) -> None:
        self._buffers = {stream.stream: [_buffer(stream) for _ in range(stream.buffer_count)]
                         for stream in libcamera_config}

    def buffers(self, stream: Any) -> list[Any]:
        return self._buffers[stream]


def _buffer(stream: Any) -> Any:
    """Grey levels, then colours, in one file; libcamera keeps descriptors of its own."""
    descriptor = os.memfd_create("frame")
    os.ftruncate(descriptor, stream.frame_size)
    grey = stream.stride * stream.size.height
    planes = []
    for offset, length in ((0, grey), (grey, stream.frame_size - grey)):
        plane = libcamera.FrameBuffer.Plane()
        plane.fd, plane.offset, plane.length = descriptor, offset, length
        planes.append(plane)
    os.close(descriptor)
    return libcamera.FrameBuffer(planes)


picamera2.DmaAllocator = Memory  # which it makes once more when it closes


class Bare(Picamera2):
    """Can be opened, and is the virtual camera in everything else."""

    def __init__(self, number: int) -> None:
        super().__init__(number, allocator=Memory())

    def _get_raw_modes(self) -> list[dict[str, Any]]:
        return RAW

    def create_video_configuration(self, **asked: Any) -> dict[str, Any]:
        """Without the controls that it has not; it changes the rest as it does."""
        return super().create_video_configuration(**{**asked, "controls": {}})


class Sensor(Bare):
    """Says that it gives RGB888 in sYCC, and converts what comes."""

    def create_video_configuration(self, **asked: Any) -> dict[str, Any]:
        return super().create_video_configuration(**{**asked, "main": {**asked.get("main", {}), "format": "NV12"}})

    def camera_configuration(self, *name: str) -> Any:
        given = super().camera_configuration(*name)
        return {**given, "main": {**given["main"], "format": "RGB888"}, "colour_space": libcamera.ColorSpace.Sycc()}

    def set_controls(self, controls: dict[str, Any]) -> None:
        """Taken note of by TOLD alone."""

    def capture_request(self, **asked: Any) -> "Developed":
        return Developed(super().capture_request(**asked))


class Developed:
    """A request of the real library as an image processor would have completed it."""

    def __init__(self, request: Any) -> None:
        self._request = request
        self.release = request.release

    def get_metadata(self) -> dict[str, Any]:
        return {**self._request.get_metadata(), **TOLD}

    def make_array(self, name: str) -> np.ndarray:
        """libcamera takes its JPEG files as they are, in full range; OpenCV's own NV12 has another."""
        planes = self._request.make_array(name)
        height, width = planes.shape[0] * 2 // 3, planes.shape[1]
        blue, red = cv2.split(cv2.resize(planes[height:].reshape(height // 2, -1, 2), (width, height)))
        return cv2.cvtColor(cv2.merge([planes[:height], red, blue]), cv2.COLOR_YCrCb2BGR)
