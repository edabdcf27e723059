"""What does each step of a field cost, and what does that grow with? Writes docs/results/cost.md.

    python benchmarks/cost.py [--rounds 15]

Each step is run by itself in this process, all of them in turn in every round, so that whatever else the machine does
hits all alike. Processor time of the whole process (all its threads), one OpenCV and one engine thread: what a busy
machine adds to it is what its caches lose. The shipped bundle on the CPU engine; drawn fields.
"""

import argparse
import tempfile
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray
from pages import head, spread, times
from turns import Step, repeats, seconds

from alledge import reference
from alledge.bundle import Bundle
from alledge.device import pixels, quality
from alledge.device.canvas import SMALL
from alledge.device.display import open_display
from alledge.device.engine import open_engine
from alledge.device.pipeline import Pipeline
from alledge.device.screen import screen
from alledge.device.sink.sqlite import SqliteSink
from alledge.device.words import words
from alledge.images import decode_image, encode_png
from alledge.palette import stain_figures
from alledge.pooling import Pool
from alledge.preprocess import resize
from alledge.quantisation import stored_input
from alledge.segmentation import segment
from alledge.synthetic import draw_field
from alledge.verdict import Verdict

SIZES = ((224, 224), (640, 480), (1280, 720), (1920, 1080), (4056, 3040))
CELLS = (0, 4, 12, 30)  # white cells that are asked for in a field
SAMPLES = (5, 50, 500)  # fields
LEAST_S = 0.02  # of processor time per measurement, so that the clock's steps do not matter


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, default=Path("docs/results/cost.md"))
    given = parser.parse_args()
    cv2.setNumThreads(1)
    bundle = Bundle.open(reference.BUNDLE)
    with tempfile.TemporaryDirectory() as folder, closing(open_engine(bundle)) as engine, \
            closing(SqliteSink(Path(folder) / "results.db")) as sink:
        pipeline = Pipeline(bundle, engine)
        verdict = pipeline(draw_field("pre_b", 1).rgb)
        tables = {"steps": of_a_tile(pipeline, sink, verdict, Path(folder)), "frames": of_frames(),
                  "cells": of_cells(bundle.manifest.preprocessing.size), "samples": of_samples(verdict)}
        steps = {(table, name): step for table, found in tables.items() for name, step in found.items()}
        taken = measured(steps, given.rounds)
        given.out.write_text(page(taken, given.rounds, sizes_in_bytes(pipeline)), "utf-8")


def of_a_tile(pipeline: Pipeline, sink: SqliteSink, verdict: Verdict, folder: Path) -> dict[str, Step]:
    """All that is done to a field once it is as small as the model wants it."""
    look = pipeline.prepare(draw_field("pre_b", 1).rgb)
    output = pipeline.infer(look)
    _ = look.quality, look.stain
    glass = open_display("png", {"path": str(folder / "now.png")})
    picture = screen(verdict, (240, 240), look.tile)
    return {
        "segmentation (`stain`)": partial(segment, look.tile, "stain"),
        "model's input: each level looked up": partial(stored_input, look.prepared, pipeline.bundle.manifest.input),
        "**inference**, int8, one thread": partial(pipeline.infer, look),
        "quality figures": partial(quality.measure, look.tile),
        "stain figures for the domain gate": partial(stain_figures, look.prepared.tile),
        "decision": partial(pipeline.decide, look, output),
        "result to SQLite, FULL, alone": partial(sink.write, verdict),
        "screen of 240x240, drawn": partial(screen, verdict, (240, 240), look.tile),
        "the same as PNG, to disk": partial(glass.show, picture, words(verdict)),
        "screen of 128x64, drawn": partial(screen, verdict, SMALL, look.tile),
    }


def of_frames() -> dict[str, Step]:
    """What depends on the camera's size: decoding, the camera's watch, making it small."""
    small, found = draw_field("pre_b", 1, 448).rgb, dict[str, Step]()
    for width, height in SIZES:
        frame = np.ascontiguousarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC))
        jpeg = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
        png, name = encode_png(frame), f"{width}x{height}"
        found |= {f"{name}/copy": frame.copy, f"{name}/JPEG": partial(decode_image, jpeg, "a.jpg"),
                  f"{name}/PNG": partial(decode_image, png, "a.png"), f"{name}/watch": partial(pixels.measure, frame),
                  f"{name}/small": partial(resize, frame, 224)}
    return found


def of_cells(size: int) -> dict[str, Step]:
    """Segmentation of fields with few and many white cells."""
    return {f"{cells}": partial(segment, draw_field("pre_b", 3, size, white_cells=float(cells)).rgb, "stain")
            for cells in CELLS}


