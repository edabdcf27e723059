"""Break camera and engine of a real `alledge run` and time what its log, its screen and its verdicts do.

    python benchmarks/faults.py --data DIR --split CSV [--bundle FILE] [--only FAULT ...] --out docs/results/faults.md

Each fault has a process of its own, started as a user starts it, with a PNG display and a trigger four times a second.
A camera's faults are emulated around test images of DIR in a fixed random order, judged by the reference model or FILE
(without --data around drawn smears, of which the reference model judges none). An engine's happen in the stub of the
Edge TPU's library that the tests use, with a tiny network, on drawn smears. Every verdict is held against the one that
an undisturbed run gave the same picture. Exits with 1 when a fault was not named within 5 s, not over within 15 s,
ended the process, or changed a verdict.
"""

import argparse
import datetime
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from alledge.dataset import read_dataset  # noqa: E402
from alledge.device import machine  # noqa: E402
from alledge.device.camera.emulated import FAULTS as OF_CAMERA  # noqa: E402
from alledge.device.faults import FAULTS  # noqa: E402

NAMED_S, BACK_S = 5.0, 15.0  # what the table is held to
EVERY_S, BEFORE_S, GIVE_UP_S = 0.25, 3, 40.0
BLUR_S = 0.5  # a camera's fault may begin so much earlier than reckoned: its first field is taken after it was opened
OF_ENGINE = {"segmentation fault": "segfault", "abort": "abort", "exit in the middle of a call": "exit",
             "hang": "hang", "unplugged, then plugged in": "unplug", "garbage": "garbage", "NaN": "nan",
             "wrong output shape": "shape", "crash, then the model is refused": "segfault"}
THEN = {"unplugged, then plugged in": "absent", "crash, then the model is refused": "refuse"}  # once it has happened


@dataclass
class Run:
    """A running `alledge run`: its lines with the wall clock's seconds at which they came, and its screens."""

    process: "subprocess.Popen[str]"
    screens: Path
    rows: list[dict[str, Any]] = field(default_factory=list)
    log: list[tuple[float, str]] = field(default_factory=list)

    def wait_for(self, done: Callable[[], bool], within_s: float) -> bool:
        """Whether something came true in time; False at once when the process has ended."""
        end = time.monotonic() + within_s
        while time.monotonic() < end and self.process.poll() is None:
            if done():
                return True
            time.sleep(0.02)
        return done()

    def logged(self, names: set[str], since: float) -> float:
        """When the log named one of these faults for the first time; infinity when it did not."""
        says = [FAULTS[name].sentence for name in names]
        return min((at for at, line in self.log if at >= since and any(s in line for s in says)), default=float("inf"))

    def shown(self, names: set[str], since: float) -> float:
        """When a screen named one."""
        titles = [FAULTS[name].title for name in names]
        for path in sorted(self.screens.glob("*.png")):
            at = path.stat().st_mtime
            if at >= since:
                with Image.open(path) as picture:
                    said = picture.info["Description"]
                    if "It is over." not in said and any(title in said for title in titles):
                        return at
        return float("inf")

    def named(self, since: float) -> list[str]:
        """Names of all faults that the log told of, in order."""
        return list(dict.fromkeys(name for at, line in self.log if at >= since
                                  for name, fault in FAULTS.items() if line.startswith(fault.sentence)))


@dataclass(frozen=True)
class Finding:
    """What a fault came to; times in seconds after its beginning (named) or its end (back)."""

    fault: str
    names: list[str]
    logged: float
    shown: float
    back: float
    rows: int
    conclusive: int
    wrong: int
    spoiled: int
    code: int

    @property
    def ok(self) -> bool:
        """Whether it went as promised."""
        return max(self.logged, self.shown) <= NAMED_S and self.back <= BACK_S and not (self.wrong or self.spoiled
                                                                                         or self.code)

    def line(self) -> str:
        """A row of the table."""
        return (f"| {self.fault} | {', '.join(f'`{name}`' for name in self.names)} | {self.logged:.1f} | "
                f"{self.shown:.1f} | {self.back:.1f} | {self.rows} | {self.conclusive} | {self.wrong} | {self.spoiled} "
                f"| {'yes' if self.code == 0 else f'no: exit code {self.code}'} |")


def start(folder: Path, camera: str, bundle: Path | None, env: dict[str, str], *more: str,
          every_s: float = EVERY_S) -> Run:
    """Start `alledge run` on a camera, everything it leaves in `folder`."""
    folder.mkdir(parents=True)
    (folder / "device.toml").write_text(
        f'[display]\nname = "png"\noptions = {{path = "{folder}/screens"}}\n'
        f'[trigger]\nname = "interval"\noptions = {{seconds = {every_s}}}\n[results]\nfloor = 0\n')
    command = [sys.executable, "-m", "alledge", "run", *([str(bundle)] if bundle else []), "--camera", camera,
               "--config", folder / "device.toml", "--results", folder / "results.db", "--json", *more]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               env={**os.environ, **env})
    run = Run(process, folder / "screens")
    assert process.stdout is not None
    assert process.stderr is not None
    for stream, take in ((process.stdout, lambda line: run.rows.append(json.loads(line))),
                         (process.stderr, lambda line: run.log.append((time.time(), line)))):
        threading.Thread(target=_follow, args=(stream, take), daemon=True).start()
    return run


