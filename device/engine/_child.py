"""A model in a child process, as an engine sees it: real numbers in, real numbers out, and every way to die has a name.

The other end is `alledge.device.worker`, which also says what the two write to each other.
"""

import json
import mmap
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from alledge.errors import BackendMissing, BundleRefused
from alledge.manifest import TensorSpec

from .. import worker
from ..children import environment
from ..faults import FAULTS, EngineFault
from ._tensors import pick, to_real, to_stored

START_S = 30.0  # to load a model, and for its first answer: a Jetson Nano takes several seconds to load TensorRT
ANSWER_S = 3.0  # for every other one; the slowest figure that Coral publishes is 0.31 s, VGG19 behind USB 3
_LONGEST = 2**16  # bytes of an answer: more is no answer
WORKER = (sys.executable, worker.__file__)
_CLOSE_S = 2.0  # to let go of its device after the last question
_MEMORY = "/dev/shm"  # on Linux a file here is memory
_DEBIAN_PACKAGES = {"libedgetpu": "libedgetpu1-std", "libcuda": "nvidia-l4t-cuda", "tensorrt": "python3-libnvinfer"}


class Network:
    """One model in a child of its own.

    Raises:
        EngineFault: when the child does not start, or describes another model than the manifest does.
        BackendMissing: when the library or the Python that it needs is not here.
        BundleRefused: when the model is none.
    """

    def __init__(self, engine: str, model: bytes | Path, image: TensorSpec, wanted: Sequence[TensorSpec],
                 program: Sequence[str] = WORKER, threads: int = 1) -> None:
        """Start it.

        Args:
            engine: "coral" or "tensorrt"; model: its content, or where it lies.
            image, wanted: the manifest's specs of the input and of the outputs that calls shall return.
            program: the worker, and who runs it.
        """
        self._image, self._wanted = image, wanted
        self._child = Child(engine, model, program, threads)
        try:
            self._input = self._child.inputs[pick(image, self._child.input_tensors)]
            self._outputs = [self._child.outputs[pick(spec, self._child.output_tensors)] for spec in wanted]
        except BundleRefused as error:  # the model is what was signed, so it is the accelerator that is odd
            self._child.close()
            raise EngineFault("engine-wrong-shape", str(error)) from error

    def __call__(self, tensor: NDArray[np.generic]) -> list[NDArray[np.float32]]:
        """Flat float32 outputs, in the order that was asked for."""
        self._input[...] = to_stored(tensor, self._image)
        self._child.ask()
        return [to_real(output, spec) for output, spec in zip(self._outputs, self._wanted, strict=True)]

    def close(self) -> None:
        """End the child."""
        self._child.close()


