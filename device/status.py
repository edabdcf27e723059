"""What other programs may know of a daemon while it runs: a file of JSON, whole at every moment, and one sentence."""

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from alledge import __version__
from alledge.verdict import Verdict

from .camera import now
from .events import FaultEvent
from .run import Result, Summary
from .states import State

SCHEMA = 1
FILE = "state.json"
SYSTEM_RUNTIME = Path("/run/alledge")

_WORDS = {
    State.STARTING: "Starting.",
    State.SELF_TEST: "Self-test: repeating what the model answered when it was made.",
    State.READY: "Ready: waiting for a field.",
    State.CAPTURING: "Capturing a field.",
    State.JUDGING: "Judging a field.",
    State.STORING: "Putting a result on disk.",
    State.SHOWING: "Showing a result.",
    State.FAULTED: "Fault.",
    State.RELOADING: "Reloading the configuration.",
    State.STOPPING: "Stopping: finishing the field in hand.",
    State.STOPPED: "Stopped: all results are on disk.",
}


def runtime_folder(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Where live state belongs: the folder that systemd made, else the system's, else the user's; None without any."""
    given = environment.get("RUNTIME_DIRECTORY", "").split(":")[0]
    if given:
        return Path(given)
    if os.access(SYSTEM_RUNTIME, os.W_OK):
        return SYSTEM_RUNTIME
    user = environment.get("XDG_RUNTIME_DIR", "")
    return Path(user) / "alledge" if user else None


class Status:
    """What is known, and the file in `folder` that says it. A file that cannot be written stops nothing."""

    def __init__(self, folder: Path | None, config: str) -> None:
        self._path = None if folder is None else folder / FILE
        self._began, self.pid = now(), os.getpid()
        self._state, self._since = State.STARTING, self._began
        self._faults: dict[str, dict[str, Any]] = {}
        self._last: Verdict | None = None
        self.config = config
        self.summary = Summary()
        self.refused = self._bundle_id = self._engine = self._trouble = ""

    @property
    def faults(self) -> Iterable[str]:
        """Names of the faults that are on."""
        return self._faults.keys()

    def changed(self, state: State) -> None:
        """The state is another now."""
        self._state, self._since = state, now()
        self.publish()

    def signal(self, event: FaultEvent) -> None:
        """A fault began or ended."""
        others = {name: about for name, about in self._faults.items() if name != event.fault.name}
        about = {key: value for key, value in event.to_json().items() if key != "event"}
        self._faults = {**others, event.fault.name: about} if event.began else others
        self.publish()

    def opened(self, bundle_id: str, engine: str) -> None:
        """All is open, and nothing is known against it."""
        self._bundle_id, self._engine, self._trouble, self._faults = bundle_id, engine, "", {}

    def closed(self, why: str) -> None:
        """All was closed, for a reason."""
        self._trouble, self._faults = why, {}

    def count(self, result: Result) -> None:
        """A field was acknowledged."""
        self.summary.count(result)
        self._last = result.verdict

    @property
    def sentence(self) -> str:
        """For `systemctl status`, and for whoever reads the file."""
        words = _WORDS[self._state]
        if self._state in (State.FAULTED, State.STOPPED) and (why := self._trouble or self._wrong()):
            words = f"{'Stopped' if self._state is State.STOPPED else 'Fault'}: {why}."
        if self.refused and self._state is not State.STOPPED:
            words += f" The new configuration was refused, the old one is in use: {self.refused}."
        done = self.summary
        return f"{words} Since the start: {done.fields} fields, {done.conclusive} with a verdict."

    def _wrong(self) -> str:
        return "; ".join(f"{about['says']}: {about['remedy']}" for about in self._faults.values())

    def to_json(self) -> dict[str, Any]:
        """Plain types only; docs/daemon.md has every key."""
        last, done = self._last, self.summary
        return {
            "schema": SCHEMA, "state": self._state.value, "since": self._since, "status": self.sentence,
            "faults": list(self._faults.values()), "trouble": self._trouble, "configuration_refused": self.refused,
            "fields": {"acknowledged": done.fields, "conclusive": done.conclusive, "unreadable": done.unreadable},
            "last": None if last is None else {
                "sequence": last.sequence, "taken_at": last.taken_at, "verdict": last.verdict, "sample": last.sample,
                "confidence": last.confidence, "reasons": list(last.reasons), "hash": last.hash},
            "bundle_id": self._bundle_id, "engine": self._engine, "config": self.config, "software": __version__,
            "pid": self.pid, "started_at": self._began, "written_at": now(), "research_use_only": True,
        }

    def publish(self) -> None:
        """Put the file in the old one's place: a reader finds the one or the other."""
        if self._path is None:
            return
        partial = self._path.with_name(f".{FILE}.{self.pid}")
        with suppress(OSError):  # a full /run must not keep results from being taken
            self._path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps(self.to_json(), indent=1) + "\n", "utf-8")
            partial.chmod(0o644)  # other users' programs read it, whatever this one's umask
            partial.replace(self._path)
