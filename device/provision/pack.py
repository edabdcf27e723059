"""Make a pack: everything a board needs that is not its system's, in one file that Python runs."""

import hashlib
import json
import tempfile
import zipfile
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

from alledge import __version__, reference
from alledge.errors import OutputError, UsageError

from .boards import Board, System
from .packfile import FORMAT, MANIFEST
from .wheels import build_wheel, checkout, fetch_pip, fetch_wheels

Say = Callable[[str], None]
_DATE = (1980, 1, 1, 0, 0, 0)


def choose_systems(board: Board, pythons: tuple[str, ...]) -> tuple[System, ...]:
    """Of a board's systems, those with the named Pythons; all when none is named.

    Raises:
        UsageError: naming those there are.
    """
    known = {system.python: system for system in board.systems}
    if unknown := [python for python in pythons if python not in known]:
        raise UsageError(f"--python: expected one of {', '.join(known)} for {board.name}, received {unknown[0]!r}")
    return tuple(known[python] for python in pythons or known)


def make_pack(board: Board, systems: tuple[System, ...], out: Path, say: Say, *, bundle: Path | None = None,
              trusted_keys: tuple[str, ...] = (), python_archive: Path | None = None) -> Path:
    """Fetch, build and write a pack; `out`.

    Args:
        bundle: first model, checked before, else the one in alledge's wheel.
        python_archive: a relocatable Python for the board as .tar.gz with a folder `python`, where its own is too old.

    Raises:
        AlledgeError: when something cannot be had or written.
    """
    if any(system.own for system in systems) and python_archive is None:
        raise UsageError(f"--python-archive: {board.name} has a Python that is too old; expected a relocatable Python "
                         f"{systems[0].python} for {board.machine} as .tar.gz (docs/jetson.md)")
    tree = checkout()
    with tempfile.TemporaryDirectory(prefix="alledge-pack-") as folder:
        work = Path(folder)
        say("building alledge's wheel ...")
        own, pip = build_wheel(tree, work), fetch_pip(work)
        environments: dict[str, list[Path]] = {}
        for system in systems:
            say(f"fetching wheels: {system.name}, {board.machine}, Python {system.python}, glibc 2.{system.glibc} ...")
            found = fetch_wheels(board, system, own, (tree / "constraints.txt").read_text("utf-8"), work)
            environments[system.python] = [path for path in found if path.name != own.name] + [own]
        loose = {"bundle": bundle or reference.BUNDLE, "python": python_archive, "pip": pip}
        about = {
            "format": FORMAT, "board": board.name, "alledge": __version__, "alledge_wheel": _wheel(own),
            "environments": {python: [_wheel(path) for path in paths] for python, paths in environments.items()},
            "glibc": {system.python: system.glibc for system in systems}, "trusted_keys": list(trusted_keys),
            "pip": _wheel(pip), "bundle": "first.alledge",
            "python": "" if python_archive is None else "python.tar.gz",
        }
        members = {_wheel(path): path for paths in environments.values() for path in paths}
        members |= {str(about[name]): path for name, path in loose.items() if path is not None}
        _write(out, about, members)
    return out


def _wheel(path: Path) -> str:
    return f"wheels/{path.name}"


def _write(out: Path, about: dict[str, Any], members: dict[str, Path]) -> None:
    """Through a temporary neighbour; stored, since wheels are compressed, and undated."""
    sums = {name: {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "bytes": path.stat().st_size}
            for name, path in members.items()}
    start = files("alledge.device.provision").joinpath("bootstrap.py").read_bytes()
    texts = {"__main__.py": start, MANIFEST: json.dumps({**about, "members": sums}, indent=1).encode()}
    partial = out.with_name(f".{out.name}.partial")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(partial, "w") as file:
            for name, content in texts.items():
                file.writestr(zipfile.ZipInfo(name, _DATE), content)
            for name, path in members.items():
                file.writestr(zipfile.ZipInfo(name, _DATE), path.read_bytes())
        partial.replace(out)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OutputError(f"{out}: cannot be written ({error.strerror}); choose a folder with room that you own") \
            from error
