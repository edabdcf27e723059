"""Self-attention without TFLite's int8 SOFTMAX over many rows, which gives other bytes on ARM than elsewhere.

It is computed from a table of 16-bit numbers on ARM (NEON) and from one of floats elsewhere: of the shares that one
field's attention gives, 5 to 10 in 9,604 came out a step apart (docs/results/arm64.md). EXP of 8 bits is one table of
256 bytes, made when the model is loaded, RSQRT is integer arithmetic, and both are in tflite_runtime 2.14 (LOG is not).
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from .edge_attention import reciprocal


class LookupAttention(keras.layers.Layer):
    """[1, tokens, channels] -> the same shape, equal to the attention layer whose weights it is given."""

    def __init__(self, trained: Any) -> None:
        super().__init__(name=f"{trained.name}_lookup")
        self.trained = trained

    def compute_output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """As the layer it stands for."""
        return (*shape[:-1], int(self.trained.output_dense.kernel.shape[-1]))

    def call(self, x: Any) -> Any:
        """Attend, head by head: values weighted by exp(score - largest score), over the sum of these weights."""
        layer, tokens = self.trained, x.shape[1]
        q, k, v = (tf.transpose(dense(x), [0, 2, 1, 3])  # [1, heads, tokens, width]
                   for dense in (layer.query_dense, layer.key_dense, layer.value_dense))
        scores = tf.matmul(q, k, transpose_b=True) * np.float32(1 / np.sqrt(layer.key_dim))
        e = tf.exp(scores - tf.reduce_max(scores, -1, keepdims=True))
        # A product with ones and not SUM, whose reference int8 kernel in TensorFlow 2.21 returns a constant.
        total = tf.matmul(tf.reshape(e, [-1, tokens]), tf.ones([tokens, 1]))
        mixed = tf.matmul(e, v) * reciprocal(tf.reshape(total, [1, layer.num_heads, tokens, 1]))
        return layer.output_dense(tf.transpose(mixed, [0, 2, 1, 3]))
