"""Take the systematic part of the weights' rounding out of an integer model (Nagel et al., ICCV 2019, section 4.2).

Rounding a filter to 8 bits shifts the mean of its output, because its inputs (after a ReLU) have a mean of their own.
The shift is known: rounding error times mean input. It is subtracted from the 32-bit bias, so the operations and
their speed stay as they are.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.float32]

# Axes of a filter that are summed over, and whether its last axis is that of the input's channels, per operation.
_SUMMED = {"CONV_2D": (1, 2, 3), "DEPTHWISE_CONV_2D": (0, 1, 2), "FULLY_CONNECTED": (1,)}


@dataclass(frozen=True)
class _Layer:
    """One weighted operation: indices of its input, filter and bias tensors."""

    op: str
    operator: Any
    image: int
    filter: int
    bias: int


def correct_biases(integer: Any, real: Any, tiles: Sequence[Real], content: bytes) -> int:
    """Correct `integer`, a TFLite `ModelT`, in place, and return the number of layers that were corrected.

    Args:
        integer: the quantised model.
        real: the float32 model of the same graph, `content` unpacked.
        tiles: float32 [1, size, size, channels] training tiles whose activations give the mean inputs.

    A graph that differs between the two is left alone: 0 layers.
    """
    pairs = weighted_pairs(integer, real)
    means = _mean_inputs(content, [b.image for _, b in pairs], tiles)
    for (layer, twin), mean in zip(pairs, means, strict=True):
        error = _filter(integer, layer) - _filter(real, twin)
        _shift_bias(integer, layer, (error * mean).sum(_SUMMED[layer.op]))
    return len(pairs)


def weighted_pairs(integer: Any, real: Any) -> list[tuple[_Layer, _Layer]]:
    """The weighted operations of two models (TFLite `ModelT`) in order, each with its twin; [] when they differ."""
    pairs = list(zip(_layers(integer), _layers(real), strict=False))
    if len(_layers(integer)) != len(_layers(real)) or any(not _alike(integer, a, real, b) for a, b in pairs):
        return []
    return pairs


def _layers(model: Any) -> list[_Layer]:
    from tensorflow.lite.python import schema_py_generated as schema

    codes = {getattr(schema.BuiltinOperator, op): op for op in _SUMMED}
    found = []
    for operator in model.subgraphs[0].operators:
        code = model.operatorCodes[operator.opcodeIndex]
        op = codes.get(max(code.builtinCode, code.deprecatedBuiltinCode))
        biased = len(operator.inputs) == 3 and operator.inputs[2] >= 0
        if op and biased and _data(model, operator.inputs[1]) is not None:
            found.append(_Layer(op, operator, *(int(i) for i in operator.inputs)))
    return found


def _alike(integer: Any, layer: _Layer, real: Any, twin: _Layer) -> bool:
    one, other = (list(m.subgraphs[0].tensors[x.filter].shape) for m, x in ((integer, layer), (real, twin)))
    return layer.op == twin.op and one == other


def _mean_inputs(content: bytes, places: Sequence[int], tiles: Sequence[Real]) -> list[NDArray[np.float64]]:
    """Mean of each tensor per channel (its last axis), over positions and tiles."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(model_content=content, experimental_preserve_all_tensors=True, num_threads=2,
                              experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    interpreter.allocate_tensors()
    image = interpreter.get_input_details()[0]["index"]
    sums: list[Any] = [0.0] * len(places)
    for tile in tiles:
        interpreter.set_tensor(image, tile)
        interpreter.invoke()
        for number, place in enumerate(places):
            values = interpreter.get_tensor(place)
            sums[number] = sums[number] + values.reshape(-1, values.shape[-1]).mean(0, np.float64)
    return [s / len(tiles) for s in sums]


def _filter(model: Any, layer: _Layer) -> NDArray[np.float64]:
    """Real values of a layer's filter."""
    tensor = model.subgraphs[0].tensors[layer.filter]
    data = _data(model, layer.filter)
    if tensor.quantization is None or tensor.quantization.scale is None or not len(tensor.quantization.scale):
        return np.asarray(data.view(np.float32).reshape(tensor.shape), np.float64)
    scale, axis = np.asarray(tensor.quantization.scale, np.float64), tensor.quantization.quantizedDimension
    shape = [1] * len(tensor.shape)
    shape[axis] = len(scale) if len(scale) > 1 else 1
    return np.asarray(data.view(np.int8).reshape(tensor.shape) * scale.reshape(shape), np.float64)


def _shift_bias(model: Any, layer: _Layer, shift: NDArray[np.float64]) -> None:
    """Subtract `shift` [channels] from a bias."""
    tensor = _own_bias(model, layer)
    steps = np.rint(shift / np.asarray(tensor.quantization.scale, np.float64)).astype(np.int64)
    buffer = model.buffers[tensor.buffer]
    buffer.data = (np.asarray(buffer.data, np.uint8).view(np.int32) - steps).astype(np.int32).view(np.uint8)


def _own_bias(model: Any, layer: _Layer) -> Any:
    """The bias tensor, split from others first: the converter lets equal constants share a tensor or a buffer."""
    graph = model.subgraphs[0]
    tensor = graph.tensors[layer.bias]
    uses = sum(int(i) == layer.bias for operator in graph.operators for i in operator.inputs)
    sharing = sum(other.buffer == tensor.buffer for other in graph.tensors)
    if uses > 1:
        tensor = deepcopy(tensor)
        graph.tensors.append(tensor)
        layer.operator.inputs = [*layer.operator.inputs[:2], len(graph.tensors) - 1]
    if uses > 1 or sharing > 1:
        model.buffers.append(deepcopy(model.buffers[tensor.buffer]))
        tensor.buffer = len(model.buffers) - 1
    return tensor


def _data(model: Any, index: int) -> Any:
    """The constant bytes of a tensor, or None when it is computed."""
    data = model.buffers[model.subgraphs[0].tensors[index].buffer].data
    return None if data is None or not len(data) else np.asarray(data, np.uint8)
