"""What comes from the system's own packages because no wheel can bring it."""

import re
import subprocess
from dataclasses import dataclass

from .boards import Package
from .record import Record
from .tree import Tree

_STATUS = "/var/lib/dpkg/status"
_INSTALLED = re.compile(r"^Package: (\S+)\nStatus: \S+ ok installed$", re.M)


@dataclass(frozen=True)
class Packages:
    """Asks apt for what is lacking, one by one: a repository that is not set up keeps back its own package only."""

    names: tuple[str, ...]

    def pending(self, tree: Tree, record: Record) -> str:
        """See `Step`."""
        names = [name for name in self.names if name not in installed(tree)]
        return f"apt-get install {' '.join(names)}" if names else ""

    def make(self, tree: Tree, record: Record) -> None:
        """See `Step`."""
        before = installed(tree)
        for name in self.names:
            if name not in before:
                record.keep_packages([name])
                _apt("install", name)
                record.keep_packages(sorted(installed(tree) - before))


def installed(tree: Tree) -> set[str]:
    """Names of the packages that dpkg has installed."""
    return set(_INSTALLED.findall(tree.text(_STATUS)))


def lacking(packages: tuple[Package, ...], tree: Tree) -> list[str]:
    """A sentence with the way out for each that is not installed."""
    there = installed(tree)
    return [f"{p.name} ({p.why}) is not installed: sudo apt install {p.name}{f', from {p.source}' if p.source else ''}"
            for p in packages if p.name not in there]


def remove(names: list[str]) -> bool:
    """Take packages away again; whether apt could."""
    return _apt("remove", *names)


def _apt(verb: str, *names: str) -> bool:
    line = ["apt-get", "--yes", "--no-install-recommends", verb, *names]
    return subprocess.run(line, check=False, stdin=subprocess.DEVNULL).returncode == 0
