"""A run that goes on for long: nothing piles up."""

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from alledge.config import BundleSettings, CameraSettings, DeviceConfig, DisplaySettings, ResultSettings
from alledge.device.run import run
from alledge.verdict import Verdict

WARM, FIELDS = 150, 600
MOST_GROWN = 2 * 2**20  # bytes; 450 tiles of 96 pixels alone would be 12 MiB
AT_WORK = 4  # files that a display or a database may just have open


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
def test_neither_memory_nor_files_nor_threads_grow(onnx_bundle: Any, tmp_path: Path) -> None:
    seen: dict[int, tuple[int, int, int]] = {}

    def look(verdict: Verdict) -> None:
        if verdict.sequence in (WARM, FIELDS):
            resident = int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
            seen[verdict.sequence] = resident, len(os.listdir("/proc/self/fd")), threading.active_count()

    run(DeviceConfig(bundle=BundleSettings(path=onnx_bundle.path),
                     camera=CameraSettings(uri="synthetic://?seed=1&size=96&fields=4"),
                     display=DisplaySettings(name="png", rate=5, options={"path": str(tmp_path / "now.png")}),
                     results=ResultSettings(database=tmp_path / "r.db", floor=0)), FIELDS + 30, look)
    (before, files, threads), (after, files_later, threads_later) = seen[WARM], seen[FIELDS]
    assert after - before < MOST_GROWN
    assert files_later - files <= AT_WORK
    assert threads_later == threads
