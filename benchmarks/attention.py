"""What does it cost to write attention otherwise? Forms of one network in 8 bits, side by side; writes
docs/results/attention.md.

    python benchmarks/attention.py RUN... [--tiles 200] [--rounds 60] [--out FILE]

Every run (with its tiles, `alledge train`) is quantised with attention as Keras writes it, as target `cpu` has it and
as `coral` has it: the largest difference of a probability to Keras' form in float, what the converted network needs to
run, how it agrees with the float network on held-out tiles, and the processor time of an inference in LiteRT, one
thread, the forms in turns.
"""

import argparse
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray
from pages import head, table, times
from turns import Step, Taken, one_core, over, take_turns

from alledge.convert.attention import with_attention
from alledge.convert.cpu import quantise_run
from alledge.convert.cpu_attention import LookupAttention
from alledge.convert.edge_attention import TableAttention
from alledge.convert.tflite_graph import min_runtime_version, operators
from alledge.convert.tflite_run import XNNPACK, kernels
from alledge.convert.trained import RANGING_TILES, Trained, open_trained, predict, ranging_tensors, tensors
from alledge.quiet import quiet
from alledge.runfolder import Tiles

FORMS = {"Keras'": None, "`cpu`": LookupAttention, "`coral`": TableAttention}
PROOF = 8  # tiles on which the forms are held against each other in float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--tiles", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs/results/attention.md")
    given = parser.parse_args()
    rows = [row for run in given.runs for row in of_a_run(run, given.tiles, given.rounds)]
    given.out.write_text(page(rows, given.tiles, given.rounds), "utf-8")


def of_a_run(run: Path, tiles: int, rounds: int) -> list[list[object]]:
    """A row for each form."""
    with quiet():
        trained = open_trained(run)
        models = {name: trained.model if form is None else with_attention(trained.model, form)
                  for name, form in FORMS.items()}
        contents = {name: quantise_run(trained, model) for name, model in models.items()}
    held_out = Tiles(pixels=trained.held_out.pixels[:tiles], truth=trained.held_out.truth[:tiles])
    wanted, taken = predict(trained, held_out).probs, timed(contents, rounds)
    return [[trained.record.run_id, name, f"{difference(models[name], trained):.0e}", len(operators(content)),
             min_runtime_version(content), *compared(content, trained, held_out, wanted),
             times(over(taken[name], taken[next(iter(FORMS))]))] for name, content in contents.items()]


def difference(model: Any, trained: Trained) -> float:
    """Largest of a probability, in float."""
    pairs = ([np.asarray(one(tile, training=False)["probs"]) for one in (model, trained.model)]
             for tile in ranging_tensors(trained)[:PROOF])
    return max(float(np.abs(one - other).max()) for one, other in pairs)


def compared(content: bytes, trained: Trained, held_out: Tiles, wanted: NDArray[np.float32]) -> list[str]:
    """Against float: tiles called alike, mean and largest difference of a probability."""
    run = kernels(content, None, (XNNPACK,))[XNNPACK]
    found = run(tensors(held_out.pixels, trained.record.preprocessing)).probs
    apart = np.abs(found - wanted)
    return [f"{(found.argmax(1) == wanted.argmax(1)).sum()} of {len(wanted)}", f"{apart.mean():.5f}",
            f"{apart.max():.3f}"]


def timed(contents: dict[str, bytes], rounds: int) -> dict[str, Taken]:
    """One inference of each form, in turns."""
    one_core()
    steps = dict[str, Step]()
    for name, content in contents.items():
        interpreter = Interpreter(model_content=content, num_threads=1)
        interpreter.allocate_tensors()
        steps[name] = interpreter.invoke
    return take_turns(steps, rounds, least_s=0.01)


def page(rows: list[list[object]], tiles: int, rounds: int) -> str:
    columns = ("run", "form", "difference in float", "operations", "runtime", "calls as float does",
               "mean difference of a probability", "largest", "time of Keras' form")
    return f"""{head("Forms of attention")}
Networks quantised with {RANGING_TILES} training tiles for ranges; {tiles} held-out tiles, which chose nothing but epoch
and calibration; processor time of an inference in {rounds} rounds in turns, median, in brackets the lowest and the
highest tenth. *Runtime*: the oldest TensorFlow Lite that has all operations; tflite_runtime ended with 2.14.

{table(columns, rows)}
"""


if __name__ == "__main__":
    main()
