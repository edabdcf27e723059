"""The part of a URI that is a path on this machine."""

import os
from pathlib import Path
from urllib.parse import unquote


def path_of(rest: str) -> Path:
    """What follows `file://`, absolute or relative, as it stands; percent-decoded when only that exists."""
    path, decoded = Path(rest).expanduser(), Path(unquote(rest)).expanduser()
    return decoded if not os.path.exists(path) and os.path.exists(decoded) else path
