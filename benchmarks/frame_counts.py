"""How much memory does a field take, how much of it is copied, how often is the disk flushed? Exact on a busy machine.

    python benchmarks/frame_counts.py

A library loaded before all others (frame_counts.c, compiled with cc) counts large blocks of memory, bytes that the C
library copied a row or more at a time, and flushes. Copies by OpenCV's own instructions are not among them. The
versions of OpenCV, NumPy and LiteRT decide the counts, too, and the processor's kind: those of constraints.txt on
x86-64 are meant.
Prints one JSON document; `ratios.py` holds it against committed counts.
"""

import ctypes
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from statistics import median

import cv2

from alledge import reference
from alledge.bundle import Bundle
from alledge.device.engine import open_engine
from alledge.device.pipeline import Pipeline
from alledge.device.sink.sqlite import SqliteSink
from alledge.synthetic import draw_field

FRAME, TIMES = (1280, 720), 9
BLOCKS, BYTES, COPIED, FLUSHES = range(4)  # as in frame_counts.c


def main() -> None:
    print(json.dumps(counted()))


def counted() -> dict[str, int]:
    """Empty where there is no C compiler, another C library than GNU's, or another processor than x86-64."""
    if not shutil.which("cc") or platform.machine() != "x86_64" or platform.libc_ver()[0] != "glibc":
        return {}
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "frame_counts.so"
        source = Path(__file__).with_suffix(".c")
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-fno-builtin", "-o", library, source, "-ldl"], check=True)
        done = subprocess.run([sys.executable, __file__, "--child", folder], check=True, stdout=subprocess.PIPE,
                              env={**os.environ, "LD_PRELOAD": str(library)})
    return dict(json.loads(done.stdout))


def child(folder: Path) -> dict[str, int]:
    cv2.setNumThreads(1)
    frame = cv2.resize(draw_field("pre_b", 1, 448).rgb, FRAME)
    if of(frame.copy)[:FLUSHES] != [1, frame.nbytes, frame.nbytes]:
        raise SystemExit("frame_counts.c does not see a frame being copied: its counts would mean nothing")
    bundle = Bundle.open(reference.BUNDLE)
    with closing(open_engine(bundle)) as engine, closing(SqliteSink(folder / "results.db")) as sink:
        pipeline = Pipeline(bundle, engine)
        verdict = pipeline(frame)
        sink.write(verdict)
        look = pipeline.prepare(frame)
        prepared = of(partial(pipeline.prepare, frame))
        inferred = of(partial(pipeline.infer, look))
        judged = of(partial(pipeline, frame))
        kept = of(partial(sink.write, verdict))
    return {"large blocks of memory, 1280x720 prepared": prepared[BLOCKS],
            "bytes in large blocks, 1280x720 prepared": prepared[BYTES],
            "bytes copied by the C library, 1280x720 prepared": prepared[COPIED],
            "large blocks of memory, inference": inferred[BLOCKS],
            "bytes copied by the C library, inference": inferred[COPIED],
            "large blocks of memory, 1280x720 judged": judged[BLOCKS],
            "flushes of the disk, per result": kept[FLUSHES]}


def of(step: Callable[[], object]) -> list[int]:
    """What one run of a step makes the C library do: the median of several that are warm."""
    library, seen = ctypes.CDLL(None), []
    for number in range(TIMES + 2):
        library.count_frames(1)
        step()
        library.count_frames(0)
        found = [library.counted(which) for which in range(4)]
        if number > 1:
            seen.append(found)
    return [int(median(values)) for values in zip(*seen, strict=True)]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(child(Path(sys.argv[2]))))
    else:
        main()
