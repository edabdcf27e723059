"""Decoded tiles on disk, so that every later run maps them into memory instead of decoding and segmenting again.

A *pack* is one `.npy` file of records (md5 of the image file, CRC-32 of the tile, the tile), written beside its place
and renamed into it: a reader sees a whole pack or none, two writers at worst write the same one twice. Packs lie in a
folder named after everything a tile depends on but the image: size, segmentation, the code and the libraries that make
it. They hold the user's images and nothing else; any of them may be deleted at any time.
"""

import hashlib
import os
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from alledge import images, kmeans1d, morphology, preprocess, segmentation
from alledge.preprocess import Preprocessing

Pixels = NDArray[np.uint8]
OFF = "off"
_FIELDS = ("md5", "crc", "pixels")
_ABANDONED = 86_400  # s; no writer takes a day between two records
_MADE_BY = (images, kmeans1d, morphology, preprocess, segmentation)


def cache_folder() -> Path | None:
    """`$ALLEDGE_CACHE` (None for `off`), else `alledge` in the user's cache folder."""
    chosen = os.environ.get("ALLEDGE_CACHE")
    if chosen == OFF:
        return None
    home = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    return Path(chosen) if chosen else Path(home) / "alledge"


def cached_tiles(root: Path, md5s: Sequence[str], preprocessing: Preprocessing,
                 make: Callable[[int], Pixels]) -> Pixels:
    """Tiles uint8 [n, size, size, channels] of files known by their md5; `make(i)` is called for those not yet kept.

    A pack of exactly these files in this order is mapped, read-only; tiles that lie in several packs are copied
    together. Damaged packs are removed and made again.

    Raises:
        OSError: when the cache cannot be written or read.
    """
    folder = root / "tiles" / _settings(preprocessing)
    found = _whole(folder, md5s)
    if found is not None:
        return found
    scattered = _look_up(folder, set(md5s))
    fresh = [row for row, md5 in enumerate(md5s) if md5 not in scattered]
    if fresh:
        missing = [md5s[row] for row in fresh]
        _write(folder, missing, (make(row) for row in fresh))
        made = _whole(folder, missing)
        if made is None:
            raise OSError(f"{folder} does not give back what was written")
        if len(missing) == len(md5s):
            return made
        scattered.update(zip(missing, made, strict=True))
    return np.stack([scattered[md5] for md5 in md5s])


def _whole(folder: Path, md5s: Sequence[str]) -> Pixels | None:
    """The tiles of the pack of exactly these files, mapped; None when there is none, or it was damaged and is gone."""
    path = folder / _name(md5s)
    pack = _open(path)
    if pack is None:
        return None
    if list(pack["md5"]) == [md5.encode() for md5 in md5s] and _intact(pack):
        return np.asanyarray(pack["pixels"])
    path.unlink(missing_ok=True)
    return None


def _look_up(folder: Path, wanted: set[str]) -> dict[str, Pixels]:
    """md5 -> tile of those that some intact record of some pack holds."""
    found: dict[str, Pixels] = {}
    for path in sorted(folder.glob("*.npy")):
        pack = _open(path)
        for row, name in enumerate(pack["md5"] if pack is not None else ()):
            md5 = name.decode()
            if md5 in wanted and md5 not in found and pack is not None and _intact(pack[row:row + 1]):
                found[md5] = pack["pixels"][row]
    return found


def _write(folder: Path, md5s: Sequence[str], tiles: Iterable[Pixels]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    handle, name = tempfile.mkstemp(dir=folder, prefix=".", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            for row, (md5, tile) in enumerate(zip(md5s, tiles, strict=True)):
                record = np.dtype([("md5", "S32"), ("crc", "<u4"), ("pixels", "u1", tile.shape)])
                if row == 0:
                    np.lib.format.write_array_header_1_0(file, {"descr": np.lib.format.dtype_to_descr(record),
                                                                "fortran_order": False, "shape": (len(md5s),)})
                file.write(np.array((md5.encode(), _crc(tile), tile), record).tobytes())
        Path(name).replace(folder / _name(md5s))
    finally:
        Path(name).unlink(missing_ok=True)


def _sweep(folder: Path) -> None:
    """Remove what killed writers left behind."""
    for part in folder.glob(".*.part"):
        if time.time() - part.stat().st_mtime > _ABANDONED:
            part.unlink(missing_ok=True)


def _open(path: Path) -> NDArray[Any] | None:
    """The mapped records of a pack; None when there is none, or it was not one and is gone now."""
    try:
        pack = np.load(path, mmap_mode="r", allow_pickle=False)
        if pack.dtype.names == _FIELDS:
            return pack
    except FileNotFoundError:
        return None
    except (ValueError, EOFError):
        pass
    path.unlink(missing_ok=True)
    return None


def _intact(records: NDArray[Any]) -> bool:
    return all(_crc(tile) == crc for tile, crc in zip(records["pixels"], records["crc"], strict=True))


def _crc(tile: Pixels) -> int:
    return zlib.crc32(tile.tobytes())


def _name(md5s: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(md5s).encode()).hexdigest()[:32] + ".npy"


def _settings(preprocessing: Preprocessing) -> str:
    """Scale and offset are not in it: they come after the tile."""
    wanted = preprocessing.model_dump_json(exclude={"scale", "offset"})
    digest = hashlib.sha256(f"{wanted}, cv2 {cv2.__version__}, NumPy {np.__version__}".encode())
    for module in _MADE_BY:
        digest.update(Path(str(module.__file__)).read_bytes())
    return f"{preprocessing.size}-{preprocessing.segment}-{digest.hexdigest()[:16]}"
