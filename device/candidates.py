"""Which bundle may be installed on this device: from a file, or the newest that may from a folder (a memory stick)."""

import shutil
from collections.abc import Callable
from pathlib import Path

from alledge.bundle import SUFFIX, Bundle
from alledge.config import DeviceConfig
from alledge.errors import AlledgeError, BundleRefused, OutputError, UsageError
from alledge.manifest import Manifest

from .admission import open_bundle

_MOST = 32  # files of a folder that are looked at: each is read as a whole
_MEGABYTE = 10**6


def candidate(source: Path, config: DeviceConfig, installed: Manifest | None, room: Path,
              say: Callable[[str], None]) -> Bundle:
    """A verified bundle that this device may install.

    Args:
        source: a file, or a folder, of which the highest release that may be installed is taken.
        config: whom the device trusts, its name, and how much must stay free.
        installed: what it would replace.
        room: folder that it is going to be kept in, or one above.
        say: told why each other file of a folder is not taken.

    Raises:
        UsageError: when this device trusts no key, or there is nothing to install.
        BundleRefused: when it is damaged, not signed by a trusted key, expired, for another board, or older.
        OutputError: when there is no room.
    """
    if not config.bundle.trusted_keys:
        raise UsageError("this device trusts no key, so nothing can be installed: add trusted_keys to [bundle] in its "
                         "configuration; `alledge keys show` prints the line")
    bundle = (_newest(source, config, installed, say) if source.is_dir() else
              open_bundle(source, config.bundle, installed))
    _check_room(bundle, room, config.results.floor)
    return bundle


def _newest(folder: Path, config: DeviceConfig, installed: Manifest | None, say: Callable[[str], None]) -> Bundle:
    found, refused = [], []
    files = sorted(path for path in folder.glob(f"*{SUFFIX}") if not path.name.startswith("."))
    for path in files[:_MOST]:
        try:
            found.append(open_bundle(path, config.bundle, installed))
        except AlledgeError as error:
            refused.append(str(error))
    if not files:
        raise UsageError(f"{folder}: expected bundles (*{SUFFIX}), found none")
    if not found:
        raise BundleRefused(f"{folder}: none of {len(refused)} bundles may be installed here: {'; '.join(refused)}")
    for sentence in refused:
        say(f"not taken: {sentence}")
    return max(found, key=lambda bundle: bundle.manifest.release or 0)


def _check_room(bundle: Bundle, room: Path, floor: int) -> None:
    """Results must go on being kept afterwards."""
    there = next(place for place in (room, *room.absolute().parents) if place.exists())
    free, needed = shutil.disk_usage(there).free, bundle.size + floor * _MEGABYTE
    if free < needed:
        raise OutputError(f"{bundle.path}: has {bundle.size / _MEGABYTE:.1f} MB and {floor} MB must stay free, but "
                          f"{there} has {free / _MEGABYTE:.1f} MB left; free some, or lower floor in [results]")
