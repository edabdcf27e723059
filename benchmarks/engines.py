"""Which library runs the shipped network fastest, float or int8, one thread or two? Writes docs/results/engines.md.

    python benchmarks/engines.py [--rounds 40] [--tflite-runtime PYTHON] [--models FOLDER] [--out FILE]

The network that comes with the package in four forms: int8 and float32 TFLite, int8 (QDQ) and float32 ONNX. They are
made once, by the project's own converters, and kept in FOLDER. Each library has a process of its own
(`engine_loop.py`), and the processes are asked in turns. tflite_runtime, LiteRT's predecessor, wants NumPy 1:

    python3.11 -m venv build/bench/tflite && build/bench/tflite/bin/pip install tflite-runtime "numpy<2"
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from pages import head, spread, table, times
from turns import Taken, over

from alledge import reference
from alledge.bundle import Bundle
from alledge.preprocess import prepare_field
from alledge.synthetic import draw_field

LOOP = Path(__file__).with_name("engine_loop.py")
OLD = Path("build/bench/tflite/bin/python")
COUNT = 8  # inferences of a turn
THREADS = (1, 2)
LITERT, OLDER, ORT, OURS = "LiteRT", "tflite_runtime", "ONNX Runtime", "alledge `engine.infer` (LiteRT)"
FORMS = {LITERT: ("int8.tflite", "float32.tflite"), OLDER: ("int8.tflite", "float32.tflite"),
         ORT: ("int8.onnx", "float32.onnx"), OURS: ("int8.alledge",)}
BASE = (LITERT, "int8.tflite", 1)
Key = tuple[str, str, int]


def make(folder: Path) -> None:
    """The four forms of the shipped network. Takes about a minute: the int8 ONNX file is a conversion for a Jetson."""
    import tensorflow as tf

    from alledge.convert.onnx_graph import to_onnx
    from alledge.convert.tflite import freeze
    from alledge.convert.trained import open_trained

    folder.mkdir(parents=True, exist_ok=True)
    bundle = Bundle.open(reference.BUNDLE)
    model = open_trained(reference.RUN).model
    (folder / "int8.alledge").write_bytes(reference.BUNDLE.read_bytes())
    (folder / "int8.tflite").write_bytes(bundle.cpu_model)
    (folder / "float32.tflite").write_bytes(tf.lite.TFLiteConverter.from_concrete_functions([freeze(model)]).convert())
    (folder / "float32.onnx").write_bytes(to_onnx(model))
    made = folder / "orin.alledge"
    subprocess.run([sys.executable, "-m", "alledge", "convert", "--target", "jetson-orin", "--precision", "int8",
                    "--allow-drop", "--out", str(made)], check=True, stdout=subprocess.DEVNULL)
    (folder / "int8.onnx").write_bytes(Bundle.open(made).model)
    field = prepare_field(draw_field("pre_b", 1).rgb, bundle.manifest.preprocessing)
    np.save(folder / "image.npy", field.tensor[None])


class Loop:
    """A process of `engine_loop.py`."""

    def __init__(self, python: str, key: Key, folder: Path) -> None:
        library, form, threads = key
        command = [python, str(LOOP), library, str(folder / form), str(threads), str(folder / "image.npy")]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         stderr=subprocess.PIPE, text=True)
        line = self._process.stdout.readline()
        self.fault = "" if line else self._process.communicate()[1].strip().splitlines()[-1]
        self.about = json.loads(line) if line else {}

    def __call__(self) -> tuple[float, float]:
        """Milliseconds of processor time and by the clock of an inference."""
        print(COUNT, file=self._process.stdin, flush=True)
        cpu, wall = json.loads(self._process.stdout.readline())
        return cpu, wall

    def close(self) -> None:
        """End it."""
        self._process.communicate()


def opened(folder: Path, old: Path) -> tuple[dict[Key, Loop], list[str]]:
    """All that there is, and sentences about what there is not."""
    loops, absent = dict[Key, Loop](), []
    for library, forms in FORMS.items():
        if library == OLDER and not old.exists():
            absent.append(f"{OLDER} is not measured here: no Python that has it was given; the head of "
                          "`benchmarks/engines.py` has the command.")
            continue
        for form in forms:
            for threads in THREADS:
                key = (library, form, threads)
                loop = Loop(str(old) if library == OLDER else sys.executable, key, folder)
                if loop.fault:
                    absent.append(f"{library} cannot run {form}: {loop.fault}")
                else:
                    loops[key] = loop
    return loops, absent


def measure(loops: dict[Key, Loop], rounds: int) -> dict[Key, Taken]:
    for loop in loops.values():
        loop()
    turns = [{key: loop() for key, loop in loops.items()} for _ in range(rounds)]
    return {key: Taken(*np.array([turn[key] for turn in turns]).T) for key in loops}


def form_table(loops: dict[Key, Loop], taken: dict[Key, Taken]) -> str:
    expected, rows = np.array(loops[BASE].about["probs"]), []
    for key, t in taken.items():
        library, form, threads = key
        about, base = loops[key].about, taken[BASE]
        apart = np.abs(np.array(about["probs"]) - expected).max()
        rows.append((library, about["version"], form, threads, times(over(t, base)), times(t.wall / base.wall),
                     spread(t.cpu), spread(t.wall), f"{about['ready_ms']:.0f}", f"{about['mib']:.0f}", f"{apart:.3f}"))
    return table(("library", "version", "model", "threads", "CPU of LiteRT int8", "clock of LiteRT int8", "CPU ms",
                  "wall ms", "import to first answer, ms", "MiB resident", "probability apart"), rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--models", type=Path, default=Path("build/bench/models"))
    parser.add_argument("--tflite-runtime", type=Path, default=OLD, metavar="PYTHON")
    parser.add_argument("--make", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=Path("docs/results/engines.md"))
    given = parser.parse_args()
    if given.make:
        return make(given.models)
    if not (given.models / "image.npy").exists():  # in a process of its own, so that TensorFlow's memory goes again
        subprocess.run([sys.executable, __file__, "--make", "--models", str(given.models)], check=True)
    loops, absent = opened(given.models, given.tflite_runtime)
    taken = measure(loops, given.rounds)
    for loop in loops.values():
        loop.close()
    given.out.write_text(page(loops, taken, absent, given.rounds), "utf-8")
    return None


def page(loops: dict[Key, Loop], taken: dict[Key, Taken], absent: list[str], rounds: int) -> str:
    return f"""{head("Engines")}
The network that comes with the package (156 million multiply-accumulates, 224x224x4) in four forms. Each row is a
process of its own, bound to one core where it has one thread; they take turns, {rounds} rounds of {COUNT} inferences.
Median, in brackets the lowest and the highest tenth; ratios round by round. The input is a drawn field; *probability
apart* is the largest difference from LiteRT's int8 answer.

No target was set for an engine. What the runtime adds to the bare interpreter is the difference between the first row
and that of `engine.infer`.

{form_table(loops, taken)}

{chr(10).join(f"- {sentence}" for sentence in absent)}
"""


if __name__ == "__main__":
    main()
