"""Does any image file crash, hang or swell the device? Feeds it mutated files and writes docs/results/fuzz.md.

    python benchmarks/fuzz_images.py [--cases 100000] [--seed 0] [--bundle FILE] [--out FILE]
    python benchmarks/fuzz_images.py --only NUMBER [--seed 0]        (one case again, with its traceback)

Each case goes through `decode_image`; what decodes goes through the whole pipeline (segmentation, quality, a real
TFLite engine, decision) with the shipped reference bundle. A child process does the work, so that a crash of native
code is counted and the next case goes on. Exit code 1 on any exception that is not one of ours, a dead child, a case of
more than 2 s of CPU time, or more memory than the limit.
"""

import argparse
import datetime
import multiprocessing
import os
import platform
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import cv2
import numpy as np
import PIL
from mutations import case
from numpy.typing import NDArray

from alledge import __version__, reference
from alledge.bundle import Bundle
from alledge.device.engine import open_engine
from alledge.device.pipeline import Pipeline
from alledge.errors import AlledgeError
from alledge.images import decode_image
from alledge.labels import INCONCLUSIVE, LABELS

SLOWEST_S = 2.0  # of CPU time of the child, for one case
SILENT_S = 60.0  # of wall time: a child that says nothing for so long is killed, and the case counts as a hang
MEMORY_MIB = 650  # peak of the child: the runtime itself, a file of up to 150 MB, and twice its pixels
DECODED = ("a verdict", "inconclusive")
Judge = Callable[[NDArray[np.uint8]], str]


@dataclass(frozen=True)
class Outcome:
    """What became of one case: CPU seconds, peak and resting memory of the child in MiB."""

    kind: str
    what: str
    seconds: float = 0.0
    peak: float = 0.0
    rest: float = 0.0


@dataclass
class Tally:
    """Counts per kind of damage, the worst figures, and every case that failed."""

    counts: dict[str, Counter[str]] = field(default_factory=dict)
    seconds: float = 0.0
    peak: float = 0.0
    rest: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def add(self, number: int, outcome: Outcome) -> None:
        """Count one case."""
        self.counts.setdefault(outcome.kind, Counter())[outcome.what] += 1
        self.seconds, self.peak = max(self.seconds, outcome.seconds), max(self.peak, outcome.peak)
        self.rest.append(outcome.rest)
        known = outcome.what in DECODED or outcome.what == "refused"
        if not known or outcome.seconds > SLOWEST_S or outcome.peak > MEMORY_MIB:
            self.failed.append(f"case {number} ({outcome.kind}): {outcome.what}, {outcome.seconds:.2f} s, "
                               f"{outcome.peak:.0f} MiB")
            print(self.failed[-1], flush=True)


def judge_file(data: bytes, judge: Judge) -> str:
    """Decode and judge one file: "a verdict", "inconclusive", "refused", or the exception that nobody expected."""
    try:
        rgb = decode_image(data, "case")
        assert (rgb.dtype, rgb.ndim, rgb.shape[2]) == (np.uint8, 3, 3)
        assert rgb.flags.c_contiguous
        return judge(rgb)
    except AlledgeError as error:
        return "refused" if str(error) and "\n" not in str(error) else f"a message of several lines: {error!r}"
    except Exception as error:  # whatever it is, it is what this script looks for
        return f"{type(error).__name__}: {error}"[:200]


def judge_by(pipeline: Pipeline) -> Judge:
    """The whole pipeline, with a look at what it says."""

    def judge(rgb: NDArray[np.uint8]) -> str:
        verdict = pipeline(rgb)
        assert verdict.verdict in (*LABELS, INCONCLUSIVE)
        assert verdict.conclusive or verdict.reasons
        assert np.isfinite([*verdict.probabilities.values(), *verdict.quality.values(), verdict.coverage]).all()
        return DECODED[not verdict.conclusive]

    return judge


def work(start: int, stop: int, seed: int, bundle: Path, parent: Connection) -> None:
    """In the child: run cases and report each."""
    cv2.setNumThreads(1)
    opened = Bundle.open(bundle)
    with closing(open_engine(opened)) as engine:
        judge = judge_by(Pipeline(opened, engine))
        parent.send(None)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libpng and libjpeg talk about every damaged file
        for number in range(start, stop):
            kind, data = case(seed, number)
            forget_peak()
            begin = time.process_time()
            what = judge_file(data, judge)
            parent.send(Outcome(kind, what, time.process_time() - begin, memory("VmHWM"), memory("VmRSS")))


def fuzz(cases: int, seed: int, bundle: Path) -> Tally:
    """Run all cases in children that are replaced when they die."""
    tally, number = Tally(), 1  # case 0 of every seed is one of the largest
    while number <= cases:
        ours, theirs = multiprocessing.Pipe()
        child = multiprocessing.get_context("spawn").Process(
            target=work, args=(number, cases + 1, seed, bundle, theirs), daemon=True)
        child.start()
        theirs.close()
        number = _listen(ours, child, number, cases, tally)
        child.kill()
        child.join()
    return tally


