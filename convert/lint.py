"""Hold a TFLite model against the Edge TPU's table, operator by operator, before any compiler sees it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alledge.errors import GateNotMet

from . import edgetpu_ops as table
from .converted import Operation
from .edgetpu_rules import why_refused
from .tflite_graph import OperatorInfo, TensorInfo, min_runtime_version, operators, parameter_bytes

_CONVERSIONS = ("QUANTIZE", "DEQUANTIZE", "CAST")
_ALLOWED = "allowed by the table"
LIMIT = "limit: "  # begins the reason of an operation that the table allows within one


@dataclass(frozen=True)
class Lint:
    """What the table says of a model.

    Attributes:
        rows: every operator in the order of execution; `mapped` is False or "unknown", for no compiler has spoken.
        macs: multiply-accumulates of one inference; macs_before: share of them before the first refused operator,
            1 when none is (0-1).
        parameters: bytes of constants; streamed: those of them that do not fit the chip.
        largest: bytes of the largest activation.
        dynamic: tensors whose size is only known at run time.
        runtime: the oldest TensorFlow Lite that has all kernels, "" when the converter did not say.
    """

    rows: tuple[Operation, ...]
    macs: int
    macs_before: float
    parameters: int
    largest: int
    dynamic: int
    runtime: str

    @property
    def known_runtime(self) -> bool:
        """Whether the compiler's TensorFlow Lite is new enough."""
        return bool(self.runtime) and tuple(int(n) for n in self.runtime.split(".")) <= table.MAX_TFLITE

    @property
    def refused(self) -> tuple[Operation, ...]:
        """The operators that the table excludes, the first of which ends the Edge TPU's part."""
        return tuple(row for row in self.rows if row.mapped is False)

    @property
    def streamed(self) -> int:
        """Bytes of parameters over USB at every inference, at least: the chip's memory serves activations too."""
        return max(0, self.parameters - table.SRAM_BYTES)

    def to_json(self) -> dict[str, Any]:
        """Plain types only, without the rows."""
        return {"operations": len(self.rows), "refused": len(self.refused),
                "first_blocking": name(self.refused[0]) if self.refused else None,
                "macs": self.macs, "macs_before": self.macs_before, "parameter_bytes": self.parameters,
                "streamed_bytes": self.streamed, "sram_bytes": table.SRAM_BYTES,
                "largest_activation_bytes": self.largest, "dynamic_tensors": self.dynamic, "source": table.SOURCE}


def lint(content: bytes) -> Lint:
    """Judge every operator of a model."""
    found = operators(content)
    rows = tuple(_row(operator) for operator in found)
    outputs = [t for operator in found for t in operator.outputs]
    return Lint(rows, sum(o.macs for o in found), _share_before(found, rows), parameter_bytes(content),
                max(t.size for t in outputs), sum(t.dynamic for t in outputs), min_runtime_version(content))


def in_words(found: Mapping[str, Any]) -> str:
    """One line for a person, of what `to_json` gives."""
    refused = f"{found['refused']} refused" if found["refused"] else "none refused"
    if found["first_blocking"]:
        refused += f" (first {found['first_blocking']}, after {found['macs_before']:.0%} of the work)"
    size, chip = (found[key] / 2**20 for key in ("parameter_bytes", "sram_bytes"))
    return (f"{found['operations']} operations, {refused}, {found['dynamic_tensors']} dynamic tensors; {size:.1f} MiB "
            f"of parameters for {chip:.0f} MiB on the chip")


def name(row: Operation) -> str:
    """An operation as a sentence names it: with its layer where that is known."""
    return f"{row.op} of layer {row.layer!r}" if row.layer else row.op


def check_static_integer(content: bytes) -> None:
    """Demand what an Edge TPU model cannot do without.

    Raises:
        GateNotMet: for a float or dynamic tensor, or a dense layer with a scale per channel.
    """
    faults = [(operator, tensor, fault) for operator in operators(content)
              for tensor in (*operator.inputs, *operator.outputs) if (fault := _type_fault(tensor))]
    if faults:  # the layer at fault is not the one whose numbers are changed for it
        operator, tensor, fault = next((f for f in faults if f[0].op not in _CONVERSIONS), faults[0])
        raise GateNotMet(f"{operator.op} of layer {operator.layer or tensor.name!r}: expected static 8-bit tensors for "
                         f"the Edge TPU, received {fault}; {table.REMEDIES.get(operator.op, table.REMEDY)}")
    for operator in operators(content):
        if operator.op == "FULLY_CONNECTED" and operator.inputs[1].scales != 1:
            raise GateNotMet(f"dense layer {operator.inputs[1].name!r}: expected one scale, received "
                             f"{operator.inputs[1].scales}; a 2021 compiler misreads them")


def check_runtime(found: Lint) -> None:
    """Demand that the compiler's TensorFlow Lite has all kernels; where the table names an operator, that says more.

    Raises:
        GateNotMet: for a model of a newer or an unknown version.
    """
    if not found.refused and not found.known_runtime:
        limit = ".".join(map(str, table.MAX_TFLITE))
        raise GateNotMet(f"the model needs TensorFlow Lite {found.runtime or 'of unknown version'}, the Edge TPU "
                         f"compiler stops at {limit}: a layer uses an operation that is too new")


def _row(operator: OperatorInfo) -> Operation:
    reason, remedy = why_refused(operator)
    limit = table.SUPPORTED.get(operator.op, "")
    return Operation(operator.op, 1, False if reason else "unknown",
                     reason or (f"{LIMIT}{limit}" if limit else _ALLOWED), remedy, operator.layer,
                     operator.version, _shapes(operator))


def _shapes(operator: OperatorInfo) -> str:
    sides = ["x".join(map(str, t.shape)) or "1" for t in (*operator.inputs, operator.outputs[0])]
    first = [side for side, t in zip(sides, operator.inputs, strict=False) if not t.constant]
    return f"{', '.join(first)} \N{RIGHTWARDS ARROW} {sides[-1]}"


def _share_before(found: Sequence[OperatorInfo], rows: Sequence[Operation]) -> float:
    total = sum(operator.macs for operator in found)
    blocked = next((i for i, row in enumerate(rows) if row.mapped is False), len(rows))
    return sum(operator.macs for operator in found[:blocked]) / total if total else 1.0


def _type_fault(tensor: TensorInfo) -> str:
    if tensor.dynamic:
        return f"a dynamic shape {list(tensor.shape)}"
    return "" if tensor.dtype in table.DTYPES else f"type {tensor.dtype}"


