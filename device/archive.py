"""The pictures behind the results: each frame and mask as a file named by its SHA-256, written once, never deleted.

A frame whose camera gave a file (a JPEG, say) is kept byte for byte; any other becomes a PNG and is named by its
pixels' SHA-256, which can be had from the PNG again. So the name in a row is the same with and without an archive.
"""

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from alledge.config import DeviceConfig
from alledge.errors import AlledgeError, OutputError, SinkError
from alledge.files import make_folder, sync_folder, write_bytes
from alledge.images import decode_image, encode_png

from .camera import Frame
from .faults import FAULTS, Fault

MEGABYTE = 1_000_000  # bytes, as disks are sold
FRAMES, MASKS = "frames", "masks"
_MAGIC = {b"\xff\xd8\xff": ".jpg", b"\x89PNG": ".png", b"BM": ".bmp", b"II*\0": ".tif", b"MM\0*": ".tif",
          b"RIFF": ".webp"}


@dataclass(frozen=True)
class Kept:
    """SHA-256 of a frame and of its mask, as a result carries them."""

    frame_sha256: str
    mask_sha256: str = ""


class Storage:
    """Room for results, and the archive where one is configured.

    Attributes:
        archive: folder of pictures; None when only their SHA-256 is kept.
        places: folders that are there, whose disks results and pictures go to.
    """

    def __init__(self, database: Path, archive: Path | None = None, quota: int | None = None, floor: int = 0) -> None:
        """quota: bytes the archive may grow to; floor: bytes that must stay free where results and pictures go."""
        self.archive = archive
        self._quota, self._floor = quota, floor
        self.places = tuple(dict.fromkeys(_existing(p) for p in (database.parent, archive) if p is not None))
        self._size = _size_of(archive) if archive is not None else 0

    def fault(self) -> Fault | None:
        """Why no field may be captured now; None when there is room. Ask before each: it goes away by itself."""
        if any(shutil.disk_usage(place).free < self._floor for place in self.places):
            return FAULTS["storage-full"]
        if self.archive is None or self._quota is None or self._size < self._quota:
            return None
        self._size = _size_of(self.archive)  # someone may have moved pictures away
        return FAULTS["archive-full"] if self._size >= self._quota else None

    def keep(self, frame: Frame, mask: NDArray[np.uint8] | None = None) -> Kept:
        """Name a frame and its mask, uint8 [H, W], by their SHA-256, and put both on disk where there is an archive.

        Of a camera that gives one, the full-resolution original is kept.

        Raises:
            SinkError: when they are not safely there.
        """
        pixels = frame.rgb if frame.original is None else frame.original
        kept = Kept(hashlib.sha256(frame.encoded).hexdigest() if frame.encoded else digest(pixels),
                    "" if mask is None else digest(mask))
        if self.archive is not None:
            suffix = _suffix(frame.encoded) if frame.encoded else ".png"
            if find(self.archive, FRAMES, kept.frame_sha256) is None:
                self._write(FRAMES, kept.frame_sha256 + suffix, frame.encoded or encode_png(pixels))
            if mask is not None and find(self.archive, MASKS, kept.mask_sha256) is None:
                self._write(MASKS, f"{kept.mask_sha256}.png", encode_png(mask))
        return kept

    def _write(self, kind: str, name: str, data: bytes) -> None:
        folder = _folder(self.archive or Path(), kind, name)
        try:
            make_folder(folder)
            write_bytes(folder / name, data)
            sync_folder(folder)
        except OutputError as error:
            raise SinkError(str(error)) from error
        except OSError as error:
            raise SinkError(f"{folder}: pictures cannot be kept there ({error.strerror})") from error
        self._size += len(data)


def open_storage(config: DeviceConfig) -> Storage:
    """What `[results]` says about room and archive.

    Raises:
        SinkError: when the archive's folder cannot be made.
    """
    said = config.results
    try:
        if said.archive is not None:
            make_folder(said.archive)
    except OSError as error:
        raise SinkError(f"{said.archive}: pictures cannot be kept there ({error.strerror}); choose a folder that you "
                        "own") from error
    quota = None if said.quota is None else said.quota * MEGABYTE
    return Storage(config.database, said.archive, quota, said.floor * MEGABYTE)


def find(archive: Path, kind: str, sha256: str) -> Path | None:
    """The file of a frame or mask; None when the archive has none of that name."""
    return next(iter(_folder(archive, kind, sha256).glob(f"{sha256}.*")), None)


def intact(path: Path, sha256: str) -> bool:
    """Whether a file is the picture of that SHA-256: byte for byte, or by its pixels."""
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() == sha256:
        return True
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        grey = pixels is not None and pixels.ndim == 2
        return digest(np.asarray(pixels, np.uint8) if grey else decode_image(data, str(path))) == sha256
    except (AlledgeError, cv2.error):
        return False


def name_of(frame: Frame) -> str:
    """SHA-256 of the file a frame came in; empty for one that came as pixels, which take too long for every frame."""
    return hashlib.sha256(frame.encoded).hexdigest() if frame.encoded else ""


def digest(pixels: NDArray[np.uint8]) -> str:
    """SHA-256 of pixels, row by row, RGB."""
    return hashlib.sha256(np.ascontiguousarray(pixels).data).hexdigest()


def _folder(archive: Path, kind: str, sha256: str) -> Path:
    """256 folders: some file systems are slow with 100,000 files in one."""
    return archive / kind / sha256[:2]


def _suffix(encoded: bytes) -> str:
    return next((suffix for magic, suffix in _MAGIC.items() if encoded.startswith(magic)), ".bin")


def _size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    return next(p for p in (path.absolute(), *path.absolute().parents) if os.path.isdir(p))
