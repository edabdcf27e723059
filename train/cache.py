"""Arrays that took work, on disk: decoded tiles, and what a frozen trunk made of them; later runs map them into memory.

A *pack* is one `.npy` file of records (name of the thing, CRC-32 of its array, the array), written beside its place
and renamed into it: a reader sees a whole pack or none, two writers at worst write the same one twice. Packs lie in a
folder named after everything their arrays depend on but the thing itself: settings, code and libraries. They hold the
user's images or what was made of them and nothing else; any of them may be deleted at any time.
"""

import hashlib
import os
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Rows = NDArray[Any]
OFF = "off"
_FIELDS = ("name", "crc", "array")
_ABANDONED = 86_400  # s; no writer takes a day between two records


def cache_folder() -> Path | None:
    """`$ALLEDGE_CACHE` (None for `off`), else `alledge` in the user's cache folder."""
    chosen = os.environ.get("ALLEDGE_CACHE")
    if chosen == OFF:
        return None
    home = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    return Path(chosen) if chosen else Path(home) / "alledge"


def kept(place: str, names: Sequence[str], make: Callable[[int], Rows], tell: Callable[[str], None]) -> Rows:
    """The arrays [n, ...] of things known by name, from the cache where it has them.

    Args:
        place: folder within the cache, see `settings`.
        names: at most 32 ASCII characters each.
        make: called with the row of each thing that is not yet kept; all arrays are of one shape and type.
        tell: called with one sentence when the cache cannot be used.

    A pack of exactly these things in this order is mapped, read-only; what lies in several packs is copied together.
    Damaged packs are removed and made again.
    """
    root = cache_folder()
    if root:
        try:
            return _kept(root / place, names, make)
        except OSError as error:
            tell(f"warning: {root}: {place.partition('/')[0]} cannot be kept ({error.strerror or error}); going on "
                 "without a cache")
    first = make(0)
    rows = np.empty((len(names), *first.shape), first.dtype)
    for row in range(len(names)):
        rows[row] = make(row) if row else first
    return rows


def settings(kind: str, told: str, made_by: Sequence[ModuleType]) -> str:
    """A folder's name: kind, and a digest of the settings in words, of the code and of the libraries."""
    digest = hashlib.sha256(f"{told}, cv2 {cv2.__version__}, NumPy {np.__version__}".encode())
    for module in made_by:
        digest.update(Path(str(module.__file__)).read_bytes())
    return f"{kind}-{digest.hexdigest()[:16]}"


def _kept(folder: Path, names: Sequence[str], make: Callable[[int], Rows]) -> Rows:
    found = _whole(folder, names)
    if found is not None:
        return found
    scattered = _look_up(folder, set(names))
    fresh = [row for row, name in enumerate(names) if name not in scattered]
    if fresh:
        missing = [names[row] for row in fresh]
        _write(folder, missing, (make(row) for row in fresh))
        made = _whole(folder, missing)
        if made is None:
            raise OSError(f"{folder} does not give back what was written")
        if len(missing) == len(names):
            return made
        scattered.update(zip(missing, made, strict=True))
    return np.stack([scattered[name] for name in names])


def _whole(folder: Path, names: Sequence[str]) -> Rows | None:
    """The arrays of the pack of exactly these things, mapped; None when there is none (any more: it was damaged)."""
    path = folder / _name(names)
    pack = _open(path)
    if pack is None:
        return None
    if list(pack["name"]) == [name.encode() for name in names] and _intact(pack):
        return np.asanyarray(pack["array"])
    path.unlink(missing_ok=True)
    return None


def _look_up(folder: Path, wanted: set[str]) -> dict[str, Rows]:
    """Name -> array of those that some intact record of some pack holds."""
    found: dict[str, Rows] = {}
    for path in sorted(folder.glob("*.npy")):
        pack = _open(path)
        for row, raw in enumerate(pack["name"] if pack is not None else ()):
            name = raw.decode()
            if name in wanted and name not in found and pack is not None and _intact(pack[row:row + 1]):
                found[name] = pack["array"][row]
    return found


def _write(folder: Path, names: Sequence[str], arrays: Iterable[Rows]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    handle, part = tempfile.mkstemp(dir=folder, prefix=".", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            for row, (name, array) in enumerate(zip(names, arrays, strict=True)):
                record = np.dtype([("name", "S32"), ("crc", "<u4"), ("array", array.dtype, array.shape)])
                if row == 0:
                    np.lib.format.write_array_header_1_0(file, {"descr": np.lib.format.dtype_to_descr(record),
                                                                "fortran_order": False, "shape": (len(names),)})
                file.write(np.array((name.encode(), _crc(array), array), record).tobytes())
        Path(part).replace(folder / _name(names))
    finally:
        Path(part).unlink(missing_ok=True)


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
    return all(_crc(array) == crc for array, crc in zip(records["array"], records["crc"], strict=True))


def _crc(array: Rows) -> int:
    return zlib.crc32(array.tobytes())


def _name(names: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:32] + ".npy"
