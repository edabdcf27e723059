"""One thing that an installation wants at one path. Deciding is pure; making it so writes the record first."""

from dataclasses import dataclass, replace
from typing import Protocol

from .record import Entry, Record
from .tree import State, Tree

_VERBS = {"absent": "write", "file": "change", "link": "replace", "folder": "change"}


class Step(Protocol):
    """What an installation is made of."""

    def pending(self, tree: Tree, record: Record) -> str:
        """What would be changed now, in words; "" when all is as wanted."""
        ...

    def make(self, tree: Tree, record: Record) -> None:
        """Change it."""
        ...


class _AtPath:
    """A step about one path; which state it wants there says `wanted`."""

    path: str

    def wanted(self, tree: Tree, now: State, known: Entry | None) -> State:
        """The state that is to be at the path, where there is `now`, of which the record says `known`."""
        raise NotImplementedError

    def pending(self, tree: Tree, record: Record) -> str:
        """See `Step`."""
        now = tree.look(self.path)
        wanted = self.wanted(tree, now, record.entries.get(self.path))
        if wanted.digest == now.digest:
            return ""
        if wanted.kind == "folder":
            return f"{'make' if now.kind == 'absent' else 'change'} folder {self.path}"
        if wanted.kind == "link":
            return f"link {self.path} -> {wanted.content.decode()}"
        return f"{_VERBS[now.kind]} {self.path}"

    def make(self, tree: Tree, record: Record) -> None:
        """See `Step`."""
        record.note(self.path)
        tree.put(self.path, self.wanted(tree, tree.look(self.path), record.entries.get(self.path)))
        record.keep(self.path)


@dataclass(frozen=True)
class File(_AtPath):
    """A file that is ours."""

    path: str
    content: bytes

    def wanted(self, tree: Tree, now: State, known: Entry | None) -> State:
        """See `_AtPath`."""
        return State("file", 0o644, tree.owner("root"), self.content)


@dataclass(frozen=True)
class Settings(File):
    """A file that is the user's once it was written: replaced only while it is as we left it."""

    def wanted(self, tree: Tree, now: State, known: Entry | None) -> State:
        """See `_AtPath`."""
        ours = known.ours if known else None
        untouched = now.kind == "absent" or (ours is not None and ours.digest == now.digest)
        return super().wanted(tree, now, known) if untouched else now


@dataclass(frozen=True)
class Block(_AtPath):
    """Lines at the end of a file that is not ours, between two marks. Nothing is done where there is no such file."""

    path: str
    lines: str

    def wanted(self, tree: Tree, now: State, known: Entry | None) -> State:
        """See `_AtPath`."""
        if now.kind != "file":
            return now
        text = now.content.decode("utf-8", "surrogateescape")
        before, start, rest = text.partition(_START)
        _, end, after = rest.partition(_END)
        if start and not end:  # somebody removed the mark: what follows may be theirs
            before, after = text, ""
        block = f"{_START}{self.lines.strip()}\n{_END}"
        gap = "" if not before or before.endswith("\n") else "\n"
        return replace(now, content=f"{before}{gap}{block}{after}".encode("utf-8", "surrogateescape"), changed_at=None)


_START = "# >>> alledge: from here to the next mark\n"
_END = "# <<< alledge\n"


@dataclass(frozen=True)
class Link(_AtPath):
    """A symbolic link, as `systemctl enable` makes them."""

    path: str
    target: str

    def wanted(self, tree: Tree, now: State, known: Entry | None) -> State:
        """See `_AtPath`."""
        return State("link", content=self.target.encode())


@dataclass(frozen=True)
class Folder(_AtPath):
    """A folder; what is in it is not ours."""

    path: str
    mode: int = 0o755
    owner: str = "root"

    def wanted(self, tree: Tree, now: State, known: Entry | None) -> State:
        """See `_AtPath`."""
        return State("folder", self.mode, tree.owner(self.owner))
