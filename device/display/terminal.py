"""A display in words, on the terminal."""

import sys
from collections.abc import Sequence

from PIL import Image

from alledge.errors import UsageError

_STREAMS = ("stdout", "stderr")


def create(stream: str = "stdout") -> "TerminalDisplay":
    """Open it on "stdout" or "stderr".

    Raises:
        UsageError: for another stream.
    """
    if stream not in _STREAMS:
        raise UsageError(f"display 'terminal': stream {stream!r} is unknown, expected {' or '.join(_STREAMS)}")
    return TerminalDisplay(stream)


class TerminalDisplay:
    """Prints the words of each screen, plain, so that they can be piped and read aloud."""

    size = (0, 0)
    mode = "text"

    def __init__(self, stream: str) -> None:
        self._stream = stream

    def show(self, image: Image.Image | None, words: Sequence[str]) -> None:
        """Print the words."""
        print(*words, sep="\n", file=getattr(sys, self._stream), flush=True)

    def close(self) -> None:
        """Nothing is held."""
