"""Results to an MQTT broker, whenever it can be reached: the database is the queue, however long that takes.

One result at a time, in order of the numbers, QoS 1: the next is sent when the broker has taken the last. What was
delivered is noted beside the database (`results.db.mqtt`). After a lost connection the last few are sent again: a
broker that died may have forgotten what it took. They go out under the same `key`: a receiver that keeps each key once
has every result once, in order. Patients' names cannot leave this way (`exports.outward`).
"""

import json
import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from itertools import islice
from pathlib import Path
from threading import Event, Thread
from time import monotonic

from alledge.errors import AlledgeError, SinkError
from alledge.files import write_bytes
from alledge.verdict import Verdict

from .broker import Broker, ConnectionLost
from .exports import outward
from .store.links import Head
from .store.rows import read_results

IDLE_S = 1.0  # how often the database is asked for new results
RETRY_S = 10.0  # after a fault of the database or the broker's refusal
NOTE_S = 1.0  # how often progress is written: an SD card bears so many writes
_BATCH = 256  # results read at once: a week's must not wait in memory
AGAIN = 20  # results sent again after a lost connection; a broker that keeps its state at once forgets one at most


@contextmanager
def forwarding(database: Path, url: str, tell: Callable[[str], None] = lambda sentence: None) -> Iterator[None]:
    """Deliver in a thread while the block runs. A broker that is away or refuses stops nothing else.

    Raises:
        UsageError: for a URL that is none.
        BackendMissing: without paho-mqtt.
        SinkError: when another process delivers this database.
    """
    stop = Event()
    with closing(Broker(url, tell)) as broker, _alone(database):
        thread = Thread(target=_deliver_all, args=(database, broker, stop, tell), name="mqtt", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def deliver_waiting(database: Path, url: str, stop: Event, again: int | None = None,
                    tell: Callable[[str], None] = lambda sentence: None) -> int:
    """Deliver what waits (and everything from result `again` on once more), wait for the broker if need be.

    Returns:
        how many results there were.

    Raises:
        SinkError: when the broker refuses, or the database is not what was written.
        UsageError, BackendMissing: as `forwarding`.
    """
    with closing(Broker(url, tell)) as broker, _alone(database):
        begin = None if again is None else Head(again - 1, "")
        return len({row.sequence for row in _deliver(database, broker, stop, begin)})


def progress_of(database: Path) -> Head:
    """The last result known to be delivered; number 0 when there is none."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        plain = json.loads(_note(database).read_bytes())
        return Head(int(plain["sequence"]), str(plain["hash"]))
    return Head(0, "")


def _deliver_all(database: Path, broker: Broker, stop: Event, tell: Callable[[str], None]) -> None:
    while not stop.is_set():
        pause = IDLE_S
        try:
            for _ in _deliver(database, broker, stop):
                pass
        except AlledgeError as error:  # judging must not end because a broker is in trouble
            tell(str(error))
            pause = RETRY_S
        stop.wait(pause)


def _deliver(database: Path, broker: Broker, stop: Event, begin: Head | None = None) -> Iterator[Verdict]:
    """Each waiting result, once the broker has it; some again after a lost connection."""
    at = begin or _still_there(database, progress_of(database))
    recent, noted_at = deque[Head](maxlen=AGAIN), monotonic()
    try:
        while (rows := list(islice(read_results(database, first=at.sequence + 1), _BATCH))) and broker.connect(stop):
            try:
                for row in rows:
                    if not broker.send(json.dumps(outward(row)).encode(), stop):
                        return
                    recent.append(at)
                    at = Head(row.sequence, row.hash)
                    if monotonic() - noted_at >= NOTE_S:
                        _write_note(database, recent[0])  # if this process dies now, the broker may have, too
                        noted_at = monotonic()
                    yield row
            except ConnectionLost:
                at = recent[0] if recent else at
                recent.clear()
    finally:
        if at != progress_of(database):
            _write_note(database, at)


def _still_there(database: Path, at: Head) -> Head:
    """Another database in the old one's place begins at its own beginning."""
    if at.sequence:
        same = [row for row in read_results(database, first=at.sequence, until=at.sequence) if row.hash == at.hash]
        return at if same else Head(0, "")
    return at


def _note(database: Path) -> Path:
    return database.with_name(f"{database.name}.mqtt")


def _write_note(database: Path, at: Head) -> None:
    write_bytes(_note(database), json.dumps({"sequence": at.sequence, "hash": at.hash}).encode())


@contextmanager
def _alone(database: Path) -> Iterator[None]:
    """Two that deliver the same results would deliver them twice."""
    import fcntl  # boards run Linux; elsewhere nothing delivers

    path = database.with_name(f"{database.name}.mqtt.lock")
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise SinkError(f"{path}: cannot be made ({error.strerror}); choose a folder that you own") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise SinkError(f"{database}: another process delivers these results already; end that one first") from error
    finally:
        os.close(descriptor)
