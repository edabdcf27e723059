"""Does `kill -9` of the daemon lose or double a result? In every state by name, and at random moments.

    python benchmarks/daemon_kills.py [--kills 1000] [--each 20] [--starts 40] [--seed 0]

A daemon judges drawn fields with the tests' small network, archives them and tells each on its standard output; it is
killed, and the next one goes on in the same folder. `--each`: how often in each state, up to 30 ms after its line was
read; a kill that came when the state was over is counted, and tried again. So that states last that long, some of these
daemons read their configuration from a slow card, wait for a press, or have a slow panel (stand-ins, see `slow_edges`).
`--kills`: at random moments of a life of up to 1 s. These daemons are forked from a process that has loaded all
libraries, so that more of their short life is spent at work. Afterwards: every line `result` that was told is in the
database with its hash, and its picture in the archive, no field is there twice, integrity_check and the chain verify.

`--starts`: real processes with the reference model, killed at random; how long from the next start to READY=1.

Prints one JSON document. Exit code 1 when anything was lost, doubled or damaged, or a state never met its kill. This is
the end of a process, not of the power: benchmarks/store_power.py cuts that.
"""

import argparse
import json
import os
import random
import select
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import onnxruntime  # noqa: E402, F401  (loaded before the forks)

from alledge.config import DeviceConfig, load_config  # noqa: E402
from alledge.device import machine  # noqa: E402
from alledge.device.archive import FRAMES, find, intact  # noqa: E402
from alledge.device.daemon import serve  # noqa: E402
from alledge.device.display import png  # noqa: E402
from alledge.device.states import State  # noqa: E402
from alledge.device.store.rows import read_results  # noqa: E402
from alledge.device.store.verification import verify  # noqa: E402
from tests.device.conftest import make_bundle, onnx_model  # noqa: E402
from tests.device.daemons import Process, write_config  # noqa: E402

TRIES = 10  # of a kill in a state
LATER_S = 0.03  # at most after the line of the state
SLOW_S = 0.15  # a card that is read, a panel that is written to: an OLED behind 100 kHz of I2C takes 0.1 s
PER_DATABASE = 50  # kills; then a new one, so that reading it does not take longer and longer
LONGEST_S, LIMIT_S = 1.0, 120.0
SMEARS = "synthetic://?seed=1&size=64"
UNPLUGGED = f"emulated://disconnected@3-5/{SMEARS}"
SENT = {State.RELOADING: signal.SIGHUP, State.STOPPING: signal.SIGTERM, State.STOPPED: signal.SIGTERM}


class Life:
    """One daemon, forked, with what it told."""

    def __init__(self, config: Path, slow: bool) -> None:
        reading, writing = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.dup2(writing, 1)
            os.environ["RUNTIME_DIRECTORY"] = str(config.parent / "run")
            code = 1
            try:
                if slow:
                    slow_edges()
                serve(lambda: read_config(config, SLOW_S if slow else 0.0), str(config))
                code = 0
            finally:
                os._exit(code)
        os.close(writing)
        self._out, self._rest, self.lines = reading, b"", list[dict[str, Any]]()

    def read(self, seconds: float) -> bool:
        """Take in what it told; False at the end of it."""
        if not select.select([self._out], [], [], seconds)[0]:
            return True
        got = os.read(self._out, 1 << 20)
        *whole, self._rest = (self._rest + got).split(b"\n")
        self.lines += [json.loads(line) for line in whole]
        return bool(got)

    def until(self, event: str, **values: str) -> bool:
        """Read until it tells that; False when it ends first."""
        end = time.monotonic() + LIMIT_S
        while time.monotonic() < end:
            if any(line["event"] == event and values.items() <= line.items() for line in self.lines):
                return True
            if not self.read(0.1):
                return False
        raise SystemExit(f"{event} {values} never came: {self.lines[-5:]}")

    def send(self, number: int) -> None:
        """A signal."""
        os.kill(self._pid, number)

    def end(self) -> None:
        """Kill it, and read what it had told."""
        os.kill(self._pid, signal.SIGKILL)
        while self.read(LIMIT_S):
            pass
        os.waitpid(self._pid, 0)
        os.close(self._out)

    @property
    def state(self) -> str:
        """The last that it told; empty before the first."""
        return next((line["state"] for line in reversed(self.lines) if line["event"] == "state"), "")


class Folder:
    """A database, an archive, and what was acknowledged there."""

    def __init__(self, folder: Path, bundle: Path) -> None:
        folder.mkdir()
        self.folder, self._bundle = folder, bundle
        self._told: list[tuple[int, str]] = []

    def life(self, camera: str = SMEARS, every_s: float | None = 0.1, slow: bool = False) -> Life:
        """The next daemon here."""
        return Life(write_config(self.folder, self._bundle, camera, every_s, rate=0 if slow else 5,
                                 archive=str(self.folder / "captures")), slow)

    def ended(self, life: Life, found: dict[str, Any]) -> None:
        """Kill one, and look at what is left."""
        life.end()
        self._told += [(line["result"]["sequence"], line["result"]["hash"]) for line in life.lines
                       if line["event"] == "result"]
        found["not_verified"] += bool(self._told) and bool(verify(self.folder / "results.db").faults)

    def judge(self, found: dict[str, Any]) -> None:
        """Hold all rows and pictures against what was told."""
        rows = list(read_results(self.folder / "results.db")) if self._told else []
        links = {row.sequence: row.hash for row in rows}
        found["acknowledged"] += len(self._told)
        found["unacknowledged_but_kept"] += len(rows) - len(self._told)
        found["lost"] += sum(links.get(number) != link for number, link in self._told)
        fields = [(row.source, row.taken_at) for row in rows]
        found["doubled"] += len(fields) - len(set(fields)) + len(self._told) - len(set(self._told))
        for row in rows:
            picture = find(self.folder / "captures", FRAMES, row.frame_sha256)
            found["pictures_lost"] += picture is None or not intact(picture, row.frame_sha256)


