"""Results as a text file, one JSON object a line, each on disk before it is acknowledged."""

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

from alledge.errors import SinkError
from alledge.verdict import Verdict

_TAIL_BYTES = 65536  # more than any line this writes


def create(path: Path) -> "JsonlSink":
    """Open or make a file of result lines.

    Raises:
        SinkError: when it cannot be written.
    """
    return JsonlSink(path)


class JsonlSink:
    """Appends; a line cut off by a power cut stays behind on its own and harms no other."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._last, whole = _last_sequence(path)
            self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            if not whole:
                os.write(self._descriptor, b"\n")
        except OSError as error:
            raise self._refusal(error) from error

    def write(self, verdict: Verdict) -> Verdict:
        """Append one line and flush it to the disk."""
        stored = replace(verdict, sequence=verdict.sequence or self._last + 1)
        line = json.dumps(stored.to_json()).encode() + b"\n"
        try:
            if os.write(self._descriptor, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._descriptor)
        except OSError as error:
            raise self._refusal(error) from error
        self._last = stored.sequence
        return stored

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _refusal(self, error: OSError) -> SinkError:
        return SinkError(f"{self._path}: results cannot be appended there ({error.strerror}); choose a file in a "
                         "folder with room that you own")


def _last_sequence(path: Path) -> tuple[int, bool]:
    """Sequence of the last whole line (0 without one), and whether the file ends with a whole line."""
    if not path.is_file():
        return 0, True
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        tail = file.read()
    for line in reversed(tail.split(b"\n")[:-1]):
        try:
            return int(json.loads(line)["sequence"]), tail.endswith(b"\n")
        except (ValueError, KeyError, TypeError):
            continue
    return 0, not tail or tail.endswith(b"\n")
