"""Find and drive Google's `edgetpu_compiler`: https://coral.ai/docs/edgetpu/compiler/ (in our own words).

It is closed, for x86-64 Linux only, and compiles `model.tflite` to `model_edgetpu.tflite` with a log beside it. It runs
in a folder of its own with relative names, so that a script which starts a container works as `--compiler` too.
"""

import os
import platform
import re
import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from alledge.errors import BackendMissing, UsageError

from . import edgetpu_ops as table
from .edgetpu_log import Report, read_report, read_version
from .tflite_graph import custom_codes, interface

NAME = "edgetpu_compiler"
CUSTOM_OP = "edgetpu-custom-op"  # what the compiler leaves in place of a part that runs on the Edge TPU
_SECONDS = 180  # given to the compiler itself, its own default
_GRACE = 60.0  # seconds more before it is stopped from outside
_GOOGLE = re.compile(r"\d+\.\d+\.\d+")  # as Google writes its versions
_X86 = ("x86_64", "AMD64")


@dataclass(frozen=True)
class Compiler:
    """An `edgetpu_compiler` that answered."""

    path: Path
    version: str

    @property
    def genuine(self) -> bool:
        """Whether it calls itself what Google's does; a stand-in has to say that it is one."""
        return bool(_GOOGLE.fullmatch(self.version))


@dataclass(frozen=True)
class Compilation:
    """What became of one model: a compiled one with its report, or a failure in words."""

    content: bytes = b""
    log: str = ""
    report: Report | None = None
    failure: str = ""

    @property
    def whole(self) -> bool:
        """Everything in one subgraph on the Edge TPU, as the compiler says."""
        return self.report is not None and self.report.whole


def find_compiler(wanted: Path | None) -> Compiler | None:
    """The compiler at `wanted`, or the one on PATH, or None when there is none.

    Raises:
        UsageError: when `wanted` is not one.
        BackendMissing: when it cannot run here or is too old for the attention's operations.
    """
    found = shutil.which(NAME if wanted is None else wanted.absolute() if wanted.exists() else wanted)
    if wanted is not None and found is None:
        raise UsageError(f"--compiler {wanted}: expected an executable {NAME}, found none there")
    if found is None:
        return None
    path = Path(found).absolute()
    version = _version(path)
    numbers = tuple(int(n) for n in re.findall(r"\d+", version)[:2])
    if numbers < table.COMPILER:
        oldest = ".".join(map(str, table.COMPILER))
        raise BackendMissing(f"{path}: version {version} is too old, expected {oldest} or later: REDUCE_MAX and RSQRT "
                             f"need Edge TPU runtime {table.RUNTIME}; install the last release")
    return Compiler(path, version)


def where_it_runs() -> str:
    """Why there may be no compiler here, for a person."""
    machine = platform.machine()
    here = "" if machine in _X86 else f", and this machine is {machine}"
    return f"Google's {NAME} runs on x86-64 Linux only{here}"


def compile_model(compiler: Compiler, content: bytes) -> Compilation:
    """Compile a full-integer TFLite model. A compiler that fails, hangs or writes nonsense is told, not raised."""
    with TemporaryDirectory(prefix="alledge-edgetpu-") as name:
        folder = Path(name)
        (folder / "model.tflite").write_bytes(content)
        code, terminal = _run([str(compiler.path), "-s", "-t", str(_SECONDS), "-m", str(table.RUNTIME), "-o", ".",
                               "model.tflite"], folder, _SECONDS + _GRACE)
        compiled, log = folder / "model_edgetpu.tflite", folder / "model_edgetpu.log"
        if code is None:
            return Compilation(failure=f"the compiler gave no answer within {_SECONDS + _GRACE:g} s and was stopped")
        if code or not compiled.is_file() or not log.is_file():
            return Compilation(failure=f"the compiler failed ({_last_words(terminal, code)})")
        words = log.read_text("utf-8", "replace")
        return _checked(compiler, content, compiled.read_bytes(), words, read_report(words, terminal))


def _checked(compiler: Compiler, before: bytes, after: bytes, log: str, report: Report) -> Compilation:
    """Believe a compiler only when what it wrote fits what it said."""
    if report.version != compiler.version:
        return Compilation(failure=f"the compiler's log is of version {report.version or 'unknown'}, not "
                                   f"{compiler.version}")
    try:
        parts, same = custom_codes(after).count(CUSTOM_OP), interface(after) == interface(before)
    except Exception as error:  # a damaged flatbuffer ends in errors of any kind
        return Compilation(failure=f"the compiler wrote something that is no TFLite model ({error})")
    if parts != report.subgraphs or not same:
        return Compilation(failure=f"the compiler says {report.subgraphs} subgraphs and wrote {parts}"
                                   f"{'' if same else ', with other inputs or outputs'}")
    return Compilation(after, log, report)


def _version(path: Path) -> str:
    try:
        _, words = _run([str(path), "--version"], Path.cwd(), 30)
    except OSError as error:
        raise BackendMissing(f"{path} does not start here ({error.strerror}): {where_it_runs()}; run `alledge convert "
                             "--finish BUNDLE` on such a machine") from error
    version = read_version(words)
    if not version:
        raise UsageError(f"--compiler {path}: expected it to answer --version as {NAME} does, received "
                         f"{words.strip()[:80]!r}")
    return version


def _run(command: Sequence[str], folder: Path, seconds: float) -> tuple[int | None, str]:
    """(exit code, what it printed); None for a code when it had to be stopped, with all that it had started."""
    process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True,
                               env={**os.environ, "LC_ALL": "C"})
    try:
        words, _ = process.communicate(timeout=seconds)
        return process.returncode, words
    except subprocess.TimeoutExpired:
        return None, ""
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def _last_words(terminal: str, code: int) -> str:
    lines = [line.strip() for line in terminal.splitlines() if line.strip()]
    told = [line for line in lines if re.search("error|invalid|failed|not quantized", line, re.I)] or lines[-1:]
    return "; ".join(told)[:200] or f"exit code {code}, without a word"
