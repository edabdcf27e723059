"""One file that a board can run: read, write, verify.

A bundle is a stored (never compressed) zip whose first member is `manifest.json`. Nothing in it is executable or
pickled. Counts, names and sizes are bounded before anything is read, and every byte is covered by a SHA-256, so a
bundle is either exactly what was written or refused. The hashes catch damage, not a forger: the manifest is not
signed yet.
"""

import hashlib
import json
import re
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from pydantic import ValidationError

from alledge.errors import BundleRefused, UsageError
from alledge.files import write_bytes
from alledge.labels import LABELS
from alledge.manifest import FORMAT, ID_LENGTH, MEMBER_NAME, Manifest, Member

SUFFIX = ".alledge"
MANIFEST = "manifest.json"
MAX_BYTES = 512 * 2**20  # VGG19 with its dense layers in float32 fits
MAX_MANIFEST_BYTES = 2 * 2**20
MAX_MEMBERS = 65
_END_BYTES = 22  # a zip's end record without a comment (APPNOTE 4.3.16)
_ZIP64_BYTES = 20  # the locator that would stand before it (APPNOTE 4.3.15)
_MAX_DIRECTORY_BYTES = MAX_MEMBERS * 256
_DAMAGE = (zipfile.BadZipFile, KeyError, NotImplementedError, EOFError, OSError, ValueError, struct.error)
_EPOCH = (1980, 1, 1, 0, 0, 0)  # same content, same bytes


@dataclass(frozen=True)
class Bundle:
    """A verified bundle in memory."""

    path: Path
    manifest: Manifest
    _members: Mapping[str, bytes]

    @classmethod
    def open(cls, path: Path | str) -> "Bundle":
        """Read and verify a bundle; nothing of it is used before all of it holds.

        Raises:
            UsageError: when there is no such file.
            BundleRefused: when it is truncated, altered, too large, too new or not a bundle.
        """
        path = Path(path)
        if not path.is_file():
            raise UsageError(f"{path}: expected a bundle made by `alledge convert`, found no such file")
        try:
            manifest, members = _read(path)
        except BundleRefused:
            raise
        except _DAMAGE as error:
            raise BundleRefused(f"{path}: not a complete bundle ({error}); copy or convert it again") from error
        return cls(path, manifest, members)

    @property
    def id(self) -> str:
        """16 hex digits that name exactly this content."""
        return self.manifest.id

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return self.path.stat().st_size

    def read(self, name: str) -> bytes:
        """The content of one member.

        Raises:
            BundleRefused: when the bundle has no such member.
        """
        if name not in self._members:
            raise BundleRefused(f"{self.path}: the manifest asks for {name!r}, which is not in the bundle")
        return self._members[name]

    @property
    def model(self) -> bytes:
        """The network itself."""
        return self.read(self.manifest.model)

    @property
    def head(self) -> bytes | None:
        """The second network of a split bundle."""
        return None if self.manifest.head is None else self.read(self.manifest.head.model)


def write_bundle(path: Path, manifest: Manifest, members: Mapping[str, bytes]) -> Bundle:
    """Write a bundle, whole or not at all, and open it again as a device would.

    Args:
        path: where to; an older file of that name is replaced only by a complete one.
        manifest: without `id` and `members`, which are filled in here.
        members: name -> content.
    """
    listed = [Member(name=n, size=len(b), sha256=_sha256(b)) for n, b in members.items()]
    manifest = manifest.model_copy(update={"members": listed, "id": ""})
    manifest = manifest.model_copy(update={"id": _identity(manifest)})
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in {MANIFEST: _canonical(manifest), **members}.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), content)
    write_bytes(path, buffer.getvalue())
    return Bundle.open(path)


def _read(path: Path) -> tuple[Manifest, dict[str, bytes]]:
    _check_bounds(path)
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        _check_entries(path, entries)
        if entries[0].file_size > MAX_MANIFEST_BYTES:
            raise BundleRefused(f"{path}: its manifest has {entries[0].file_size} bytes, expected at most "
                                f"{MAX_MANIFEST_BYTES}")
        manifest = _parse_manifest(path, archive.read(MANIFEST))
        members = {e.filename: archive.read(e) for e in entries[1:]}
    _check_members(path, manifest, members)
    return manifest, members


