"""What does it cost an engine to run in a child: in process, shared memory (as shipped), pipe? docs/results/worker.md.

    python benchmarks/worker.py [--rounds 2000] [--out FILE]

The "model" of all three copies four numbers out of its input and does nothing else, so what is measured is the way
there and back: the field's tensor, already in the model's type, goes in, the outputs come out as arrays. Rounds of the
three are taken in turn, so that whatever else the machine does hits all of them alike.
"""

import argparse
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from time import perf_counter_ns

import numpy as np
from pages import TARGETS, head, spread, table, target, times

from alledge.device import worker
from alledge.device.engine._child import Child

CASES = {f"224x224x{channels} {dtype}": ((1, 224, 224, channels), dtype)
         for channels in (3, 4) for dtype in ("uint8", "float32")}
ASKED, MOST_MS = ("224x224x3 uint8", "224x224x3 float32"), 0.15
SETTLED = 50  # rounds before anything counts


class _Copy:
    """A model that answers with the first four numbers of its input."""

    library = "none"

    def __init__(self, case):
        shape, dtype = CASES[case]
        self.inputs = [worker.Tensor("image", shape, dtype)]
        self.outputs = [worker.Tensor("probs", (1, 4), dtype)]

    def bind(self, memory, places):
        self._image, self._probs = (np.frombuffer(memory, t.dtype, int(np.prod(t.shape)), place).reshape(t.shape)
                                    for t, place in zip([*self.inputs, *self.outputs], places[:2], strict=True))

    def run(self):
        self._probs[...] = self._image.reshape(-1)[:4]


class _InProcess:
    """The same model behind a function call."""

    def __init__(self, case):
        self._model = _Copy(case)
        places = worker.layout([*self._model.inputs, *self._model.outputs])
        self._model.bind(bytearray(places[-1]), places)

    def __call__(self, field):
        self._model._image[...] = field
        self._model.run()
        return self._model._probs.copy()

    def close(self):
        pass


class _SharedMemory:
    """What ships: `alledge.device.engine._child` and `worker.serve`."""

    def __init__(self, case):
        self._child = Child(case, program=(sys.executable, __file__, "--serve"))

    def __call__(self, field):
        self._child.inputs[0][...] = field
        self._child.ask()
        return self._child.outputs[0].copy()

    def close(self):
        self._child.close()


class _Pipe:
    """The field itself goes through a pipe, as `subprocess` makes it."""

    def __init__(self, case):
        self._child = subprocess.Popen([sys.executable, __file__, "--pipe", case], stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, bufsize=0)
        self._dtype = np.dtype(CASES[case][1])

    def __call__(self, field):
        content = memoryview(field).cast("B")
        while content:
            content = content[self._child.stdin.write(content):]
        return np.frombuffer(self._child.stdout.read(4 * self._dtype.itemsize), self._dtype)

    def close(self):
        self._child.communicate()


def pipe(case):
    shape, dtype = CASES[case]
    field = np.zeros(shape, dtype)
    while True:
        rest = memoryview(field).cast("B")
        while rest:
            count = os.readv(0, [rest])
            if not count:
                return
            rest = rest[count:]
        os.write(1, field.reshape(-1)[:4].tobytes())


def measure(case, rounds):
    shape, dtype = CASES[case]
    fields = [np.random.default_rng(seed).integers(0, 256, shape).astype(dtype) for seed in range(8)]
    took = {kind.__name__: [] for kind in (_InProcess, _SharedMemory, _Pipe)}
    with closing(_InProcess(case)) as here, closing(_SharedMemory(case)) as shared, closing(_Pipe(case)) as piped:
        for number in range(rounds + SETTLED):
            field = fields[number % len(fields)]
            for way in (here, shared, piped):
                start = perf_counter_ns()
                answer = way(field)
                took[type(way).__name__].append(perf_counter_ns() - start)
                assert np.array_equal(answer.reshape(-1), field.reshape(-1)[:4])
    return {name: np.array(values[SETTLED:]) / 1e6 for name, values in took.items()}


def page(measured, rounds):
    rows, targets = [], []
    for case, figures in measured.items():
        here, shared, piped = figures.values()
        costs = shared - here
        rows.append((case, times(piped / shared), *(spread(values) for values in (here, shared, piped, costs))))
        if case in ASKED:
            targets.append(target(f"there and back through shared memory, {case}, ms", f"under {MOST_MS}",
                                  spread(costs), float(np.median(costs)) < MOST_MS))
    return f"""{head("What a child process costs an engine")}
A round is: the field's tensor, in the model's type, goes in; the outputs come back as arrays. The "model" only copies
four numbers. {rounds} rounds of each, taken in turn; ms by the clock, median, in brackets the lowest and the highest
tenth. Long tails are rounds in which another process had the cores: who waits for a child waits for a core.

## Targets

{table(TARGETS, targets)}

## Ways

{table(("field", "a pipe takes, of shared memory", "in process", "shared memory (as shipped)", "pipe",
        "shared memory costs"), rows)}

Not measured here: a Raspberry Pi or a Jetson (the same command there). What the child takes in memory:
[engine-faults.md](engine-faults.md).
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2000)
    parser.add_argument("--out", type=Path, default=Path("docs/results/worker.md"))
    options = parser.parse_args()
    measured = {case: measure(case, options.rounds) for case in CASES}
    options.out.write_text(page(measured, options.rounds), "utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        worker.serve(_Copy(sys.argv[2]), int(sys.argv[sys.argv.index("--memory") + 1]), 0, 1)
    elif sys.argv[1:2] == ["--pipe"]:
        pipe(sys.argv[2])
    else:
        main()
