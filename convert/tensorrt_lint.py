"""Hold an ONNX graph against the tables of four TensorRT versions, node by node, before any board sees it."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from alledge.errors import DataError

from . import tensorrt_ops as table
from .converted import Operation

_REMEDY = "replace that layer with convolutions, dense layers, pooling and plain activations, or use --target onnx"


def lint(content: bytes, required: Sequence[str],
         layers_with: Callable[[str], Sequence[str]] = lambda operation: ()) -> tuple[Operation, ...]:
    """The operation table with a verdict per TensorRT version. `mapped` is never True: no TensorRT has seen it.

    Args:
        required: the versions that the target's boards have; others are told, not demanded.
        layers_with: names the layers that an operation comes from.

    Raises:
        DataError: naming the first operation that one of the required versions cannot read, and the way out.
    """
    graph = _Graph(content)
    verdicts = Counter((node.op_type, tuple(graph.fault(node, v) for v in table.VERSIONS)) for node in graph.nodes)
    for (op, faults), _ in verdicts.items():
        for version, fault in zip(table.VERSIONS, faults, strict=True):
            if fault and version in required:
                layers = ", ".join(map(repr, layers_with(op)))
                raise DataError(f"operation {op}{f' of layer {layers}' if layers else ''}: TensorRT {version} cannot "
                                f"read it ({fault}); {_REMEDY}")
    return tuple(sorted((Operation(op, count, "unknown", _words(op, faults)) for (op, faults), count
                         in verdicts.items()), key=lambda row: (row.op, row.reason)))


def _words(op: str, faults: tuple[str, ...]) -> str:
    """Per version, in one clause; the engine itself is decided on the board."""
    readers = [v for v, fault in zip(table.VERSIONS, faults, strict=True) if not fault]
    said = f"read by TensorRT {', '.join(readers)} ({table.SOURCE})"
    said += "".join(f"; not by {v}: {fault}" for v, fault in zip(table.VERSIONS, faults, strict=True) if fault)
    if op in table.CONDITIONAL:
        said += "; under conditions that are not looked at here"
    return said


class _Graph:
    """An ONNX model and what is constant in it."""

    def __init__(self, content: bytes) -> None:
        import onnx

        model = onnx.load_from_string(content)
        self.nodes = list(model.graph.node)
        self._opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
        self._constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self._types = {name: onnx.TensorProto.DataType.Name(t.data_type) for name, t in self._constants.items()}
        self._dynamic = [value.name for value in model.graph.input if value.name not in self._constants
                         and not all(d.dim_value > 0 for d in value.type.tensor_type.shape.dim)]
        self._makers = {name: node.op_type for node in self.nodes for name in node.output}

    def fault(self, node: Any, version: str) -> str:
        """Why that version cannot read this node, "" when nothing is known against it."""
        oldest, newest = table.OPSETS[version]
        if node.domain not in ("", "ai.onnx"):
            return f"it is {node.domain}'s own"
        if node.op_type not in table.SUPPORTED[version]:
            return "not in its table"
        if not oldest <= self._opset <= newest:
            return f"opset {self._opset} is outside {oldest} to {newest}"
        if self._dynamic:
            return f"input {self._dynamic[0]!r} has no fixed shape"
        return self._input_fault(node, version) or self._special_fault(node)

    def _input_fault(self, node: Any, version: str) -> str:
        types = {self._types[name] for name in node.input if name in self._types}
        if types - table.TYPES:
            return f"a constant of type {min(types - table.TYPES)}"
        if "FLOAT16" in types and version in table.NO_HALF:
            return "it reads no half-precision constants"
        for place in table.CONSTANT_INPUTS.get(node.op_type, ()):
            if place < len(node.input) and node.input[place] and not self._constant(node.input[place]):
                return f"its input {place} is not a constant"
        return ""

    def _special_fault(self, node: Any) -> str:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            return self._quantisation_fault(node)
        if node.op_type == "MaxPool" and len(node.output) > 1:
            return "its second output"
        if node.op_type in ("Conv", "ConvTranspose"):
            weights = node.input[1]
            if not self._constant(weights) and self._makers.get(weights) != "DequantizeLinear":
                return "its weights are not constants"
            if weights in self._constants and len(self._constants[weights].dims) not in table.SPATIAL_RANKS:
                return "only two and three spatial dimensions"
        return ""

    def _quantisation_fault(self, node: Any) -> str:
        from onnx import numpy_helper

        if len(node.input) < 3 or not all(self._constant(name) for name in node.input[1:]):
            return "its scale and zero point are not constants"
        scale, zero = (numpy_helper.to_array(self._constants[name]) for name in node.input[1:])
        if zero.dtype != np.int8 or zero.any():
            return "its zero point is not an int8 zero"
        return "" if (scale > 0).all() else "a scale is not positive"

    def _constant(self, name: str) -> bool:
        return name in self._constants or self._makers.get(name) == "Constant"
