"""Give probabilities in an integer model the range they can have, whatever calibration tiles happened to show.

Ranges are measured on tiles. A network that is never quite sure of a drawn smear would then have a largest probability
of, say, 0.95: on a real field that it is sure of the four no longer add up to 1. What a softmax can give is known, and
so is what it can give once scaled by a constant or added to another: these ranges are set, not measured. The kernels
take their multipliers from the tensors' scales when the model is loaded.

Scales are chosen so that kernels cannot round differently. A softmax times a constant keeps its 256 steps, so nothing
is rounded. A sum gets a step of its own: 7 and 3 tenths of whole steps often add up to exactly half a step, which
XNNPACK rounded one way on x86-64 and the other way on arm64.
"""

from typing import Any

import numpy as np

_STEPS = 255
_SOFTMAX = 255 / 256  # the largest value at the scale of 1/256 that the format prescribes
_NO_HALVES = 512 / 511  # whole numbers of tenths never fall halfway between such steps
_LOWEST = {"INT8": -128, "UINT8": 0}


def widen_probabilities(model: Any, output: int) -> None:
    """Change the scales of a TFLite `ModelT` in place, from its output of this number back to the softmaxes.

    Nothing is changed behind an operation whose range is not known.
    """
    graph = model.subgraphs[0]
    producers = {int(index): operator for operator in graph.operators for index in operator.outputs}
    _widen(model, producers, int(graph.outputs[output]))


def _widen(model: Any, producers: dict[int, Any], index: int) -> float | None:
    """The largest value of a tensor, once its range is set; None when it is not known."""
    operator = producers.get(index)
    if operator is None:
        return None
    name, inputs = _name(model, operator), [int(i) for i in operator.inputs]
    if name == "SOFTMAX":
        return _SOFTMAX
    known: float | None = None
    if name in ("QUANTIZE", "RESHAPE", "SQUEEZE"):
        known = _widen(model, producers, inputs[0])
    elif name == "MUL":
        factor = _constant(model, inputs[1])
        known = _times(_widen(model, producers, inputs[0]), factor)
    elif name == "ADD":
        parts = [_widen(model, producers, i) for i in inputs]
        known = None if any(part is None for part in parts) else _NO_HALVES * sum(p for p in parts if p is not None)
    if known is not None:
        _set_range(model, index, known)
    return known


def _times(bound: float | None, factor: float | None) -> float | None:
    return None if bound is None or factor is None or factor <= 0 else bound * factor


def _set_range(model: Any, index: int, largest: float) -> None:
    from tensorflow.lite.python import schema_py_generated as schema

    tensor = model.subgraphs[0].tensors[index]
    types = {getattr(schema.TensorType, name): lowest for name, lowest in _LOWEST.items()}
    tensor.quantization.scale = np.array([largest / _STEPS], np.float32)
    tensor.quantization.zeroPoint = np.array([types[tensor.type]], np.int64)


def _constant(model: Any, index: int) -> float | None:
    """The one value of a constant tensor in 8 bits; None for anything else."""
    tensor = model.subgraphs[0].tensors[index]
    data = model.buffers[tensor.buffer].data
    if data is None or len(data) != 1:
        return None
    stored = int(np.asarray(data, np.uint8).view(np.int8)[0])
    return float((stored - int(tensor.quantization.zeroPoint[0])) * float(tensor.quantization.scale[0]))


def _name(model: Any, operator: Any) -> str:
    from tensorflow.lite.python import schema_py_generated as schema

    code = model.operatorCodes[operator.opcodeIndex]
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    return next(name for name, value in vars(schema.BuiltinOperator).items() if value == number)
