"""`alledge daemon`: what `run` does, without a person. It owns time, signals, the watchdog, the state and restarts.

What keeps it from the first field ends it, with the reason on the display. From then on camera, engine and storage may
fail as they like: it goes on, or opens all of it again. docs/daemon.md tells how to live with it.
"""

import signal
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import Event, current_thread, main_thread
from time import monotonic

from alledge import __version__
from alledge.config import DeviceConfig
from alledge.errors import AlledgeError
from alledge.sample import SampleVerdict

from .admission import open_bundle
from .conflicts import refuse
from .events import FaultEvent
from .journal import Journal
from .notice import settings_kept
from .progress import Progress
from .run import BEAT_S, Told, results, side_by_side, stopped_by_signals
from .service import ServiceManager
from .showing import notice_scene
from .stages import Mark, Pending
from .states import WORKING, Machine, State
from .station import Station, bundle_path, open_station
from .status import Status, runtime_folder
from .store.schema import outdated

PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0  # before all is opened again, doubling until it lasts for longer than that
COPY_S = 3600  # that the service manager grants for copying a large database of an older version, on a slow card
SAY_S = 1.0  # between two sentences to the service manager


def serve(read: Callable[[], DeviceConfig], path: str) -> None:
    """Run until SIGTERM, SIGINT, or the end of the camera's pictures. SIGHUP reads the configuration again.

    Args:
        read: gives the configuration as it is now, also one that has faults.
        path: of its file, when one was named.

    Raises:
        AlledgeError: when it cannot start; the display has been told, if there is one that works.
    """
    with stopped_by_signals() as ended, _hangups() as hangup:
        Daemon(read, path, ended, hangup).serve()


