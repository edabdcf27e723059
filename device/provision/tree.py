"""What is at a path of a system tree, and putting it there whole or not at all."""

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from alledge.errors import OutputError
from alledge.files import sync_folder


@dataclass(frozen=True)
class State:
    """What is at a path.

    Attributes:
        kind: "absent", "file", "link" or "folder".
        mode: permission bits; owner: numbers of user and group. Links have neither.
        content: of a file; of a link, where it leads.
        changed_at: modification time of a file in ns; None: now. Says nothing about being the same.
    """

    kind: str
    mode: int = 0
    owner: tuple[int, int] = (0, 0)
    content: bytes = b""
    changed_at: int | None = None

    @property
    def digest(self) -> str:
        """Equal for states that are the same to everybody but a clock."""
        about = f"{self.kind} {self.mode:o} {self.owner} ".encode()
        return hashlib.sha256(about + self.content).hexdigest()


ABSENT = State("absent")


@dataclass(frozen=True)
class Tree:
    """A system's files. root: "/", or the folder in which another system's lie; paths are as that system says them."""

    root: Path

    @property
    def live(self) -> bool:
        """Whether it is the system that this program runs on."""
        return self.root == Path("/")

    def at(self, path: str) -> Path:
        """Where a path of the system is here.

        Raises:
            OutputError: when links on the way lead out of the tree, to the files of the machine that prepares it.
        """
        place = self.root / path.lstrip("/")
        if not place.parent.resolve().is_relative_to(self.root.resolve()):
            raise OutputError(f"{place}: a link on the way leads out of {self.root}; expected a whole system there")
        return place

    def look(self, path: str) -> State:
        """What is there now."""
        place = self.at(path)
        try:
            about = place.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return ABSENT
        mode, owner = stat.S_IMODE(about.st_mode), (about.st_uid, about.st_gid)
        if stat.S_ISLNK(about.st_mode):
            return State("link", content=os.fsencode(place.readlink()))
        if stat.S_ISDIR(about.st_mode):
            return State("folder", mode, owner)
        if not stat.S_ISREG(about.st_mode):
            raise OutputError(f"{place}: expected a file or a folder, found a device or socket; move it away")
        return State("file", mode, owner, place.read_bytes(), about.st_mtime_ns)

    def put(self, path: str, wanted: State) -> None:
        """Make it so, durably; after a power cut there is the one or the other. A folder's content is not looked at.

        Raises:
            OSError: when the system refuses.
        """
        place = self.at(path)
        if wanted.kind == "absent":
            self._remove(path, place)
        elif wanted.kind == "folder":
            place.mkdir(exist_ok=True)
            _own(place, wanted)
        else:
            partial = place.with_name(f".{place.name}.alledge")
            partial.unlink(missing_ok=True)
            _make(partial, wanted)
            partial.replace(place)
        if place.parent.exists():
            sync_folder(place.parent)

    def _remove(self, path: str, place: Path) -> None:
        now = self.look(path)
        if now.kind == "folder":
            place.rmdir()
        elif now.kind != "absent":
            place.unlink()

    def missing_parents(self, path: str) -> list[str]:
        """Folders above a path that are not there, the highest first."""
        above = [str(p) for p in Path(path).parents if str(p) != "/"]
        return [p for p in reversed(above) if self.look(p).kind == "absent"]

    def owner(self, name: str) -> tuple[int, int]:
        """Numbers of a user and its group as the tree's own files say; ours, where we may give nothing away."""
        if os.geteuid() != 0:
            return os.geteuid(), os.getegid()
        for line in self.text("/etc/passwd").splitlines():
            user, _, number, group, *_ = [*line.split(":"), "", "", "", ""]
            if user == name:
                return int(number), int(group)
        return 0, 0

    def text(self, path: str) -> str:
        """Content of a file; "" where there is none."""
        state = self.look(path)
        return state.content.decode("utf-8", "replace") if state.kind == "file" else ""


def _make(place: Path, wanted: State) -> None:
    if wanted.kind == "link":
        place.symlink_to(os.fsdecode(wanted.content))
        return
    with open(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(wanted.content)
        file.flush()
        _own(place, wanted)
        os.fsync(file.fileno())


def _own(place: Path, wanted: State) -> None:
    """Only what differs is asked for: a FAT, as a Raspberry Pi's boot partition is, refuses both."""
    about = place.stat()
    if (about.st_uid, about.st_gid) != wanted.owner:
        os.chown(place, *wanted.owner)
    if stat.S_IMODE(about.st_mode) != wanted.mode:
        place.chmod(wanted.mode)
    if wanted.changed_at is not None:
        os.utime(place, ns=(wanted.changed_at, wanted.changed_at))
