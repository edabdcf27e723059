"""How far is a whole run from the bare engine? Throughput, latency and memory; writes docs/results/runtime.md.

    python benchmarks/runtime.py [--fields 400] [--rounds 7] [--steady 2000]

Everything is on: camera watch, segmentation, quality, the shipped int8 model, decision, SQLite with synchronous=FULL,
and a PNG display five times a second. The camera gives drawn fields of 1280x720 that were drawn before. Runs and bare
loops of `engine.infer` take turns, so that whatever else the machine does hits both alike; the ratio is what to read.
"""

import argparse
import datetime
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from time import perf_counter, process_time, sleep
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from alledge import reference
from alledge.bundle import Bundle
from alledge.config import CameraSettings, DeviceConfig, DisplaySettings, ResultSettings, TriggerSettings
from alledge.device import machine, quality
from alledge.device.camera import Frame, open_camera
from alledge.device.decide import decide
from alledge.device.display import Display, open_display
from alledge.device.engine import open_engine
from alledge.device.pixels import Seen, fault_of, measure
from alledge.device.run import run
from alledge.device.screen import screen
from alledge.device.sink.sqlite import SqliteSink
from alledge.device.words import words
from alledge.images import write_png
from alledge.manifest import Manifest
from alledge.palette import stain_figures
from alledge.preprocess import prepare_field, resize
from alledge.quantisation import stored_input
from alledge.synthetic import draw_field
from alledge.verdict import Verdict

CAMERA = "synthetic://?seed=1&width=1280&height=720&fields=6"
LEAST_THROUGHPUT, MOST_LATENCY, MOST_RSS = 0.85, 1.6, 200  # share of the bare loop; times segment + infer; MiB
MOST_BESIDES_MS = 1.0
PAUSE_S = 0.1  # between two fields where latency is measured, so that none waits for the one before
PACED = 60  # fields of a round of latency
BY_HAND = "## What stands in the way (by hand)"  # what follows it on the page is left there
SETTLED = 20  # fields before anything counts
WARM = 500  # fields before memory and open files must not grow any more
# Peak memory is asked of a small process in between: a child's counts from that of the process it was forked from.
LAUNCHER = ("import resource, subprocess, sys; subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, "
            "stderr=subprocess.DEVNULL); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)")


def config(folder: Path, trigger: bool = False) -> DeviceConfig:
    """Everything on; with a trigger one field at a time."""
    asked = TriggerSettings(name="interval", options={"seconds": PAUSE_S}) if trigger else TriggerSettings()
    return DeviceConfig(camera=CameraSettings(uri=CAMERA), trigger=asked,
                        display=DisplaySettings(name="png", rate=5, options={"path": str(folder / "now.png")}),
                        results=ResultSettings(database=folder / "results.db", floor=0))


def given(rgb: NDArray[np.uint8], manifest: Manifest) -> NDArray[np.generic]:
    """What a run gives its model of a field."""
    return stored_input(prepare_field(rgb, manifest.preprocessing), manifest.input)


def bare(fields: int) -> tuple[float, float]:
    """Fields a second and CPU milliseconds a field of `engine.infer` alone."""
    bundle = Bundle.open(reference.BUNDLE)
    tensor = given(draw_field("pre_b", 1).rgb, bundle.manifest)
    with closing(open_engine(bundle)) as engine:
        for _ in range(SETTLED):
            engine.infer(tensor)
        wall, cpu = perf_counter(), process_time()
        for _ in range(fields):
            engine.infer(tensor)
        return fields / (perf_counter() - wall), (process_time() - cpu) / fields * 1e3


def whole(fields: int) -> tuple[float, float]:
    """The same of a run, from the field after `SETTLED` to the last."""
    marks: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        run(config(Path(folder)), fields + SETTLED, lambda verdict: marks.append((perf_counter(), process_time())))
    (wall, cpu), (wall_end, cpu_end) = marks[SETTLED - 1], marks[-1]
    return fields / (wall_end - wall), (cpu_end - cpu) / fields * 1e3


def latency() -> dict[str, float]:
    """Median of each stage in ms, of all `besides` segmentation and inference, and of those two `alone` and
    `alone_rested`.
    """
    told: list[Verdict] = []
    with tempfile.TemporaryDirectory() as folder:
        run(config(Path(folder), trigger=True), PACED + SETTLED, told.append)
    stages = {stage: float(np.median([v.timings_ms[stage] for v in told[SETTLED:]])) for stage in told[-1].timings_ms}
    besides = [v.timings_ms["total"] - v.timings_ms["segment"] - v.timings_ms["infer"] for v in told[SETTLED:]]
    return {**stages, "besides": float(np.median(besides)), "alone": alone(), "alone_rested": alone(PAUSE_S)}