class Daemon:
    """Args: read, path: as for `serve`; ended: set to finish and end; hangup: set to read the configuration again."""

    def __init__(self, read: Callable[[], DeviceConfig], path: str, ended: Event, hangup: Event) -> None:
        self._read, self._ended, self._hangup = read, ended, hangup
        self._journal, self._manager = Journal(), ServiceManager()
        self._status = Status(runtime_folder(), path)
        self._journal.tell("started", software=__version__, pid=self._status.pid, config=self._status.config)
        self._machine = Machine(self._changed)
        self._proven: DeviceConfig | None = None  # the last one that took fields
        self._next: DeviceConfig | None = None
        self._unshown = ""
        self._pause = PAUSE_S
        self._ready_at = self._pinged_at = self._said_at = 0.0
        self._said = self._stuck = ""

    def serve(self) -> None:
        """Open all, run, and open it again, until there is nothing to go on for."""
        try:
            config: DeviceConfig | None = self._read()
            while config is not None and not self._ended.is_set():
                config = self._attempt(config)
            self._stop()
            done = self._status.summary
            self._machine.become(State.STOPPED)
            self._say()
            self._journal.tell("stopped", fields=done.fields, conclusive=done.conclusive, unreadable=done.unreadable)
        except Exception as error:
            self._fail(error)
            raise

    def _attempt(self, config: DeviceConfig) -> DeviceConfig | None:
        """Run with a configuration. Returns the one to go on with, None at the end."""
        try:
            return self._run(config)
        except AlledgeError as error:
            if self._proven is None or self._ended.is_set():
                raise
            if config is self._proven:
                return self._wait(error)
            self._refuse(error)
            return self._proven

    def _run(self, config: DeviceConfig) -> DeviceConfig | None:
        self._machine.become(State.SELF_TEST)
        began, halt, self._next = monotonic(), Event(), None
        if self._proven is None and outdated(config.database):
            self._manager.tell(f"EXTEND_TIMEOUT_USEC={COPY_S * 1_000_000}")
            self._message(f"{config.database}: results of an older version are copied and brought up to date first")
        with open_station(config, patient=True, tell=self._message) as station:
            progress = Progress(self._machine, station.trigger is not None)
            self._ready(config, station, monotonic() - began)
            with side_by_side(progress.watched(station), halt, None, progress.into) as pending:
                heeded = self._heed(pending.or_idle(BEAT_S), station, progress, halt)
                for told in results(station, progress.into_results(heeded)):
                    self._tell(told, progress)
        return self._next

    def _ready(self, config: DeviceConfig, station: Station, seconds: float) -> None:
        bundle, engine = station.pipeline.bundle, station.pipeline.engine
        self._journal.tell("self-test-passed", bundle_id=bundle.id, engine=engine.name, seconds=round(seconds, 3))
        if self._proven is not None and config is not self._proven:
            self._status.refused = ""
            self._journal.tell("reloaded", config=self._status.config)
        self._proven, self._ready_at = config, monotonic()
        self._status.opened(bundle.id, engine.name)
        self._machine.become(State.READY)
        self._say("READY=1", "WATCHDOG=1")

    def _heed(self, items: Iterable[Pending | Mark | None], station: Station, progress: Progress,
              halt: Event) -> Iterator[Pending | Mark | None]:
        """The items, with signals and watchdog looked after before each, and at least every `BEAT_S`.

        `halt` is set when no further field shall be captured; those in hand come out all the same.
        """
        self._machine.follow(progress.state)
        for item in items:
            self._beat(progress)
            if self._unshown and station.showing is not None:
                station.showing.post(notice_scene(settings_kept(self._unshown)))
            self._unshown = ""
            if not halt.is_set() and self._ended.is_set():
                self._stop()
                halt.set()
            elif not halt.is_set() and self._hangup.is_set():
                self._next = self._read_again(progress.state)
                if self._next is not None:
                    halt.set()
            yield item

    def _read_again(self, otherwise: State) -> DeviceConfig | None:
        """The new configuration, if it can be used; else that is said, and it goes on as before."""
        self._hangup.clear()
        self._machine.become(State.RELOADING)
        self._manager.reloading()
        try:
            config = self._read()
            refuse(config)
            open_bundle(bundle_path(config), config.bundle)
        except AlledgeError as error:
            self._refuse(error)
            self._machine.become(otherwise)
            self._say("READY=1")
            return None
        return config

    def _refuse(self, error: AlledgeError) -> None:
        self._status.refused = self._unshown = str(error)
        self._journal.tell("reload-refused", why=str(error))

    def _wait(self, error: AlledgeError) -> DeviceConfig | None:
        """What took fields before cannot be opened, or broke off: try again after a pause."""
        if monotonic() - self._ready_at > LONGEST_PAUSE_S:  # it had lasted
            self._pause = PAUSE_S
        self._status.closed(str(error))
        self._machine.become(State.FAULTED)
        self._journal.tell("reopening", why=str(error), pause_s=self._pause)
        self._say("READY=1")
        until, config = monotonic() + self._pause, self._proven
        self._pause = min(2 * self._pause, LONGEST_PAUSE_S)
        while monotonic() < until and not self._ended.wait(min(BEAT_S, max(0.0, until - monotonic()))):
            self._beat()
            if self._hangup.is_set() and (found := self._read_again(State.FAULTED)) is not None:
                return found
        return config

    def _tell(self, told: Told, progress: Progress) -> None:
        if isinstance(told, FaultEvent):
            self._status.signal(told)
            progress.faults(self._status.faults)
            about = {key: value for key, value in told.to_json().items() if key not in ("event", "at")}
            self._journal.tell(f"fault-{'began' if told.began else 'ended'}", **about)
        elif isinstance(told, SampleVerdict):
            self._journal.tell("sample-closed", sample=told.to_json())
        else:
            self._status.count(told)
            self._journal.tell("result", result=told.verdict.to_json())

    def _beat(self, progress: Progress | None = None) -> None:
        """Answer the watchdog, unless a stage no longer moves; and say how it goes, if that is new."""
        limit, now = self._manager.watchdog_s, monotonic()
        stuck = progress.stuck(limit / 2) if progress is not None and limit else None
        if stuck is not None:
            if stuck[0] != self._stuck:
                self._journal.tell("stuck", stage=stuck[0], seconds=round(stuck[1], 1))
            self._stuck = stuck[0]
            return
        self._stuck = ""
        if limit and now - self._pinged_at >= limit / 4:
            self._manager.tell("WATCHDOG=1")
            self._pinged_at = now
        if now - self._said_at >= SAY_S and self._status.sentence != self._said:
            self._say()

    def _stop(self) -> None:
        if self._machine.state is not State.STOPPING:
            self._machine.become(State.STOPPING)
            self._say("STOPPING=1")

    def _fail(self, error: Exception) -> None:
        why = str(error) if isinstance(error, AlledgeError) else f"{type(error).__name__}: {error}"
        if self._proven is None and isinstance(error, AlledgeError):
            self._journal.tell("start-failed", why=why, exit_code=error.exit_code)
        else:
            self._journal.tell("broke-off", why=why, traceback=traceback.format_exc())
        self._status.closed(why)
        if self._machine.state in WORKING | {State.RELOADING}:
            self._machine.become(State.FAULTED)
        self._machine.become(State.STOPPED)
        self._say()

    def _say(self, *assignments: str) -> None:
        """Assignments to the service manager, with how it goes in words."""
        self._said, self._said_at = self._status.sentence, monotonic()
        self._manager.tell(*assignments, f"STATUS={self._said}")

    def _changed(self, before: State | None, state: State) -> None:
        self._journal.tell("state", state=state.value, before=None if before is None else before.value)
        self._status.changed(state)

    def _message(self, sentence: str) -> None:
        self._journal.tell("message", text=sentence)


@contextmanager
def _hangups() -> Iterator[Event]:
    """Yields what SIGHUP sets."""
    hangup = Event()
    if current_thread() is not main_thread():
        yield hangup
        return
    before = signal.signal(signal.SIGHUP, lambda number, frame: hangup.set())
    try:
        yield hangup
    finally:
        signal.signal(signal.SIGHUP, before)
