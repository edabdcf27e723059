"""What was at every path before `alledge device install` touched it, written down before it is touched.

One line of JSON each, on disk before the change it is about; a line that a power cut tore is about a change that was
never made. For root alone: it holds the earlier /etc/shadow.
"""

import base64
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from alledge.errors import AlledgeError
from alledge.files import sync_folder

from .tree import ABSENT, State, Tree
from .undo import without_ours

FOLDER = "/var/lib/alledge-setup"
FILE = f"{FOLDER}/record.jsonl"


@dataclass(frozen=True)
class Entry:
    """earlier: before us; ours: as we left it, None while a change is being made; whole: a folder with all in it."""

    earlier: State
    ours: State | None = None
    whole: bool = False


@dataclass
class Record:
    """The record of a tree. entries: by path, in the order of the first touch; packages: that we had apt install."""

    tree: Tree
    entries: dict[str, Entry] = field(default_factory=dict)
    packages: dict[str, None] = field(default_factory=dict)

    @classmethod
    def read(cls, tree: Tree) -> "Record":
        """The record so far; empty when there is none.

        Raises:
            AlledgeError: when it is damaged elsewhere than at its end.
        """
        record = cls(tree)
        *lines, torn = tree.text(FILE).split("\n")
        for number, line in enumerate(lines, 1):
            try:
                record._take(json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                raise AlledgeError(f"{tree.at(FILE)}: line {number} of the record of what was changed is damaged; "
                                   "restore it from a copy, or undo by hand what docs/boards.md lists") from error
        if torn:
            tree.put(FILE, replace(tree.look(FILE), content="".join(f"{line}\n" for line in lines).encode()))
        return record

    def note(self, path: str, whole: bool = False) -> None:
        """Before a path is touched: keep what is there, and make what folders are missing above it.

        What somebody else changed since our last touch counts as having been there before. A `whole` folder is ours
        alone and was not there.
        """
        self._make_parents(path)
        known, now = self.entries.get(path), ABSENT if whole else self.tree.look(path)
        if known and not whole:
            now, _ = without_ours(known.earlier, known.ours, now)
        self._say({"path": path, "earlier": _plain(now), "whole": whole})

    def keep(self, path: str) -> None:
        """After a path was changed."""
        self._say({"path": path, "ours": _plain(self.tree.look(path))})

    def keep_packages(self, names: list[str]) -> None:
        """Before apt is asked for packages that are not there."""
        self._say({"packages": names})

    def forget(self) -> None:
        """Once all is as before."""
        self.tree.put(FILE, ABSENT)
        self.tree.put(FOLDER, ABSENT)

    def _make_parents(self, path: str) -> None:
        for folder in self.tree.missing_parents(path):
            self._say({"path": folder, "earlier": _plain(ABSENT), "whole": False})
            self.tree.put(folder, State("folder", 0o755, self.tree.owner("root")))
            self.keep(folder)

    def _say(self, line: dict[str, Any]) -> None:
        folder = self.tree.at(FOLDER)
        if not folder.exists():
            made = self.tree.missing_parents(FOLDER)
            folder.mkdir(parents=True, mode=0o700)
            sync_folder(folder.parent)
            for path in made:
                self._write({"path": path, "earlier": _plain(ABSENT), "whole": False})
        self._write(line)

    def _write(self, line: dict[str, Any]) -> None:
        place, text = self.tree.at(FILE), json.dumps(line) + "\n"
        with open(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        self._take(line)

    def _take(self, line: Mapping[str, Any]) -> None:
        if "packages" in line:
            self.packages |= dict.fromkeys(line["packages"])
        elif "ours" in line:
            self.entries[line["path"]] = replace(self.entries[line["path"]], ours=_state(line["ours"]))
        else:
            self.entries[line["path"]] = Entry(_state(line["earlier"]), None, line["whole"])


def _plain(state: State) -> dict[str, Any]:
    return {"kind": state.kind, "mode": state.mode, "owner": list(state.owner), "changed_at": state.changed_at,
            "content": base64.b64encode(state.content).decode()}


def _state(plain: Mapping[str, Any]) -> State:
    user, group = plain["owner"]
    return State(plain["kind"], plain["mode"], (user, group), base64.b64decode(plain["content"]), plain["changed_at"])
