"""Cameras of a Raspberry Pi, through picamera2 and libcamera: `picamera2://0?width=1280&height=720`.

Keys: `width` and `height` of the pictures that are judged (even numbers); `full=4056x3040` for a full-resolution
picture of the same shape beside each of them, for the archive; `exposure` in microseconds together with `gain`;
`red` and `blue` gains of the white balance. What is not given the camera finds out when it is first opened, and then it
is locked like the rest.
"""

from collections.abc import Callable

from alledge.errors import BackendMissing

from . import Camera
from ._raspberry import RaspberryCamera, parse

try:
    import libcamera
    from picamera2 import Picamera2
except ImportError as error:
    raise BackendMissing(f"camera 'picamera2' needs {error.name}, which comes with Raspberry Pi OS and is seen from a "
                         "virtual environment made with --system-site-packages",
                         "sudo apt install python3-picamera2") from error

FREE_RUNNING = True


def create(rest: str) -> Camera:
    """Open `picamera2://` followed by a camera's number and the keys above.

    Raises:
        UsageError: for an unknown key or a value out of range.
        CameraError: when it cannot be opened, or not with these sizes.
    """
    return opener(rest)()


def opener(rest: str) -> Callable[[], Camera]:
    """What opens it again and again; the settings found at the first opening are kept for all later ones."""
    settings = parse(rest)
    locked = dict(settings.controls)
    return lambda: RaspberryCamera(Picamera2, libcamera.ColorSpace.Sycc(), settings, locked)




def present() -> list[str]:
    """The sensors that are connected, e.g. "0: imx477"."""
    found = Picamera2.global_camera_info()
    return [f"{number}: {camera.get('Model', camera['Id'])}" for number, camera in enumerate(found)]