def _follow(stream: Any, take: Callable[[str], None]) -> None:
    for line in stream:
        take(line)


def stop(run: Run) -> int:
    """Ctrl-C; the exit code."""
    run.process.send_signal(signal.SIGINT)
    return run.process.wait(timeout=60)


def undisturbed(folder: Path, camera: str, bundle: Path | None, env: dict[str, str], frames: int) -> dict[str, str]:
    """Source -> verdict of a run without a fault; also that such a run names none."""
    run = start(folder, camera, bundle, env, "--frames", str(frames), every_s=0.1)
    run.process.wait(timeout=600)
    if run.process.returncode or run.named(0.0):
        raise SystemExit(f"the undisturbed run failed: {run.log}")
    time.sleep(0.2)
    return {row["source"]: row["verdict"] for row in run.rows}


def taken(row: dict[str, Any]) -> float:
    """When a field was taken, in seconds of the wall clock."""
    return datetime.datetime.fromisoformat(row["taken_at"]).timestamp()


def found(fault: str, run: Run, names: set[str], begun: float, ended: float, verdicts: dict[str, str],
          back: Callable[[dict[str, Any]], bool]) -> Finding:
    """Wait until it is over, stop the run and add up."""
    run.wait_for(lambda: any(taken(row) >= ended and back(row) for row in [*run.rows]), GIVE_UP_S)
    at = next((taken(row) for row in run.rows if taken(row) >= ended and back(row)), float("inf"))
    code = stop(run)
    time.sleep(0.2)  # for the last lines
    since = begun - BLUR_S
    wrong = [row for row in run.rows if row["verdict"] not in ("inconclusive", verdicts.get(row["source"]))]
    return Finding(fault, run.named(since), max(0.0, run.logged(names, since) - begun),
                   max(0.0, run.shown(names, since) - begun), at - ended, len(run.rows),
                   sum(row["verdict"] != "inconclusive" for row in run.rows), len(wrong),
                   sum(_spoiled(row) and row["verdict"] != "inconclusive" for row in run.rows), code)


def _spoiled(row: dict[str, Any]) -> bool:
    return row["camera"].get("emulated", "no fault") != "no fault"


def of_camera(fault: str, folder: Path, pictures: str, bundle: Path | None, verdicts: dict[str, str],
              lasts_s: int) -> Finding:
    """A camera's fault, from the third second on."""
    run = start(folder, f"emulated://{fault}@{BEFORE_S}s-{BEFORE_S + lasts_s}s/{pictures}", bundle, {})
    if not run.wait_for(lambda: bool(run.rows), 60):
        raise SystemExit(f"{fault}: no field at all: {run.log}")
    begun = taken(run.rows[0]) + BEFORE_S  # the first field is taken when the camera was opened
    return found(fault, run, {f"camera-{fault}"}, begun, begun + lasts_s, verdicts, lambda row: not _spoiled(row))


def of_engine(fault: str, folder: Path, told: Path, stub: Any, verdicts: dict[str, str], lasts_s: int) -> Finding:
    """An engine's fault, while fields are judged."""
    bundle, env = stub
    tell(told, "ok")
    run = start(folder, "synthetic://?seed=1&size=96", bundle, env)
    if not run.wait_for(lambda: len(run.rows) >= 8, 60):
        raise SystemExit(f"{fault}: no fields at all: {run.log}")
    tell(told, OF_ENGINE[fault])
    begun = time.time()
    run.wait_for(lambda: bool(run.named(begun)), 10)
    tell(told, THEN.get(fault, OF_ENGINE[fault]))
    time.sleep(max(0.0, begun + lasts_s - time.time()))
    tell(told, "ok")
    names = {name for name in FAULTS if name.startswith(("engine-", "accelerator-"))} - {"engine-on-cpu"}
    return found(fault, run, names, begun, time.time(), verdicts,
                 lambda row: not row["faults"] and row["engine"].startswith("coral"))


def tell(told: Path, what: str) -> None:
    """Have the stub do this from now on."""
    part = told.with_suffix(".part")
    part.write_text(what)
    part.replace(told)


