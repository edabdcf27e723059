"""From the start of a process to its first verdict, as somebody waits for it who types `alledge run`."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from alledge.config import BundleSettings, CameraSettings, DeviceConfig, DisplaySettings, EngineSettings, ResultSettings
from alledge.errors import EngineError

from ..children import environment
from ..faults import FAULTS
from ..station import bundle_path


@dataclass(frozen=True)
class Start:
    """One start. ms: until its first verdict was on disk, shown and printed; stages: of that field, ms."""

    ms: float
    stages: Mapping[str, float]


def starts(config: DeviceConfig, folder: Path, field: Path, times: int) -> list[Start]:
    """Start `alledge run` so many times on one field, each time with a new database.

    Raises:
        EngineError: when there is no verdict, or one that a stand-in gave.
    """
    return [_start(config, folder / f"start-{number}", field) for number in range(times)]


def _start(config: DeviceConfig, folder: Path, field: Path) -> Start:
    folder.mkdir()
    settings = DeviceConfig(
        bundle=BundleSettings(trusted_keys=config.bundle.trusted_keys, board=config.bundle.board),
        camera=CameraSettings(uri=f"file://{field}"), engine=EngineSettings(**config.engine.model_dump()),
        display=DisplaySettings(name="png", options={"path": str(folder / "now.png")}),
        results=ResultSettings(database=folder / "results.db", floor=0))
    (folder / "device.toml").write_text(as_toml(settings), "utf-8")
    command = (sys.executable, "-m", "alledge", "run", str(bundle_path(config).resolve()), "--config",
               str(folder / "device.toml"), "--frames", "1", "--json")
    with tempfile.TemporaryFile("w+") as said:
        began = perf_counter()
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True, env=environment()) as running:
            assert running.stdout is not None
            line = running.stdout.readline()
            took = (perf_counter() - began) * 1e3
        said.seek(0)
        words = said.read().strip().splitlines()
    if not line:
        raise EngineError(f"`alledge run` gave no verdict: {words[-1] if words else 'it said nothing'}")
    verdict = json.loads(line)
    if verdict["faults"]:
        raise EngineError("the benchmark stopped at a start that failed: "
                          + "; ".join(FAULTS[name].sentence for name in verdict["faults"]))
    return Start(took, verdict["timings_ms"])


def as_toml(config: DeviceConfig) -> str:
    """A configuration as the file that it could have come from, with all that differs from the defaults."""
    return "".join(_table(name, section) for name, section in
                   config.model_dump(mode="json", exclude_defaults=True).items())


def _table(name: str, section: Mapping[str, Any]) -> str:
    """What JSON writes of texts, numbers, lists of texts and booleans is TOML, too."""
    plain = "".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in section.items()
                    if not isinstance(value, dict))
    inner = "".join(_table(f"{name}.{key}", value) for key, value in section.items() if isinstance(value, dict))
    return f"[{name}]\n{plain}{inner}"
