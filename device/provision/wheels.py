"""The wheels of a board's system, chosen by pip as that system's own pip would choose them."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import alledge
from alledge.errors import AlledgeError, BackendMissing, UsageError

from .boards import Board, System
from .environment import platforms

_SOURCE = ("alledge", "convert", "device", "firmware_configs", "train", "LICENSE", "README.md", "pyproject.toml")
_NEWER = re.compile(r'(?P<pin>\S+==\S+) *; *python_version >= "3\.(?P<minor>\d+)"')


def checkout() -> Path:
    """The source tree that this program runs from.

    Raises:
        UsageError: when it was installed from a wheel.
    """
    tree = Path(alledge.__file__).parents[1]
    if not (tree / "pyproject.toml").is_file() or not (tree / "constraints.txt").is_file():
        raise UsageError("expected alledge to run from its source tree, which has what its wheel is made of and "
                         "constraints.txt; clone it, `make install` there, and use its .venv/bin/alledge")
    return tree


def build_wheel(tree: Path, work: Path) -> Path:
    """alledge's own wheel, from a copy: an old build folder would be shipped along."""
    source = work / "source"
    for name in _SOURCE:
        if (tree / name).is_dir():
            shutil.copytree(tree / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            source.mkdir(parents=True, exist_ok=True)
            shutil.copy(tree / name, source)
    _pip("wheel", "--no-deps", "--wheel-dir", work, source)
    (wheel,) = work.glob("alledge-*.whl")
    return wheel


def fetch_wheels(board: Board, system: System, alledge_wheel: Path, constraints: str, work: Path) -> list[Path]:
    """Wheels of all that alledge needs on a system, in the versions it was tested with where those exist for it.

    Raises:
        AlledgeError: when one does not exist for that processor, Python and C library, or cannot be had.
    """
    folder, pins = work / system.python, work / f"constraints-{system.python}.txt"
    pins.write_text(pinned(constraints, system))
    _pip("download", "--only-binary=:all:", "--implementation=cp", f"--python-version={system.python}",
         *platforms(board.machine, system), "--constraint", pins, "--dest", folder,
         f"{alledge_wheel}[{','.join(board.extras)}]", *board.beside)
    return sorted(folder.glob("*.whl"))


def fetch_pip(work: Path) -> Path:
    """pip itself, which a board need not have."""
    _pip("download", "--no-deps", "--only-binary=:all:", "--dest", work / "pip", "pip")
    (wheel,) = (work / "pip").glob("pip-*.whl")
    return wheel


def pinned(constraints: str, system: System) -> str:
    """The constraints that hold for a system, without their conditions: pip would judge those by its own Python."""
    minor = int(system.python.split(".")[1])
    pins = [found["pin"] for line in constraints.splitlines()
            if (found := _NEWER.fullmatch(line.strip())) and minor >= int(found["minor"])]
    return "".join(f"{pin}\n" for pin in pins if pin.split("==")[0] not in system.unpinned)


def _pip(*arguments: str | Path) -> None:
    line = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *map(str, arguments)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if "No module named pip" in done.stderr:
        raise BackendMissing("packing needs pip, which this environment lacks", f"{sys.executable} -m ensurepip")
    if done.returncode:
        faults = [text for text in done.stderr.splitlines() if text.startswith("ERROR: ")]
        raise AlledgeError(f"pip could not fetch what the board needs: {' '.join(faults[:3]).replace('ERROR: ', '')}; "
                           "see that this machine reaches its package index")
