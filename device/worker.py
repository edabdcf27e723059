"""The child process behind an engine: serves one model. One file for Python 3.6 and its library.

An accelerator's native code may crash, hang, or exist for another Python only, so it never shares a process with the
device. This file imports nothing of alledge and is run as a script by whichever Python has the accelerator's library:

    python3 worker.py coral model_edgetpu.tflite --memory 3
    /usr/bin/python3 worker.py tensorrt model.engine --memory 3

Protocol (docs/engines.md): tensors lie in a file both processes map, descriptor `--memory`; its size is the parent's to
set once it knows the tensors. On stdin 8 bytes ask a question: its number. On stdout each answer is that number and the
length of a JSON document: length 0 means that the outputs lie in memory, else the document names a fault. The first
answer has number 0, before any question, and describes the model. The worker ends when its stdin or its parent does.
"""

import argparse
import ctypes
import json
import mmap
import os
import struct
import sys
import threading
import time
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

QUESTION = struct.Struct("<Q")  # number
ANSWER = struct.Struct("<QI")  # number, bytes of JSON that follow
EDGE_TPU = "libedgetpu.so.1"
BYTES = {"float32": 4, "int32": 4, "float16": 2, "int8": 1, "uint8": 1}
ALIGNMENT = 64  # bytes: a cache line
MISSING, REFUSED = "missing", "refused"  # what is no fault of the machine: a library, or the model itself
_LONGEST = 2000  # characters of a library's message that are passed on: an answer stays one atomic write to the pipe


class Failure(Exception):
    """A named fault, MISSING or REFUSED, and what the library said."""

    def __init__(self, fault: str, detail: object) -> None:
        super().__init__(str(detail))
        self.fault = fault


class Tensor(NamedTuple):
    """An input or output: name, shape, and the type of its numbers as NumPy writes it."""

    name: str
    shape: Tuple[int, ...]
    dtype: str

    @property
    def size(self) -> int:
        """In bytes."""
        count = BYTES[self.dtype]
        for extent in self.shape:
            count *= extent
        return count


