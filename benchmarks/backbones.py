"""Every backbone with every head, from random weights: does it build, learn a step, come back from disk and judge?

    python benchmarks/backbones.py [--backbones NAME ...] [--heads NAME ...] [--steps N] [--batch N] [--eager]

Each pair has a process of its own, so that its peak memory is its own; finished pairs in --kept are not measured again.
Tiles are drawn smears; accuracy after a few steps from random weights means nothing and is not shown. Writes
docs/results/backbones.md.
"""

import argparse
import datetime
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HEADS = ("compact", "mhsa", "plain")
PER_CLASS = 1  # smears
MIB = 2 ** 20


def measure(backbone: str, head: str, steps: int, batch: int, eager: bool) -> dict[str, Any]:
    """Build, train, save, load and judge one network in this process."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras
    import numpy as np

    from alledge.labels import LABELS
    from alledge.metrics import score
    from alledge.preprocess import resize, scale
    from alledge.synthetic import draw_field
    from alledge.train.backbones import preprocessing_for
    from alledge.train.losses import FocalLoss
    from alledge.train.model import build_model

    started = time.perf_counter()
    keras.utils.set_random_seed(0)
    preprocessing = preprocessing_for(backbone, "none")
    truth = np.repeat(np.arange(len(LABELS)), PER_CLASS)
    tiles = np.stack([resize(draw_field(LABELS[t], i).rgb, preprocessing.size) for i, t in enumerate(truth)])
    images, wanted = scale(tiles, preprocessing), np.eye(len(LABELS), dtype=np.float32)[truth]
    model = build_model(backbone, "none", head)
    built = time.perf_counter() - started
    trained = keras.Model(model.inputs, model.output["probs"])
    trained.compile(keras.optimizers.Adam(1e-4), FocalLoss(), run_eagerly=eager)
    trained.train_on_batch(images[:batch], wanted[:batch])  # traces the graph, if any
    times, losses = [], []
    for step in range(steps):
        rows = (np.arange(batch) + step * batch) % len(truth)
        before = time.perf_counter()
        losses.append(float(trained.train_on_batch(images[rows], wanted[rows])))
        times.append(time.perf_counter() - before)
    before = judge(model, images)
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "model.keras"
        keras.Model(model.inputs, model.output).save(path)
        size = path.stat().st_size
        after = judge(keras.models.load_model(path, compile=False), images)
    if not (np.isfinite(losses).all() and np.array_equal(before, after)):
        raise SystemExit(f"{backbone} {head}: losses {losses}; equal after loading: {np.array_equal(before, after)}")
    return {"mode": "eager" if eager else "graph",
            "size": preprocessing.size, "parameters": model.count_params(), "file_mib": size / MIB,
            "build_s": built, "step_s": statistics.median(times), "n": score(after, truth).n,
            "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def judge(model: Any, images: Any) -> Any:
    """Probabilities [n, 4], one image at a time: a whole batch of the largest network needs gigabytes."""
    import keras
    import numpy as np

    outputs = [model(images[i:i + 1], training=False)["probs"] for i in range(len(images))]
    return np.concatenate([keras.ops.convert_to_numpy(probs) for probs in outputs])


def kept(options: argparse.Namespace) -> dict[tuple[str, str], dict[str, Any]]:
    """What was measured, now or in an earlier call: (backbone, head) -> figures."""
    lines = options.kept.read_text().splitlines() if options.kept.exists() else []
    return {(pair["backbone"], pair["head"]): pair for pair in map(json.loads, lines)}


def measure_in_child(backbone: str, head: str, options: argparse.Namespace) -> None:
    """Measure a pair in a process of its own and keep it."""
    command = [sys.executable, __file__, "--one", backbone, head, "--steps", str(options.steps), "--batch",
               str(options.batch), *(["--eager"] if options.eager else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        raise SystemExit(f"{backbone} {head} ended with exit code {done.returncode}")
    pair = {"backbone": backbone, "head": head, **json.loads(done.stdout.splitlines()[-1])}
    with options.kept.open("a") as file:
        file.write(json.dumps(pair) + "\n")
    print(row(backbone, head, pair), flush=True)


def row(backbone: str, head: str, pair: dict[str, Any] | None) -> str:
    """One line of the table."""
    if pair is None:
        return (f"| {backbone} | {head} | not measured here: `python benchmarks/backbones.py --backbones {backbone} "
                f"--heads {head}` | | | | | |")
    return (f"| {backbone} | {head} | {pair['size']} | {pair['parameters'] / 1e6:.1f} | {pair['file_mib']:.0f} | "
            f"{pair['build_s']:.0f} | {pair['step_s']:.2f} ({pair['mode']}) | {pair['peak_mib']:.0f} |")


PAGE = """# Eight backbones, three heads

`{command}`, {date}, {machine}.

From random weights, each network was built, took {steps} timed steps of {batch} drawn smears (after one that traces the
graph, where there is one), was saved, loaded without this package's classes and gave exactly the probabilities it gave
before, on {n} drawn smears. **Seconds do not rank the networks**: they are medians of {steps} steps on a machine whose
other work changed from pair to pair, and "graph" steps are traced while "eager" ones (`--eager`) are not. Parameters
and file sizes are exact; memory is the peak of the whole process, TensorFlow in it.

| backbone | head | px | parameters, M | file, MiB | build, s | step, s | peak, MiB |
|---|---|---|---|---|---|---|---|
{rows}

Accuracy with ImageNet weights on smears is not measured here, for want of the weights and of a GPU; one command each:
`alledge reproduce --table 5 --data DIR --split CSV` (and 6, 7, 8; `--backbones NAME --weights FILE` for one at a time).
`--protocol leaky` beside it shows what the leak of the paper's order is worth. What was measured of MobileNetV2
stands in [taleghani.md](taleghani.md) and [reproduce.md](reproduce.md).
"""


def main() -> None:
    """Measure every pair and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbones", nargs="*", help="default: all but tiny")
    parser.add_argument("--heads", nargs="*", default=list(HEADS))
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("docs/results/backbones.md"))
    parser.add_argument("--eager", action="store_true", help="trace no graph: slower steps, a minute less per pair")
    parser.add_argument("--kept", type=Path, default=Path("build/backbones.jsonl"))
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(*options.one, options.steps, options.batch, options.eager)))
        return
    from alledge.train.backbones import BACKBONES

    options.kept.parent.mkdir(parents=True, exist_ok=True)
    names = options.backbones or [name for name in BACKBONES if name != "tiny"]
    for backbone in names:
        for head in options.heads:
            if (backbone, head) not in kept(options):
                measure_in_child(backbone, head, options)
    found = kept(options)
    rows = [row(backbone, head, found.get((backbone, head)))
            for backbone in BACKBONES if backbone != "tiny" for head in HEADS]
    options.out.write_text(PAGE.format(
        command=f"python benchmarks/backbones.py --steps {options.steps} --batch {options.batch}",
        date=datetime.date.today(), machine=f"{platform.machine()}, {os.cpu_count()} cores, no GPU",
        steps=options.steps, batch=options.batch, n=PER_CLASS * 4, rows="\n".join(rows)), encoding="utf-8")
    print(options.out)


if __name__ == "__main__":
    main()
