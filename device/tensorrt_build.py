"""Build a TensorRT engine on the board that will run it, and keep it: one file for Python 3.6 and its library.

An engine fits one GPU and one TensorRT, so a bundle carries ONNX. On a Jetson Nano only the system's Python 3.6 has
TensorRT's bindings, so this file imports nothing of alledge and runs anywhere:

    /usr/bin/python3 tensorrt_build.py model.onnx --precision fp16 --cache engines

It knows the bindings of TensorRT 8.2 to 11 by what they offer, or drives `trtexec` instead. On stdout: one JSON object.
Exit codes: 0 built or found, 1 failed, 2 wrong arguments, 4 no TensorRT or no GPU here.
"""

import argparse
import ctypes
import fcntl
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

PRECISIONS = ("int8", "fp16", "fp32")
TENSORS = ("embedding", "image", "probs")
WORKSPACE = 256  # MiB of scratch memory a layer may use; 4 GB boards have no more to spare
LIBRARIES = 652  # MiB of CUDA, cuBLAS and cuDNN once loaded, as TensorRT 8 logs it on a Jetson
COPIES = 7  # times the weights, while building; alledge.convert.tensorrt_memory has the sources
MIB = 2 ** 20
MISSING = 4
_CHUNK = 2 ** 20
_SM_MAJOR, _SM_MINOR = 75, 76  # of CUdevice_attribute in CUDA's driver API


class BuildError(Exception):
    """One sentence for a person, and the exit code."""

    def __init__(self, sentence: str, code: int = 1) -> None:
        super().__init__(sentence)
        self.code = code


class Key(NamedTuple):
    """What an engine depends on; another of any of them is another engine."""

    onnx_sha256: str
    tensorrt: str
    gpu: str
    precision: str

    @property
    def name(self) -> str:
        """Of its files, without a suffix."""
        return hashlib.sha256("\n".join(self).encode()).hexdigest()[:16]


def describe_gpu() -> str:
    """Name and compute capability of the first GPU, as in "NVIDIA Tegra X1 sm_53"."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise BuildError("no CUDA driver (libcuda.so.1) here: expected a Jetson or an NVIDIA GPU", MISSING) from error
    device, name, major, minor = ctypes.c_int(), ctypes.create_string_buffer(256), ctypes.c_int(), ctypes.c_int()
    calls = ((cuda.cuInit, (0,)), (cuda.cuDeviceGet, (ctypes.byref(device), 0)),
             (cuda.cuDeviceGetName, (name, 256, device)),
             (cuda.cuDeviceGetAttribute, (ctypes.byref(major), _SM_MAJOR, device)),
             (cuda.cuDeviceGetAttribute, (ctypes.byref(minor), _SM_MINOR, device)))
    for call, arguments in calls:
        status = call(*arguments)
        if status:
            raise BuildError(f"the CUDA driver answered {status} and showed no GPU", MISSING)
    return f"{name.value.decode()} sm_{major.value}{minor.value}"


def demand_memory(needed: int) -> None:
    """Refuse to start what the kernel would kill; needed in MiB."""
    with open("/proc/meminfo") as file:
        lines = [line.split() for line in file]
    free = {line[0].rstrip(":"): int(line[1]) // 1024 for line in lines if line[1].isdigit()}
    available, swap = free["MemAvailable"], free["SwapFree"]
    if needed > available + swap:
        raise BuildError(f"building would take about {needed} MiB, this board has {available} MiB free and {swap} MiB "
                         "of swap: close other programs and the desktop, add a swap file, or try with --ignore-memory")


def with_bindings(trt: Any, onnx: bytes, precision: str, workspace: int) -> bytes:
    """A serialised engine, made with TensorRT's Python bindings."""
    log = _logger(trt)
    builder = trt.Builder(log)
    network = builder.create_network(_network_flags(trt))
    parser = trt.OnnxParser(network, log)
    if not parser.parse(onnx):
        errors = [parser.get_error(index).desc() for index in range(parser.num_errors)]
        raise BuildError("TensorRT {} cannot read the model: {}".format(trt.__version__, "; ".join(errors)))
    _demand_precision(trt, builder, network, precision)
    config = builder.create_builder_config()
    if hasattr(config, "set_memory_pool_limit"):  # from 8.4 on
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace * MIB)
    else:
        config.max_workspace_size = workspace * MIB
    for name in {"int8": ("INT8", "FP16"), "fp16": ("FP16",), "fp32": ()}[precision]:
        if hasattr(trt.BuilderFlag, name):  # up to 10; from 11 on the types stand in the model
            config.set_flag(getattr(trt.BuilderFlag, name))
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise BuildError("TensorRT {} built no engine: {}".format(trt.__version__, log.last or "it gave no reason"))
    written = bytes(memoryview(plan))
    _check_tensors(trt, log, written)
    return written


