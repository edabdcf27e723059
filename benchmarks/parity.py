"""Is an int8 bundle still the trained network, on rows that nothing was chosen with? Writes docs/results/parity.md.

    python benchmarks/parity.py RUN BUNDLE... --data DIR --split CSV [--reference 40] [--out FILE]

Float and int8 judge the split's test rows, paired: under XNNPACK and the built-in kernels all of them, under TFLite's
reference kernels, which take seconds a tile, an even sample; an Orin's under ONNX Runtime, with and without fused
nodes. The bundles are of RUN, `coral` ones uncompiled.
Asked for: accuracy within 0.5 point of float and agreement of 99 % or more; between kernel sets no probability of a
golden further apart than the bundle's own tolerance.
"""

import argparse
import datetime
import os
import platform
from functools import partial
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from alledge.bundle import Bundle
from alledge.convert import onnx_run
from alledge.convert.check import Comparison, compare
from alledge.convert.converted import Run
from alledge.convert.onnx_run import ONNX_RUNTIME, run_plainly
from alledge.convert.tflite_run import BUILTIN, REFERENCE, XNNPACK, kernels
from alledge.convert.trained import open_trained, predict, tensors
from alledge.dataset import read_dataset
from alledge.images import decode_image, read_image
from alledge.preprocess import prepare_field
from alledge.quiet import quiet
from alledge.runfolder import Tiles

MAX_DROP, MIN_AGREEMENT = 0.005, 0.99
HEAD = """# Float against int8 on test rows

Command: `python benchmarks/parity.py RUN BUNDLE... --data DIR --split CSV`. {machine}, {cores} cores, {date}. Run
{run}: test rows of the split ({n} images), which neither training nor conversion looked at. Differences are paired,
intervals 95 %; they take images as independent, which fields of one slide are not. Asked for: a difference of -0.5
points or better and agreement of 99 % or more. The head `compact` by itself is not measured here: train with
`--head compact` and give that run to the command. Head `nuclei` holds the same attention as its second opinion.

| bundle | kernels | images | float | int8 | difference | agreement | largest change of a probability | met |
|---|---|---|---|---|---|---|---|---|"""
GOLDENS = """
Between kernel sets, on the goldens of each bundle (drawn fields that every device replays):

| bundle | kernels | largest difference to the recorded probabilities | tolerance | met |
|---|---|---|---|---|"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("bundles", type=Path, nargs="+")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", type=Path)
    parser.add_argument("--reference", type=int, default=40)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs/results/parity.md")
    arguments = parser.parse_args()
    with quiet():
        trained = open_trained(arguments.run)
    items = read_dataset(arguments.data, arguments.split).subset("test")
    preprocessing = trained.record.preprocessing
    tiles = Tiles(pixels=np.stack([prepare_field(read_image(item.path), preprocessing).tile for item in items]),
                  truth=np.array([item.index for item in items]))
    before = predict(trained, tiles)
    rows, goldens = [], []
    for path in arguments.bundles:
        bundle = Bundle.open(path)
        for name, run in kernel_sets(bundle).items():
            sample = arguments.reference if name == REFERENCE else len(items)
            chosen = np.linspace(0, len(items) - 1, sample).round().astype(int)
            after = run(tensors(tiles.pixels[chosen], preprocessing))
            rows.append(row(bundle, name, compare(before.rows(chosen), after, tiles.truth[chosen])))
            goldens.append(golden_row(bundle, name, run))
            print(rows[-1], goldens[-1], sep="\n", flush=True)
    page = HEAD.format(machine=platform.machine(), cores=os.cpu_count(), date=datetime.date.today(),
                       run=trained.record.run_id, n=len(items))
    arguments.out.write_text("\n".join([page, *rows, GOLDENS, *goldens, ""]))


def kernel_sets(bundle: Bundle) -> dict[str, Run]:
    if bundle.manifest.engine == "tensorrt":
        return {ONNX_RUNTIME: partial(onnx_run.run, bundle.model), "unfused": partial(run_plainly, bundle.model)}
    return dict(kernels(bundle.model, bundle.head, (XNNPACK, BUILTIN, REFERENCE)))


def row(bundle: Bundle, kernel_set: str, found: Comparison) -> str:
    accuracy = found.accuracy
    assert accuracy is not None
    low, high = (100 * end for end in accuracy.delta_ci95)
    met = accuracy.delta >= -MAX_DROP and found.agreement >= MIN_AGREEMENT
    return (f"| {bundle.manifest.target} | {kernel_set} | {found.n} | {accuracy.before:.1%} | {accuracy.after:.1%} "
            f"| {100 * accuracy.delta:+.1f} ({low:+.1f} to {high:+.1f}) "
            f"| {found.agreement:.1%} ({found.agreement_ci95[0]:.1%} to {found.agreement_ci95[1]:.1%}) "
            f"| {found.max_abs:.3f} | {'yes' if met else '**no**'} |")


def golden_row(bundle: Bundle, kernel_set: str, run: Run) -> str:
    manifest = bundle.manifest
    fields = [prepare_field(decode_image(bundle.read(g.image), g.image), manifest.preprocessing).tensor[None]
              for g in manifest.goldens]
    wanted = np.array([golden.probabilities for golden in manifest.goldens])
    apart = float(np.abs(run(fields).probs - wanted).max())
    return (f"| {manifest.target} | {kernel_set} | {apart:.3f} | {manifest.tolerance:g} "
            f"| {'yes' if apart <= manifest.tolerance else '**no**'} |")


if __name__ == "__main__":
    main()
