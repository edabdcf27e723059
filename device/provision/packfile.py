"""A pack: one zip that Python runs, with wheels, bundle and configuration of one board. docs/boards.md has its form."""

import hashlib
import json
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alledge.errors import UsageError

FORMAT = 1
MANIFEST = "pack.json"
_AGAIN = "copy it again, or make it again with `alledge device pack`"


@dataclass(frozen=True)
class Pack:
    """An opened pack.

    Attributes:
        manifest: bytes of its pack.json, which stand for all of it.
        board: whose it is; release: alledge's version.
        environments: version of Python -> names of the wheels, alledge's own among them.
        glibc: version of Python -> minor version of the C library that those wheels were chosen for.
        members: name -> SHA-256 and size of each member.
        pip, bundle, python: names of members; no `python` is "".
        trusted_keys: for the board's configuration.
    """

    path: Path
    manifest: bytes
    board: str
    release: str
    environments: Mapping[str, tuple[str, ...]]
    glibc: Mapping[str, int]
    members: Mapping[str, tuple[str, int]]
    pip: str
    python: str
    bundle: str
    trusted_keys: tuple[str, ...]

    @property
    def files_bytes(self) -> int:
        """Room that its members take as they are."""
        return sum(size for _, size in self.members.values())

    def read(self, name: str) -> bytes:
        """One member."""
        with zipfile.ZipFile(self.path) as file:
            return file.read(name)

    def extract(self, names: Iterable[str], folder: Path) -> list[Path]:
        """Unpack members; their paths in the order of the names."""
        with zipfile.ZipFile(self.path) as file:
            return [Path(file.extract(name, folder)) for name in names]


def board_of(path: Path) -> str:
    """Whose a pack says it is; `open_pack` verifies it.

    Raises:
        UsageError: when it does not say.
    """
    try:
        with zipfile.ZipFile(path) as file:
            return str(json.loads(file.read(MANIFEST))["board"])
    except (OSError, KeyError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path}: is damaged ({error}); {_AGAIN}") from error


def open_pack(path: Path, board: str) -> Pack:
    """Open a pack and read it whole.

    Raises:
        UsageError: when there is none, it is damaged, of another format or for another board.
    """
    if not path.is_file():
        raise UsageError(f"{path}: expected a pack made by `alledge device pack`, found no such file")
    try:
        with zipfile.ZipFile(path) as file:
            pack = _parsed(path, file.read(MANIFEST))
            _check_members(pack, file)
    except KeyError as error:
        raise UsageError(f"{path}: is no pack of `alledge device pack`, or damaged ({error}); {_AGAIN}") from error
    except (zipfile.BadZipFile, ValueError, TypeError, AttributeError, OSError, EOFError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"{path}: is damaged ({error}); {_AGAIN}") from error
    if pack.board != board:
        raise UsageError(f"{path}: is a pack for {pack.board}, expected one for {board}; make it with "
                         f"`alledge device pack --board {board}`")
    return pack


def _parsed(path: Path, manifest: bytes) -> Pack:
    plain: dict[str, Any] = json.loads(manifest)
    if plain["format"] != FORMAT:
        raise UsageError(f"{path}: is of format {plain['format']}, expected {FORMAT}; make it again with this release")
    environments = {python: tuple(names) for python, names in plain["environments"].items()}
    members = {name: (member["sha256"], member["bytes"]) for name, member in plain["members"].items()}
    return Pack(path, manifest, plain["board"], plain["alledge"], environments, plain["glibc"], members, plain["pip"],
                plain["python"], plain["bundle"], tuple(plain["trusted_keys"]))


def _check_members(pack: Pack, file: zipfile.ZipFile) -> None:
    """Every byte is the one that was packed, nothing is missing, and no name leads elsewhere."""
    for name, (digest, size) in pack.members.items():
        if name.startswith("/") or ".." in Path(name).parts:
            raise UsageError(f"{pack.path}: member {name!r} leads out of the pack; {_AGAIN}")
        about = file.getinfo(name)
        found = hashlib.sha256()
        with file.open(name) as member:
            while piece := member.read(1 << 20):
                found.update(piece)
        if about.file_size != size or found.hexdigest() != digest:
            raise UsageError(f"{pack.path}: member {name} is not what was packed; {_AGAIN}")
    named = {pack.pip, pack.python, pack.bundle, *(n for names in pack.environments.values() for n in names)} - {""}
    if lacking := sorted(named - set(pack.members)):
        raise UsageError(f"{pack.path}: lacks {', '.join(lacking)}; {_AGAIN}")