def _logger(trt: Any) -> Any:
    class Log(trt.ILogger):
        """Warnings and errors to stderr; the last error is kept for the sentence."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.last = ""

        def log(self, severity: Any, msg: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.last = msg.strip()
            if severity not in (trt.ILogger.INFO, trt.ILogger.VERBOSE):
                print(msg, file=sys.stderr, flush=True)

    return Log()


def _network_flags(trt: Any) -> int:
    """Explicit batch has to be asked for up to 9, may be up to 10, and cannot be from 11 on."""
    explicit = getattr(trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH", None)
    return 0 if explicit is None else 1 << int(explicit)


def _demand_precision(trt: Any, builder: Any, network: Any, precision: str) -> None:
    """An engine that quietly computes in something else is refused."""
    fast = getattr(builder, "platform_has_fast_" + precision, True)  # gone in 11
    if not fast:
        raise BuildError(f"this GPU has no fast {precision} arithmetic: convert the run for another precision or board")
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    if precision == "int8" and not any(layer.type == trt.LayerType.QUANTIZE for layer in layers):
        raise BuildError("int8 was asked for and the model quantises nothing: convert it with "
                         "`alledge convert RUN --target jetson-orin`")
    if precision == "fp16" and not hasattr(trt.BuilderFlag, "FP16"):
        halves = [layer for layer in layers for index in range(layer.num_outputs)
                  if layer.get_output(index).dtype == trt.DataType.HALF]
        if not halves:
            raise BuildError(f"TensorRT {trt.__version__} takes types from the model, and this one is float32 "
                             "throughout: convert it with `alledge convert RUN --target jetson-orin --precision fp16`")


def _check_tensors(trt: Any, log: Any, plan: bytes) -> None:
    """Load the engine once: a file that cannot be loaded is never kept."""
    engine = trt.Runtime(log).deserialize_cuda_engine(plan)
    if engine is None:
        raise BuildError("the engine cannot be loaded again: {}".format(log.last or "TensorRT gave no reason"))
    if hasattr(engine, "num_io_tensors"):  # from 8.5 on
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    else:
        names = [engine.get_binding_name(index) for index in range(engine.num_bindings)]
    if sorted(names) != list(TENSORS):
        raise BuildError("expected tensors {}, the engine has {}".format(", ".join(TENSORS), ", ".join(sorted(names))))


def trtexec_version(trtexec: str) -> Tuple[int, int, int]:
    """From the first line it prints, "... [TensorRT v8201] ..." or "... [TensorRT v100300] ..."."""
    try:
        done = subprocess.run([trtexec, "--help"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"{trtexec} cannot be run ({error})", MISSING) from error
    found = re.search(rb"TensorRT v(\d{4,6})", done.stdout)
    if not found:
        raise BuildError(f"{trtexec} does not say its version; expected NVIDIA's trtexec", MISSING)
    number = int(found.group(1))
    major, rest = divmod(number, 1000 if number < 10000 else 10000)
    return major, rest // 100, rest % 100


def trtexec_command(trtexec: str, version: Tuple[int, ...], onnx: str, out: str, precision: str,
                    workspace: int) -> List[str]:
    """The command line for that version; its flags changed in 8.4, 8.6 and 11."""
    command = [trtexec, "--onnx=" + onnx, "--saveEngine=" + out]
    command += [f"--memPoolSize=workspace:{workspace}" if version >= (8, 4) else
                f"--workspace={workspace}"]
    command += ["--skipInference" if version >= (8, 6) else "--buildOnly"]
    if version < (11,):
        command += {"int8": ["--int8", "--fp16"], "fp16": ["--fp16"], "fp32": []}[precision]
    return command


def with_trtexec(command: List[str], out: str) -> None:
    """Run it; its log goes to stderr and its last lines into the sentence."""
    tail = []  # type: List[str]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          universal_newlines=True) as process:
        for line in process.stdout or ():
            print(line, end="", file=sys.stderr, flush=True)
            tail = [*tail[-4:], line.strip()]
    if process.returncode or not os.path.isfile(out) or not os.path.getsize(out):
        raise BuildError("`{}` failed ({}): {}".format(" ".join(command), process.returncode, " | ".join(tail)))


class Cache:
    """A folder of engines, each with a record of what it was built from."""

    def __init__(self, folder: str) -> None:
        os.makedirs(folder, exist_ok=True)
        self._folder = folder

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One builder at a time: two at once do not fit in 4 GB, and the second finds what the first built."""
        with open(os.path.join(self._folder, ".lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def engine(self, key: Key) -> str:
        """Where its file is, or would be."""
        return os.path.join(self._folder, key.name + ".engine")

    def part(self, key: Key) -> str:
        """Where it is written until it is whole."""
        return os.path.join(self._folder, f".{key.name}.part")

    def fault(self, key: Key) -> Optional[str]:
        """Why there is no engine to use, None when there is one: whole, and built for exactly this."""
        if not os.path.isfile(self.engine(key)):
            return "none yet"
        try:
            with open(self._record(key)) as file:
                record = json.load(file)
        except (OSError, ValueError):
            return "its record is missing or damaged"
        if not isinstance(record, dict) or any(record.get(k) != v for k, v in key._asdict().items()):
            return "it was built for something else"
        return None if record.get("engine_sha256") == sha256(self.engine(key)) else "the file is damaged"

    def keep(self, key: Key, facts: Dict[str, Any]) -> None:
        """Make the finished part the engine: its bytes first, the record that vouches for them last."""
        with open(self.part(key), "rb") as file:
            os.fsync(file.fileno())
        document = dict(key._asdict(), engine_sha256=sha256(self.part(key)), **facts)
        os.replace(self.part(key), self.engine(key))
        note = self._record(key) + ".part"
        with open(note, "w") as text:
            json.dump(document, text)
            text.flush()
            os.fsync(text.fileno())
        os.replace(note, self._record(key))

    def _record(self, key: Key) -> str:
        return os.path.join(self._folder, key.name + ".json")


def sha256(path: str) -> str:
    """Of a file, without holding it in memory."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for chunk in iter(lambda: file.read(_CHUNK), b""):
            digest.update(chunk)
    return digest.hexdigest()


def run(options: argparse.Namespace) -> Dict[str, Any]:
    """Find the engine or build it; the document for stdout."""
    trt = None if options.trtexec else _import_tensorrt()
    version = trtexec_version(options.trtexec) if options.trtexec else ()
    key = Key(sha256(options.onnx), trt.__version__ if trt else ".".join(map(str, version)), describe_gpu(),
              options.precision)
    cache = Cache(options.cache)
    with cache.locked():
        fault = cache.fault(key)
        said = dict(key._asdict(), engine=cache.engine(key), built=fault is not None)  # type: Dict[str, Any]
        if fault is None:
            return said
        print(f"building for {key.gpu} with TensorRT {key.tensorrt} ({fault}); this takes minutes", file=sys.stderr,
              flush=True)
        needs = options.needs or LIBRARIES + WORKSPACE + COPIES * os.path.getsize(options.onnx) // MIB
        if not options.ignore_memory:
            demand_memory(needs + options.workspace - WORKSPACE)
        started = time.time()
        try:
            _build(options, trt, version, cache.part(key))
            facts = {"seconds": round(time.time() - started, 1), "bytes": os.path.getsize(cache.part(key)),
                     "workspace_mib": options.workspace}
            cache.keep(key, facts)
        finally:
            if os.path.exists(cache.part(key)):
                os.remove(cache.part(key))
        return dict(said, **facts)


def _build(options: argparse.Namespace, trt: Any, version: Tuple[int, ...], part: str) -> None:
    """Write the engine to `part`, with the bindings or with trtexec."""
    if trt is None:
        with_trtexec(trtexec_command(options.trtexec, version, options.onnx, part, options.precision,
                                     options.workspace), part)
        return
    with open(options.onnx, "rb") as file:
        plan = with_bindings(trt, file.read(), options.precision, options.workspace)
    with open(part, "wb") as out:
        out.write(plan)


def _import_tensorrt() -> Any:
    try:
        import tensorrt
    except ImportError as error:
        raise BuildError(f"this Python ({sys.executable}) has no TensorRT ({error}): on a Jetson /usr/bin/python3 has, "
                         "with `sudo apt install python3-libnvinfer`; or name --trtexec PATH", MISSING) from error
    return tensorrt


def main(arguments: Optional[List[str]] = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Build a TensorRT engine here, or find the one built before.")
    parser.add_argument("onnx", help="the model, taken out of a bundle")
    parser.add_argument("--precision", required=True, choices=PRECISIONS)
    parser.add_argument("--cache", required=True, metavar="DIR", help="where engines are kept")
    parser.add_argument("--workspace", type=int, default=WORKSPACE, metavar="MIB")
    parser.add_argument("--needs", type=int, metavar="MIB", help="what building takes; else estimated from the file")
    parser.add_argument("--trtexec", metavar="PATH", help="build with this program instead of the bindings")
    parser.add_argument("--ignore-memory", action="store_true")
    options = parser.parse_args(arguments)
    try:
        print(json.dumps(run(options)))
    except (BuildError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return getattr(error, "code", 1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
