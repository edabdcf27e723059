"""A display that leaves each screen as a PNG: for demos, documentation, tests, and boards without glass."""

import os
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Literal

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from alledge.config import state_folder
from alledge.errors import OutputError, UsageError
from alledge.files import write_bytes

from ..canvas import SMALL
from ..faults import DisplayFault

Size = Literal["128x64", "240x240", "320x240", "480x320", "800x480"]


def create(path: str = "", size: Size = "240x240") -> "PngDisplay":
    """Open it.

    Args:
        path: a folder for 0001.png, 0002.png ..., or one file that always holds the latest screen (`*.png`);
            empty for `screens` in the state folder.
        size: of a panel that it stands in for: an OLED's 128x64 in one bit, or an LCD's in colour.
    """
    width, height = map(int, size.split("x"))
    return PngDisplay(Path(path) if path else state_folder() / "screens", (width, height))


class PngDisplay:
    """Every file appears whole; the words, all of them, go along as the PNG's description."""

    read_later = True

    def __init__(self, path: Path, size: tuple[int, int]) -> None:
        self.size = size
        self.mode = "1" if size == SMALL else "RGB"
        self._path = path
        self._shown = 0 if path.suffix == ".png" else _highest(path)

    def show(self, image: Image.Image | None, words: Sequence[str]) -> None:
        """Write the picture, with the words as its description."""
        if image is None:
            raise UsageError("display 'png': expected a picture, received words only")
        description = PngInfo()
        description.add_itxt("Description", "\n".join(words))
        content = BytesIO()
        image.save(content, "PNG", pnginfo=description, compress_level=1)  # half the time of the default level
        self._shown += 1
        single = self._path.suffix == ".png"
        try:
            write_bytes(self._path if single else self._path / f"{self._shown:04d}.png", content.getvalue(),
                        durable=False)  # results are what must last
        except OutputError as error:
            raise DisplayFault("display-lost", str(error)) from error

    def close(self) -> None:
        """Nothing is held."""


def _highest(folder: Path) -> int:
    """Screens of earlier runs are not overwritten."""
    if not os.path.isdir(folder):
        return 0
    return max((int(p.stem) for p in folder.glob("*.png") if p.stem.isdigit()), default=0)
