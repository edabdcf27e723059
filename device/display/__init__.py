"""Displays: where a verdict is shown. Each other file here is one of them."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from PIL import Image

from alledge import backends


class Display(Protocol):
    """A surface. `create(**options)` of a back end makes one.

    Attributes:
        size: width and height in pixels of the pictures it takes.
        mode: "1" or "RGB" for a picture; "text" when it shows the words instead.

    Its optional `read_later = True` says that what it shows is kept: no program's end waits for somebody to read it.
    """

    size: tuple[int, int]
    mode: str

    def show(self, image: Image.Image | None, words: Sequence[str]) -> None:
        """Show a screen: a picture of `size`, and the same in words. A "text" display is given no picture.

        Raises:
            DisplayFault: when it cannot be shown. The display may be closed and opened anew, once it is back.
        """

    def close(self) -> None:
        """Let go of the device. What was shown last stays on it, so that a box that stopped can still say why."""


def open_display(name: str, options: Mapping[str, object] | None = None) -> Display:
    """Open a display by name, with its options from the configuration.

    Raises:
        UsageError: for an unknown display or option, or a value it cannot use.
        BackendMissing: when its library, or the port it is on, is not on this machine.
        DisplayFault: when nothing answers there.
    """
    display: Display = backends.create("display", name, options or {})
    return display
