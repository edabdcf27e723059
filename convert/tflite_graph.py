"""Read the operations of a TFLite file: names, versions, layers, shapes, types, scales, settings."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from math import prod
from typing import Any

_METADATA = b"min_runtime_version"
_MAX_VALUES = 16  # of a constant that is read: axes, strides and paddings are short
_SCOPE = re.compile(r"network(?P<counter>_\d+)?/(?P<path>[^;]+)")  # the converter keeps Keras' name scopes


@dataclass(frozen=True)
class TensorInfo:
    """One tensor. `constant` when its values are in the file; `dynamic` when a side is only known at run time."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    constant: bool
    dynamic: bool
    scales: int
    values: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        """Number of values."""
        return prod(self.shape)


@dataclass(frozen=True)
class OperatorInfo:
    """One operator with its tensors, optional inputs left out, and its integer settings by their schema names."""

    op: str
    version: int
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    settings: Mapping[str, int]

    @property
    def layer(self) -> str:
        """The Keras layer it came from, as far as the converter left a trace; of several fused ones the last."""
        own = (*self.outputs, *(t for t in self.inputs if t.constant))
        return next(filter(None, (layer_of(t.name) for t in own)), "")

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one inference; 0 for operations that are not sums of products."""
        out = self.outputs[0].size
        if self.op == "BATCH_MATMUL":
            return out * self.inputs[0].shape[-1]
        if self.op not in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
            return 0
        weights = self.inputs[1]
        return out * (prod(weights.shape[1:3]) if self.op == "DEPTHWISE_CONV_2D" else weights.size // weights.shape[0])


def layer_of(tensor: str) -> str:
    """The layer in a tensor's name."""
    return scope_of(tensor).split("/")[0]


def scope_of(tensor: str) -> str:
    """The layer and what it is made of: `network_1/attention_1/query_1/MatMul;...` -> attention/query.

    Keras appends one counter to every part of the name.
    """
    found = _SCOPE.search(tensor)
    if found is None:
        return ""
    parts = found["path"].split("/")
    return "/".join(part.removesuffix(found["counter"] or "") for part in parts[:-1] or parts)


def operators(content: bytes) -> tuple[OperatorInfo, ...]:
    """All operators of all subgraphs, in the order of execution."""
    model = _model(content)
    return tuple(_operator(model, graph, operator) for graph in model.subgraphs for operator in graph.operators)


def custom_codes(content: bytes) -> tuple[str, ...]:
    """Name of each custom operator, in the order of execution: a compiled part of a model is one."""
    model = _model(content)
    codes = [model.operatorCodes[o.opcodeIndex].customCode for g in model.subgraphs for o in g.operators]
    return tuple(code.decode() for code in codes if code)


def interface(content: bytes) -> tuple[tuple[Any, ...], ...]:
    """Name, shape, type, scale and zero point of each input and output: what a compiler must leave alone."""
    model = _model(content)
    graph = model.subgraphs[0]
    tensors = [graph.tensors[index] for index in (*graph.inputs, *graph.outputs)]
    return tuple((t.name, tuple(t.shape), t.type, *(tuple(v) for v in (t.quantization.scale, t.quantization.zeroPoint)))
                 for t in tensors)


def parameter_bytes(content: bytes) -> int:
    """Bytes of constant data: what has to fit the Edge TPU's memory."""
    return sum(_length(buffer) for buffer in _model(content).buffers)


def min_runtime_version(content: bytes) -> str:
    """The oldest TensorFlow Lite that has all kernels, as the converter noted it ("" when it did not)."""
    model = _model(content)
    for entry in model.metadata or ():
        if entry.name == _METADATA:
            return bytes(model.buffers[entry.buffer].data).rstrip(b"\0").decode()
    return ""


def _model(content: bytes) -> Any:
    from ai_edge_litert import schema_py_generated as schema

    return schema.ModelT.InitFromPackedBuf(content)


@cache
def _names(kind: str) -> dict[int, str]:
    from ai_edge_litert import schema_py_generated as schema

    return {code: name for name, code in vars(getattr(schema, kind)).items() if isinstance(code, int)}


def _operator(model: Any, graph: Any, operator: Any) -> OperatorInfo:
    code = model.operatorCodes[operator.opcodeIndex]
    number = max(code.builtinCode, code.deprecatedBuiltinCode)  # the schema moved small codes to a second field
    options = operator.builtinOptions
    settings = {name: int(value) for name, value in (vars(options) if options else {}).items()
                if isinstance(value, int)}
    return OperatorInfo(_names("BuiltinOperator")[number], code.version, tuple(_tensors(model, graph, operator.inputs)),
                        tuple(_tensors(model, graph, operator.outputs)), settings)


def _tensors(model: Any, graph: Any, indices: Any) -> Iterator[TensorInfo]:
    for index in indices:
        if index < 0:
            continue
        tensor = graph.tensors[index]
        shape = () if tensor.shape is None else tuple(int(n) for n in tensor.shape)
        signature = () if tensor.shapeSignature is None else tuple(int(n) for n in tensor.shapeSignature)
        dtype, buffer = _names("TensorType")[tensor.type], model.buffers[tensor.buffer]
        scale = None if tensor.quantization is None else tensor.quantization.scale
        yield TensorInfo(tensor.name.decode(), shape, dtype, _length(buffer) > 0, -1 in signature or -1 in shape,
                         0 if scale is None else len(scale), _values(buffer, dtype))


def _values(buffer: Any, dtype: str) -> tuple[int, ...]:
    if dtype != "INT32" or not 0 < _length(buffer) <= 4 * _MAX_VALUES:
        return ()
    return tuple(int(n) for n in memoryview(bytes(buffer.data)).cast("i"))


def _length(buffer: Any) -> int:
    return 0 if buffer.data is None else len(buffer.data)