def alone(pause_s: float = 0.0) -> float:
    """Median milliseconds of segmentation and inference of one 1280x720 field, one after the other, nothing else.

    With a pause before each, as where latency is measured: caches are cold then and the processor has to wake.
    """
    bundle = Bundle.open(reference.BUNDLE)
    settings, taken = bundle.manifest.preprocessing, []
    field = cv2.resize(draw_field("pre_b", 1, 1280).rgb, (1280, 720))
    with closing(open_engine(bundle)) as engine:
        for _ in range(PACED + SETTLED):
            sleep(pause_s)
            start = perf_counter()
            engine.infer(given(resize(field, settings.size), bundle.manifest))
            taken.append((perf_counter() - start) * 1e3)
    return float(np.median(taken[SETTLED:]))


def peak_rss(fields: int) -> float:
    """MiB of `alledge run` in a process of its own, on files: drawing fields takes more memory than judging them."""
    with tempfile.TemporaryDirectory() as folder:
        slide = Path(folder) / "slide"
        write_png(slide / "0.png", cv2.resize(draw_field("pre_b", 1, 1280).rgb, (1280, 720)))
        for i in range(1, fields):
            (slide / f"{i}.png").hardlink_to(slide / "0.png")
        toml = Path(folder) / "device.toml"
        toml.write_text(f'[camera]\nuri = "file://{slide}"\n[display]\nname = "png"\n[display.options]\npath = '
                        f'"{folder}/now.png"\n[results]\ndatabase = "{folder}/r.db"\nfloor = 0\n')
        asked = [sys.executable, "-m", "alledge", "run", "--config", str(toml), "--frames", str(fields)]
        done = subprocess.run([sys.executable, "-c", LAUNCHER, *asked], capture_output=True, text=True, check=True)
    return int(done.stdout) / 1024


def steady(fields: int) -> list[tuple[float, int]]:
    """Resident MiB and open files of a run after `WARM` fields and at its end."""
    marks: list[tuple[float, int]] = []

    def look(verdict: Verdict) -> None:
        if verdict.sequence in (WARM, fields):
            resident = re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text("ascii"))
            marks.append((int(resident[1]) / 1024 if resident else 0.0, len(os.listdir("/proc/self/fd"))))

    with tempfile.TemporaryDirectory() as folder:
        run(config(Path(folder)), fields, look)
    return marks


def show(display: Display, verdict: Verdict, tile: NDArray[np.uint8]) -> None:
    """Draw a verdict and put it on a display."""
    display.show(screen(verdict, display.size, tile), words(verdict))


def parts(fields: int) -> dict[str, float]:
    """Median CPU milliseconds of each step of a field, all in one thread, so that each finds the caches as it does in
    a run: full of what the steps before it left.
    """
    bundle, taken = Bundle.open(reference.BUNDLE), defaultdict[str, list[float]](list)

    def step(name: str, work: Callable[..., Any], *arguments: Any) -> Any:
        start = process_time()
        done = work(*arguments)
        taken[name].append((process_time() - start) * 1e3)
        return done

    with (tempfile.TemporaryDirectory() as folder, closing(open_engine(bundle)) as engine,
          closing(open_camera(CAMERA)) as camera, closing(SqliteSink(Path(folder) / "results.db")) as sink):
        settings, calibration, seen = bundle.manifest.preprocessing, bundle.manifest.calibration, Seen()
        display = open_display("png", {"path": str(Path(folder) / "now.png")})
        for _ in range(fields):
            rgb = cast(Frame, camera.read()).rgb
            figures = step("camera watch", measure, rgb)
            seen = seen.after(figures, step("camera watch, faults", fault_of, figures, seen) is None)
            tile = step("resize", resize, rgb, settings.size)
            prepared = step("segmentation", prepare_field, tile, settings)
            stored = step("model's input", stored_input, prepared, bundle.manifest.input)
            output = step("engine", engine.infer, stored)
            figures_of_tile = step("quality", quality.measure, tile)
            stain = step("stain figures", stain_figures, prepared.tile)
            verdict = step("decision", decide, output, calibration, quality.complaints(figures_of_tile), stain)
            verdict = step("database, alone", sink.write, verdict)
            step("screen (5 a second)", show, display, verdict, tile)
    return {name: float(np.median(times[SETTLED:])) for name, times in taken.items()}


def spread(values: list[float], digits: int = 2, unit: str = "") -> str:
    """Median, least and largest."""
    return f"{np.median(values):.{digits}f}{unit} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def row(what: str, values: list[float], asked: str, met: bool, unit: str = "x") -> str:
    """One target; a ratio where no other unit is given."""
    return f"| {what} | {spread(values, unit=unit)} | {asked} | {'yes' if met else '**no**'} |"