def _listen(ours: Connection, child: "multiprocessing.process.BaseProcess", number: int, cases: int,
            tally: Tally) -> int:
    """Count what a child reports until it is done, dead or silent; returns the next case."""
    ours.recv()
    while number <= cases:
        try:
            if not ours.poll(SILENT_S):
                tally.add(number, Outcome("unknown", f"silent for {SILENT_S:.0f} s", SILENT_S))
                return number + 1
            tally.add(number, ours.recv())
        except EOFError:
            child.join()
            tally.add(number, Outcome("unknown", f"the process died with exit code {child.exitcode}"))
            return number + 1
        if number % 5000 == 0:
            print(f"{number} of {cases}, {len(tally.failed)} failed", flush=True)
        number += 1
    return number


def memory(name: str) -> float:
    """VmHWM (peak) or VmRSS of this process in MiB (Linux)."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{name}:")[1].split()[0]) / 1024


def forget_peak() -> None:
    """Start measuring the peak anew (Linux, proc(5): writing 5 to clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5")


def page(tally: Tally, options: argparse.Namespace, seconds: float) -> str:
    """The page as Markdown."""
    total: Counter[str] = sum(tally.counts.values(), Counter())
    lines = [f"| {kind} | {sum(c.values()):,} | {c['refused']:,} | {c['inconclusive']:,} | {c['a verdict']:,} |"
             for kind, c in [*sorted(tally.counts.items()), ("**all**", total)]]
    quarter = max(1, len(tally.rest) // 4)
    early, late = np.median(tally.rest[:quarter]), np.median(tally.rest[-quarter:])
    failed = "".join(f"\n  - {line}" for line in tally.failed) or " none."
    return _PAGE.format(
        cases=options.cases, seed=options.seed, date=datetime.date.today(), machine=platform.machine(),
        cores=os.cpu_count(), python=platform.python_version(), cv2=cv2.__version__, pillow=PIL.__version__,
        version=__version__, wall=seconds / 60, rows="\n".join(lines), failed=failed, slowest=tally.seconds,
        limit=SLOWEST_S, peak=tally.peak, bound=MEMORY_MIB, early=early, late=late)


_PAGE = """# Mutated images

`python benchmarks/fuzz_images.py --cases {cases} --seed {seed}`, alledge {version}, {date}, {machine}, {cores} cores,
Python {python}, OpenCV {cv2}, Pillow {pillow}, {wall:.0f} min. Every kind of file (PNG, JPEG, BMP, TIFF, WebP, GIF;
grey, palette, transparent, CMYK, 16-bit, float, moving, many pages, rotated by EXIF), made from drawn fields, is
damaged and goes through decoding; what decodes goes through the whole pipeline with the reference bundle on TFLite.

| damage | files | refused with a sentence | decoded, inconclusive | decoded, a verdict |
|---|---|---|---|---|
{rows}

- Crashes, unexpected exceptions, hangs, too much memory:{failed}
- Slowest file: {slowest:.2f} s of CPU time, of {limit:.0f} s allowed.
- Peak memory of the process: {peak:.0f} MiB, of {bound} allowed (the file, its decoded pixels and the runtime; the
  largest pictures have 50 megapixels, 150 MB each way). At rest {early:.0f} MiB in the first quarter of the run and
  {late:.0f} MiB in the last.

"Whole" files of a kind that is not taken (grey, 16-bit, CMYK ...) are refused too. A damaged JPEG can still be a JPEG:
the format has no checksum, so pixels may be wrong and nobody can tell; the quality check and the domain gate are what
is left. The drawn fields themselves are mostly inconclusive, because the reference bundle was taught on real ones.
"""


def main() -> int:
    """Run, write the page, say what failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bundle", type=Path, default=reference.BUNDLE)
    parser.add_argument("--only", type=int, help="run this case alone and show its traceback")
    parser.add_argument("--out", type=Path, help="default: docs/results/fuzz.md; - for no page")
    options = parser.parse_args()
    if options.only is not None:
        return alone(options)
    begin = time.monotonic()
    tally = fuzz(options.cases, options.seed, options.bundle)
    report = page(tally, options, time.monotonic() - begin)
    print(report)
    if str(options.out) != "-":
        (options.out or Path("docs/results/fuzz.md")).write_text(report, encoding="utf-8")
    return 1 if tally.failed else 0


def alone(options: argparse.Namespace) -> int:
    """One case in this process, nothing caught."""
    kind, data = case(options.seed, options.only)
    print(f"seed {options.seed}, case {options.only}: {kind}, {len(data)} bytes")
    opened = Bundle.open(options.bundle)
    with closing(open_engine(opened)) as engine:
        print(judge_by(Pipeline(opened, engine))(decode_image(data, "case")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
