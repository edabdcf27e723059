"""The zip of a bundle, of which only one form exists: stored, undated, without extra fields, gaps or comments.

Any unzip tool reads it. This reader accepts nothing else, so that every byte of the file is accounted for: general
readers tolerate bytes that no checksum covers, directories that contradict the members, and compression.
"""

import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from alledge.errors import BundleRefused

MAX_NAME_BYTES = 120
# APPNOTE 6.3 sections 4.3.7, 4.3.12 and 4.3.16. Version needed 2.0, flags and method 0 (stored), 1980-01-01 00:00.
_LOCAL, _CENTRAL, _END = struct.Struct("<4s5H3I2H"), struct.Struct("<4s6H3I5H2I"), struct.Struct("<4s4H2IH")
_LOCAL_MARK, _CENTRAL_MARK, _END_MARK = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_NEEDED, _DATE, _UNIX = 20, 0x21, 3 << 8
_FORM = (_NEEDED, 0, 0, 0, _DATE)
_MODE = 0o100644 << 16  # a plain file that everybody may read


def pack(members: Mapping[str, bytes]) -> bytes:
    """The archive of name -> content, in that order."""
    parts, directory, offset = [], [], 0
    for name, content in members.items():
        parts += [_local(name, content), content]
        directory.append(_central(name, content, offset))
        offset += _LOCAL.size + len(name) + len(content)
    return b"".join([*parts, _tail(directory, offset)])


def unpack(path: Path, max_members: int) -> dict[str, bytes]:
    """Name -> content of an archive that is, to the bit, what `pack` makes of it.

    Read front to back: memory never exceeds the size of the file, whatever its headers claim.

    Raises:
        BundleRefused: for any other file.
    """
    members: dict[str, bytes] = {}
    directory, offset = [], 0
    with path.open("rb") as file:
        size = path.stat().st_size
        while (mark := file.read(4)) == _LOCAL_MARK:
            if len(members) == max_members:
                raise BundleRefused(f"{path}: has more than {max_members} members, expected at most that many")
            name, content = _member(path, file, size)
            if name in members:
                raise BundleRefused(f"{path}: member {name} stands twice, expected each member once")
            members[name] = content
            directory.append(_central(name, content, offset))
            offset = file.tell()
        expected = _tail(directory, offset)
        rest = mark + file.read(len(expected) + 1)
    if rest != expected:
        raise BundleRefused(f"{path}: {_fault(rest, expected)}; copy or convert it again")
    return members


def _member(path: Path, file: BinaryIO, size: int) -> tuple[str, bytes]:
    """The member whose mark was just read."""
    header = _LOCAL_MARK + file.read(_LOCAL.size - 4)
    if len(header) < _LOCAL.size:
        raise BundleRefused(f"{path}: is truncated, it ends within a header; copy or convert it again")
    form, (length, name_length) = _LOCAL.unpack(header)[1:6], _LOCAL.unpack(header)[8:10]
    if form != _FORM:
        raise BundleRefused(f"{path}: a member is not stored as bundles store it: compressed, encrypted or "
                            "zipped by another tool")
    if name_length > MAX_NAME_BYTES or name_length + length > size - file.tell():
        raise BundleRefused(f"{path}: a member claims {length} bytes, more than the file has; it is truncated or "
                            "altered, copy or convert it again")
    written, content = file.read(name_length), file.read(length)
    name = written.decode("ascii", "replace")
    if header + written != _local(name, content):
        raise BundleRefused(f"{path}: member {name!r} was altered after it was written")
    return name, content


def _local(name: str, content: bytes) -> bytes:
    return _LOCAL.pack(_LOCAL_MARK, *_FORM, *_sums(content), len(name), 0) + _ascii(name)


def _central(name: str, content: bytes, offset: int) -> bytes:
    return _CENTRAL.pack(_CENTRAL_MARK, _UNIX | _NEEDED, *_FORM, *_sums(content), len(name), 0, 0, 0, 0, _MODE,
                         offset) + _ascii(name)


def _tail(directory: list[bytes], offset: int) -> bytes:
    """Everything after the last member."""
    listed = b"".join(directory)
    return listed + _END.pack(_END_MARK, 0, 0, len(directory), len(directory), len(listed), offset, 0)


def _sums(content: bytes) -> tuple[int, int, int]:
    """Checksum, stored size, real size."""
    return zlib.crc32(content), len(content), len(content)


def _ascii(name: str) -> bytes:
    return name.encode("ascii", "replace")


def _fault(rest: bytes, expected: bytes) -> str:
    if expected.startswith(rest):
        return "is truncated, it ends too early"
    if rest.startswith(expected):
        return "goes on after its end"
    return "its directory is not the one of a bundle; it was altered or is another format"
