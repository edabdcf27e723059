"""Does a device always come back with a verified model? Kills `alledge model` and starts, at every step and at random.

    python benchmarks/slot_kills.py [--random 300] [--seed 0] [--steps N] [--stand-in]

Each life begins with an installed release 1 and is killed (SIGKILL) once. What it does is one of four things: install
release 2, which commits itself; install release 3 on trial and commit it; roll back to what was before; start a device
whose installation was interrupted. First it is killed once at every step: before and after each flush and rename, and
around the health check. Then at random moments. After each kill a device starts, with its real health check, and then:
it runs an installed bundle that verifies and is signed by the trusted key; that is the old or the new one; it is not
the old one if the new one had been reported as kept; no trial is left open but a person's; the log's chain verifies;
nothing lies about after the next command. This is the end of a process, not of the power (slot_power.py).

--steps N: only N of the steps, evenly chosen. --stand-in: a stand-in for the health check, which says that all is well.
Prints one JSON document. Exit code 1 when any of it was not so.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alledge import reference
from alledge.bundle import Bundle, write_bundle
from alledge.config import BundleSettings, CameraSettings, DeviceConfig, ResultSettings
from alledge.device import health, settling, slot_log, update
from alledge.device.health import Health
from alledge.device.settling import at_start
from alledge.device.slots import Slots
from alledge.errors import AlledgeError
from alledge.signing import new_key

WRONG = ("not_verified", "neither_old_nor_new", "kept_and_lost", "trial_left_open", "chain_broken", "left_over")
FIT = Health("", 1.0, 4, 1)
Step = Callable[[str], None]


@dataclass(frozen=True)
class Lab:
    """Bundles by release, and a device that trusts who signed them."""

    config: DeviceConfig
    bundles: dict[int, Bundle]

    @staticmethod
    def device(key: str) -> DeviceConfig:
        """One that trusts a key, with drawn fields for a camera."""
        return DeviceConfig(bundle=BundleSettings(trusted_keys=(key,)),
                            camera=CameraSettings(uri="synthetic://?seed=1"), results=ResultSettings(floor=0))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--random", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--stand-in", action="store_true")
    options = parser.parse_args()
    if options.stand_in:
        settling.check_health = update.check_health = lambda *ignored, **more: FIT
        settling.settle.__defaults__ = (settling.check_health,)
    chance, begin = random.Random(options.seed), time.monotonic()
    found: dict[str, Any] = {"steps": 0, "random": 0, "killed": 0, "after": Counter(), **dict.fromkeys(WRONG, 0)}
    with tempfile.TemporaryDirectory() as name:
        lab = make_lab(Path(name))
        names, took = rehearse(lab, Path(name))
        every = max(1, -(-len(names) // options.steps)) if options.steps else 1
        for number, (what, step) in enumerate(names[::every]):
            live(lab, Path(name) / f"step{number}", what, found, step=step)
            found["steps"] += 1
        for number in range(options.random):
            what = chance.choice(list(WORK))
            live(lab, Path(name) / f"random{number}", what, found, after_s=chance.uniform(0, took[what]))
            found["random"] += 1
    named = [step for _, step in names[::every]]
    print(json.dumps({**found, "after": dict(found["after"]), "steps_there_are": len(names), "named": named,
                      "seconds": round(time.monotonic() - begin)}))
    return int(any(found[name] for name in WRONG))


def make_lab(folder: Path) -> Lab:
    key, shipped = new_key(folder / "lab.pem"), Bundle.open(reference.BUNDLE)
    members = {m.name: shipped.read(m.name) for m in shipped.manifest.members}
    bundles = {}
    for n in (1, 2, 3):
        manifest = shipped.manifest.model_copy(update={"release": n})
        bundles[n] = write_bundle(folder / f"{n}.alledge", manifest, members, key)
    return Lab(Lab.device(key.public), bundles)


def keep(lab: Lab) -> int:
    return install(lab, 2, False)


def try_out(lab: Lab) -> int:
    install(lab, 3, True)
    update.commit()
    return 3


def go_back(lab: Lab) -> int:
    update.roll_back()
    return 1


def start(lab: Lab) -> int:
    at_start(lab.config)
    return 2


def install(lab: Lab, release: int, manual: bool) -> int:
    update.install(lab.config, lab.bundles[release].path, manual=manual, frames=2)
    return release


WORK = {"install": keep, "trial and commit": try_out, "rollback": go_back, "start": start}


def prepare(lab: Lab, folder: Path, what: str) -> None:
    """Release 1 is installed; for a rollback 2 after it, for a start 2 on trial."""
    os.environ["XDG_STATE_HOME"] = str(folder)
    slots = Slots(folder / "alledge")
    for release in (1, 2) if what in ("rollback", "start") else (1,):
        slots.switch(slots.receive(lab.bundles[release]), "automatic")
        if (what, release) != ("start", 2):
            slots.commit("to begin with")


def rehearse(lab: Lab, folder: Path) -> tuple[list[tuple[str, str]], dict[str, float]]:
    """Names of all steps, and seconds that each work takes."""
    names: list[tuple[str, str]] = []
    took = {}
    for what, work in WORK.items():
        prepare(lab, folder / f"rehearsal of {what}", what)
        begin = time.monotonic()
        with stepping(lambda step, what=what: names.append((what, step))):
            work(lab)
        took[what] = time.monotonic() - begin
    assert len(set(names)) == len(names), "each step has a name of its own"
    return names, took


def live(lab: Lab, folder: Path, what: str, found: dict[str, Any], step: str = "",
         after_s: float | None = None) -> None:
    """One life: killed at the named step, or after so many seconds; then a device starts and is judged."""
    prepare(lab, folder, what)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with suppress(BaseException), stepping(lambda now: end(now == step)):
            os.write(writing, f"{WORK[what](lab)}".encode())
        os._exit(0)
    os.close(writing)
    if after_s is not None:
        time.sleep(after_s)
        os.kill(child, signal.SIGKILL)
    found["killed"] += os.WIFSIGNALED(os.waitpid(child, 0)[1])
    with open(reading, encoding="ascii") as told:
        kept = told.read()
    judge(lab, folder / "alledge", what, int(kept or 0), found)


def judge(lab: Lab, state: Path, what: str, kept: int, found: dict[str, Any]) -> None:
    before = Slots(state).log.records[-1].event
    found["after"][f"{what}: {before}"] += 1
    path = at_start(lab.config).bundle.path
    releases = {"trial and commit": (1, 3)}.get(what, (1, 2))
    try:
        runs = 0 if path is None else Bundle.open(path, lab.config.bundle.trusted_keys).manifest.release
        found["neither_old_nor_new"] += runs not in releases
        found["kept_and_lost"] += kept not in (0, runs)
    except AlledgeError:
        found["not_verified"] += 1
    slots = Slots(state)
    found["trial_left_open"] += bool(slots.state.trial) and not slots.state.checked
    found["chain_broken"] += bool(slots.log.faults)
    with slots.locked():
        pass
    there = {str(p.relative_to(slots.folder)) for p in slots.folder.rglob("*") if p.is_file()}
    found["left_over"] += not there <= {"a/model.alledge", "b/model.alledge", "lock", slot_log.LOG}


def plain(path: Path | str) -> str:
    """A file's name without this process's number."""
    return "/".join(Path(str(path).removesuffix(f".{os.getpid()}")).parts[-2:])


def end(now: bool) -> None:
    if now:
        os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def stepping(tell: Step) -> Iterator[None]:
    """Tell before and after every flush and rename, and every health check; names say in which line of the log."""
    real = {name: getattr(os, name) for name in ("fsync", "replace")}
    append, popen, seen, event = slot_log.append, subprocess.Popen, Counter[str](), ["to begin with"]

    def told(name: str, call: Callable[..., Any], of: Callable[..., str]) -> Callable[..., Any]:
        def stepped(*arguments: Any, **more: Any) -> Any:
            step = f"{event[0]}: {name} {of(*arguments)}".strip()
            seen[step] += 1
            step += f" ({seen[step]})" if seen[step] > 1 else ""
            tell(f"before {step}")
            result = call(*arguments, **more)
            tell(f"after {step}")
            return result
        return stepped

    def told_append(folder: Path, name: str, *rest: Any) -> None:
        event[0] = name
        append(folder, name, *rest)
        event[0] = f"once {name}"

    from alledge.device import slots as module

    os.fsync = told("flush", real["fsync"], lambda file: plain(os.readlink(f"/proc/self/fd/{file}")))
    os.replace = told("rename", real["replace"], lambda before, after: f"to {plain(after)}")
    module.append = told_append
    health.subprocess.Popen = told("health check", popen, lambda *ignored: "begins")
    try:
        yield
    finally:
        os.fsync, os.replace = real["fsync"], real["replace"]
        module.append, health.subprocess.Popen = append, popen


if __name__ == "__main__":
    raise SystemExit(main())