def slow_edges() -> None:
    """From now on this process' display is a stand-in for a slow panel: showing takes `SLOW_S` more."""
    show = png.PngDisplay.show

    def slowly(display: png.PngDisplay, image: Image.Image | None, words: Sequence[str]) -> None:
        time.sleep(SLOW_S)
        show(display, image, words)

    png.PngDisplay.show = slowly  # type: ignore[method-assign]


def read_config(path: Path, seconds: float) -> DeviceConfig:
    """The configuration, from a card that takes so long."""
    time.sleep(seconds)
    return load_config(path)


def kill_in(state: State, folder: Folder, chance: random.Random, found: dict[str, Any]) -> bool:
    """One kill; whether that was still the state when the signal came."""
    slow = state in (State.STARTING, State.SHOWING)
    life = folder.life(UNPLUGGED if state is State.FAULTED else SMEARS, 60.0 if state is State.READY else 0.1, slow)
    if state in SENT and life.until("result"):
        life.send(SENT[state])
    first = {"before": "showing"} if state is State.READY else {}  # its first press comes at once, the second does not
    life.until("state", state=state.value, **first)
    time.sleep(chance.choice((0, chance.uniform(0, LATER_S))))
    folder.ended(life, found)
    found["in_state"][state.value] += life.state == state.value
    found["killed_for"][state.value] += 1
    return life.state == state.value


def kill_at_random(folder: Folder, chance: random.Random, found: dict[str, Any]) -> None:
    """Half of them with a trigger, the other half with all stages at work at once."""
    life, end = folder.life(every_s=chance.choice((0.1, None))), time.monotonic() + chance.uniform(0, LONGEST_S)
    number = chance.choice((0, 0, 0, signal.SIGHUP, signal.SIGTERM))
    while (left := end - time.monotonic()) > 0 and life.read(left):
        if number and life.state not in ("", "starting", "self-test") and chance.random() < 0.2:
            life.send(number)
            number = 0
    folder.ended(life, found)
    found["random_kills"] += 1
    found["at_random_in"][life.state or "before the first"] = found["at_random_in"].get(
        life.state or "before the first", 0) + 1


def starts(folder: Path, count: int, chance: random.Random) -> list[float]:
    """Seconds from the start of a process to READY=1, each on what the one before left when it was killed."""
    folder.mkdir()
    config, took = write_config(folder, None, "synthetic://?seed=1&size=224&fields=8", None), []
    for _ in range(count):
        began = time.monotonic()
        with Process(config) as daemon:
            daemon.until(lambda told=daemon.manager: told.count("READY=1"))
            took.append(daemon.manager.told[0][0] - began)
            time.sleep(chance.uniform(0, 0.5))
    return took


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--each", type=int, default=20)
    parser.add_argument("--starts", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance, began = random.Random(options.seed), time.monotonic()
    found: dict[str, Any] = dict.fromkeys(("random_kills", "acknowledged", "unacknowledged_but_kept", "lost", "doubled",
                                           "pictures_lost", "not_verified"), 0)
    found |= {"killed_for": {state.value: 0 for state in State}, "in_state": {state.value: 0 for state in State},
              "at_random_in": {}}
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        if os.fork() == 0:  # an engine that has run leaves threads, which forks do not have
            make_bundle(root / "small.alledge", onnx_model())
            os._exit(0)
        os.wait()
        jobs = [state for state in State for _ in range(options.each)] + [None] * options.kills
        chance.shuffle(jobs)
        for start in range(0, len(jobs), PER_DATABASE):
            folder = Folder(root / str(start), root / "small.alledge")
            for state in jobs[start:start + PER_DATABASE]:
                if state is None:
                    kill_at_random(folder, chance, found)
                else:
                    any(kill_in(state, folder, chance, found) for _ in range(TRIES))
            folder.judge(found)
            print(json.dumps(found), file=sys.stderr, flush=True)  # what is known if it is ended
        took = starts(root / "starts", options.starts, chance)
    if took:
        found["start_to_ready_s"] = {name: round(float(np.percentile(took, at)), 2)
                                     for name, at in (("p50", 50), ("p95", 95), ("max", 100))} | {"n": len(took)}
    about = machine.describe()
    print(json.dumps({**found, "seconds": round(time.monotonic() - began), "cpu": about["cpu"],
                      "load": round(os.getloadavg()[0], 1)}))
    missed = any(count < options.each for count in found["in_state"].values())
    return int(missed or any(found[name] for name in ("lost", "doubled", "pictures_lost", "not_verified")))


if __name__ == "__main__":
    raise SystemExit(main())
