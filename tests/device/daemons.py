"""A daemon under test: its lines, the words it sends to a service manager, its file of live state."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

from alledge.bundle import Bundle

LIMIT_S = 120.0  # for anything to happen: only a failing test waits so long, however busy the machine is

Line = dict[str, Any]


def write_config(folder: Path, bundle: Bundle | Path | None, camera: str = "synthetic://?seed=1&size=96&fields=4",
                 every_s: float | None = 0.1, rate: int = 50, **results: Any) -> Path:
    """`scope.toml` in the folder, with a PNG display and a database beside it.

    `every_s`: None judges every frame; `rate`: screens a second.
    """
    path = bundle.path if isinstance(bundle, Bundle) else bundle
    screen = json.dumps(str(folder / "screen.png"))
    text = [f"[camera]\nuri = {json.dumps(camera)}",
            f"[display]\nname = \"png\"\nrate = {rate}\noptions = {{path = {screen}}}",
            "[results]", *(f"{key} = {json.dumps(value)}" for key, value in
                           {"database": str(folder / "results.db"), "floor": 0, **results}.items())]
    if path is not None:
        text.append(f"[bundle]\npath = {json.dumps(str(path))}")
    if every_s is not None:
        text.append(f"[trigger]\nname = \"interval\"\noptions = {{seconds = {every_s}}}")
    config = folder / "scope.toml"
    config.write_text("\n".join(text) + "\n")
    return config


class Manager:
    """A service manager's socket: what it was told."""

    _MARK = "heard"

    def __init__(self, folder: Path) -> None:
        self.address = str(folder / "notify")
        with suppress(FileNotFoundError):
            os.unlink(self.address)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)
        self._heard = Event()
        self.told: list[tuple[float, str]] = []
        Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            message = self._socket.recv(65536).decode()
            if message == self._MARK:
                self._heard.set()
                continue
            self.told.append((time.monotonic(), message))

    def hear(self) -> None:
        """Wait until all that was said before has been heard."""
        self._heard.clear()
        with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as own:
            own.sendto(self._MARK.encode(), self.address)
        assert self._heard.wait(LIMIT_S)

    def count(self, word: str) -> int:
        self.hear()
        return sum(word in message.split("\n") for _, message in self.told)


class Process:
    """`alledge daemon` as a process of its own."""

    def __init__(self, config: Path, watchdog_s: float = 0.0, **environment: str) -> None:
        self.folder = config.parent
        self.manager = Manager(self.folder)
        runtime = self.folder / "run"
        environment |= {"NOTIFY_SOCKET": self.manager.address, "RUNTIME_DIRECTORY": str(runtime)}
        if watchdog_s:
            environment["WATCHDOG_USEC"] = str(int(watchdog_s * 1e6))
        self.process = subprocess.Popen([sys.executable, "-m", "alledge", "daemon", "--config", str(config)],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                        env={**os.environ, **environment})
        self.lines: list[Line] = []
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.endswith("\n"):
                self.lines.append(json.loads(line))

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()

    def until(self, holds: Callable[[], Any]) -> Any:
        """Wait until something holds, and return it."""
        end = time.monotonic() + LIMIT_S
        while time.monotonic() < end:
            if found := holds():
                return found
            time.sleep(0.002)
        raise AssertionError(f"it never came; the last lines: {self.lines[-8:]}, told: {self.manager.told[-3:]}")

    def event(self, name: str, after: int = 0, **values: Any) -> Line:
        """The first such line, from number `after` on."""
        found: Line = self.until(lambda: next((line for line in self.lines[after:] if line["event"] == name and all(
            line[key] == value for key, value in values.items())), None))
        return found

    def said(self, words: str) -> None:
        """Wait until the service manager has been told them, even if something newer was said since."""
        self.until(lambda: any(words in message for _, message in self.manager.told))

    def state(self) -> Line:
        """Live state, as another program reads it."""
        found: Line = json.loads((self.folder / "run" / "state.json").read_text())
        return found

    def send(self, number: int) -> int:
        """A signal; returns how many lines there were before it."""
        before = len(self.lines)
        self.process.send_signal(number)
        return before

    def end(self, number: int = signal.SIGTERM) -> int:
        """The exit code after a signal, with all lines read."""
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> int:
        """The exit code, once it has ended by itself."""
        code = self.process.wait(LIMIT_S)
        self._reader.join()
        return code
