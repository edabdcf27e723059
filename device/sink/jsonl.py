"""Results as a text file, one JSON object a line, each on disk before it is acknowledged."""

import errno
import json
import os
from pathlib import Path

from alledge.errors import SinkError
from alledge.files import make_folder, sync_folder
from alledge.verdict import Verdict

STANDARD_OUTPUT = Path("-")  # where journald reads what a service says


def create(path: Path) -> "JsonlSink":
    """Open or make a file of result lines; `-` is standard output.

    Raises:
        SinkError: when it cannot be written.
    """
    return JsonlSink(path)


class JsonlSink:
    """Appends; a line cut off by a power cut stays behind on its own and harms no other."""

    def __init__(self, path: Path) -> None:
        self._path = path
        if path == STANDARD_OUTPUT:
            self._descriptor = os.dup(1)
            return
        try:
            make_folder(path.parent)
            self._descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
            sync_folder(path.parent)
            size = os.fstat(self._descriptor).st_size
            if size and os.pread(self._descriptor, 1, size - 1) != b"\n":
                os.write(self._descriptor, b"\n")
        except OSError as error:
            raise self._refusal(error) from error

    def write(self, verdict: Verdict) -> Verdict:
        """Append one line and flush it to the disk; what reads standard output looks after its own disk."""
        line = json.dumps(verdict.to_json()).encode() + b"\n"
        try:
            if os.write(self._descriptor, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if self._path != STANDARD_OUTPUT:
                os.fsync(self._descriptor)
        except OSError as error:
            raise self._refusal(error) from error
        return verdict

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _refusal(self, error: OSError) -> SinkError:
        return SinkError(f"{self._path}: results cannot be appended there ({error.strerror}); choose a file in a "
                         "folder with room that you own")
