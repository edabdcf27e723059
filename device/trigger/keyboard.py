"""A trigger on the terminal's keyboard: space or enter for a field, s to close the sample, q to stop.

Keys are read one by one and unseen (cbreak mode); Ctrl-C works as ever. The terminal gets its own mode back when the
trigger is closed, or at the latest when the interpreter ends.
"""

import atexit
import os
import select
import sys
import termios
import tty
from contextlib import suppress

from alledge.errors import UsageError

from . import Press

_KEYS = {b" ": Press.FIELD, b"\n": Press.FIELD, b"\r": Press.FIELD, b"s": Press.CLOSE_SAMPLE, b"S": Press.CLOSE_SAMPLE,
         b"q": Press.STOP, b"Q": Press.STOP, b"\x04": Press.STOP, b"": Press.STOP}  # ^D, and the end of the line


def create() -> "KeyboardTrigger":
    """Open it on stdin.

    Raises:
        UsageError: when stdin is no terminal.
    """
    return KeyboardTrigger(sys.stdin.fileno())


class KeyboardTrigger:
    """The keys of one terminal, given by its file descriptor."""

    def __init__(self, terminal: int) -> None:
        if not os.isatty(terminal):
            raise UsageError("trigger 'keyboard' needs a terminal, and stdin is none: run it from a terminal, or take "
                             "trigger 'interval' or 'gpio'")
        self._terminal, self._before = terminal, termios.tcgetattr(terminal)
        atexit.register(self.close)
        tty.setcbreak(terminal)

    def wait(self, timeout: float | None = None) -> Press | None:
        """The next key that means anything; other keys are dropped."""
        while select.select([self._terminal], [], [], timeout)[0]:
            press = _KEYS.get(self._key())
            if press is not None:
                return press
            timeout = 0 if timeout is not None else None  # only what was typed already
        return None

    def close(self) -> None:
        """Give the terminal its own mode back."""
        atexit.unregister(self.close)
        with suppress(termios.error):  # a terminal that was closed has no mode
            termios.tcsetattr(self._terminal, termios.TCSADRAIN, self._before)

    def _key(self) -> bytes:
        try:
            return os.read(self._terminal, 1)
        except OSError:  # the window was closed
            return b""
