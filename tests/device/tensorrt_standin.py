"""A stand-in for the `tensorrt` module: nothing is compiled, but nothing is offered either that a version lacks.

An "engine" is the ONNX file itself; executing it has ONNX Runtime compute on whatever memory the addresses are of.

Which members each version has, and which parameters they take, is recorded from the real bindings or their source
(benchmarks/tensorrt_api.py). Whatever is not recorded raises AttributeError, on reading and on setting.
"""

import base64
import ctypes
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto

API = json.loads(Path(__file__).with_name("tensorrt_api.json").read_text())
VERSIONS = tuple(sorted(API, key=lambda version: [int(part) for part in version.split(".")]))
LOGGERS = ("ILogger", "Logger")  # the second inherits the severities of the first
ERROR = 1  # of ILogger's severities
ENUMS = ("BuilderFlag", "DataType", "LayerType", "MemoryPoolType", "NetworkDefinitionCreationFlag", "TensorIOMode")


class Member(int):
    """A value of an enumeration, with its name."""

    name = ""


def _enumeration(name: str, members: Any) -> type:
    values = {member: Member(value) for value, member in enumerate(members)}
    for member, value in values.items():
        value.name = member
    return type(name, (), values)


def standin(version: str, fast: tuple[str, ...] = ("fp16", "int8"), fails: str = "") -> Any:
    """A module as `import tensorrt` gives it.

    Args:
        version: one of VERSIONS.
        fast: arithmetic that the GPU is said to have.
        fails: "build" (no plan), "load" (a plan that cannot be loaded) or "names" (other tensors than the model's).
    """
    recorded = API[version]["members"]
    trt: Any = ModuleType("tensorrt")
    trt.__version__ = version
    for name in ENUMS:
        if name in recorded:
            setattr(trt, name, _enumeration(name, recorded[name]))
    for name, behaviour in _behaviours(trt, version, fast, fails).items():
        setattr(trt, name, _limited(name, recorded[name], behaviour))
    return trt


def _limited(name: str, members: dict[str, list[str] | None], behaviour: type) -> type:
    """A class of which only recorded members can be reached; methods take the recorded number of arguments."""
    def guarded(self: Any, attribute: str) -> Any:
        if not attribute.startswith("_") and attribute not in members and name not in LOGGERS:
            raise AttributeError(f"{name} has no attribute {attribute!r}")
        value = object.__getattribute__(self, attribute)
        takes = members.get(attribute)
        if not callable(value) or takes is None:
            return value

        def call(*arguments: Any) -> Any:
            assert len(arguments) <= len(takes), f"{name}.{attribute} takes {takes}"
            return value(*arguments)
        return call

    def guarded_set(self: Any, attribute: str, value: Any) -> None:
        if not attribute.startswith("_") and attribute not in members and name not in LOGGERS:
            raise AttributeError(f"{name} has no attribute {attribute!r}")
        object.__setattr__(self, attribute, value)

    return type(name, (behaviour,), {"__getattribute__": guarded, "__setattr__": guarded_set})


def _behaviours(trt: Any, version: str, fast: tuple[str, ...], fails: str) -> dict[str, type]:
    """What the classes do, where a version has them."""
    class ILogger:
        INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)

        def log(self, severity: int, msg: str) -> None:
            raise NotImplementedError

    class Logger(ILogger):
        def __init__(self, min_severity: int = ILogger.WARNING) -> None:
            self._least = min_severity

        def log(self, severity: int, msg: str) -> None:
            if severity <= self._least:
                print(f"[TRT] {msg}")

    class Builder:
        def __init__(self, logger: Any) -> None:
            assert isinstance(logger, ILogger)
            self._logger = logger
            self.__dict__.update({f"platform_has_fast_{kind}": kind in fast for kind in ("fp16", "int8")})

        def create_network(self, flags: int = 0) -> Any:
            return Network(flags)

        def create_builder_config(self) -> Any:
            return trt.IBuilderConfig()

        def build_serialized_network(self, network: Any, config: Any) -> Any:
            if fails == "build":
                self._logger.log(ILogger.ERROR, "no implementation for node")
                return None
            self._logger.log(ILogger.VERBOSE, "a tactic")
            self._logger.log(ILogger.WARNING, "a warning of the builder")
            return json.dumps({"version": version, "flags": sorted(config._flags), "workspace": config._workspace,
                               "tensors": network._tensors, "network_flags": network._flags,
                               "onnx": base64.b64encode(network._onnx).decode()}).encode()

    class IBuilderConfig:
        def __init__(self) -> None:
            self._flags: list[str] = []
            self._workspace = 0

        def set_flag(self, flag: Member) -> None:
            self._flags += [name for name, value in vars(trt.BuilderFlag).items() if value is flag]

        def set_memory_pool_limit(self, pool: Member, pool_size: int) -> None:
            assert pool is trt.MemoryPoolType.WORKSPACE
            self._workspace = pool_size

        @property
        def max_workspace_size(self) -> int:
            return self._workspace

        @max_workspace_size.setter
        def max_workspace_size(self, size: int) -> None:
            self._workspace = size

    return {"ILogger": ILogger, "Logger": Logger, "Builder": Builder, "IBuilderConfig": IBuilderConfig,
            "OnnxParser": _parser(trt, version), "Runtime": _runtime(trt, version, fails)}


