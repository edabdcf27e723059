"""The same bundles on x86-64 and on emulated arm64: do they see and compute the same? Writes docs/results/arm64.md.

    nice python tests/emulation/arm64/run.py [--fields 40] [--bundle FILE ...] [--out FILE]

Needs Linux on x86-64 with Debian's apt and dpkg, `unshare` and user namespaces, a network with Debian's and Python's
packages, 2 GB of disk for the time of the run. Not root, not a board. Without --bundle: the bundle that comes with the
package, and the run that comes with it converted for `cpu`, `coral` (not compiled) and `onnx`. Exit code 1 when one
comparison does not hold; the page is written all the same and says so.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
from comparison import Comparison, compare
from kernel_sets import Kernels, against_reference
from page import Run, write_page
from replay import Answers
from userland import DEBIANS, TREE, Debian, build_wheel, fetch_qemu, make_root, run_inside

from alledge import reference
from alledge.images import write_png
from alledge.labels import LABELS
from alledge.synthetic import STAINS, draw_field

CPUS = {"cortex-a72": "Raspberry Pi 4", "cortex-a76": "Raspberry Pi 5"}  # without and with the dot product instructions
TARGETS = ("cpu", "coral", "onnx")
SIZES = (160, 224, 320, 448)  # pixels: enlarged, as it is, and averaged down by two factors


def draw(folder: Path, count: int) -> None:
    """Fields of every class and none, every stain and several sizes; every second one as JPEG."""
    folder.mkdir(parents=True)
    for seed in range(count):
        label, stain = (*LABELS, None)[seed % (len(LABELS) + 1)], list(STAINS)[seed % len(STAINS)]
        rgb = draw_field(label, seed, SIZES[seed // 2 % len(SIZES)], stain=stain).rgb
        if seed % 2:
            cv2.imwrite(str(folder / f"{seed:04}.jpg"), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
        else:
            write_png(folder / f"{seed:04}.png", rgb)


def gather(folder: Path, given: list[Path]) -> None:
    """The bundles to replay, by names that the page can use."""
    folder.mkdir(parents=True)
    for path in given or [reference.BUNDLE]:
        shutil.copy(path, folder / (f"{path.stem}.alledge" if given else "reference.alledge"))
    for target in () if given else TARGETS:
        print(f"converting the reference run for {target} ...", flush=True)
        made = folder.parent / "converted" / f"{target}.alledge"
        made.parent.mkdir(exist_ok=True)
        subprocess.run([sys.executable, "-m", "alledge", "convert", "--target", target, "--out", made], check=True,
                       stdout=subprocess.DEVNULL, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"})
        shutil.copy(made, folder)


def emulate(work: Path, debian: Debian, qemu: Path, wheel: Path) -> dict[str, dict[str, str]]:
    """Replay in one Debian on every processor, into answers/SUITE-CPU. Returns that name -> `replay.about()`."""
    print(f"{debian.name}: making an arm64 userland ...", flush=True)
    root, found = make_root(work, debian, qemu, wheel), {}
    shutil.copytree(work / "given", root / "given")
    shutil.copy(Path(__file__).parent / "replay.py", root / "given")
    for cpu in CPUS:
        name = f"{debian.suite}-{cpu}"
        run_inside(root, cpu, "/usr/bin/python3", "/given/replay.py", "/given", f"/given/{cpu}")
        shutil.copytree(root / "given" / cpu, work / "answers" / name)
        about = json.loads((work / "answers" / name / "about.json").read_text("utf-8"))
        found[name] = {**about, "cpu": cpu, "board": CPUS[cpu]}
    shutil.rmtree(root)
    return found


def compared(work: Path, there: str) -> dict[str, Comparison]:
    """Bundle's name -> x86-64 against one emulated machine, for every bundle that x86-64 answered."""
    here = sorted((work / "answers" / "x86").glob("*.npz"))
    return {path.stem: compare(Answers.load(path), Answers.load(work / "answers" / there / path.name)) for path in here}


def measure(work: Path, count: int, reference_fields: int, given: list[Path]) -> Run:
    """All of it, in a folder that is empty."""
    gather(work / "given" / "bundles", given)
    draw(work / "given" / "fields", count)
    script = Path(__file__).parent / "replay.py"
    subprocess.run([sys.executable, script, work / "given", work / "answers" / "x86"], check=True)
    fields = sorted((work / "given" / "fields").iterdir())[:reference_fields]
    print("running the reference kernels ...", flush=True)
    sets: dict[str, list[Kernels]] = {path.stem: against_reference(path, fields)
                                      for path in sorted((work / "given" / "bundles").iterdir())}
    qemu, wheel = fetch_qemu(work), build_wheel(work)
    machines = {name: about for debian in DEBIANS for name, about in emulate(work, debian, qemu, wheel).items()}
    version = subprocess.run([qemu, "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    here = json.loads((work / "answers" / "x86" / "about.json").read_text("utf-8"))
    distinct = {path.stem: len({row.tobytes() for row in Answers.load(path).embeddings})
                for path in sorted((work / "answers" / "x86").glob("*.npz"))}
    return Run(here, machines, version, {name: compared(work, name) for name in machines}, sets, distinct)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fields", type=int, default=40, help="drawn fields to judge beside the goldens")
    parser.add_argument("--reference-fields", type=int, default=8, help="of them, for the reference kernels (slow)")
    parser.add_argument("--bundle", type=Path, action="append", default=[], help="instead of the reference's")
    parser.add_argument("--out", type=Path, default=TREE / "docs" / "results" / "arm64.md")
    asked = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="alledge-arm64-") as work:
        done = measure(Path(work), asked.fields, asked.reference_fields, asked.bundle)
    write_page(asked.out, done, minutes=(time.monotonic() - started) / 60)
    print(f"{done.holding} of {done.tried} comparisons hold: {asked.out}")
    sys.exit(done.holding < done.tried)


if __name__ == "__main__":
    main()
