"""Is an int8 bundle still the trained network, on rows that nothing was chosen with? Writes docs/results/parity.md.

    python benchmarks/parity.py --case RUN BUNDLE... --data DIR --split CSV [--reference 40] [--out FILE]

Float and int8 judge the split's test rows, paired: under XNNPACK and the built-in kernels all of them, under TFLite's
reference kernels, which take seconds a tile, an even sample; an Orin's under ONNX Runtime, with and without fused
nodes. The bundles are of RUN, `coral` ones uncompiled. `--case` may be repeated.
Asked for: accuracy within 0.5 point of float and agreement of 99 % or more; between kernel sets no probability of a
golden further apart than the bundle's own tolerance.
"""

import argparse
import datetime
import os
import platform
from collections.abc import Iterator, Sequence
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
from alledge.convert.trained import Trained, open_trained, predict, tensors
from alledge.dataset import Item, read_dataset
from alledge.images import decode_image, read_image
from alledge.preprocess import prepare_field
from alledge.quiet import quiet
from alledge.runfolder import Tiles

MAX_DROP, MIN_AGREEMENT = 0.005, 0.99
HEAD = """# Float against int8 on test rows

Command: `python benchmarks/parity.py --case RUN BUNDLE... --data DIR --split CSV --reference {few}`.
{machine}, {cores} cores, {date}. Runs {runs}: test rows of the split
({n} images), which neither training nor conversion looked at. Differences are
paired, intervals 95 %; they take images as independent, which fields of one slide are not. How biases are corrected
was chosen while looking at 300 of these rows through another network (decision 003), so int8 figures are not
untouched by them. Asked for: a difference of -0.5 points or better and agreement of 99 % or more, of which
fewer than 100 images can tell nothing unless two are called otherwise. The package ships a
`nuclei` head, which holds the attention of `compact` as its second opinion.

| head | bundle | kernels | images | float | int8 | difference | agreement | largest change of a probability | met |
|---|---|---|---|---|---|---|---|---|---|"""
GOLDENS = """
Between kernel sets, on the goldens of each bundle (drawn fields that every device replays):

| head | bundle | kernels | largest difference to the recorded probabilities | tolerance | met |
|---|---|---|---|---|---|"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", type=Path, nargs="+", action="append", required=True, metavar=("RUN", "BUNDLE"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", type=Path)
    parser.add_argument("--reference", type=int, default=40)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs/results/parity.md")
    arguments = parser.parse_args()
    items = read_dataset(arguments.data, arguments.split).subset("test")
    rows, goldens, runs = [], [], []
    for run, *bundles in arguments.case:
        with quiet():
            trained = open_trained(run)
        runs.append(trained.record.run_id)
        for bundle, name, found, golden in judged(trained, bundles, items, arguments.reference):
            told = f"| {trained.record.options['head']} | {bundle.manifest.target} | {name} "
            rows.append(told + row(found))
            goldens.append(told + golden_row(bundle, golden))
            print(rows[-1], goldens[-1], sep="\n", flush=True)
    page = HEAD.format(machine=platform.machine(), cores=os.cpu_count(), date=datetime.date.today(),
                       runs=", ".join(runs), n=len(items), few=arguments.reference)
    arguments.out.write_text("\n".join([page, *rows, GOLDENS, *goldens, ""]))


def judged(trained: Trained, bundles: list[Path], items: Sequence[Item],
           reference: int) -> Iterator[tuple[Bundle, str, Comparison, Run]]:
    """Each bundle under each kernel set; the reference kernels judge so many of the items."""
    preprocessing = trained.record.preprocessing
    tiles = Tiles(pixels=np.stack([prepare_field(read_image(item.path), preprocessing).tile for item in items]),
                  truth=np.array([item.index for item in items]))
    before = predict(trained, tiles)
    for bundle in map(Bundle.open, bundles):
        for name, run in kernel_sets(bundle).items():
            chosen = np.linspace(0, len(items) - 1, reference if name == REFERENCE else len(items)).round().astype(int)
            after = run(tensors(tiles.pixels[chosen], preprocessing))
            yield bundle, name, compare(before.rows(chosen), after, tiles.truth[chosen]), run


def kernel_sets(bundle: Bundle) -> dict[str, Run]:
    if bundle.manifest.engine == "tensorrt":
        return {ONNX_RUNTIME: partial(onnx_run.run, bundle.model), "unfused": partial(run_plainly, bundle.model)}
    return dict(kernels(bundle.model, bundle.head, (XNNPACK, BUILTIN, REFERENCE)))


def row(found: Comparison) -> str:
    accuracy = found.accuracy
    assert accuracy is not None
    low, high = (100 * end for end in accuracy.delta_ci95)
    return (f"| {found.n} | {accuracy.before:.1%} | {accuracy.after:.1%} "
            f"| {100 * accuracy.delta:+.1f} ({low:+.1f} to {high:+.1f}) "
            f"| {found.agreement:.1%} ({found.agreement_ci95[0]:.1%} to {found.agreement_ci95[1]:.1%}) "
            f"| {found.max_abs:.3f} | {met(found)} |")


def met(found: Comparison) -> str:
    """Where one image is more than agreement allows, neither none nor one of them called otherwise tells anything."""
    assert found.accuracy is not None
    if found.n * (1 - MIN_AGREEMENT) < 1 and found.disagreed <= 1:
        return "too few to tell"
    return "yes" if found.accuracy.delta >= -MAX_DROP and found.agreement >= MIN_AGREEMENT else "**no**"


def golden_row(bundle: Bundle, run: Run) -> str:
    manifest = bundle.manifest
    fields = [prepare_field(decode_image(bundle.read(g.image), g.image), manifest.preprocessing).tensor[None]
              for g in manifest.goldens]
    wanted = np.array([golden.probabilities for golden in manifest.goldens])
    apart = float(np.abs(run(fields).probs - wanted).max())
    return (f"| {apart:.3f} | {manifest.tolerance:g} "
            f"| {'yes' if apart <= manifest.tolerance else '**no**'} |")


if __name__ == "__main__":
    main()
