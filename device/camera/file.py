"""Images on disk as a camera: one file, or a folder and all below it in sorted order."""

import os
from pathlib import Path

from alledge.errors import AlledgeError, CameraError
from alledge.images import SUFFIXES, find_images, read_image

from . import Frame, FrameError, now
from ._paths import path_of

ON_DISK = True


def create(rest: str) -> "FileCamera":
    """Open `file://` followed by a path.

    Raises:
        CameraError: when there is nothing at that path, or no image below it.
    """
    path = path_of(rest)
    if not rest or not os.path.exists(path):
        raise CameraError(f"camera file://{rest} cannot be opened: expected an image or a folder, found nothing there")
    images = [path] if os.path.isfile(path) else find_images(path)
    if not images:
        raise CameraError(f"camera file://{rest} cannot be opened: the folder holds no image "
                          f"({', '.join(sorted(SUFFIXES))})")
    return FileCamera(images)


class FileCamera:
    """Reads one image after another."""

    def __init__(self, images: list[Path]) -> None:
        self._images = images
        self._next = 0

    def read(self) -> Frame | None:
        """The next image."""
        if self._next == len(self._images):
            return None
        path = self._images[self._next]
        self._next += 1
        taken_at = now()
        try:
            rgb = read_image(path, halve=True)
            encoded = path.read_bytes()
        except AlledgeError as error:
            raise FrameError(str(error), str(path), taken_at) from error
        except OSError as error:
            raise FrameError(f"{path}: cannot be read ({error.strerror})", str(path), taken_at) from error
        return Frame(rgb, taken_at, {"source": str(path)}, encoded)

    def close(self) -> None:
        """Forget the images."""
        self._images = []
        self._next = 0
