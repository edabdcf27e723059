"""Look at a bundle as a device would run it: `check_health` starts this in a process of its own."""

import json
import os
import sys
import time
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from statistics import median
from threading import Thread

import cv2

from alledge.config import DeviceConfig
from alledge.errors import AlledgeError, ImageError, UsageError
from alledge.images import decode_image

from .admission import open_bundle
from .engine import Engine, open_engine
from .faults import CameraFault
from .health import SAFE_PATH, Health
from .pipeline import Pipeline
from .selftest import replay
from .watched import open_watched

TIMED = 15  # fields whose median is held against the bundle's limit
_CAMERA_S = 60.0  # for the camera to give its fields
_RETRY_S = 0.1


def examine(path: Path, config: DeviceConfig, frames: int) -> Health:
    """In the child: everything in turn, until something is wrong."""
    cv2.setNumThreads(1)
    try:
        bundle = open_bundle(path, config.bundle)
        with closing(open_engine(bundle, config.engine.name, config.engine.threads)) as engine:
            return _examined(Pipeline(bundle, engine), engine, config.camera.uri, frames)
    except AlledgeError as error:
        return Health(str(error))


def _examined(pipeline: Pipeline, engine: Engine, camera: str | None, frames: int) -> Health:
    bundle = pipeline.bundle
    wrong, goldens = replay(bundle, engine), len(bundle.manifest.goldens)
    if wrong:
        return Health(wrong[0])
    latency, limit = _latency_ms(pipeline), bundle.manifest.latency_ms
    if limit is not None and latency > limit:
        return Health(f"it takes {latency:.1f} ms a field, and its limit is {limit:g} ms", latency, goldens)
    seen = 0 if camera is None or frames == 0 else _judged(pipeline, camera, frames)
    return Health("", latency, goldens, seen)


def _latency_ms(pipeline: Pipeline) -> float:
    """Median over golden fields in turn, from pixels to verdict; the first of each is warmed up by `replay`."""
    bundle, took = pipeline.bundle, []
    fields = [decode_image(bundle.read(g.image), g.image) for g in bundle.manifest.goldens]
    for number in range(TIMED):
        begin = time.perf_counter()
        pipeline(fields[number % len(fields)])
        took.append((time.perf_counter() - begin) * 1e3)
    return median(took)


def _judged(pipeline: Pipeline, uri: str, wanted: int) -> int:
    """How many fields of the camera were judged.

    Raises:
        EngineError: at the first that the engine fails on.
        CameraFault: when the camera does not give them in time.
        AlledgeError: when it cannot be opened.
    """
    seen, until, last = 0, time.monotonic() + _CAMERA_S, "no field could be read"
    with closing(open_watched(uri)) as camera:
        while seen < wanted and time.monotonic() < until:
            try:
                frame = camera.read()
                if frame is None:
                    break
                pipeline(frame.rgb)
                seen += 1
            except (CameraFault, ImageError, UsageError, cv2.error) as error:  # the camera's, or this picture's
                last = str(error)
                time.sleep(_RETRY_S)
    if seen == 0 or (seen < wanted and time.monotonic() >= until):
        raise CameraFault("camera-stalled", f"{seen} of {wanted} fields, {last}")
    return seen


def _end_with_parent() -> None:
    """Standard input ends when whoever asked is gone."""
    sys.stdin.read()
    os._exit(1)


def _main() -> None:
    os.environ.pop(SAFE_PATH, None)  # meant for this process, not for an engine's
    line = sys.stdin.readline()
    if not line:  # whoever asked is gone already
        return
    asked = json.loads(line)
    Thread(target=_end_with_parent, daemon=True).start()
    found = examine(Path(asked["path"]), DeviceConfig.model_validate_json(asked["config"]), asked["frames"])
    sys.stdout.write("\n" + json.dumps(asdict(found)) + "\n")
    sys.stdout.flush()
    os._exit(0)  # what native code does at the end of a process says nothing of the model


if __name__ == "__main__":
    _main()
