"""Self-attention whose bytes are the same on every processor.

TFLite's int8 SOFTMAX is computed from a table of 16-bit numbers on ARM (NEON) and from one of floats elsewhere: of the
shares that one field's attention gives, 5 to 10 in 9,604 came out a step apart (docs/results/arm64.md). EXP and LOG of
8 bits are one table of 256 bytes each, made when the model is loaded, and the rest is integer arithmetic.
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf


class LookupAttention(keras.layers.Layer):
    """[1, tokens, channels] -> the same shape, equal to the attention layer whose weights it is given.

    softmax(x) = exp(x - m - log(sum(exp(x - m)))), m the largest x of a row: no division, and shares are rounded once.
    """

    def __init__(self, trained: Any) -> None:
        super().__init__(name=f"{trained.name}_lookup")
        self.trained = trained

    def compute_output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """As the layer it stands for."""
        return (*shape[:-1], int(self.trained.output_dense.kernel.shape[-1]))

    def call(self, x: Any) -> Any:
        """Attend, head by head."""
        layer = self.trained
        q, k, v = (tf.transpose(dense(x), [0, 2, 1, 3])  # [1, heads, tokens, width]
                   for dense in (layer.query_dense, layer.key_dense, layer.value_dense))
        shares = softmax(tf.matmul(q, k, transpose_b=True) * np.float32(1 / np.sqrt(layer.key_dim)))
        return layer.output_dense(tf.transpose(tf.matmul(shares, v), [0, 2, 1, 3]))


def softmax(scores: Any) -> Any:
    """Over the last axis of [1, heads, rows, columns]."""
    heads, rows, columns = scores.shape[1:]
    below = scores - tf.reduce_max(scores, -1, keepdims=True)
    # A product with ones and not SUM, whose reference int8 kernel in TensorFlow 2.21 returns a constant.
    total = tf.matmul(tf.reshape(tf.exp(below), [heads * rows, columns]), tf.ones([columns, 1]))
    return tf.exp(below - tf.math.log(tf.reshape(total, [1, heads, rows, 1])))
