"""Read the operations of a TFLite file: names, versions, shapes, types, scales."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

_METADATA = b"min_runtime_version"


@dataclass(frozen=True)
class TensorInfo:
    """One tensor. `constant` when its values are in the file; `dynamic` when a side is only known at run time."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    constant: bool
    dynamic: bool
    scales: int


@dataclass(frozen=True)
class OperatorInfo:
    """One operator with its tensors, optional inputs left out."""

    op: str
    version: int
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]


def operators(content: bytes) -> tuple[OperatorInfo, ...]:
    """All operators of all subgraphs, in the order of execution."""
    model = _model(content)
    return tuple(_operator(model, graph, graph.Operators(i))
                 for graph in map(model.Subgraphs, range(model.SubgraphsLength()))
                 for i in range(graph.OperatorsLength()))


def parameter_bytes(content: bytes) -> int:
    """Bytes of constant data: what has to fit the Edge TPU's memory."""
    model = _model(content)
    return sum(model.Buffers(i).DataLength() for i in range(model.BuffersLength()))


def min_runtime_version(content: bytes) -> str:
    """The oldest TensorFlow Lite that has all kernels, as the converter noted it ("" when it did not)."""
    model = _model(content)
    for entry in map(model.Metadata, range(model.MetadataLength())):
        if entry.Name() == _METADATA:
            return bytes(model.Buffers(entry.Buffer()).DataAsNumpy()).rstrip(b"\0").decode()
    return ""


def _model(content: bytes) -> Any:
    from ai_edge_litert import schema_py_generated as schema

    return schema.Model.GetRootAsModel(content, 0)


@cache
def _names(kind: str) -> dict[int, str]:
    from ai_edge_litert import schema_py_generated as schema

    return {code: name for name, code in vars(getattr(schema, kind)).items() if isinstance(code, int)}


def _operator(model: Any, graph: Any, operator: Any) -> OperatorInfo:
    code = model.OperatorCodes(operator.OpcodeIndex())
    number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())  # the schema moved small codes to a second field
    inputs = (operator.Inputs(i) for i in range(operator.InputsLength()))
    outputs = (operator.Outputs(i) for i in range(operator.OutputsLength()))
    return OperatorInfo(_names("BuiltinOperator")[number], code.Version(),
                        tuple(_tensors(model, graph, inputs)), tuple(_tensors(model, graph, outputs)))


def _tensors(model: Any, graph: Any, indices: Iterator[int]) -> Iterator[TensorInfo]:
    for index in indices:
        if index < 0:
            continue
        tensor = graph.Tensors(index)
        shape = tuple(int(tensor.Shape(i)) for i in range(tensor.ShapeLength()))
        signature = [int(tensor.ShapeSignature(i)) for i in range(tensor.ShapeSignatureLength())]
        quantisation = tensor.Quantization()
        yield TensorInfo(tensor.Name().decode(), shape, _names("TensorType")[tensor.Type()],
                         model.Buffers(tensor.Buffer()).DataLength() > 0, -1 in signature or -1 in shape,
                         quantisation.ScaleLength() if quantisation else 0)