class Network:
    """The layers of a real ONNX file."""

    def __init__(self, flags: int) -> None:
        self._flags = flags
        self._layers: list[Any] = []
        self._tensors: list[str] = []
        self._onnx = b""

    @property
    def num_layers(self) -> int:
        return len(self._layers)

    def get_layer(self, index: int) -> Any:
        return self._layers[index]


class Layer:
    """A node's kind and the types of its outputs."""

    def __init__(self, trt: Any, node: Any, types: dict[str, int]) -> None:
        self.type = trt.LayerType.QUANTIZE if node.op_type == "QuantizeLinear" else trt.LayerType.SHUFFLE
        half = [types.get(name) == TensorProto.FLOAT16 for name in node.output]
        self._types = [trt.DataType.HALF if is_half else trt.DataType.FLOAT for is_half in half]
        self.num_outputs = len(self._types)

    def get_output(self, index: int) -> Any:
        return type("Tensor", (), {"dtype": self._types[index]})


def _parser(trt: Any, version: str) -> type:
    class OnnxParser:
        def __init__(self, network: Any, logger: Any) -> None:
            self._network = network
            self._errors: list[str] = []

        def parse(self, model: bytes, path: str | None = None) -> bool:
            explicit = getattr(trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH", None)
            if explicit is not None and version.startswith("8.") and not self._network._flags & 1 << explicit:
                self._errors = ["Network must have an explicit batch dimension"]
                return False
            try:
                graph = onnx.shape_inference.infer_shapes(onnx.load_from_string(model)).graph
            except Exception:
                self._errors = ["Failed to parse ONNX model", "and a second reason"]
                return False
            types = {value.name: value.type.tensor_type.elem_type for value in graph.value_info}
            self._network._layers = [Layer(trt, node, types) for node in graph.node]
            self._network._tensors = [value.name for value in (*graph.output, *graph.input)]
            self._network._onnx = model
            return True

        @property
        def num_errors(self) -> int:
            return len(self._errors)

        def get_error(self, index: int) -> Any:
            text = self._errors[index]
            return type("ParserError", (), {"desc": lambda self: text})()

    return OnnxParser


def _runtime(trt: Any, version: str, fails: str) -> type:
    recorded = API[version]["members"]
    engine = _limited("ICudaEngine", recorded["ICudaEngine"], _engine(trt, version, fails))

    class Runtime:
        def __init__(self, logger: Any) -> None:
            self._logger = logger

        def deserialize_cuda_engine(self, serialized_engine: bytes) -> Any:
            if fails == "load":
                self._logger.log(ERROR, "The engine plan file is not compatible")
                return None
            return engine(json.loads(serialized_engine))

    return Runtime


def _engine(trt: Any, version: str, fails: str) -> type:
    class Engine:
        def __init__(self, plan: dict[str, Any]) -> None:
            self._onnx = base64.b64decode(plan["onnx"])
            graph = onnx.load_from_string(self._onnx).graph
            values = {value.name: value.type.tensor_type for value in (*graph.output, *graph.input)}
            self._shapes = {name: tuple(d.dim_value for d in kind.shape.dim) for name, kind in values.items()}
            self._inputs = [value.name for value in graph.input]
            self._names = ["image", "logits"] if fails == "names" else list(plan["tensors"])
            self.__dict__.update(num_io_tensors=len(self._names), num_bindings=len(self._names))

        def get_tensor_name(self, index: int) -> str:
            return self._names[index]

        def get_tensor_mode(self, name: str) -> Any:
            return trt.TensorIOMode.INPUT if name in self._inputs else trt.TensorIOMode.OUTPUT

        def get_tensor_shape(self, name: str) -> tuple[int, ...]:
            return self._shapes[name]

        def get_tensor_dtype(self, name: str) -> Any:
            return trt.DataType.FLOAT

        get_binding_name = get_tensor_name

        def binding_is_input(self, index: int) -> bool:
            return self._names[index] in self._inputs

        def get_binding_shape(self, index: int) -> tuple[int, ...]:
            return self._shapes[self._names[index]]

        def get_binding_dtype(self, index: int) -> Any:
            return trt.DataType.FLOAT

        def create_execution_context(self) -> Any:
            context = _limited("IExecutionContext", API[version]["members"]["IExecutionContext"], Context)
            return context(self._onnx, self._names, self._inputs, self._shapes)

    return Engine


class Context:
    """Runs the ONNX on float32 at given addresses; the stub of the CUDA driver has them in ordinary memory."""

    def __init__(self, model: bytes, names: list[str], inputs: list[str], shapes: dict[str, tuple[int, ...]]) -> None:
        import onnxruntime

        self._session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        self._names, self._inputs, self._shapes = names, inputs, shapes
        self._addresses: dict[str, int] = {}

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        return self._run(self._addresses)

    def execute_async_v2(self, bindings: list[int], stream_handle: int) -> bool:
        return self._run(dict(zip(self._names, bindings, strict=True)))

    def _run(self, addresses: dict[str, int]) -> bool:
        images = {name: np.frombuffer(ctypes.string_at(addresses[name], 4 * int(np.prod(self._shapes[name]))), "f4")
                  .reshape(self._shapes[name]) for name in self._inputs}
        outputs = [name for name in self._names if name not in self._inputs]
        for name, value in zip(outputs, self._session.run(outputs, images), strict=True):
            ctypes.memmove(addresses[name], value.astype("f4").tobytes(), 4 * value.size)
        return True
