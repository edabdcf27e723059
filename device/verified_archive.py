"""Are the pictures that results name still there, and still what they were?"""

from pathlib import Path

from alledge.errors import SinkError

from .archive import FRAMES, MASKS, find, intact
from .store.rows import read_results

_TOLD = 20  # faults that are spelled out


def verify_archive(database: Path, archive: Path) -> list[str]:
    """Read every picture of every result; a sentence for each that is missing or altered.

    Raises:
        SinkError: when the archive or the database cannot be read.
    """
    if not archive.is_dir():
        raise SinkError(f"{archive}: expected an archive of pictures, found no such folder")
    faults = []
    for row in read_results(database, checked=False):
        for kind, sha256 in ((FRAMES, row.frame_sha256), (MASKS, row.mask_sha256)):
            path = find(archive, kind, sha256) if sha256 else None
            if sha256 and path is None:
                faults.append(f"result {row.sequence}: its {kind.removesuffix('s')} is not in the archive")
            elif path is not None and not _readable(path, sha256):
                faults.append(f"result {row.sequence}: its {kind.removesuffix('s')} {path} was altered or damaged")
    more = len(faults) - _TOLD
    return [*faults[:_TOLD], *([f"and {more} more pictures"] if more > 0 else [])]


def _readable(path: Path, sha256: str) -> bool:
    try:
        return intact(path, sha256)
    except OSError:
        return False