def layout(tensors: Sequence[Tensor]) -> List[int]:
    """Where each tensor begins in memory, and as the last number where they end. Both processes use this rule."""
    places = [0]
    for tensor in tensors:
        places.append(places[-1] + -(-tensor.size // ALIGNMENT) * ALIGNMENT)
    return places


class EdgeTpu:
    """A compiled .tflite on an Edge TPU, through the external delegate of LiteRT or tflite_runtime."""

    def __init__(self, options: argparse.Namespace) -> None:
        library, interpreter, load_delegate = _tflite()
        self.library = library
        self.inputs = self.outputs = []  # type: List[Tensor]
        try:
            self._delegate = load_delegate(EDGE_TPU)
        except OSError as error:
            raise Failure(MISSING, error) from error
        except ValueError as error:  # it was loaded, and found no stick
            raise Failure("accelerator-absent", error) from error
        if options.model is None:
            return
        with open(options.model, "rb") as file:
            content = file.read()
        try:
            interpreter(model_content=content)
        except (ValueError, RuntimeError) as error:
            raise Failure(REFUSED, error) from error
        try:
            self._interpreter = interpreter(model_content=content, num_threads=options.threads,
                                            experimental_delegates=[self._delegate])
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise Failure("engine-not-started", error) from error
        self._describe()

    def _describe(self) -> None:
        ins, outs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        self.inputs, self.outputs = [_of_tflite(details) for details in ins], [_of_tflite(details) for details in outs]
        self._indices = [details["index"] for details in (*ins, *outs)]

    def bind(self, memory: mmap.mmap, places: Sequence[int]) -> None:
        """Lay an array over each tensor's place."""
        import numpy
        self._arrays = [numpy.frombuffer(memory, tensor.dtype, tensor.size // BYTES[tensor.dtype], place)
                        .reshape(tensor.shape) for tensor, place in zip([*self.inputs, *self.outputs], places)]

    def run(self) -> None:
        """From the inputs in memory to the outputs in memory."""
        count = len(self.inputs)
        for index, array in zip(self._indices[:count], self._arrays):
            self._interpreter.set_tensor(index, array)
        try:
            self._interpreter.invoke()
        except (ValueError, RuntimeError) as error:
            raise Failure("accelerator-lost", error) from error
        for index, array in zip(self._indices[count:], self._arrays[count:]):
            found = self._interpreter.get_tensor(index)
            if found.shape != array.shape:
                raise Failure("engine-wrong-shape", f"expected {list(array.shape)}, received {list(found.shape)}")
            array[...] = found


def _tflite() -> Tuple[str, Any, Any]:
    """Name, Interpreter and load_delegate of whichever TensorFlow Lite is here."""
    try:
        from ai_edge_litert import interpreter as tflite
    except ImportError:
        try:
            from tflite_runtime import interpreter as tflite
        except ImportError as error:
            raise Failure(MISSING, error) from error
    return tflite.__name__.split(".")[0], tflite.Interpreter, tflite.load_delegate


def _of_tflite(details: Dict[str, Any]) -> Tensor:
    return Tensor(details["name"], tuple(int(extent) for extent in details["shape"]), details["dtype"].__name__)


class TensorRt:
    """A serialised TensorRT engine, with bindings (up to 8.4) or named tensors (from 8.5 on)."""

    def __init__(self, options: argparse.Namespace) -> None:
        try:
            import tensorrt as trt
        except ImportError as error:
            raise Failure(MISSING, error) from error
        self._cuda = Cuda()
        self.library = f"TensorRT {trt.__version__}"
        self.inputs = self.outputs = []  # type: List[Tensor]
        if options.model is None:
            return
        self._log = trt.Logger(trt.Logger.ERROR)
        self._runtime = trt.Runtime(self._log)  # which has to outlive the engine
        with open(options.model, "rb") as file:
            self._engine = self._runtime.deserialize_cuda_engine(file.read())
        if self._engine is None:
            raise Failure("engine-not-started", f"{self.library} cannot load {options.model}; delete it, and it is "
                                                "built again")
        self._context = self._engine.create_execution_context()
        self._named = hasattr(self._engine, "num_io_tensors")
        described = self._by_name(trt) if self._named else self._by_binding()
        self.inputs = [tensor for is_input, tensor in described if is_input]
        self.outputs = [tensor for is_input, tensor in described if not is_input]
        self._order = [tensor.name for _, tensor in described]

    def _by_name(self, trt: Any) -> List[Tuple[bool, Tensor]]:
        engine = self._engine
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        return [(engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT,
                 _of_tensorrt(name, engine.get_tensor_shape(name), engine.get_tensor_dtype(name))) for name in names]

    def _by_binding(self) -> List[Tuple[bool, Tensor]]:
        engine = self._engine
        return [(engine.binding_is_input(index),
                 _of_tensorrt(engine.get_binding_name(index), engine.get_binding_shape(index),
                              engine.get_binding_dtype(index))) for index in range(engine.num_bindings)]

    def bind(self, memory: mmap.mmap, places: Sequence[int]) -> None:
        """Give each tensor memory on the GPU beside its place in this memory."""
        self._copies = {tensor.name: (self._cuda.allocate(tensor.size),
                                      ctypes.addressof(ctypes.c_char.from_buffer(memory, place)), tensor.size)
                        for tensor, place in zip([*self.inputs, *self.outputs], places)}
        self._bindings = [self._copies[name][0] for name in self._order]
        if self._named:
            for name in self._order:
                self._context.set_tensor_address(name, self._copies[name][0])

    def run(self) -> None:
        """From the inputs in memory to the outputs in memory."""
        for tensor in self.inputs:
            self._cuda.to_device(*self._copies[tensor.name])
        if self._named:
            done = self._context.execute_async_v3(self._cuda.stream)
        else:
            done = self._context.execute_async_v2(self._bindings, self._cuda.stream)
        if not done:
            raise Failure("accelerator-lost", f"{self.library} did not run the engine")
        for tensor in self.outputs:
            self._cuda.to_host(*self._copies[tensor.name])
        self._cuda.wait()


def _of_tensorrt(name: str, shape: Sequence[int], dtype: Any) -> Tensor:
    types = {"FLOAT": "float32", "HALF": "float16", "INT8": "int8", "UINT8": "uint8", "INT32": "int32"}
    return Tensor(name, tuple(shape), types.get(dtype.name, dtype.name))


class Cuda:
    """CUDA's driver API through ctypes, as far as a model needs it, in the primary context, which TensorRT uses too.

    https://docs.nvidia.com/cuda/cuda-driver-api: names with _v2 take 64-bit addresses and sizes.
    """

    def __init__(self) -> None:
        try:
            self._library = ctypes.CDLL("libcuda.so.1")
        except OSError as error:
            raise Failure(MISSING, error) from error
        device, context, stream = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_void_p()
        try:
            self._call("cuInit", ctypes.c_uint(0))
            self._call("cuDeviceGet", ctypes.byref(device), ctypes.c_int(0))
        except Failure as failure:
            raise Failure("accelerator-absent", failure) from failure
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self._call("cuCtxSetCurrent", context)
        self._call("cuStreamCreate", ctypes.byref(stream), ctypes.c_uint(0))
        self.stream = stream.value or 0

    def allocate(self, size: int) -> int:
        """Address of so many bytes on the GPU; they are freed with the process."""
        address = ctypes.c_uint64()
        self._call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(size))
        return address.value

    def to_device(self, device: int, host: int, size: int) -> None:
        """Copy host memory to the GPU, in the order of the stream."""
        self._call("cuMemcpyHtoDAsync_v2", ctypes.c_uint64(device), ctypes.c_void_p(host), ctypes.c_size_t(size),
                   ctypes.c_void_p(self.stream))

    def to_host(self, device: int, host: int, size: int) -> None:
        """Copy back."""
        self._call("cuMemcpyDtoHAsync_v2", ctypes.c_void_p(host), ctypes.c_uint64(device), ctypes.c_size_t(size),
                   ctypes.c_void_p(self.stream))

    def wait(self) -> None:
        """Until all of it is done."""
        self._call("cuStreamSynchronize", ctypes.c_void_p(self.stream))

    def _call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._library, name)(*arguments)
        if status:
            raise Failure("accelerator-lost", f"{name} answered {status}")


def serve(model: Any, memory: int, questions: int, answers: int) -> None:
    """Describe the model, then answer until the questions end.

    Args:
        model: has library, inputs, outputs, `bind(memory, places)` and `run()`.
        memory, questions, answers: file descriptors.
    """
    send(answers, 0, {"library": model.library, "inputs": model.inputs, "outputs": model.outputs})
    mapped = None
    while True:
        question = os.read(questions, QUESTION.size)
        if len(question) < QUESTION.size:
            return
        try:
            if mapped is None:
                mapped = mmap.mmap(memory, 0)
                model.bind(mapped, layout([*model.inputs, *model.outputs]))
            model.run()
            document = None
        except Exception as error:
            document = explained(error, "engine-failed")
        send(answers, QUESTION.unpack(question)[0], document)


def send(answers: int, number: int, document: Optional[Dict[str, Any]]) -> None:
    """One answer, in one write."""
    content = b"" if document is None else json.dumps(document).encode()
    os.write(answers, ANSWER.pack(number, len(content)) + content)


def explained(error: Exception, otherwise: str) -> Dict[str, str]:
    """An exception as a document; without a name of its own it gets another's."""
    named = isinstance(error, Failure)
    words = str(error) if named else f"{type(error).__name__}: {error}"
    return {"fault": getattr(error, "fault", otherwise), "detail": " ".join(words.split())[:_LONGEST]}


def end_with_parent() -> None:
    """A call that hangs must not outlive the device and keep the accelerator from the next one."""
    def watch(parent: int) -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, args=(os.getppid(),), daemon=True).start()


def main(arguments: Optional[List[str]] = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Serve a model to the process that started this one.")
    parser.add_argument("engine", choices=["coral", "tensorrt"])
    parser.add_argument("model", nargs="?", help="a file; without one only the library is tried")
    parser.add_argument("--memory", type=int, default=-1, metavar="FD")
    parser.add_argument("--threads", type=int, default=1, metavar="N")
    options = parser.parse_args(arguments)
    answers = os.dup(1)
    os.dup2(2, 1)  # what a library prints must not look like an answer
    end_with_parent()
    try:
        model = {"coral": EdgeTpu, "tensorrt": TensorRt}[options.engine](options)
    except Exception as error:
        send(answers, 0, explained(error, "engine-not-started"))
        return 1
    nowhere = os.open(os.devnull, os.O_WRONLY)  # and what it goes on printing must not fill a disk
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    serve(model, options.memory, 0, answers)
    return 0


if __name__ == "__main__":
    here = os.path.dirname(os.path.realpath(__file__))  # this folder's modules are no libraries
    sys.path[:] = [folder for folder in sys.path if os.path.realpath(folder) != here]  # not there with `python -P`
    sys.exit(main())
