"""A sample of `benchmarks/faults.py`: a fault of camera and of engine in a running process; docs/results/faults.md."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from alledge.bundle import Bundle

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "faults.py"


@pytest.mark.parametrize("fault", ["disconnected", "segmentation fault"])
def test_a_fault_is_named_shown_over_and_changes_no_verdict(fault: str, tflite_bundle: Bundle) -> None:
    if fault == "segmentation fault" and shutil.which("cc") is None:
        pytest.skip("no C compiler (cc) here for the stub of the Edge TPU's delegate")
    done = subprocess.run([sys.executable, SCRIPT, "--bundle", tflite_bundle.path, "--only", fault, "--lasts", "1",
                           "--frames", "80"], capture_output=True, text=True, check=False, timeout=300)
    row = next((line for line in done.stdout.splitlines() if line.startswith(f"| {fault} |")), "")
    assert row, done.stdout + done.stderr
    _, _, names, logged, shown, back, fields, conclusive, wrong, spoiled, lived, _ = (
        cell.strip() for cell in row.split("|"))
    assert names
    assert max(float(logged), float(shown)) < 15, row  # thrice what is promised: two cores may have others to serve
    assert float(back) < 45, row
    assert int(fields) >= int(conclusive) > 5, row
    assert (wrong, spoiled, lived) == ("0", "0", "yes"), row
