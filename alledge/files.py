"""Put a file on disk whole or not at all."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from alledge.errors import AlledgeError, OutputError, UsageError


def checked_out(out: Path) -> Path:
    """`out`, when a file can be made there, or in folders that `write_bytes` will make first.

    Raises:
        UsageError: before minutes are spent on a file that cannot be written.
    """
    folder = next(p for p in (out.absolute().parent, *out.absolute().parents) if p.exists())
    if out.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise UsageError(f"--out {out}: expected a file name in a folder that can be written to; choose another")
    return out


def write_bytes(path: Path, data: bytes, durable: bool = True) -> None:
    """Write through a temporary neighbour and the disk's own cache: after a crash or power cut there is the old file
    or the new one, never half of either.

    Args:
        path: of the file; data: all of it.
        durable: False for what nobody misses after a power cut: then only readers and crashes find it whole, and the
            disk is not made to hurry, which holds up whoever else writes.

    Raises:
        OutputError: when the folder is missing, read-only or full; nothing is left behind then.
    """
    write_pieces(path, (data,), durable)


def write_pieces(path: Path, pieces: Iterable[bytes], durable: bool = True) -> None:
    """As `write_bytes`, for what is too large for memory. What making a piece raises leaves nothing behind either."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.writelines(pieces)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        partial.replace(path)
    except BaseException as error:
        with suppress(OSError):  # the folder itself may be the fault that is reported
            partial.unlink(missing_ok=True)
        if not isinstance(error, OSError) or isinstance(error, AlledgeError):
            raise  # interrupted, or of the pieces
        raise OutputError(f"{path}: cannot be written ({error.strerror}); choose a folder with room that you own") \
            from error


def make_folder(path: Path) -> None:
    """Make a folder and all above it that are missing, so that they are still there after a power cut.

    Raises:
        OSError: when one cannot be made.
    """
    missing = [p for p in (path, *path.parents) if not p.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for made in reversed(missing):
        sync_folder(made.parent)


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on disk: a new file's name is there only then.

    Raises:
        OSError: when the disk does not say that it did.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
