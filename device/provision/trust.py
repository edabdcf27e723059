"""Keys and the first model of a device, checked on the desktop, before anybody carries them to a board."""

import re
from datetime import date
from pathlib import Path

from alledge.errors import UsageError

from .boards import Board


def checked(keys: list[str] | None) -> tuple[str, ...]:
    """Public keys as `alledge keys show` prints them.

    Raises:
        UsageError: for the first that is none.
    """
    for key in keys or ():
        if not re.fullmatch(r"[0-9a-f]{64}", key):
            raise UsageError(f"--trust: expected 64 hex digits as `alledge keys show` prints them, received {key!r}")
    return tuple(keys or ())


def check_first(board: Board, bundle: Path | None, keys: tuple[str, ...]) -> None:
    """That the device will run the bundle that it comes with.

    Raises:
        AlledgeError: when it is damaged, for another board, expired or not signed by a trusted key.
    """
    from alledge.bundle import Bundle

    if bundle is None:
        if keys:
            raise UsageError("--trust: a device that trusts a key does not run the shipped bundle, which nobody "
                             "signed; give it a signed one with --bundle")
        return
    opened = Bundle.open(bundle, keys)
    opened.check_board(board.name if board.boot or board.drop_in else "")
    opened.check_current(date.today())
