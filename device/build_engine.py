"""Have TensorRT build a bundle's engine here, in whichever Python has TensorRT."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from alledge.bundle import Bundle
from alledge.config import state_folder
from alledge.errors import BackendMissing, EngineError, UsageError

from .children import environment

BUILDER = Path(__file__).with_name("tensorrt_build.py")
SYSTEM_PYTHON = Path("/usr/bin/python3")  # JetPack installs TensorRT's bindings for this one only


def build_engine(bundle: Bundle, cache: Path | None = None, options: Sequence[str] = (),
                 python: Path | None = None) -> dict[str, Any]:
    """Build the engine, or find the one built before for exactly this model, GPU, TensorRT and precision.

    Args:
        bundle: verified, of a Jetson target.
        cache: folder of engines; None for `engines` in the state folder.
        options: more for `tensorrt_build.py`.
        python: interpreter that has TensorRT; None for this one if it has it, else the system's.

    Returns:
        engine (path), built (whether just now), onnx_sha256, tensorrt, gpu, precision; of a new one also seconds,
        bytes and workspace_mib.

    Raises:
        UsageError: for a bundle that TensorRT has no part in.
        BackendMissing: when there is no TensorRT or no GPU here.
        EngineError: when the engine cannot be built, or would not fit in memory.
    """
    manifest = bundle.manifest
    if manifest.engine != "tensorrt" or manifest.precision is None:
        raise UsageError(f"{bundle.path}: expected a bundle for a Jetson, received one for {manifest.target}; make one "
                         "with `alledge convert RUN --target jetson-nano` or `jetson-orin`")
    cache = cache or state_folder() / "engines"
    needs = manifest.metrics.get("gates", {}).get("board_memory", {}).get("build_mib")
    with TemporaryDirectory() as folder:
        onnx = Path(folder, "model.onnx")
        onnx.write_bytes(bundle.model)
        command = [str(python or tensorrt_python()), str(BUILDER), str(onnx), "--precision", manifest.precision,
                   "--cache", str(cache), *([] if needs is None else ["--needs", str(needs)]), *options]
        return _document(command)


def tensorrt_python() -> Path:
    """The interpreter that has TensorRT: this one, else the system's."""
    here = importlib.util.find_spec("tensorrt") is not None
    return Path(sys.executable) if here or not SYSTEM_PYTHON.is_file() else SYSTEM_PYTHON


def _document(command: Sequence[str]) -> dict[str, Any]:
    """Run the builder: its log passes through to stderr as it comes, its last line becomes the error."""
    try:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              env=environment()) as process:
            last = _passed_on(process.stderr or ())
            stdout = process.stdout.read() if process.stdout else ""
    except OSError as error:
        raise UsageError(f"--python {command[0]}: cannot be run ({error.strerror})") from error
    if process.returncode:
        kind = BackendMissing if process.returncode == BackendMissing.exit_code else EngineError
        raise kind(last.removeprefix("error: ") or f"the builder ended with {process.returncode} and said nothing; -9 "
                   "is the kernel's answer to a lack of memory")
    document: dict[str, Any] = json.loads(stdout)
    return document


def _passed_on(log: Iterable[str]) -> str:
    """Show the builder's log as it comes, and return its last line; an error is not shown twice."""
    last = ""
    for line in log:
        last = line.strip() or last
        if not line.startswith("error: "):
            print(line, end="", file=sys.stderr, flush=True)
    return last