def of_samples(verdict: Verdict) -> dict[str, Step]:
    """A sample of so many fields, added up from the first to its verdict."""
    return {f"{fields}": partial(pooled, replace(verdict, sample="S-1"), fields) for fields in SAMPLES}


def pooled(verdict: Verdict, fields: int) -> object:
    pool = Pool("S-1")
    for _ in range(fields):
        pool.add(verdict)
    return pool.verdict()


def measured(steps: dict[tuple[str, str], Step], rounds: int) -> dict[tuple[str, str], NDArray[np.float64]]:
    """Milliseconds of processor time of every step in every round."""
    times = {name: repeats(step, LEAST_S) for name, step in steps.items()}
    taken: dict[tuple[str, str], list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            taken[name].append(seconds(step, times[name]) * 1e3)
    return {name: np.array(values) for name, values in taken.items()}


def sizes_in_bytes(pipeline: Pipeline) -> dict[str, int]:
    """What moves, and how much is computed in the network."""
    look, manifest = pipeline.prepare(draw_field("pre_b", 1).rgb), pipeline.bundle.manifest
    return {"tile, uint8": look.tile.nbytes, f"the model's input, {manifest.input.dtype}": look.given.nbytes,
            "model": len(pipeline.bundle.cpu_model),
            "multiply-accumulates of the model": operations(pipeline.bundle.cpu_model),
            "screen of 240x240": 240 * 240 * 3, "screen of 128x64": 128 * 64 // 8}


def operations(model: bytes) -> int:
    """Multiply-accumulates of a .tflite's convolutions, dense layers and products of matrices."""
    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES  # a delegate would hide what it takes over
    interpreter = Interpreter(model_content=model, experimental_op_resolver_type=plain)
    shapes = {details["index"]: details["shape"] for details in interpreter.get_tensor_details()}
    per_output = {"CONV_2D": lambda op: shapes[op["inputs"][1]][1:],
                  "FULLY_CONNECTED": lambda op: shapes[op["inputs"][1]][1:],
                  "DEPTHWISE_CONV_2D": lambda op: shapes[op["inputs"][1]][1:3],
                  "BATCH_MATMUL": lambda op: shapes[op["inputs"][0]][-1:]}
    return sum(int(np.prod(shapes[op["outputs"][0]]) * np.prod(per_output[op["op_name"]](op)))
               for op in interpreter._get_ops_details() if op["op_name"] in per_output)


def page(taken: dict[tuple[str, str], NDArray[np.float64]], rounds: int, moved: dict[str, int]) -> str:
    of = {t: {n: v for (k, n), v in taken.items() if k == t} for t, _ in taken}
    infer = of["steps"]["**inference**, int8, one thread"]
    steps = "\n".join(f"| {name} | {times(v / infer)} | {spread(v)} |" for name, v in of["steps"].items())
    frames = "\n".join(
        " | ".join([f"| {w}x{h}", f"{w * h * 3 / 1e6:.2f}", *(spread(of["frames"][f"{w}x{h}/{column}"])
                                                           for column in ("copy", "small", "watch", "JPEG", "PNG"))])
        + " |" for w, h in SIZES)
    cells = "\n".join(f"| {name} | {spread(v)} |" for name, v in of["cells"].items())
    samples = "\n".join(f"| {name} | {spread(v)} | {np.median(v) / int(name) * 1e3:.1f} |"
                        for name, v in of["samples"].items())
    sizes = "\n".join(f"| {name} | {count:,} |" for name, count in moved.items())
    return f"""{head("What each step of a field costs")}
Milliseconds of processor time, median of {rounds} rounds in turns and in brackets the lowest and the highest tenth. The
bundle that comes with the package (LiteRT).

## Steps that do not depend on the camera

| step | of one inference | ms |
|---|---|---|
{steps}

## Frames

Making it small is the middle square, averaged down to 224x224. The watch looks at live cameras only; decoding is of
files and of cameras that send JPEG (quality 90, all of it; files of 2,400 pixels a side are read at half their size).
Drawn at 448x448 and enlarged, so files are smaller, and decoding is faster, than with a sharp picture.

| frame | MB | copying it | making it small | the camera's watch | decoding JPEG | decoding PNG |
|---|---|---|---|---|---|---|
{frames}

## White cells in a field

| asked for | segmentation, ms |
|---|---|
{cells}

## Fields of a sample

| fields | added up, ms | microseconds a field |
|---|---|---|
{samples}

## What moves

| | bytes, operations |
|---|---|
{sizes}
"""


if __name__ == "__main__":
    main()
