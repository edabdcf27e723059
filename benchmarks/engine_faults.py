"""Break the Edge TPU's engine in every way while fields are judged, and time what follows. On a stub of one.

    python benchmarks/engine_faults.py

The real engine, supervisor, child and LiteRT run with the stub of libedgetpu that the tests use (edgetpu_stub.c there).
A fault lasts 4 s, or until it has happened, and a field comes every 50 ms. Of each fault: its names, how long until it
had the first, how long the slowest answer took, how many fields got none, how many got another class than from the
undisturbed engine, and how long after its end the accelerator answered again.
"""

import os
import re
import sys
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from alledge.device import machine  # noqa: E402
from alledge.device.engine import open_engine  # noqa: E402
from alledge.device.supervised import supervise  # noqa: E402
from alledge.errors import EngineError  # noqa: E402
from tests.device import edgetpu_stub  # noqa: E402
from tests.device.conftest import stub_bundle  # noqa: E402

LASTS_S, EVERY_S, GIVE_UP_S = 4.0, 0.05, 60.0
FAULTS = {"segmentation fault": "segfault", "abort": "abort", "exit in the middle of a call": "exit", "hang": "hang",
          "unplugged, then plugged in": "unplug", "garbage": "garbage", "NaN": "nan", "wrong output shape": "shape",
          "crash, then the model is refused": "refuse"}
FIRST, THEN = {"refuse": "segfault"}, {"unplug": "absent"}


def fields(count=16):
    rng = np.random.default_rng(1)
    colours = rng.uniform(-1, 1, (count, 3))
    return [np.clip(rng.normal(colour, 0.2, (64, 64, 3)), -1, 1).astype(np.float32) for colour in colours]


def inject(bundle, tell, told):
    """Figures of one fault."""
    seen, lost, wrong, slowest, named, back = [], 0, 0, 0.0, None, None
    with closing(supervise(bundle)) as engine:
        shown = fields()
        classes = [int(engine.infer(field).probs.argmax()) for field in shown]
        tell(FIRST.get(told, told))
        start, ended = monotonic(), None
        while back is None and monotonic() - start < GIVE_UP_S:
            index = len(seen) % len(shown)
            begun = monotonic()
            try:
                output = engine.infer(shown[index])
                wrong += int(output.probs.argmax()) != classes[index]
                faults = output.faults
            except EngineError:
                lost, faults = lost + 1, engine.faults
            now = monotonic()
            slowest = max(slowest, now - begun)
            seen.append(faults)
            if faults and named is None:
                named = now - start
                tell(THEN.get(told, told))
            if ended is None and named is not None and now - start > LASTS_S:
                tell("ok")
                ended = now
            if ended is not None and not faults:
                back = now - ended
            sleep(EVERY_S)
    names = list(dict.fromkeys(name for faults in seen for name in faults if name != "engine-on-cpu"))
    return [", ".join(names), f"{named:.2f}", f"{slowest:.2f}", f"{len(seen)}", f"{lost}", f"{wrong}",
            "never" if back is None else f"{back:.1f}"]


def memory(bundle):
    """Resident memory of the child, MiB: all of it, and what it shares with nobody's files."""
    with closing(open_engine(bundle)) as engine:
        engine.infer(fields(1)[0])
        status = Path(f"/proc/{engine._engine._trunk._child._process.pid}/status").read_text()
    return [int(re.search(rf"{key}:\s+(\d+)", status).group(1)) / 1024 for key in ("VmRSS", "RssAnon")]


def main() -> None:
    about = machine.describe()
    print(f"{about['cpu']}, {about['cores']} cores, Python {about['python']}, load {os.getloadavg()[0]:.1f}\n")
    print("| fault | its names | named after, s | slowest answer, s | fields | without an answer | of another class | "
          "back after, s |\n|---|---|---|---|---|---|---|---|")
    with TemporaryDirectory() as name:
        folder = Path(name)
        os.environ |= {"LD_LIBRARY_PATH": str(edgetpu_stub.build(folder)), "EDGETPU_STUB": str(folder / "told")}

        def tell(what):
            (folder / "part").write_text(what)
            (folder / "part").replace(folder / "told")

        for words, told in FAULTS.items():
            tell("ok")
            bundle = stub_bundle(folder / f"{told}.alledge", floats=told == "nan")
            print("|", " | ".join([words, *inject(bundle, tell, told)]), "|", flush=True)
        tell("ok")
        whole, own = memory(bundle)
        print(f"\nThe child of this tiny network takes {whole:.0f} MiB, {own:.0f} of them its own.")


if __name__ == "__main__":
    main()
