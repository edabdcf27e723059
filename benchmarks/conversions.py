"""Does every backbone convert for every board, how large and how slow? Writes docs/results/conversions.md.

    python benchmarks/conversions.py WORK [--only BACKBONE ...] [--seconds 1800] [--gib 18] [--out FILE]

Each backbone gets random weights, the compact head, and normalisation settled on drawn fields; accuracy is therefore
meaningless here and the gate is overruled (--allow-drop). Every conversion is the user's command in a process of its
own with a limit of time and memory. What is finished is kept in WORK/cells.jsonl, so that the command can be run again.
In the end the model that comes with the package is converted to all targets, one after the other, gates and all.
"""

import argparse
import datetime
import json
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

TARGETS = ("coral", "cpu", "jetson-nano", "jetson-orin")
ENGINES = {"cpu": "tflite", "coral": "tflite", "jetson-nano": "onnx", "jetson-orin": "onnx"}
TILES = 2  # per class, for ranges and again as held-out rows
TIMED = 30  # inferences; the fastest counts, because other work on the machine only ever slows one down
MIB = 2**20
ABSENT = "| {name} | {target} | not measured here | | | | | | | |"


def main() -> None:
    arguments = _arguments()
    if arguments.make:
        return make_run(arguments.make, arguments.work)
    if arguments.time:
        return time_bundle(arguments.time, arguments.work)
    from alledge.train.backbones import BACKBONES

    arguments.work.mkdir(parents=True, exist_ok=True)
    names = arguments.only or [name for name in BACKBONES if name != "tiny"]
    for target in TARGETS:
        for backbone in names:
            measure(arguments, backbone, target)
    measure_all(arguments)
    report(arguments)
    return None


