"""What a child process that loads native libraries inherits."""

import os

_SEARCHED = "LD_LIBRARY_PATH"


def environment() -> dict[str, str]:
    """This process's environment, without the current folder among those that libraries are loaded from.

    Importing OpenCV puts an empty entry into LD_LIBRARY_PATH, which the loader takes for the current folder (ld.so(8)):
    a `libedgetpu.so.1` that lies where a device was started must not become its accelerator.
    """
    kept = {name: value for name, value in os.environ.items() if name != _SEARCHED}
    folders = ":".join(folder for folder in os.environ.get(_SEARCHED, "").split(":") if folder)
    return {**kept, _SEARCHED: folders} if folders else kept