class Child:
    """A worker process and the memory it shares.

    Attributes:
        library: what runs the model, in its own words.
        input_tensors, output_tensors: what the model has; inputs, outputs: arrays over their places in the memory.
    """

    def __init__(self, engine: str, model: bytes | Path | None = None, program: Sequence[str] = WORKER,
                 threads: int = 1) -> None:
        """Start it, and wait until it has loaded `model`; None only tries the library.

        Raises:
            EngineFault, BackendMissing, BundleRefused: see `Network`.
        """
        self._engine, self._number = engine, 0
        with ExitStack() as stack:
            try:
                memory, errors = stack.enter_context(_file(_MEMORY)), stack.enter_context(_file())
                kept = [stack.enter_context(_file(content=model))] if isinstance(model, bytes) else []
                place = [f"/dev/fd/{kept[0].fileno()}" if kept else str(model)] if model is not None else []
                self._process = subprocess.Popen(
                    [*program, engine, *place, "--memory", str(memory.fileno()), "--threads", str(threads)], bufsize=0,
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                    env=environment(), pass_fds=[file.fileno() for file in (memory, *kept)],
                    start_new_session=True)  # Ctrl-C is for the device, which then closes its engine
            except OSError as error:
                raise EngineFault("engine-not-started", f"{program[0]}: {error.strerror}") from error
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._questions, self._answers = self._process.stdin, self._process.stdout
            self._ears = select.poll()
            self._ears.register(self._answers, select.POLLIN)
            try:
                self._map(self._first_words(errors), memory)
            except BaseException:
                self._kill()
                raise

    def ask(self) -> None:
        """Have it turn the inputs in memory into outputs.

        Raises:
            EngineFault: when there is no answer in time or none that can be used.
        """
        self._number += 1
        self._memory[self._outputs_at:] = self._nothing  # an earlier field's answer must not pass for this one's
        try:
            self._questions.write(worker.QUESTION.pack(self._number))
        except (OSError, ValueError) as error:  # it is dead, or was killed here before
            raise self._death() from error
        document = self._hear(START_S if self._number == 1 else ANSWER_S)
        if document is not None:
            fault = document.get("fault")
            raise EngineFault(fault if fault in FAULTS else "engine-failed", str(document.get("detail", fault)))

    def close(self) -> None:
        """Let it put its device down, or kill it."""
        self._questions.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_CLOSE_S)
        self._kill()

    def _first_words(self, errors: IO[bytes]) -> dict[str, Any]:
        try:
            document = self._hear(START_S) or {}
        except EngineFault as silence:
            errors.seek(0)
            last = errors.read().decode("utf-8", "replace").strip().rpartition("\n")[2]
            raise EngineFault("engine-not-started", "; ".join(filter(None, (silence.detail, last)))) from silence
        fault, detail = document.get("fault"), document.get("detail", "")
        if fault == worker.MISSING:
            package = next((p for library, p in _DEBIAN_PACKAGES.items() if library in detail), "")
            raise BackendMissing(f"engine {self._engine!r} does not find a library it needs ({detail}); docs/engines.md"
                                 " says where it comes from", package and f"sudo apt install {package}")
        if fault == worker.REFUSED:
            raise BundleRefused(f"the bundle's model does not load ({detail}); convert it again for this machine")
        if fault is not None:
            raise EngineFault(fault if fault in FAULTS else "engine-not-started", detail)
        return document

    def _map(self, document: dict[str, Any], memory: IO[bytes]) -> None:
        """Lay arrays over the tensors that the worker described."""
        try:
            self.library = document["library"]
            self.input_tensors, self.output_tensors = (
                [worker.Tensor(name, tuple(shape), dtype) for name, shape, dtype in document[part]]
                for part in ("inputs", "outputs"))
            tensors = [*self.input_tensors, *self.output_tensors]
            places = worker.layout(tensors)
        except (KeyError, TypeError, ValueError) as error:
            raise EngineFault("engine-not-started", f"its description is not understood ({error!r})") from error
        if not tensors:
            return
        try:
            os.posix_fallocate(memory.fileno(), 0, places[-1])  # or a full disk would end this process by a signal
        except OSError as error:
            raise EngineFault("engine-not-started", f"no room for its memory ({error.strerror})") from error
        self._memory = mmap.mmap(memory.fileno(), places[-1])
        arrays = [np.frombuffer(self._memory, tensor.dtype, int(np.prod(tensor.shape)), place).reshape(tensor.shape)
                  for tensor, place in zip(tensors, places[:-1], strict=True)]
        count = len(self.input_tensors)
        self.inputs, self.outputs, self._outputs_at = arrays[:count], arrays[count:], places[count]
        self._nothing = b"\xff" * (places[-1] - places[count])  # NaN in every float, and no sum of 1 in integers

    def _hear(self, seconds: float) -> dict[str, Any] | None:
        """The answer to the last question; None when it lies in memory."""
        deadline, heard, wanted = time.monotonic() + seconds, b"", worker.ANSWER.size
        while len(heard) < wanted:
            if not self._ears.poll(max(0.0, deadline - time.monotonic()) * 1e3):
                self._kill()
                raise EngineFault("engine-stuck", f"no answer within {seconds:g} s")
            more = self._answers.read(select.PIPE_BUF)
            if not more:
                raise self._death()
            heard += more
            if len(heard) >= worker.ANSWER.size:
                number, length = worker.ANSWER.unpack_from(heard)
                wanted = worker.ANSWER.size + length
                if number != self._number or length > _LONGEST:
                    self._kill()
                    raise EngineFault("engine-failed", f"it answered question {number} instead of {self._number}, in "
                                      f"{length} bytes")
        try:
            return dict(json.loads(heard[worker.ANSWER.size:])) if length else None
        except (TypeError, ValueError) as error:
            self._kill()
            raise EngineFault("engine-failed", f"its answer is not understood ({error})") from error

    def _death(self) -> EngineFault:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_CLOSE_S)
        code = self._process.poll()
        self._kill()
        ended = f"by {signal.Signals(-code).name}" if code is not None and code < 0 else f"with exit code {code}"
        return EngineFault("engine-crashed", f"it ended {ended}")

    def _kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._questions.close()
        self._answers.close()


def _file(folder: str | None = None, content: bytes = b"") -> IO[bytes]:
    """A file without a name, in `folder` where that can be."""
    usable = folder is not None and os.path.isdir(folder) and os.access(folder, os.W_OK)
    file: IO[bytes] = tempfile.TemporaryFile(dir=folder if usable else None)  # noqa: SIM115 - who asks for it closes it
    file.write(content)
    file.flush()
    file.seek(0)
    return file