def make_run(backbone: str, folder: Path) -> None:
    """A run folder as training leaves it, without training."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import keras
    import numpy as np

    from alledge.calibration import Calibration
    from alledge.labels import LABELS
    from alledge.preprocess import prepare_field, scale
    from alledge.runfolder import (
        CALIBRATION_TILES,
        HELD_OUT_TILES,
        MODEL,
        Tiles,
        TrainingRecord,
        write_record,
        write_tiles,
    )
    from alledge.synthetic import draw_field
    from alledge.train.backbones import preprocessing_for
    from alledge.train.model import build_model

    folder.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(0)
    preprocessing = preprocessing_for(backbone, "none")
    truth = np.repeat(np.arange(len(LABELS)), TILES)
    for part, name in enumerate((CALIBRATION_TILES, HELD_OUT_TILES)):
        pixels = np.stack([prepare_field(draw_field(LABELS[label], 1000 * part + i, preprocessing.size).rgb,
                                         preprocessing).tile for i, label in enumerate(truth)])
        write_tiles(folder, name, Tiles(pixels=pixels, truth=truth.astype(np.int64)))
    model = build_model(backbone, "none", "compact")
    settle(model, scale(pixels[::4], preprocessing))
    model.save(folder / MODEL)
    write_record(folder, TrainingRecord(run_id="0" * 12, labels=list(LABELS), preprocessing=preprocessing,
                                        calibration=Calibration(), options={"backbone": backbone}, metrics={},
                                        provenance={"weights": "random"}, history={}))


def settle(model: Any, images: Any) -> None:
    """Give normalisation the statistics of real activations: those of an untrained deep network overflow."""
    import keras

    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for layer in layers:
        layer.momentum = 0.0
    model(images, training=True)
    for layer in layers:
        layer.momentum = 0.99


def time_bundle(path: Path, engine: str) -> None:
    """Milliseconds of the fastest of some inferences, one thread, as a device loads the bundle."""
    import numpy as np

    from alledge.bundle import Bundle
    from alledge.device.engine import open_engine

    bundle = Bundle.open(path)
    running = open_engine(bundle, str(engine))
    size = bundle.manifest.preprocessing.size
    tensor = np.random.default_rng(0).uniform(-1, 1, (size, size, 3)).astype(np.float32)
    taken = []
    for _ in range(TIMED + 2):
        start = time.perf_counter()
        running.infer(tensor)
        taken.append(1000 * (time.perf_counter() - start))
    print(min(taken[2:]))


def measure(arguments: argparse.Namespace, backbone: str, target: str) -> None:
    """One cell, unless it is there already."""
    if (backbone, target) in {(cell["backbone"], cell["target"]) for cell in cells(arguments.work)}:
        return
    run = arguments.work / backbone
    if not (run / "training.json").is_file():
        made = limited([sys.executable, __file__, run, "--make", backbone], arguments)
        assert made["code"] == 0, made["error"]
    print(f"{datetime.datetime.now():%H:%M:%S} {backbone} {target}", flush=True)
    bundle = arguments.work / f"{backbone}-{target}.alledge"
    cell = {"backbone": backbone, "target": target, "date": str(datetime.date.today()),
            **convert(run, target, bundle, arguments, "--allow-drop")}
    if bundle.is_file():
        timed = limited([sys.executable, __file__, ENGINES[target], "--time", bundle], arguments)
        cell["latency_ms"] = float(timed["output"]) if timed["code"] == 0 else None
        bundle.unlink()
        bundle.with_suffix(".html").unlink(missing_ok=True)
    with (arguments.work / "cells.jsonl").open("a") as file:
        file.write(json.dumps(cell) + "\n")


def convert(run: Path, target: str, bundle: Path, arguments: argparse.Namespace, *options: str) -> dict[str, Any]:
    """Run `alledge convert` and keep what the table needs of its document."""
    done = limited([sys.executable, "-m", "alledge", "convert", run, "--target", target, "--out", bundle,
                    *options, "--json"], arguments)
    found = {"seconds": done["seconds"], "peak_mib": done["peak_mib"], "error": done["error"]}
    if done["code"] != 0:
        return found
    document = json.loads(done["output"])
    ops = document["ops"]
    found |= {"bytes": document["bytes"], "operations": sum(row["count"] for row in ops),
              "refused": sum(row["count"] for row in ops if row["mapped"] is False)}
    if document.get("ladder"):
        last = document["ladder"][-1]
        found |= {"rung": last["rung"], "first_blocking": last["lint"]["first_blocking"],
                  "macs_before": last["lint"]["macs_before"], "streamed_bytes": last["lint"]["streamed_bytes"]}
    return found


def limited(command: list[Any], arguments: argparse.Namespace) -> dict[str, Any]:
    """Run a process within the limits: code, output, last line of stderr, seconds, peak MiB."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    start = time.monotonic()
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True, env=environment, start_new_session=True)
    peak, stopped, output, errors = 0.0, "", None, ""
    while output is None:
        peak = max(peak, peak_mib(process.pid))
        try:
            output, errors = process.communicate(timeout=0.5)
        except subprocess.TimeoutExpired:
            if time.monotonic() - start > arguments.seconds:
                stopped = f"stopped after {arguments.seconds} s"
            elif peak > 1024 * arguments.gib:
                stopped = f"stopped beyond {arguments.gib:g} GiB"
            if stopped:
                os.killpg(process.pid, signal.SIGKILL)
    lines = [line for line in errors.splitlines() if line.strip()]
    return {"code": process.returncode, "output": output, "seconds": time.monotonic() - start, "peak_mib": peak,
            "error": stopped or (lines[-1] if process.returncode and lines else "")}


