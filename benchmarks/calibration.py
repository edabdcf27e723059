"""What do activation ranges from drawn smears cost on real images, and how many tiles are enough?

    python benchmarks/calibration.py RUN [--repeats 3] [--tiles 485] [--out FILE]

RUN needs its tiles. Each row of the table is an int8 conversion (target `cpu`, XNNPACK) whose ranges and bias
correction come from another sample; all are judged on the same held-out real tiles, with the run's own temperature and
domain gate, as a run without tiles would be. Writes docs/results/calibration.md.
"""

import argparse
import datetime
import os
import platform
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from alledge.calibration import DomainGate, apply_temperature, gate_input
from alledge.convert.check import Comparison, compare
from alledge.convert.cpu import input_range
from alledge.convert.tflite import quantise
from alledge.convert.tflite_run import XNNPACK, kernels
from alledge.convert.tiles import draw_tiles, spread
from alledge.convert.trained import Outputs, Trained, open_trained, predict, tensors
from alledge.palette import fit_palette
from alledge.quiet import quiet
from alledge.runfolder import Tiles

Pixels = NDArray[np.uint8]
JUDGED_DRAWN = 200


def samples(trained: Trained, repeats: int) -> Iterator[tuple[str, int, Callable[[int], Pixels]]]:
    """(what, how many, repeat -> pixels)."""
    real, record = trained.calibration.tiles, trained.record
    palette = record.palette or fit_palette(real.pixels, real.truth)

    def of_run(n: int, stratified: bool) -> Callable[[int], Pixels]:
        def take(repeat: int) -> Pixels:
            order = np.random.default_rng(repeat).permutation(len(real.truth))
            if not stratified:
                return real.pixels[order[:n]]
            half = np.sort(order[:max(n, len(order) * 3 // 4)])  # another three quarters each time
            part = Tiles(pixels=real.pixels[half], truth=real.truth[half])
            return part.pixels[spread(part, n)]
        return take

    def drawn(n: int, matched: bool) -> Callable[[int], Pixels]:
        return lambda repeat: draw_tiles(record.preprocessing, palette if matched else None, n,
                                         9_000_000 + 1000 * repeat).pixels

    for n in (4, 16, 64, 150):
        yield "real, stratified", n, of_run(n, True)
    yield "real, at random", 64, of_run(64, False)
    for n in (16, 64, 200):
        yield "drawn, training set's colours", n, drawn(n, True)
    yield "drawn, colours of their own", 64, drawn(64, False)


def row(trained: Trained, before: Outputs, chosen: NDArray[np.intp], pixels: Pixels) -> tuple[Comparison, float, float]:
    """One conversion: comparison on real tiles, share the domain gate lets through, negative log-likelihood."""
    preprocessing, calibration = trained.record.preprocessing, trained.record.calibration
    content = quantise(trained.model, tensors(pixels, preprocessing), *input_range(preprocessing))
    after = kernels(content)[XNNPACK](tensors(trained.held_out.pixels[chosen], preprocessing))
    truth = trained.held_out.truth[chosen]
    passed = 1.0 if calibration.gate is None else _passed(calibration.gate, after, trained.held_out.pixels[chosen])
    calibrated = apply_temperature(after.probs, calibration.temperature)
    loss = float(-np.log(calibrated[np.arange(len(truth)), truth] + 1e-7).mean())
    return compare(before, after, truth), passed, loss


def _passed(gate: DomainGate, outputs: Outputs, pixels: Pixels) -> float:
    return float((gate.distance(gate_input(outputs.embedding, pixels)) <= gate.threshold).mean())


def measure(trained: Trained, repeats: int, tiles: int) -> list[str]:
    chosen = spread(trained.held_out, tiles)
    truth, calibration = trained.held_out.truth[chosen], trained.record.calibration
    before = predict(trained, Tiles(pixels=trained.held_out.pixels[chosen], truth=truth))
    calibrated = apply_temperature(before.probs, calibration.temperature)
    passed = float("nan") if calibration.gate is None else _passed(calibration.gate, before,
                                                                   trained.held_out.pixels[chosen])
    lines = [f"| float | | {(before.probs.argmax(1) == truth).mean():.2%} | | | | {passed:.1%} | "
             f"{-np.log(calibrated[np.arange(len(truth)), truth] + 1e-7).mean():.4f} |"]
    for what, n, take in samples(trained, repeats):
        found = [row(trained, before, chosen, take(repeat)) for repeat in range(repeats)]
        each = [c for c, _, _ in found]
        lines.append(
            f"| {what} | {n} | {_span([c.accuracy.after for c in each if c.accuracy], '.2%')} "
            f"| {_span([c.agreement for c in each], '.2%')} | {_span([c.max_abs for c in each], '.2f')} "
            f"| {_span([c.mean_abs for c in each], '.4f')} | {_span([p for _, p, _ in found], '.1%')} "
            f"| {_span([loss for _, _, loss in found], '.4f')} |")
        print(lines[-1], flush=True)
    return lines


def _span(values: list[float], form: str) -> str:
    low, high = f"{min(values):{form}}", f"{max(values):{form}}"
    return low if low == high else f"{low} to {high}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--tiles", type=int, default=485)
    parser.add_argument("--out", type=Path, default=Path("docs/results/calibration.md"))
    asked = parser.parse_args()
    with quiet():
        trained = open_trained(asked.run)
        lines = measure(trained, asked.repeats, asked.tiles)
    options = trained.record.options
    told = (f"run {trained.record.run_id} ({options.get('backbone')}, {options.get('epochs')} epochs), "
            f"{min(asked.tiles, len(trained.held_out.truth))} held-out real tiles")
    asked.out.write_text("\n".join([
        "# Calibration tiles", "",
        f"`python benchmarks/calibration.py RUN --repeats {asked.repeats} --tiles {asked.tiles}`, {told},",
        f"{asked.repeats} samples a row, {datetime.date.today()}, {platform.machine()}.", "",
        "| ranges from | tiles | int8 accuracy | agreement with float | largest change | mean change | "
        "gate lets through | log-loss |", "|---|---|---|---|---|---|---|---|", *lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
