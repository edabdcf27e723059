"""Has a step of a field become twice as slow? Ratios to one colour conversion, and counts, against committed ones.

    python benchmarks/ratios.py            (compare with benchmarks/reference/ratios.csv; exit code 1 when worse)
    python benchmarks/ratios.py --write    (commit what this machine measures; only the counts with --counts)

Absolute times belong to a machine; how many conversions of a tile from RGB to LAB a step costs hardly does. Each step
and the conversion take turns, processor time, median of the rounds. A ratio above the band is measured again, up to
three times: other work makes it larger, never smaller for long. Counts have no band: a change has to be committed.
Those of `frame_counts.py` need a C compiler and are left out without one.
"""

import argparse
import csv
import json
import sys
import tempfile
import tracemalloc
from collections.abc import Iterable
from contextlib import closing
from functools import partial
from pathlib import Path
from statistics import median

import cv2
import frame_counts
from turns import Step, repeats, seconds

from alledge import reference
from alledge.bundle import Bundle
from alledge.device import pixels, quality
from alledge.device.engine import open_engine
from alledge.device.pipeline import Pipeline
from alledge.device.screen import screen
from alledge.device.sink.sqlite import SqliteSink
from alledge.palette import stain_figures
from alledge.preprocess import resize
from alledge.quantisation import stored_input
from alledge.segmentation import segment
from alledge.synthetic import draw_field
from alledge.verdict import Verdict

COMMITTED = Path(__file__).parent / "reference" / "ratios.csv"
BAND, TRIES, LEAST_S, ROWS = 1.8, 3, 0.01, 40
FRAME = (1280, 720)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, default=COMMITTED)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--counts", action="store_true", help="neither measure nor write ratios")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    bundle = Bundle.open(reference.BUNDLE)
    with closing(open_engine(bundle)) as engine:
        pipeline = Pipeline(bundle, engine)
        steps, verdict = of_a_field(pipeline), pipeline(draw_field("pre_b", 1).rgb)
        found = ratios(steps, () if given.counts else steps, given.rounds)
        counted = {**counts(pipeline, verdict), **frame_counts.counted()}
        if given.write:
            kept = {name: then for name, then in read(given.against).items() if given.counts and name in steps}
            write(given.against, {**kept, **found, **counted})
            return
        then = read(given.against)
        for _ in range(TRIES - 1):
            again = [name for name, ratio in found.items() if ratio > BAND * then.get(name, 0.0)]
            found |= {name: min(found[name], ratio) for name, ratio in ratios(steps, again, given.rounds).items()}
    worse = [f"{name}: {ratio:.2f} conversions, committed {then.get(name, 0.0):.2f}"
             for name, ratio in found.items() if ratio > BAND * then.get(name, 0.0)]
    worse += [f"{name}: {count}, committed {then.get(name, 0.0):.0f}"
              for name, count in counted.items() if count != then.get(name)]
    print(json.dumps({**found, **counted}))
    if worse:
        sys.exit("worse than committed, or counted anew (python benchmarks/ratios.py --write): " + "; ".join(worse))


def of_a_field(pipeline: Pipeline) -> dict[str, Step]:
    """The steps whose cost is arithmetic, not waiting."""
    settings = pipeline.bundle.manifest.preprocessing
    frame = cv2.resize(draw_field("pre_b", 1, 448).rgb, FRAME)
    look = pipeline.prepare(draw_field("pre_b", 1).rgb)
    output = pipeline.infer(look)
    verdict = pipeline.decide(look, output)
    return {
        "segmentation, stain": partial(segment, look.tile, "stain"),
        "segmentation, paper": partial(segment, look.tile, "paper"),
        "1280x720 made small": partial(resize, frame, settings.size),
        "camera's watch, 1280x720": partial(pixels.measure, frame),
        "model's input": partial(stored_input, look.prepared, pipeline.bundle.manifest.input),
        "inference": partial(pipeline.infer, look),
        "quality figures": partial(quality.measure, look.tile),
        "stain figures": partial(stain_figures, look.prepared.tile),
        "decision": partial(pipeline.decide, look, output),
        "screen of 240x240": partial(screen, verdict, (240, 240), look.tile),
    }


def ratios(steps: dict[str, Step], names: Iterable[str], rounds: int) -> dict[str, float]:
    """How many conversions of a tile each of the named steps costs."""
    tile = draw_field("pre_b", 1).rgb
    measure = partial(cv2.cvtColor, tile, cv2.COLOR_RGB2LAB)
    times = {name: repeats(steps[name], LEAST_S) for name in names}
    once, taken = repeats(measure, LEAST_S), {name: list[float]() for name in names}
    for _ in range(rounds):
        for name, values in taken.items():
            values.append(seconds(steps[name], times[name]) / seconds(measure, once))
    return {name: median(values) for name, values in taken.items()}


def counts(pipeline: Pipeline, verdict: Verdict) -> dict[str, int]:
    """What can be counted, so that no machine is too busy for it."""
    frame = cv2.resize(draw_field("pre_b", 1, 448).rgb, FRAME)
    pipeline.prepare(frame)
    tracemalloc.start()
    pipeline.prepare(frame)
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    pipeline.prepare(frame)
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    with tempfile.TemporaryDirectory() as folder, closing(SqliteSink(Path(folder) / "results.db")) as sink:
        done = [written(partial(sink.write, verdict)) for _ in range(ROWS)]
    return {"whole frames held at once while preparing 1280x720": peak // frame.nbytes,
            "system calls that write, per result": int(median(calls for calls, _ in done)),
            "bytes written, per result": int(median(size for _, size in done))}


def written(step: Step) -> tuple[int, int]:
    """System calls that write, and bytes (proc(5), /proc/self/io), of one step of this process."""
    before = io()
    step()
    return tuple(after - first for first, after in zip(before, io(), strict=True))


def io() -> tuple[int, int]:
    lines = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(lines["syscw"]), int(lines["wchar"])


def read(path: Path) -> dict[str, float]:
    with path.open(newline="") as file:
        return {row["what"]: float(row["value"]) for row in csv.DictReader(file)}


def write(path: Path, found: dict[str, float]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("what", "value"))
        writer.writerows((name, int(value) if value == int(value) else f"{value:.3g}") for name, value in found.items())


if __name__ == "__main__":
    main()
