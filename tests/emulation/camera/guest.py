"""Runs in the Debian 13: libcamera's virtual camera, real picamera2, alledge's camera. One line of JSON a point."""

import gc
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import cv2
import libcamera
import numpy as np

from alledge.device.camera import picamera2 as backend
from alledge.device.camera._raspberry import RaspberryCamera, parse
from alledge.device.faults import CameraFault
from alledge.errors import CameraError

sys.path.append(str(Path(__file__).parent))
from sensor import Bare, Sensor

REST = "0?width=640&height=480"
FRAMES, OPENINGS, BUFFERS = 300, 20, 4
NEAR = 4.0  # mean grey levels that JPEG, NV12 and back cost
SHOWN = Path(__file__).parent / "fields"


def point(what: str, holds: object, found: str) -> None:
    print("\n" + json.dumps({"what": what, "holds": bool(holds), "found": found}), flush=True)


def main() -> None:
    present = backend.present()
    point("alledge's `present()` lists libcamera's camera through the real picamera2", len(present) == 1,
          ", ".join(present))
    said = refusal(lambda: backend.create(REST))
    point("the libraries as they are do not open it, and alledge makes one sentence of that",
          "cannot be opened" in said, said)
    said = refusal(lambda: RaspberryCamera(Bare, libcamera.ColorSpace.Sycc(), parse(REST), {}))
    point("opened all the same (raw modes and memory are stand-ins), its NV12 is refused",
          "offers NV12" in said, said)
    with opened() as camera:
        read(camera)
        starved(camera)
        libraries = (f"libcamera {libcamera.CameraManager.singleton().version}, picamera2 {version('picamera2')}, "
                     f"Python {sys.version.split()[0]}")
    again()
    point("the libraries", True, libraries)


@contextmanager
def opened() -> Iterator[RaspberryCamera]:
    camera = RaspberryCamera(Sensor, libcamera.ColorSpace.Sycc(), parse(REST), {})
    try:
        yield camera
    finally:
        camera.close()


def refusal(make: Callable[[], object]) -> str:
    try:
        make()
    except CameraError as error:
        return str(error)
    return "it was opened"


def read(camera: RaspberryCamera) -> None:
    """Frames through four requests, which run dry after the fourth frame unless each is given back."""
    pictures = [cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB) for path in sorted(SHOWN.iterdir())]
    before, which, off, exposed, late = descriptors(), [], [], [], []
    for _ in range(FRAMES):
        frame = camera.read()
        apart = [float(cv2.absdiff(frame.rgb, picture).mean()) for picture in pictures]
        which.append(int(np.argmin(apart)))
        off.append(min(apart))
        exposed.append(frame.exposed_at)
        late.append(time.monotonic() - frame.exposed_at)
    point(f"{FRAMES} frames come through {BUFFERS} requests, each the picture that libcamera was given",
          max(off) < NEAR and set(which) == set(range(len(pictures))),
          f"{len(set(which))} pictures, at most {max(off):.1f} grey levels off")
    point("each was exposed later than the one before, by libcamera's own clock, and none in the future",
          all(after > before for before, after in pairwise(exposed)) and min(late) >= 0,
          f"read {min(late) * 1e3:.0f} to {max(late) * 1e3:.0f} ms after")
    after = descriptors()
    point("no descriptors are left behind by them, but those of requests under way", after <= before + BUFFERS,
          f"{before} before and {after} after")


def starved(camera: RaspberryCamera) -> None:
    """All requests in somebody's hands: the real library then gives none."""
    name, took, begun = "none", 0.0, time.monotonic()
    with ExitStack() as held:
        for _ in range(BUFFERS + 1):
            begun = time.monotonic()
            try:
                held.enter_context(camera._request())
            except CameraFault as fault:
                name, took = fault.fault.name, time.monotonic() - begun
                break
    point("with no request left, asking ends with camera-stalled within 3 s", name == "camera-stalled" and took < 3,
          f"{name} after {took:.1f} s")
    frame = camera.read()
    point("it goes on once they are given back", frame.rgb.shape == (480, 640, 3), frame.metadata["source"])


def again() -> None:
    """Closed and opened in one process, as the watch over a camera does. picamera2 leaves its two selectors to Python's
    garbage collection, so they are counted after one.
    """
    counts, most = [], 0
    for _ in range(OPENINGS):
        with opened() as camera:
            camera.read()
        most = max(most, descriptors())
        if not counts:
            gc.collect()
            counts.append(descriptors())
    gc.collect()
    counts.append(descriptors())
    point(f"closed and opened {OPENINGS} times, with a frame each time, it leaves no descriptors behind",
          counts[1] <= counts[0], f"{counts[0]} after the first, {counts[1]} after the last, at most {most} between")


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


if __name__ == "__main__":
    main()
