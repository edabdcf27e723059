"""A display that one of luma's drivers drives."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from luma.core.error import Error
from PIL import Image

from ..faults import DisplayFault

Make = Callable[[], Any]


class Glass:
    """Shows pictures through a luma device; the driver's and the bus's errors become `DisplayFault`.

    Args:
        where: the display and its place, for messages.
        make: makes the luma device, which sends its start sequence to the panel.
        release: lets go of the bus.
    """

    def __init__(self, where: str, make: Make, release: Callable[[], None]) -> None:
        self._where, self._release = where, release
        try:
            self._device = make()
        except (Error, OSError) as error:
            self.close()
            raise self._lost(error) from error
        self._device.persist = True  # else luma blanks it when the program ends, and with it the reason why
        self.size: tuple[int, int] = self._device.size
        self.mode: str = self._device.mode

    def show(self, image: Image.Image | None, words: Sequence[str]) -> None:
        """Send the picture."""
        if image is None:
            raise ValueError(f"{self._where}: expected a picture, received words only")
        try:
            self._device.display(image)
        except (Error, OSError) as error:
            raise self._lost(error) from error

    def close(self) -> None:
        """Let go of the bus; the picture stays."""
        with suppress(Error, OSError):
            self._release()

    def _lost(self, error: Exception) -> DisplayFault:
        return DisplayFault("display-lost", f"{self._where}: {error}")
