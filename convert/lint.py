"""Hold a TFLite model against the Edge TPU's table, operator by operator, before any compiler sees it."""

from collections import Counter
from math import prod

from alledge.errors import GateNotMet

from . import edgetpu_ops as table
from .converted import Operation
from .tflite_graph import OperatorInfo, TensorInfo, min_runtime_version, operators

_ALLOWED = f"allowed by the table ({table.SOURCE}); only the compiler can confirm it"


def lint(content: bytes) -> tuple[Operation, ...]:
    """The operation table, refused ones first. `mapped` is never True: no compiler has spoken."""
    verdicts = Counter((operator.op, why_refused(operator)) for operator in operators(content))
    rows = [Operation(op, count, False if reason else "unknown", reason or _ALLOWED)
            for (op, reason), count in verdicts.items()]
    return tuple(sorted(rows, key=lambda row: (row.mapped is not False, row.op, row.reason)))


def why_refused(operator: OperatorInfo) -> str:
    """Why the table excludes this operator, "" when it does not."""
    if operator.op not in table.SUPPORTED:
        return "not in the Edge TPU table"
    if operator.version > table.MAX_VERSIONS.get(operator.op, operator.version):
        return f"version {operator.version} is newer than the compiler"
    activations = [t for t in operator.inputs if not t.constant] + list(operator.outputs)
    return next(filter(None, map(_tensor_fault, activations)), "") or _shape_fault(operator)


def check_static_integer(content: bytes) -> dict[str, str]:
    """Demand what an Edge TPU model cannot do without, and return it as facts for the manifest.

    Raises:
        GateNotMet: for a float or dynamic tensor, a dense layer with a scale per channel, or a too new runtime.
    """
    for operator in operators(content):
        faults = [(t, fault) for t in (*operator.inputs, *operator.outputs) if (fault := _type_fault(t))]
        if faults:
            tensor, fault = faults[0]
            raise GateNotMet(f"{operator.op} {tensor.name!r}: expected static 8-bit tensors for the Edge TPU, "
                             f"received {fault}; replace that layer")
        if operator.op == "FULLY_CONNECTED" and operator.inputs[1].scales != 1:
            raise GateNotMet(f"dense layer {operator.inputs[1].name!r}: expected one scale, received "
                             f"{operator.inputs[1].scales}; a 2021 compiler misreads them")
    return {"min_runtime_version": _checked_runtime(content)}


def _checked_runtime(content: bytes) -> str:
    version = min_runtime_version(content)
    numbers = tuple(int(n) for n in version.split(".")) if version else (0,)
    if not version or numbers > table.MAX_RUNTIME:
        limit = ".".join(map(str, table.MAX_RUNTIME))
        raise GateNotMet(f"the model needs TensorFlow Lite {version or 'of unknown version'}, the Edge TPU compiler "
                         f"stops at {limit}: a layer uses an operation that is too new")
    return version


def _type_fault(tensor: TensorInfo) -> str:
    if tensor.dynamic:
        return f"a dynamic shape {list(tensor.shape)}"
    return "" if tensor.dtype in table.DTYPES else f"type {tensor.dtype}"


def _tensor_fault(tensor: TensorInfo) -> str:
    if prod(tensor.shape[:-table.INNER_DIMENSIONS]) > 1:
        return f"shape {list(tensor.shape)}: only the {table.INNER_DIMENSIONS} innermost sides may exceed 1"
    return _type_fault(tensor)


def _shape_fault(operator: OperatorInfo) -> str:
    first, out = operator.inputs[0].shape, operator.outputs[0].shape
    if operator.op in table.CONSTANT_FILTER and not operator.inputs[1].constant:
        return "its filter is not a constant"
    if operator.op == "FULLY_CONNECTED" and prod(out[:-1]) > 1:
        return f"output {list(out)} has more than one row"
    if operator.op == "SOFTMAX" and (prod(first[:-1]) > 1 or first[-1] > table.MAX_SOFTMAX):
        return f"input {list(first)} is not one row of at most {table.MAX_SOFTMAX}"
    if operator.op == "CONCATENATION" and any(t.constant for t in operator.inputs):
        return "it joins a constant"
    return ""
