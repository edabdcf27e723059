"""Sinks: where results are kept. Each other file here is one of them.

A result is acknowledged (printed, shown) only after every sink has it on disk.
"""

from pathlib import Path
from typing import Protocol

from alledge import backends
from alledge.verdict import Verdict


class Sink(Protocol):
    """A place for results. `create(path)` of a back end makes one."""

    def write(self, verdict: Verdict) -> Verdict:
        """Put one result on disk and return it as stored.

        The database numbers what has no number yet (sequence 0) and comes first in every run; the others keep the
        number they are given. Order by it, never by time: boards without a real-time clock start in the past.

        Raises:
            SinkError: when it is not safely on disk.
        """

    def close(self) -> None:
        """Finish and let go of the file."""


def open_sink(name: str, path: Path) -> Sink:
    """Open the sink `sqlite` or `jsonl` on a file, which is made when there is none.

    Raises:
        SinkError: when results cannot be written there.
    """
    sink: Sink = backends.load("sink", name)(path)
    return sink
