"""The part of a URI that is a path on this machine."""

from pathlib import Path
from urllib.parse import unquote


def path_of(rest: str) -> Path:
    """What follows `file://`, absolute or relative, as it stands; percent-decoded when only that exists."""
    path, decoded = Path(rest).expanduser(), Path(unquote(rest)).expanduser()
    return decoded if not path.exists() and decoded.exists() else path
