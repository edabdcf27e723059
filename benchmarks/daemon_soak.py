"""Does a daemon grow or slow down over months? 100,000 fields in one life.

    python benchmarks/daemon_soak.py [--fields 100000] [--minutes 60] [--reference]

A real `alledge daemon` judges drawn fields as fast as it can, shows them (PNG) and stores them, with the tests' small
network so that it takes minutes; with `--reference`, the reference model. Every 500 fields its resident memory and its
open files are read. The first tenth is warm-up. Of the rest: the slope of memory by least squares, and of each tenth
the median and 99th percentile of a field's `total` (from capture until it is shown), and the processor time per field,
which a busy machine changes less. It ends early after `--minutes`.

Prints one JSON document. Exit code 1 when memory grows by more than 1 MB per 10,000 fields, open files grow, or the
99th percentile of the last three tenths is more than 10 % above that of the first three after warm-up.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from alledge.device import machine  # noqa: E402
from alledge.device.store.verification import verify  # noqa: E402
from tests.device.conftest import make_bundle, onnx_model  # noqa: E402
from tests.device.daemons import write_config  # noqa: E402

EVERY, MEGABYTE = 500, 1_000_000
MOST_MB_PER_10_000, MOST_DRIFT = 1.0, 0.10


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fields", type=int, default=100_000)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--reference", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle = None if options.reference else make_bundle(folder / "small.alledge", onnx_model())
        size = 224 if options.reference else 64
        config = write_config(folder, bundle, f"synthetic://?seed=1&size={size}&fields=8", None, rate=5)
        began = time.monotonic()
        totals, samples = watch(config, options.fields, options.minutes)
        seconds = time.monotonic() - began
        found = judged(np.array(totals), np.array(samples, float))
        faults = verify(folder / "results.db").faults
    about = machine.describe()
    print(json.dumps({**found, "faults": faults, "seconds": round(seconds), "fields_per_s": round(
        len(totals) / seconds, 1), "bundle": "reference" if options.reference else "small", "cpu": about["cpu"],
        "load": round(os.getloadavg()[0], 1)}))
    good = (found["mb_per_10_000"] <= MOST_MB_PER_10_000 and found["files_last"] <= found["files_first"]
            and found["p99_drift"] <= MOST_DRIFT and not faults)
    return int(not good)


def watch(config: Path, count: int, minutes: float) -> tuple[list[float], list[tuple[float, ...]]]:
    """Each field's `total` in ms; and at every so many fields: fields, bytes of resident memory, open files, seconds of
    processor time.
    """
    end = time.monotonic() + 60 * minutes
    environment = {**os.environ, "RUNTIME_DIRECTORY": str(config.parent / "run")}
    totals: list[float] = []
    samples: list[tuple[float, ...]] = []
    with subprocess.Popen([sys.executable, "-m", "alledge", "daemon", "--config", str(config)], env=environment,
                          stdout=subprocess.PIPE, text=True) as daemon:
        assert daemon.stdout is not None
        for line in daemon.stdout:
            if not line.startswith('{"event": "result"'):
                continue
            totals.append(json.loads(line)["result"]["timings_ms"]["total"])
            if len(totals) % EVERY == 0 and len(totals) <= count:
                samples.append((len(totals), resident(daemon.pid), len(os.listdir(f"/proc/{daemon.pid}/fd")),
                                processor_s(daemon.pid)))
                if len(totals) == count or time.monotonic() > end:
                    count = len(totals)
                    daemon.send_signal(signal.SIGTERM)
    if daemon.returncode != 0:
        raise SystemExit(f"the daemon ended with code {daemon.returncode} after {len(totals)} fields")
    return totals[:count], samples


def resident(pid: int) -> int:
    """Bytes of resident memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def processor_s(pid: int) -> float:
    """Seconds of processor time since the process began."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def judged(totals: Any, samples: Any) -> dict[str, Any]:
    """What the issue asks for, and the tenths behind it."""
    tenths = np.array_split(totals, 10)
    warm = samples[samples[:, 0] > len(totals) / 10]
    slope = np.polyfit(warm[:, 0], warm[:, 1], 1)[0] * 10_000 / MEGABYTE
    parts = np.array_split(samples, 10)
    processor = [(part[-1, 3] - part[0, 3]) / (part[-1, 0] - part[0, 0]) * 1e3 for part in parts if len(part) > 1]
    p99 = [float(np.percentile(tenth, 99)) for tenth in tenths]
    early, late = (float(np.percentile(np.concatenate(part), 99)) for part in (tenths[1:4], tenths[-3:]))
    return {"fields": len(totals), "mb_per_10_000": round(float(slope), 3),
            "mb_first": round(warm[0, 1] / MEGABYTE, 1), "mb_last": round(warm[-1, 1] / MEGABYTE, 1),
            "mb_most": round(float(warm[:, 1].max()) / MEGABYTE, 1),
            "files_first": int(warm[0, 2]), "files_last": int(warm[-1, 2]), "files_most": int(warm[:, 2].max()),
            "p99_drift": round(late / early - 1, 3), "p99_ms": [round(value, 2) for value in p99],
            "processor_ms": [round(float(value), 3) for value in processor],
            "p50_ms": [round(float(np.median(tenth)), 2) for tenth in tenths]}


if __name__ == "__main__":
    raise SystemExit(main())
