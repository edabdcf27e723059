"""Take what rounding the weights adds to each output's mean out of the biases of an 8-bit ONNX network.

Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction", section 4.2: the error of a
layer is its weights' rounding times its input, so its mean is the rounding times the input's mean, which training tiles
give. It adds no operation. docs/decisions/007-jetson-engines.md says what it is worth.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .onnx_run import run_outputs

_TILES = 32
LAYERS = ("Conv", "Gemm")


def correct_biases(quantised: bytes, plain: bytes, tiles: Sequence[NDArray[np.float32]]) -> bytes:
    """The 8-bit network with corrected biases; `plain` is what it was made from, tiles are [1, size, size, 3]."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load_from_string(quantised)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    makers = {name: node for node in model.graph.node for name in node.output}
    layers = [node for node in model.graph.node if node.op_type in LAYERS]
    for node, mean in zip(layers, _mean_inputs(plain, tiles), strict=True):
        if len(node.input) < 3 or node.input[1] in constants:
            continue  # no bias to correct, or weights that were left in float
        rounding = _rounding(makers[makers[node.input[1]].input[0]], constants)
        bias = constants[node.input[2]]
        corrected = numpy_helper.to_array(bias) - _mean_error(node, rounding, mean)
        bias.CopyFrom(numpy_helper.from_array(corrected.astype(np.float32), bias.name))
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _mean_inputs(content: bytes, tiles: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """Mean input of each layer of a float network, per channel, in the order of the nodes."""
    import onnx

    graph = onnx.load_from_string(content).graph
    names = [node.input[0] for node in graph.node if node.op_type in LAYERS]
    sums: dict[str, NDArray[np.float32]] = {}
    chosen = tiles[::max(1, len(tiles) // _TILES)][:_TILES]
    for values in run_outputs(content, sorted(set(names)), chosen):
        for name, value in values.items():
            mean = value.mean((0, 2, 3)) if value.ndim == 4 else value.mean(0)
            sums[name] = sums.get(name, 0) + mean / len(chosen)
    return [sums[name] for name in names]


def _rounding(quantise: Any, constants: dict[str, Any]) -> NDArray[np.float32]:
    """What becomes of the weights that a QuantizeLinear reads, less what they were."""
    from onnx import helper, numpy_helper

    weights, scale = (numpy_helper.to_array(constants[name]) for name in quantise.input[:2])
    axis = next((helper.get_attribute_value(a) for a in quantise.attribute if a.name == "axis"), 1)
    step = scale.reshape([-1 if i == axis else 1 for i in range(weights.ndim)]) if scale.ndim else scale
    return np.asarray(np.rint(weights / step).clip(-128, 127) * step - weights, np.float32)


def _mean_error(node: Any, rounding: NDArray[np.float32], mean: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean output of a layer with these weights at its mean input, per output channel."""
    from onnx import helper

    options = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if node.op_type == "Gemm":
        return np.asarray(mean @ (rounding.T if options.get("transB") else rounding), np.float32)
    taps = rounding.sum((2, 3))  # [outputs, inputs of the group]
    groups = options.get("group", 1)
    inputs = mean.reshape(groups, -1).repeat(len(taps) // groups, 0)
    return np.asarray((taps * inputs).sum(1), np.float32)
