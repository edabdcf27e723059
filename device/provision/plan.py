"""From a board to everything an installation wants, in the order in which it is made. Pure: nothing is looked at."""

import json
import re
from importlib.resources import files

from . import environment, users
from .boards import Board
from .packages import Packages
from .steps import Block, File, Folder, Link, Settings, Step

CONFIG = "/etc/alledge/config.toml"
STATE = "/var/lib/alledge"
BOOT = "/boot/firmware/config.txt"
_UNITS = "/etc/systemd/system"
_SPARING = {"journald.conf": "/etc/systemd/journald.conf.d/alledge.conf",
            "sysctl.conf": "/etc/sysctl.d/60-alledge.conf", "tmp.mount": f"{_UNITS}/tmp.mount"}
_BUNDLE_KEYS = "# trusted_keys = "


def plan(board: Board, home: Step, trusted_keys: tuple[str, ...] = (), fetch: bool = False) -> list[Step]:
    """All steps.

    Args:
        home: the step that makes the environment, which brings the first model.
        trusted_keys: for the board's configuration.
        fetch: whether apt may be asked for what is lacking.
    """
    rules = shipped("systemd/alledge.sysusers")
    return [
        *([Packages(tuple(package.name for package in board.packages))] if fetch else []),
        File(users.PATH, rules.encode()), users.Users(rules),
        *(File(f"/etc/udev/rules.d/{name}", _bytes(f"udev/{name}")) for name in board.rules),
        *_units(board),
        *(_sparing() if board.card else []),
        *([Block(BOOT, shipped(board.boot))] if board.boot else []),
        home,
        Settings(CONFIG, configuration(board, trusted_keys).encode()),
        Folder(STATE, 0o750, "alledge"),
    ]


def configuration(board: Board, trusted_keys: tuple[str, ...]) -> str:
    """The board's TOML with what only this device knows: whom it trusts, and the model it came with."""
    text = shipped(f"{board.name}.toml")
    lines = text.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith(_BUNDLE_KEYS))
    keys = [f"trusted_keys = {json.dumps(trusted_keys)}"] if trusted_keys else [lines[at]]
    head = [] if "[bundle]" in lines else ["[bundle]"]
    lines[at:at + 1] = [*head, f'path = "{environment.BUNDLE}"  # until one is installed', *keys]
    return "\n".join(lines) + "\n"


def shipped(name: str) -> str:
    """A file of firmware_configs."""
    return files("alledge.firmware_configs").joinpath(name).read_text("utf-8")


def _bytes(name: str) -> bytes:
    return shipped(name).encode()


def _units(board: Board) -> list[Step]:
    steps: list[Step] = [File(f"{_UNITS}/{name}", _bytes(f"systemd/{name}")) for name in board.units]
    steps += [_enabled(name, shipped(f"systemd/{name}")) for name in board.enabled]
    if board.drop_in:
        steps.append(File(f"{_UNITS}/alledge.service.d/{board.drop_in}", _bytes(f"system/{board.drop_in}")))
    return steps


def _sparing() -> list[Step]:
    """Settings that spare a memory card."""
    steps: list[Step] = [File(path, _bytes(f"system/{name}")) for name, path in _SPARING.items()]
    return [*steps, _enabled("tmp.mount", shipped("system/tmp.mount"))]


def _enabled(unit: str, text: str) -> Link:
    """The link that `systemctl enable` makes, which needs no running system."""
    (target,) = re.findall(r"^WantedBy=(\S+)$", text, re.M)
    return Link(f"{_UNITS}/{target}.wants/{unit}", f"{_UNITS}/{unit}")
