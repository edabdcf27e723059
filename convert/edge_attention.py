"""Self-attention with the trained weights, in operations an Edge TPU has.

`keras.layers.MultiHeadAttention` becomes two BATCH_MATMUL and a SOFTMAX over many rows, which the Edge TPU compiler
refuses. The same function is written here with 1x1 convolutions, products, a maximum and a sigmoid over
[1, queries, keys, channels]. Two operations that would be natural are left out on purpose: SUM, whose reference int8
kernel in TensorFlow 2.21 returns a constant, and MEAN, whose int8 rounding costs a quarter of the signal.

The compiler is closed and may refuse more than its table says, so there is more than one form (`ladder.py`): in
`TableAttention` products and differences broadcast, `ReplicatedAttention` makes copies first. A third, key by key, is
in `edge_tokens.py`.
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from alledge.errors import DataError

Weights = NDArray[np.float32]


class TableAttention(keras.layers.Layer):
    """[1, tokens, channels] -> [1, tokens, channels], equal to the attention layer whose weights it is given.

    Raises:
        DataError: when that layer's values are of another width than its keys.
    """

    def __init__(self, trained: Any) -> None:
        if trained.value_dense.kernel.shape[-1] != trained.key_dim:
            raise DataError(f"layer {trained.name!r}: expected values as wide as keys ({trained.key_dim}), received "
                            f"{trained.value_dense.kernel.shape[-1]}; train without value_dim to convert for the Edge "
                            "TPU")
        super().__init__(name=f"{trained.name}_table")
        self.heads = trained.num_heads
        self.width = trained.num_heads * trained.key_dim
        self.query = _projection(trained.query_dense, self.width, 1 / np.sqrt(trained.key_dim))
        self.key = _projection(trained.key_dense, self.width)
        self.value = _projection(trained.value_dense, self.width)
        self.output_weights = _output_projection(trained.output_dense, self.width)
        # [width, heads], 0/1: sums the channels of each head; its transpose spreads a head's number over its channels.
        self.gather = np.repeat(np.eye(self.heads, dtype=np.float32), trained.key_dim, axis=0)

    def compute_output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """As the layer it stands for."""
        return (*shape[:-1], int(self.output_weights[0].shape[1]))

    def call(self, x: Any) -> Any:
        """Attend; q spreads over rows, k and v over columns of a [tokens, tokens] table."""
        tokens, channels = x.shape[1:]
        row = tf.reshape(x, [1, 1, tokens, channels])
        q = self.spread(tf.reshape(conv(row, *self.query), [1, tokens, 1, self.width]), 2, tokens)
        k, v = (self.spread(conv(row, *weights), 1, tokens) for weights in (self.key, self.value))
        scores = conv(q * k, self.gather)
        e = self.exp(scores - self.spread(tf.reduce_max(scores, 2, keepdims=True), 2, tokens))
        total = sum_along(conv(e, self.gather.T) * v, 2)
        share = conv(reciprocal(sum_along(e, 2)), self.gather.T)
        mixed = tf.reshape(total * share, [1, 1, tokens, self.width])
        return tf.reshape(conv(mixed, *self.output_weights), [1, tokens, -1])

    def spread(self, x: Any, axis: int, copies: int) -> Any:
        """Leave it to the operation that follows to broadcast [1, ...] along `axis`."""
        return x

    def exp(self, z: Any) -> Any:
        """The exponential of z <= 0 from a sigmoid s: s / (1 - s)."""
        s = tf.sigmoid(z)
        return s * reciprocal(1.0 - s)


class ReplicatedAttention(TableAttention):
    """As `TableAttention`, but both sides of every product and difference have one shape."""

    def spread(self, x: Any, axis: int, copies: int) -> Any:
        """`copies` of x along `axis`."""
        return tf.concat([x] * copies, axis)

    def exp(self, z: Any) -> Any:
        """The exponential of z <= 0 as sigmoid(z) / sigmoid(-z): no constant 1 has to be broadcast."""
        return tf.sigmoid(z) * reciprocal(tf.sigmoid(conv(z, -np.eye(self.heads, dtype=np.float32))))


def reciprocal(x: Any) -> Any:
    """1 / x for x > 0 without a division."""
    root = tf.math.rsqrt(x)
    return root * root


def sum_along(x: Any, axis: int) -> Any:
    """Sum [1, h, w, c] along `axis` (1 or 2) by a constant depthwise convolution: exact 32-bit accumulation."""
    sides = [1, 1]
    sides[axis - 1] = x.shape[axis]
    return tf.nn.depthwise_conv2d(x, tf.ones([*sides, x.shape[3], 1]), [1, 1, 1, 1], "VALID")


def conv(x: Any, weights: Weights, bias: Weights | None = None) -> Any:
    """1x1 convolution of [1, h, w, in] with [in, out]."""
    y = tf.nn.conv2d(x, tf.constant(weights[None, None]), 1, "VALID")
    return y if bias is None else tf.nn.bias_add(y, tf.constant(bias))


def _projection(dense: Any, width: int, factor: float = 1.0) -> tuple[Weights, Weights]:
    kernel = np.asarray(dense.kernel).reshape(-1, width) * np.float32(factor)
    return kernel, _bias(dense, width) * np.float32(factor)


def _output_projection(dense: Any, width: int) -> tuple[Weights, Weights]:
    kernel = np.asarray(dense.kernel).reshape(width, -1)
    return kernel, _bias(dense, kernel.shape[1])


def _bias(dense: Any, width: int) -> Weights:
    return np.zeros(width, np.float32) if dense.bias is None else np.asarray(dense.bias).reshape(width)
