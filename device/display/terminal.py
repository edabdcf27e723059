"""A display in words, on the terminal."""

import sys
from collections.abc import Sequence
from typing import Literal

from PIL import Image


def create(stream: Literal["stdout", "stderr"] = "stdout") -> "TerminalDisplay":
    """Open it.

    Args:
        stream: where the words go.
    """
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
