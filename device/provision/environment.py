"""The virtual environment at /opt/alledge: made beside the one in use, then put in its place."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

from alledge.errors import AlledgeError, OutputError, UsageError

from .boards import System
from .packfile import Pack
from .record import Record
from .tree import Tree

HOME = "/opt/alledge"
PROGRAM = f"{HOME}/bin/alledge"
BUNDLE = f"{HOME}/first.alledge"
_MARK = f"{HOME}/pack.json"
_NEW, _OLD, _WORK = f"{HOME}.new", f"{HOME}.old", f"{HOME}.work"  # gone again, unless the power went
_UNPACKED = 5  # times its wheel a package takes once it is unpacked and compiled, at most; and twice for a while
_OLDEST_GLIBC = 17  # of the tags that pip knows by number; manylinux2014 is the same
_SCRIPT = f"""#!{HOME}/bin/python
import sys
from alledge.cli import main
sys.exit(main())
"""


@dataclass(frozen=True)
class Environment:
    """A system's Python with the pack's wheels, and the system's own packages behind them (picamera2)."""

    pack: Pack
    system: System
    machine: str

    def pending(self, tree: Tree, record: Record) -> str:
        """See `Step`."""
        if tree.look(_MARK).content == self.pack.manifest and not any(tree.at(path).exists()
                                                                                for path in (_NEW, _OLD, _WORK)):
            return ""
        verb = "replace" if tree.look(HOME).kind == "folder" else "make"
        wheels = len(self.pack.environments[self.system.python])
        return f"{verb} environment {HOME}: Python {self.system.python}, {wheels} wheels, alledge {self.pack.release}"

    def make(self, tree: Tree, record: Record) -> None:
        """See `Step`."""
        self._check(tree, record)
        for path in (_WORK, _NEW, _OLD, HOME):
            record.note(path, whole=True)
        for path in (_WORK, _NEW, _OLD):
            shutil.rmtree(tree.at(path), ignore_errors=True)
        self._fill(tree, tree.at(_NEW), tree.at(_WORK))
        if tree.at(HOME).exists():
            tree.at(HOME).rename(tree.at(_OLD))
        tree.at(_NEW).rename(tree.at(HOME))
        for path in (_WORK, _OLD):
            shutil.rmtree(tree.at(path), ignore_errors=True)

    def _check(self, tree: Tree, record: Record) -> None:
        there = tree.at(HOME)
        if there.exists() and HOME not in record.entries:
            raise OutputError(f"{there}: is there and was not made by `alledge device install`; move it away first")
        above = next(p for p in there.parents if p.exists())
        needed, free = self.pack.files_bytes * _UNPACKED, shutil.disk_usage(above).free
        if free < needed:
            raise OutputError(f"{above}: expected {needed / 1e6:.0f} MB free for alledge, found {free / 1e6:.0f} MB; "
                              "free some, then run this again")

    def _fill(self, tree: Tree, folder: Path, work: Path) -> None:
        (folder / "bin").mkdir(parents=True)
        python = self._own_python(folder, work) if self.system.own else Path("/usr/bin")
        (folder / "bin" / "python").symlink_to(python / f"python{self.system.python}")
        (folder / "pyvenv.cfg").write_text(
            f"home = {python}\ninclude-system-site-packages = {str(not self.system.own).lower()}\n"
            f"version = {self.system.python}\n")
        packages = folder / "lib" / f"python{self.system.python}" / "site-packages"
        self._unpack_wheels(tree, packages, work)
        (folder / "bin" / "alledge").write_text(_SCRIPT)
        (folder / "bin" / "alledge").chmod(0o755)
        (folder / Path(BUNDLE).name).write_bytes(self.pack.read(self.pack.bundle))
        (folder / Path(_MARK).name).write_bytes(self.pack.manifest)
        os.sync()  # thousands of files: one flush is quicker than one each

    def _own_python(self, folder: Path, work: Path) -> Path:
        """Unpack the pack's Python; where its programs will be."""
        (archive,) = self.pack.extract([self.pack.python], work)
        with tarfile.open(archive) as file:
            file.extractall(folder)
        return Path(HOME) / "python" / "bin"

    def _unpack_wheels(self, tree: Tree, packages: Path, work: Path) -> None:
        """By the pack's own pip, which asks no network and resolves nothing: the pack says which wheels."""
        names = self.pack.environments[self.system.python]
        pip, *wheels = self.pack.extract([self.pack.pip, *names], work)
        here = f"{sys.version_info.major}.{sys.version_info.minor}" == self.system.python
        line = [sys.executable, pip / "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", packages,
                "--root-user-action=ignore", "--disable-pip-version-check", "--no-cache-dir",
                "--implementation=cp", f"--python-version={self.system.python}", *platforms(self.machine, self.system),
                "--compile" if here else "--no-compile", *wheels]
        done = subprocess.run(line, capture_output=True, text=True, check=False,
                              env={**os.environ, "PYTHONPATH": "", "PIP_CONFIG_FILE": os.devnull, "TMPDIR": str(work)})
        if done.returncode:
            raise AlledgeError(f"the pack's wheels could not be unpacked: {done.stderr.strip()}")
        shutil.rmtree(packages / "bin", ignore_errors=True)  # scripts for the Python that unpacked them


def mark_of(tree: Tree) -> tuple[str, str] | None:
    """Board and release of the environment that is there; None where there is none of ours."""
    try:
        plain = json.loads(tree.text(_MARK))
        return plain["board"], plain["alledge"]
    except (ValueError, KeyError, TypeError):
        return None


def platforms(machine: str, system: System) -> list[str]:
    """pip's options for wheels that a system can load: nothing newer than its C library."""
    tags = ["manylinux2014", *(f"manylinux_2_{n}" for n in range(_OLDEST_GLIBC, system.glibc + 1)), "linux"]
    return [f"--platform={tag}_{machine}" for tag in tags]


def system_of(tree: Tree, systems: tuple[System, ...], pack: Pack | None) -> System:
    """Which of a board's systems a tree is, by its Python.

    Raises:
        UsageError: when it is none of them, or one that the pack has no wheels for.
    """
    known = {system.python: system for system in systems}
    found = _python_of(tree)
    system = next((s for s in systems if s.own), None) or known.get(found)
    if system is None:
        raise UsageError(f"{tree.root}: expected Python {' or '.join(known)} ({', '.join(s.name for s in systems)}), "
                         f"found {found or 'none'} at /usr/bin/python3; use a system that is named here")
    if pack is not None and system.python not in pack.environments:
        raise UsageError(f"{pack.path}: has wheels for Python {', '.join(pack.environments)}, this system has "
                         f"{system.python}; make one with `alledge device pack --python {system.python}`")
    return system


def _python_of(tree: Tree) -> str:
    """Version of a tree's /usr/bin/python3; "" where there is none."""
    state = tree.look("/usr/bin/python3")
    name = Path(os.fsdecode(state.content)).name if state.kind == "link" else ""
    return name.removeprefix("python") if name.startswith("python3.") else ""
