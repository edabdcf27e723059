"""How tests run the scripts of benchmarks/ with few rounds."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
MEMORY = Path("/dev/shm")  # kills and full disks are of processes and files, not of the hardware below

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler here for the shims")


def measured(script: str, *options: str, code: int = 0) -> Any:
    """What a script of benchmarks/ found; it fails by its exit code."""
    folder = {"TMPDIR": str(MEMORY)} if os.access(MEMORY, os.W_OK) else {}
    done = subprocess.run([sys.executable, ROOT / "benchmarks" / script, *options], capture_output=True, text=True,
                          check=False, env={**os.environ, **folder}, timeout=1800)
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)
