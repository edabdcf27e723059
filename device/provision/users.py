"""The device's user and its groups, made by systemd-sysusers(8) from firmware_configs/systemd/alledge.sysusers."""

import re
import subprocess
from dataclasses import dataclass

from alledge.errors import AlledgeError, BackendMissing

from .record import Record
from .tree import Tree

PATH = "/usr/lib/sysusers.d/alledge.conf"
_FILES = tuple(f"/etc/{name}{end}" for name in ("passwd", "group", "shadow", "gshadow") for end in ("", "-"))
_TOUCHED = (*_FILES, "/etc/.pwd.lock")


@dataclass(frozen=True)
class Users:
    """rules: text of the file at PATH, which is there already."""

    rules: str

    def pending(self, tree: Tree, record: Record) -> str:
        """See `Step`."""
        users = {line.split(":")[0] for line in tree.text("/etc/passwd").splitlines()}
        groups = {line.split(":")[0]: line.rpartition(":")[2].split(",")
                  for line in tree.text("/etc/group").splitlines()}
        lacking = [name for name in re.findall(r"^u (\S+)", self.rules, re.M) if name not in users]
        lacking += [group for user, group in re.findall(r"^m (\S+) (\S+)", self.rules, re.M)
                    if user not in groups.get(group, [])]
        return f"make user and groups: {', '.join(lacking)}" if lacking else ""

    def make(self, tree: Tree, record: Record) -> None:
        """See `Step`."""
        for path in _TOUCHED:
            record.note(path)
        where = [] if tree.live else [f"--root={tree.root}"]
        try:
            done = subprocess.run(["systemd-sysusers", *where, PATH if tree.live else str(tree.at(PATH))],
                                  capture_output=True, text=True, check=False)
        except FileNotFoundError as error:
            raise BackendMissing("users are made by systemd-sysusers, which is not here", "apt install systemd") \
                from error
        for path in _TOUCHED:
            record.keep(path)
        if done.returncode:
            raise AlledgeError(f"systemd-sysusers could not make the user alledge: {done.stderr.strip()}")
