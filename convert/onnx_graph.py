"""A Keras model to ONNX: opset 13, static batch 1, float32, tensors named image, probs and embedding."""

import logging
import os
from typing import Any

from alledge.errors import DataError

from .tflite import INPUT
from .trained import OUTPUTS

OPSET = 13  # the newest that TensorRT 8.2, the last for a Jetson Nano, reads completely


def to_onnx(model: Any) -> bytes:
    """ONNX bytes of a {"probs", "embedding"} Keras model.

    Raises:
        DataError: when a layer has no ONNX form in this opset.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import onnx
    import tensorflow as tf
    import tf2onnx

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    signature = [tf.TensorSpec((1, *model.inputs[0].shape[1:]), tf.float32, name=INPUT)]

    @tf.function(autograph=False, input_signature=signature)
    def network(image: Any) -> dict[str, Any]:
        outputs = model(image, training=False)
        return {name: outputs[name] for name in OUTPUTS}

    try:
        graph, _ = tf2onnx.convert.from_function(network, signature, opset=OPSET)
        onnx.checker.check_model(graph, full_check=True)
    except Exception as error:  # tf2onnx raises many kinds
        raise DataError(f"the network cannot be expressed in ONNX opset {OPSET}: {str(error).strip()[:300]}") from error
    content: bytes = graph.SerializeToString(deterministic=True)
    return content