def peak_mib(process: int) -> float:
    """Largest resident memory so far (Linux), 0 once it is gone."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM")), 0.0)


def measure_all(arguments: argparse.Namespace) -> None:
    """The model that comes with the package to all targets, in one go."""
    from alledge import reference
    from alledge.convert.targets import TARGETS as ALL

    done, start = [], time.monotonic()
    for target in ALL:
        out = arguments.work / f"all-{target}.alledge"
        found = convert(reference.RUN, target, out, arguments)
        done.append({"target": target, **found})
    total = time.monotonic() - start
    (arguments.work / "all.json").write_text(json.dumps({
        "seconds": total, "date": str(datetime.date.today()), "targets": done, "load": os.getloadavg()[0]}))


def cells(work: Path) -> list[dict[str, Any]]:
    path = work / "cells.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def report(arguments: argparse.Namespace) -> None:
    """The page, of what there is so far."""
    lines = [HEAD.format(machine=platform.machine(), cores=os.cpu_count(), python=platform.python_version(),
                         tiles=4 * TILES, timed=TIMED, seconds=arguments.seconds, gib=arguments.gib)]
    from alledge.train.backbones import BACKBONES

    found = {(cell["backbone"], cell["target"]): cell for cell in cells(arguments.work)}
    lines += [row(found[name, target]) if (name, target) in found else ABSENT.format(name=name, target=target)
              for name in BACKBONES if name != "tiny" for target in TARGETS]
    path = arguments.work / "all.json"
    if path.is_file():
        lines += ["", *all_rows(json.loads(path.read_text()))]
    arguments.out.write_text("\n".join(lines) + "\n")
    print(arguments.out)


def row(cell: dict[str, Any]) -> str:
    head = f"| {cell['backbone']} | {cell['target']} "
    cost = f"| {cell['seconds']:.0f} | {cell['peak_mib'] / 1024:.1f} | {cell['date']} |"
    if cell["error"] or "bytes" not in cell:
        return f"{head}| refused: {cell['error'].removeprefix('error: ')} | | | | | {cost}"
    latency = cell.get("latency_ms")
    return (f"{head}| {cell['bytes'] / MIB:.1f} MiB | {cell['operations']} | {lint(cell)} | {overflow(cell)} "
            f"| {'not run' if latency is None else f'{latency:.1f}'} {cost}")


def lint(cell: dict[str, Any]) -> str:
    if "rung" not in cell:
        return f"{cell['refused']} refused" if cell["refused"] else "none refused"
    words = f"{cell['refused']} refused" if cell["refused"] else "none refused"
    if cell["first_blocking"]:
        words += f", first {cell['first_blocking']} after {cell['macs_before']:.0%} of the work"
    return f"{words}; form {cell['rung']}"


def overflow(cell: dict[str, Any]) -> str:
    if "streamed_bytes" not in cell:
        return "-"
    return f"{cell['streamed_bytes'] / MIB:.1f} MiB" if cell["streamed_bytes"] else "fits"


def all_rows(found: dict[str, Any]) -> list[str]:
    told = ", ".join(f"{cell['target']} {cell['seconds']:.0f} s" if not cell["error"] else
                     f"{cell['target']} failed ({cell['error']})" for cell in found["targets"])
    return ["The model that comes with the package to all targets, one after the other, no gate overruled: "
            f"**{found['seconds']:.0f} s** ({told}), {found['date']}, load average at the end {found['load']:.1f}."]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--seconds", type=int, default=1800)
    parser.add_argument("--gib", type=float, default=18.0)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs/results/conversions.md")
    parser.add_argument("--make", help=argparse.SUPPRESS)
    parser.add_argument("--time", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


HEAD = """# Every backbone for every board

Command: `python benchmarks/conversions.py WORK`. {machine}, {cores} cores, Python {python}, no GPU and no
board. Random weights, compact head, {tiles} drawn tiles for ranges and as many to judge on: what is shown is that it
converts, how large it is and what it costs, not how well it sees. One conversion per cell, so spread is not measured,
and the machine had other work to do: two rows are no comparison of speed. What is
*not measured here* is filled in when the command is run again: it keeps what is finished.

- *operations*: of the converted file. *lint*: for `coral` against the Edge TPU's table (no compiler was run), for the
  Jetsons against TensorRT's. *SRAM overflow*: parameters beyond the Edge TPU's 8 MiB, which stream over USB at every
  inference.
- *host*: fastest of {timed} inferences in ms on this machine's CPU, one thread (LiteRT; ONNX Runtime for the Jetsons).
  Not a board's.
- *s*, *GiB*: wall time and peak memory of `alledge convert`, {seconds} s and {gib:g} GiB at most.

| backbone | target | bundle | operations | lint | SRAM overflow | host | s | GiB | date |
|---|---|---|---|---|---|---|---|---|---|"""


if __name__ == "__main__":
    main()
