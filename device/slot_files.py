"""What the slots do with the disk: one process at a time, and copies that are on the disk before they count."""

import fcntl
import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from alledge.bundle import Bundle
from alledge.errors import AlledgeError, BundleRefused, OutputError, UsageError
from alledge.files import make_folder, sync_folder, write_pieces

_PIECE = 2**20
_LOCK = "lock"


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Hold a folder of models, which ends with the process whatever ends it, and sweep up after one that was killed.

    Raises:
        UsageError: while another process holds it, or when it is another user's.
        OutputError: when it cannot be made.
    """
    try:
        make_folder(folder)
        _refuse_other_user(folder)
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise OutputError(f"{folder}: models cannot be kept there ({error.strerror}); run it as the user who runs the "
                          "device") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise UsageError(f"{folder}: another `alledge model` or start is at work there; wait until it has ended") \
            from error
    try:
        for leftover in (*folder.glob(".*"), *folder.glob("*/.*")):
            leftover.unlink(missing_ok=True)
        yield
    finally:
        os.close(descriptor)


def copy_in(bundle: Bundle, path: Path) -> None:
    """Copy a verified bundle's file, and leave nothing of it in memory: who reads it next reads the disk.

    Raises:
        BundleRefused: when it cannot be read to its end.
        OutputError: when it cannot be written; nothing is left behind then.
    """
    try:
        make_folder(path.parent)
        write_pieces(path, _pieces(bundle.path, bundle.size))
        sync_folder(path.parent)
        _forget(path)
    except OSError as error:
        if isinstance(error, AlledgeError):
            raise
        raise OutputError(f"{bundle.path}: cannot be copied to {path} ({error.strerror})") from error


def _refuse_other_user(folder: Path) -> None:
    """Root may write everywhere, and the device could not touch what it left."""
    owner = folder.stat().st_uid
    if owner != os.geteuid():
        try:
            name = pwd.getpwuid(owner).pw_name
        except KeyError:
            name = f"#{owner}"
        raise UsageError(f"{folder}: belongs to user {name}: run this as that user (sudo -u {name} alledge ...)")


def _pieces(path: Path, size: int) -> Iterator[bytes]:
    """Of a file on a medium that may be pulled out, or be changed: no more than what was verified."""
    try:
        with path.open("rb") as file:
            for begin in range(0, size, _PIECE):
                yield file.read(min(_PIECE, size - begin))
    except OSError as error:
        raise BundleRefused(f"{path}: cannot be read to its end ({error.strerror}); copy it again") from error


def _forget(path: Path) -> None:
    """Have the next reading come from the disk and not from memory, as far as the system does that."""
    with suppress(AttributeError), path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
