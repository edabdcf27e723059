"""8-bit ONNX: pairs of QuantizeLinear and DequantizeLinear, which say where TensorRT is to compute in integers."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .onnx_bias_correction import LAYERS, correct_biases
from .onnx_graph import finished
from .tflite import INPUT


def quantise(content: bytes, tiles: Sequence[NDArray[np.float32]], keep: Sequence[str] = ()) -> bytes:
    """Insert QuantizeLinear / DequantizeLinear with ranges from float32 [1, size, size, channels] training tiles.

    Args:
        keep: names of layers that stay in float, beside those that always do.

    Only inputs are quantised. A pair on a convolution's output would stand before its ReLU6, and spend the 8 bits on
    values that are clipped away: MobileNetV2 fell from 96.7 % to 74.2 % (docs/decisions/003-int8-attention.md).
    Depthwise convolutions stay in float: a channel has nine weights there, too few for its rounding to cancel
    (docs/decisions/007-jetson-engines.md).
    """
    import onnx
    from onnxruntime import quantization as q
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(q.CalibrationDataReader):
        def __init__(self) -> None:
            self.rest = iter(tiles)

        def get_next(self) -> dict[str, Any] | None:
            tile = next(self.rest, None)
            return None if tile is None else {INPUT: tile}

    with TemporaryDirectory() as folder:
        source, ready, out = (Path(folder, name) for name in ("float.onnx", "ready.onnx", "int8.onnx"))
        source.write_bytes(content)
        quant_pre_process(str(source), str(ready), skip_optimization=True, skip_symbolic_shape=True)
        q.quantize_static(str(ready), str(out), Reader(), quant_format=q.QuantFormat.QDQ, per_channel=True,
                          activation_type=q.QuantType.QInt8, weight_type=q.QuantType.QInt8,
                          op_types_to_quantize=list(LAYERS), nodes_to_exclude=[*depthwise(content), *keep],
                          extra_options={"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False,
                                         "AddQDQPairToWeight": True,
                                         "OpTypesToExcludeOutputQuantization": list(LAYERS)})
        return correct_biases(finished(onnx.load(out)), content, tiles)


def depthwise(content: bytes) -> list[str]:
    """Names of the convolutions of an ONNX network that work on each channel by itself."""
    import onnx

    nodes = onnx.load_from_string(content).graph.node
    return [node.name for node in nodes if any(a.name == "group" and a.i > 1 for a in node.attribute)]