def cameras(folder: Path, given: argparse.Namespace) -> Iterator[Finding]:
    """Findings of the camera's faults that were asked for."""
    faults = [fault for fault in OF_CAMERA if not given.only or fault in given.only]
    pictures = "synthetic://?seed=1&size=96"
    if faults and given.data:
        pictures = f"file://{shuffled(given.data, given.split, given.frames, folder / 'pictures')}"
    if faults:
        verdicts = undisturbed(folder / "calm", f"emulated:///{pictures}", given.bundle, {}, given.frames)
        print(f"undisturbed: {len(verdicts)} pictures, {sum(v != 'inconclusive' for v in verdicts.values())} with a "
              "verdict", flush=True)
    for fault in faults:
        yield of_camera(fault, folder / fault, pictures, given.bundle, verdicts, given.lasts)


def shuffled(data: Path, split: Path | None, count: int, folder: Path) -> Path:
    """A folder in which so many test images lie in a fixed random order."""
    items = [*read_dataset(data, split).subset("test")]
    folder.mkdir()
    for number, item in enumerate(random.Random(0).sample(items, count)):
        (folder / f"{number:04d}{item.path.suffix}").symlink_to(item.path.absolute())
    return folder


def engines(folder: Path, given: argparse.Namespace) -> Iterator[Finding]:
    """Findings of the engine's faults that were asked for."""
    faults = [fault for fault in OF_ENGINE if not given.only or fault in given.only]
    if not faults:
        return
    from tests.device import edgetpu_stub
    from tests.device.conftest import stub_bundle

    told = folder / "told"
    tell(told, "ok")
    env = {"LD_LIBRARY_PATH": str(edgetpu_stub.build(folder)), "EDGETPU_STUB": str(told)}
    os.environ |= env
    stubs = {floats: stub_bundle(folder / f"{floats}.alledge", floats=floats).path for floats in (False, True)}
    drawn, calm = "synthetic://?seed=1&size=96", {}
    for fault in faults:
        floats = OF_ENGINE[fault] == "nan"
        if floats not in calm:
            tell(told, "ok")
            calm[floats] = undisturbed(folder / f"calm-{floats}", drawn, stubs[floats], env, given.frames)
        yield of_engine(fault, folder / fault.replace(" ", "-"), told, (stubs[floats], env), calm[floats], given.lasts)


def report(folder: Path, given: argparse.Namespace) -> Iterator[str | Finding]:
    """The page, line by line, and the findings in between."""
    about = machine.describe()
    yield f"""# Faults of camera and engine, injected into a running device

Command: see the head of `benchmarks/faults.py`. {datetime.date.today()}, {about['cpu']}, {about['cores']} cores, Python
{about['python']}, load {os.getloadavg()[0]:.1f} from other work, one run. Camera faults are **emulated**, engine faults
happen in a **stub** of the Edge TPU's library: nothing here was measured on such hardware.

Each fault lasts {given.lasts} s, or until it has happened. A field is asked for every {EVERY_S:g} s, a screen is shown
five times a second at most; when a camera's fault begins is known to 0.3 s. Promised: named in the log and on the
screen within {NAMED_S:g} s, judging as before within {BACK_S:g} s, the process lives, no conclusive verdict differs
from the undisturbed run's on the same picture, none is given on a spoiled frame. The reference model has learned from
the images: nothing is said here of how right it is.
"""
    head = ("| fault | named as | in the log after, s | on the screen after, s | back after, s | fields | conclusive "
            f"| of another class | on a spoiled frame | lived |\n|{'---|' * 10}")
    for title, findings in (("Camera", cameras), ("Engine", engines)):
        yield f"## {title}\n\n{head}"
        yield from findings(folder, given)
        yield ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="class folders of images of one size; else drawn smears")
    parser.add_argument("--split", type=Path, help="its split CSV")
    parser.add_argument("--bundle", type=Path, help="that judges them; else the reference model")
    parser.add_argument("--only", nargs="*", default=[], metavar="FAULT")
    parser.add_argument("--lasts", type=int, default=4, help="seconds that a fault lasts")
    parser.add_argument("--frames", type=int, default=160, help="pictures of the undisturbed run")
    parser.add_argument("--out", type=Path, help="page to write; else it is printed")
    given = parser.parse_args()
    lines, findings = [], []
    with TemporaryDirectory() as name:
        for item in report(Path(name), given):
            findings += [item] if isinstance(item, Finding) else []
            lines.append(item.line() if isinstance(item, Finding) else item)
            print(lines[-1], flush=True)
    kept = sum(finding.ok for finding in findings)
    lines.append(f"{kept} of {len(findings)} faults went as promised; "
                 f"{sum(f.conclusive for f in findings)} conclusive verdicts, {sum(f.wrong for f in findings)} of "
                 "another class than undisturbed.")
    print(lines[-1])
    if given.out:
        given.out.write_text("\n".join(lines) + "\n", "utf-8")
    sys.exit(kept < len(findings) or not findings)


if __name__ == "__main__":
    main()
