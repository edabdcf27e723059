"""Is a bundle fit to judge fields on this machine? Its goldens, its time a field, and fields of the configured camera.

It is asked in a process of its own: native code that crashes, hangs or takes all memory ends there, and whoever asked
goes on and rolls back.
"""

import json
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Timer

from alledge.config import DeviceConfig

from .children import environment

FRAMES = 8  # of the camera
LIMIT_S = 300.0  # for all of it: a TensorRT engine alone may take half a minute to load
SAFE_PATH = "PYTHONSAFEPATH"  # `python -m` would look for modules in the current folder first
_CHILD = f"{__package__}.examination"


@dataclass(frozen=True)
class Health:
    """fault: why the bundle is not fit, "" when it is; latency_ms: median a field; goldens, frames: how many held."""

    fault: str
    latency_ms: float | None = None
    goldens: int = 0
    frames: int = 0

    @property
    def words(self) -> str:
        """What was seen."""
        time = "" if self.latency_ms is None else f", {self.latency_ms:.1f} ms a field"
        return self.fault or f"{self.goldens} goldens reproduced{time}, {self.frames} fields of the camera judged"


def check_health(path: Path, config: DeviceConfig, frames: int = FRAMES, limit_s: float = LIMIT_S) -> Health:
    """Have a child look at a bundle as this device would run it.

    Args:
        path: of the bundle.
        config: its engine, its camera, whom it trusts.
        frames: fields of the camera to judge; fewer when it ends before, none when no camera is configured.
    """
    asked = {"path": str(path), "config": config.model_dump_json(), "frames": frames}
    with subprocess.Popen([sys.executable, "-m", _CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                          env={**environment(), SAFE_PATH: "1"},
                          start_new_session=True) as child:  # Ctrl-C is for whoever asked
        assert child.stdin is not None
        assert child.stdout is not None
        timer = Timer(limit_s, child.kill)
        timer.start()
        try:
            with suppress(BrokenPipeError):  # it ended at once, which its code tells
                child.stdin.write(json.dumps(asked) + "\n")
                child.stdin.flush()
            said = child.stdout.read().splitlines()
            code = child.wait()
            late = timer.finished.is_set()
        finally:
            timer.cancel()
            child.kill()
    if code == 0 and said:
        return Health(**json.loads(said[-1]))
    return Health(f"its health check {f'gave no answer within {limit_s:g} s' if late else f'ended with {code}'}")