def _check_bounds(path: Path) -> None:
    """Bound the work of opening by the file's size and its end record alone."""
    size = path.stat().st_size
    if not _END_BYTES < size <= MAX_BYTES:
        raise BundleRefused(f"{path}: {size} bytes are no bundle, expected {_END_BYTES + 1} to {MAX_BYTES}")
    with path.open("rb") as file:
        file.seek(max(0, size - _END_BYTES - _ZIP64_BYTES))
        tail = file.read()
    end = tail[-_END_BYTES:]
    count, length = int.from_bytes(end[10:12], "little"), int.from_bytes(end[12:16], "little")
    if end[:4] != b"PK\x05\x06":
        raise BundleRefused(f"{path}: does not end as a bundle ends; it is truncated, extended or another format")
    if tail[:4] == b"PK\x06\x07":  # its 64-bit directory would overrule the counts checked here
        raise BundleRefused(f"{path}: is a Zip64 archive, which no bundle needs to be")
    if count > MAX_MEMBERS or length > _MAX_DIRECTORY_BYTES:
        raise BundleRefused(f"{path}: lists {count} members, expected at most {MAX_MEMBERS}")


def _check_entries(path: Path, entries: list[zipfile.ZipInfo]) -> None:
    names = [e.filename for e in entries]
    if not names or names[0] != MANIFEST or len(set(names)) != len(names):
        raise BundleRefused(f"{path}: expected {MANIFEST} first and each member once, received {names[:4]}")
    for entry in entries:
        if not re.fullmatch(MEMBER_NAME, entry.filename):
            raise BundleRefused(f"{path}: member name {entry.filename!r} is not allowed")
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size \
                or entry.file_size > MAX_BYTES or entry.flag_bits & 1:
            raise BundleRefused(f"{path}: member {entry.filename} is compressed, encrypted or oversized; "
                                "members must be stored")
    if sum(e.file_size for e in entries) > path.stat().st_size:
        raise BundleRefused(f"{path}: its members overlap: together they claim more bytes than the file has")


def _parse_manifest(path: Path, content: bytes) -> Manifest:
    try:
        announced = json.loads(content)
        if isinstance(announced, dict) and announced.get("format") != FORMAT:
            raise BundleRefused(f"{path}: bundle format {announced.get('format')!r} is not understood, this version "
                                f"reads format {FORMAT}; update alledge on this machine")
        manifest = Manifest.model_validate(announced)
    except (ValidationError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise BundleRefused(f"{path}: its manifest is not valid ({str(error).splitlines()[0]})") from error
    if manifest.id != _identity(manifest) or content != _canonical(manifest):
        raise BundleRefused(f"{path}: its manifest was altered after it was written")
    if tuple(manifest.labels) != LABELS:
        raise BundleRefused(f"{path}: its classes are {manifest.labels}, this version knows {list(LABELS)}")
    return manifest


def _check_members(path: Path, manifest: Manifest, members: Mapping[str, bytes]) -> None:
    if [m.name for m in manifest.members] != list(members):
        raise BundleRefused(f"{path}: the members are not those its manifest lists")
    for listed in manifest.members:
        content = members[listed.name]
        if len(content) != listed.size or _sha256(content) != listed.sha256:
            raise BundleRefused(f"{path}: member {listed.name} was altered after it was written")
    heads = {manifest.head.model} if manifest.head else set()
    wanted = {manifest.model, *heads, *(g.image for g in manifest.goldens), *(g.mask for g in manifest.goldens)}
    if not wanted <= set(members):
        raise BundleRefused(f"{path}: lacks {', '.join(sorted(wanted - set(members)))}")


def _identity(manifest: Manifest) -> str:
    return _sha256(_canonical(manifest.model_copy(update={"id": ""})))[:ID_LENGTH]


def _canonical(manifest: Manifest) -> bytes:
    return json.dumps(manifest.model_dump(mode="json"), sort_keys=True, separators=(",", ":")).encode()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
