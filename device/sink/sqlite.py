"""Results in an SQLite database, chained by hash; nothing that was acknowledged is lost when the power goes."""

import time
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread

from alledge import __version__
from alledge.errors import SinkError
from alledge.verdict import Verdict

from ..store import rows
from ..store.schema import explained, open_for_writing
from ..store.tables import transaction
from ..store.uptime import boot_id, uptime

MOST_AT_ONCE = 256  # results in one transaction: bounds how long the first of them waits

Waiting = tuple[Verdict, "Future[Verdict]"]


def create(path: Path) -> "SqliteSink":
    """Open or make a results database; one of an older version is copied and brought up to date first.

    Raises:
        SinkError: when the path is read-only, full, not a database, or a database of something else.
    """
    return SqliteSink(path)


class SqliteSink:
    """One thread that writes. What comes while it writes, or rests, goes into the next transaction together.

    Args:
        path: of the database.
        pace_s: seconds to rest after each transaction. What is put to disk alone costs a processor three times as much.
    """

    def __init__(self, path: Path, pace_s: float = 0.0) -> None:
        self._path, self._pace_s = path, pace_s
        self._database = open_for_writing(path)
        self._boot_id = boot_id()
        self._queue: SimpleQueue[Waiting | None] = SimpleQueue()
        self._thread = Thread(target=self._work, name="results", daemon=True)
        self._thread.start()

    def write(self, verdict: Verdict) -> Verdict:
        """Append one result, and return once it is on disk.

        Raises:
            SinkError: when it is not; the next one may be (a full disk was emptied).
        """
        return self.submit(verdict).result()

    def submit(self, verdict: Verdict) -> "Future[Verdict]":
        """Queue one result. The future ends when it is on disk, or with `SinkError`; order is that of the calls."""
        stamped = replace(verdict, software=verdict.software or __version__,
                          boot_id=verdict.boot_id or self._boot_id, uptime_s=verdict.uptime_s or uptime())
        future: Future[Verdict] = Future()
        if not self._thread.is_alive():
            future.set_exception(SinkError(f"{self._path}: results are closed"))
            return future
        self._queue.put((stamped, future))
        return future

    def close(self) -> None:
        """Write what waits, fold the write-ahead log into the database and close it."""
        self._queue.put(None)
        self._thread.join()
        with explained(self._path):
            self._database.close()

    def _work(self) -> None:
        while True:
            batch, last = self._gather()
            if batch:
                self._keep(batch)
            if last:
                return
            time.sleep(self._pace_s)

    def _gather(self) -> tuple[list[Waiting], bool]:
        """All that waits, at least one; and whether it is the end."""
        item, batch = self._queue.get(), []
        with suppress(Empty):
            while item is not None:
                batch.append(item)
                if len(batch) == MOST_AT_ONCE:
                    return batch, False
                item = self._queue.get_nowait()
            return batch, True
        return batch, False

    def _keep(self, batch: Sequence[Waiting]) -> None:
        try:
            with explained(self._path), transaction(self._database):
                kept = rows.append(self._database, [verdict for verdict, _ in batch])
        except BaseException as error:  # this thread must outlive whatever one result does
            if len(batch) == 1:
                batch[0][1].set_exception(error)
                return
            for one in batch:  # the fault of one is not the others'
                self._keep([one])
            return
        for verdict, (_, future) in zip(kept, batch, strict=True):
            future.set_result(verdict)
