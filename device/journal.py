"""What a daemon says, as JSON lines on standard output, where journald reads: one vocabulary, one line an event."""

import errno
import json
import os
from dataclasses import dataclass
from threading import Lock
from time import monotonic
from typing import Any

from .camera import now

STANDARD_OUTPUT = 1


@dataclass(frozen=True)
class Event:
    """Attributes: name in kebab-case; says: when it is told; keys: beside `event`, `at` and `uptime_s`, all there."""

    name: str
    says: str
    keys: tuple[str, ...] = ()


EVENTS = {event.name: event for event in (
    Event("started", "the process began", ("software", "pid", "config")),
    Event("state", "the state changed", ("state", "before")),
    Event("self-test-passed", "bundle, engine, camera and database are open; goldens reproduced",
          ("bundle_id", "engine", "seconds")),
    Event("result", "a field's result is on disk and was shown: it is acknowledged by this line", ("result",)),
    Event("sample-closed", "the fields of a sample were added up", ("sample",)),
    Event("fault-began", "a fault of the machine is on", ("fault", "says", "remedy", "detail")),
    Event("fault-ended", "a fault of the machine is over", ("fault", "says", "remedy", "detail")),
    Event("reloaded", "a new configuration is in use", ("config",)),
    Event("reload-refused", "the new configuration is wrong or cannot be opened, the old one is kept", ("why",)),
    Event("reopening", "the run broke off, and all is opened again after a pause", ("why", "pause_s")),
    Event("stuck", "a stage has been at one field for too long: the watchdog is no longer answered",
          ("stage", "seconds")),
    Event("message", "a sentence of a part that has no event of its own (delivery by MQTT)", ("text",)),
    Event("lines-lost", "so many lines before this one could not be written", ("count",)),
    Event("start-failed", "the daemon cannot start, and ends", ("why", "exit_code")),
    Event("broke-off", "an error of this program ends it", ("why", "traceback")),
    Event("stopped", "the daemon ended as it should", ("fields", "conclusive", "unreadable")),
)}


class Journal:
    """Writes events to a descriptor. A line that cannot be written is counted, and stops nothing."""

    def __init__(self, descriptor: int = STANDARD_OUTPUT) -> None:
        self._descriptor = descriptor
        self._lock = Lock()
        self._torn = False
        self.lost = 0

    def tell(self, name: str, **values: Any) -> None:
        """One event of `EVENTS` with its keys."""
        with self._lock:
            if self.lost and self._write("lines-lost", {"count": self.lost}):
                self.lost = 0
            self.lost += not self._write(name, values)

    def _write(self, name: str, values: dict[str, Any]) -> bool:
        about = {"event": name, "at": now(), "uptime_s": round(monotonic(), 3)}
        line = json.dumps({**about, **values}, allow_nan=False).encode() + b"\n"
        if self._torn:  # a disk that filled up took a part of the last line
            line = b"\n" + line
        try:
            written = os.write(self._descriptor, line)
            self._torn = written != len(line) and (written > 0 or self._torn)
            if written != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            return False
        return True
