"""libcamera's virtual camera, through the real picamera2, into alledge's Raspberry Pi camera.

    sudo nice .venv/bin/python tests/emulation/camera/run.py [--out FILE]

A Debian 13 for x86-64 in a folder: Debian's libcamera with its Python, picamera2 from PyPI, this tree. Nothing is
emulated but the sensor; what that lacks is put in by sensor.py beside this. Needs apt, root and a network; after that
the programs run caged, without one. Writes docs/results/virtual-camera.md; exit code 1 when a point does not hold.
"""

import argparse
import datetime
import json
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TREE = HERE.parents[2]
sys.path[:0] = [str(HERE.parent / "arm64"), str(HERE.parent / "install")]

import cv2  # noqa: E402
from cage import run_caged  # noqa: E402
from userland import DEBIANS, build_wheel, unpack_system  # noqa: E402

from alledge.labels import LABELS  # noqa: E402
from alledge.synthetic import draw_field  # noqa: E402

PACKAGES = ("base-files", "coreutils", "python3", "libstdc++6", "python3-libcamera", "libcamera-ipa", "python3-prctl")
PICAMERA2 = "picamera2==0.3.38"
# What it depends on, by name: pidng and prctl have no wheels; Debian has the other.
BESIDE = ("numpy", "pillow", "simplejpeg", "piexif", "av", "libarchive-c", "jsonschema", "tqdm", "videodev2", "openexr")
STANDINS = {"pidng/__init__.py": "", "pidng/core.py": "PICAM2DNG = None\n",
            "pidng/camdefs.py": "Picamera2Camera = None\n",
            "pykms.py": "PixelFormat = type('PixelFormat', (), {'__getattr__': lambda self, name: 0})()\n"}
VIRTUAL = """%YAML 1.1
---
"Virtual0":
  supported_formats:
  - width: 640
    height: 480
    frame_rates: [30]
  frames:
    path: "/given/fields/"
  model: "Virtual Video Device"
"""
FIELDS = len(LABELS)
# libcamera 0.4.0's virtual camera leaves the status of its frames unset; so what nobody sets is zero, which is success.
ZEROED = "GLIBC_TUNABLES=glibc.malloc.tcache_count=0:glibc.malloc.perturb=255"
LIMIT_S = 1200.0


def make_system(work: Path) -> Path:
    """The userland with both libraries, alledge and the fields that the camera shows."""
    debian = DEBIANS[1]
    root = unpack_system(work, debian, "amd64", PACKAGES)
    packages = root / "usr/local/lib" / f"python{debian.python}" / "dist-packages"
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install", "--no-compile",
           "--only-binary=:all:", "--implementation=cp", f"--python-version={debian.python}", "--target", packages,
           *(f"--platform=manylinux_2_{n}_x86_64" for n in range(17, debian.glibc + 1)),
           "--platform=manylinux2014_x86_64", "--constraint", TREE / "constraints.txt"]
    subprocess.run([*pip, build_wheel(work), *BESIDE], check=True)
    subprocess.run([*pip, "--no-deps", "--upgrade", PICAMERA2], check=True)
    for name, text in STANDINS.items():
        (packages / name).parent.mkdir(exist_ok=True)
        (packages / name).write_text(text)
    asked = root / "usr/share/libcamera/pipeline/virtual/virtual.yaml"  # of which Debian ships none
    asked.parent.mkdir(parents=True, exist_ok=True)
    asked.write_text(VIRTUAL)
    show_fields(root / "given" / "fields")
    for name in ("guest.py", "sensor.py"):
        shutil.copy(HERE / name, root / "given")
    return root


def show_fields(folder: Path) -> None:
    """Drawn fields that are told apart easily, as JPEG, which is what it reads."""
    folder.mkdir(parents=True)
    for number, label in enumerate(LABELS):
        field = draw_field(label, number, size=640).rgb[:480]
        cv2.imwrite(str(folder / f"{number:03}.jpg"), cv2.cvtColor(field, cv2.COLOR_RGB2BGR))


def points_of(lines: str) -> list[dict[str, Any]]:
    """What the guest told between what the libraries print; not having come to its end is a point, too."""
    points = [json.loads(line) for line in lines.splitlines() if line.startswith('{"what"')]
    if not points or points[-1]["what"] != "the libraries":
        points.append({"what": "the program comes to its end", "holds": False, "found": "what it said is on stderr"})
    return points


def page(points: Sequence[dict[str, Any]], today: datetime.date) -> str:
    """docs/results/virtual-camera.md."""
    rows = "\n".join(f"| {p['what']} | {p['found'].replace('|', '/')} | {'yes' if p['holds'] else '**no**'} |"
                     for p in points)
    return f"""# libcamera's virtual camera through the real picamera2

Command: `sudo nice .venv/bin/python tests/emulation/camera/run.py`, {today}, {platform.machine()}, a shared machine.

**No sensor and no Pi.** A Debian 13 userland: picamera2 from PyPI and Debian's libcamera with its virtual camera, which
plays {FIELDS} drawn fields once a `virtual.yaml` asks for it (Debian ships none). The virtual camera has no raw modes,
no exposure, gain or white balance and gives NV12 alone, so picamera2 does not open it and alledge refuses it, each with
its reason (the first points). To go on, these are **stand-ins** (`sensor.py`): the list of raw modes, memory for frames
(this kernel has no `dma_heap` and no `udmabuf`), the conversion to RGB, and the settings in a frame's metadata; `pidng`
and `pykms`, which only raw files and previews use, are empty. Real are libcamera, its Python, picamera2's events,
requests, queues and timestamps, and alledge's `RaspberryCamera` on them.

**{sum(p['holds'] for p in points)} of {len(points)} points hold.**

| what has to hold | found | holds |
|---|---|---|
{rows}

libcamera 0.4.0's virtual camera does not set the status of its frames, so whether picamera2 takes a frame for a failed
one depends on what lay in that memory before: without `{ZEROED}`
a camera opened for the second time often gave none, and alledge said `camera-stalled`, rightly. With it, what nobody
sets is zero, which is success. A real sensor's pipeline sets it.

**Not measured here**: a sensor, its processor, controls that take effect late, `RGB888` and `YUV420` from the Pi's own
pipeline, colours. On a Raspberry Pi: `python -m pytest -rs tests/device/test_picamera2.py`.
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=TREE / "docs" / "results" / "virtual-camera.md")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="alledge-camera-") as work:
        root = make_system(Path(work))
        done = run_caged(root, "/usr/bin/env", ZEROED, "/usr/bin/python3", "/given/guest.py", qemu=None,
                         seconds=LIMIT_S)
    points = points_of(done.stdout)
    if done.returncode:
        print(done.stderr, file=sys.stderr)
    for found in points:
        print(f"{'holds' if found['holds'] else 'DOES NOT HOLD'}: {found['what']}: {found['found']}")
    asked.out.write_text(page(points, datetime.date.today()), encoding="utf-8")
    return int(done.returncode != 0 or not all(found["holds"] for found in points))


if __name__ == "__main__":
    raise SystemExit(main())