def page(rounds: list[dict[str, float]], paced: list[dict[str, float]], rss: float, steps: dict[str, float],
         ends: list[tuple[float, int]], asked: argparse.Namespace) -> str:
    """The page down to what was written by hand."""
    about = machine.describe()
    each = {name: spread([r[name] for r in rounds], digits)
            for name, digits in (("whole", 0), ("bare", 0), ("whole_cpu", 2), ("bare_cpu", 2))}
    cost = spread([r["whole_cpu"] / r["bare_cpu"] for r in rounds])
    (early, files), (late, files_late) = ends
    return f"""# The runtime against the bare engine

`python benchmarks/runtime.py --fields {asked.fields} --rounds {asked.rounds} --steady {asked.steady}`,
{datetime.date.today()}, {about['cpu']}, {about['cores']} cores, {platform.system()}, Python {about['python']}; load
average {os.getloadavg()[1]:.1f} (other work ran beside it where that is above 2: then compare CPU, not fields/s).
Camera watch, segmentation, quality, the shipped int8 model (LiteRT, one thread), decision, SQLite FULL, PNG at 5 Hz;
drawn fields of 1280x720 (emulated camera). Medians, in brackets the least and the largest of the rounds. Not a board.

| | measured | asked for | met |
|---|---|---|---|
{chr(10).join(targets(rounds, paced, rss))}

Fields a second: {each['whole']} of a run, {each['bare']} of the bare engine. CPU per field: {each['whole_cpu']} ms and
{each['bare_cpu']} ms, {cost} times as much. On two cores a run reaches 0.85 only with less than 2 / 0.85 = 2.35 times.

Milliseconds of one field at a time, median of each stage; `total` has the ways between them, too; `besides`: what
it has beyond segmentation and inference, the disk included. `alone`: segmentation and inference of one field after the
other; `alone_rested`: the same two with as long a rest before each as the run has, so that caches are cold and the
processor has to wake. A run that is asked for single fields always rests, so that ratio compares like with like.

| {' | '.join(paced[0])} |
|{'---|' * len(paced[0])}
| {' | '.join(f"{np.median([p[stage] for p in paced]):.2f}" for stage in paced[0])} |

CPU milliseconds of each step, in one thread one after the other, so that each finds cold caches as in a run:

| {' | '.join(steps)} |
|{'---|' * len(steps)}
| {' | '.join(f"{value:.2f}" for value in steps.values())} |

From field {WARM:,} to field {asked.steady:,} of one run resident memory went from {early:.1f} to {late:.1f} MiB and
open files from {files} to {files_late}. (That run draws its fields first, which takes more memory than judging them.)
"""


def targets(rounds: list[dict[str, float]], paced: list[dict[str, float]], rss: float) -> tuple[str, ...]:
    """The rows of what was asked for."""
    besides, shares = [p["besides"] for p in paced], [r["whole"] / r["bare"] for r in rounds]
    alike, warm = ([p["total"] / p[alone] for p in paced] for alone in ("alone_rested", "alone"))
    return (row("throughput over that of `engine.infer` alone", shares, f"{LEAST_THROUGHPUT} or more",
                float(np.median(shares)) >= LEAST_THROUGHPUT),
            *(row(f"one field at a time: all of it over segmentation and inference alone, {how}", times,
                  f"{MOST_LATENCY} or less", float(np.median(times)) <= MOST_LATENCY)
              for how, times in (("both at rest before", alike), ("those without a rest", warm))),
            row("one field at a time: all besides segmentation and inference, ms", besides, f"under {MOST_BESIDES_MS}",
                float(np.median(besides)) < MOST_BESIDES_MS, ""),
            row("peak memory of `alledge run` on files, MiB", [rss], f"{MOST_RSS} or less", rss <= MOST_RSS, ""))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fields", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steady", type=int, default=2000, help=f"fields of the long run, more than {WARM}")
    parser.add_argument("--out", type=Path, default=Path("docs/results/runtime.md"))
    given = parser.parse_args()
    cv2.setNumThreads(1)
    rss = peak_rss(given.fields)
    rounds, paced = [], []
    for number in range(given.rounds):
        (loop, loop_cpu), (all_of_it, all_cpu) = bare(given.fields), whole(given.fields)
        rounds.append({"bare": loop, "bare_cpu": loop_cpu, "whole": all_of_it, "whole_cpu": all_cpu})
        print(f"round {number + 1}: {all_of_it:.0f} of {loop:.0f} fields/s", flush=True)
        paced.append(latency())
    by_hand = given.out.read_text("utf-8").partition(BY_HAND) if given.out.exists() else ("", "", "")
    written = page(rounds, paced, rss, parts(given.fields), steady(given.steady), given)
    given.out.write_text(written + "".join(("\n", *by_hand[1:]) if by_hand[1] else ()), "utf-8")


if __name__ == "__main__":
    main()
