"""Self-attention key by key: the form for a compiler that takes neither broadcasts of tables nor tables of copies."""

from functools import reduce
from typing import Any

import tensorflow as tf

from .edge_attention import ReplicatedAttention, conv, reciprocal, sum_along


class TokenAttention(ReplicatedAttention):
    """As `TableAttention`, over [1, keys, queries, channels].

    The only broadcast left is that of one token's channels over all positions, [1, 1, n, c] * [1, 1, 1, c], as
    squeeze-and-excitation blocks have it. About eight operations per token.
    """

    def call(self, x: Any) -> Any:
        """Attend, one row of the table per key."""
        tokens, channels = x.shape[1:]
        row = tf.reshape(x, [1, 1, tokens, channels])
        q, k, v = (conv(row, *weights) for weights in (self.query, self.key, self.value))
        scores = [conv(q * _token(k, j), self.gather) for j in range(tokens)]
        highest = reduce(tf.maximum, scores)
        e = self.exp(tf.concat([score - highest for score in scores], 1))
        shares = conv(e, self.gather.T)
        weighted = tf.concat([shares[:, j:j + 1] * _token(v, j) for j in range(tokens)], 1)
        mixed = sum_along(weighted, 1) * conv(reciprocal(sum_along(e, 1)), self.gather.T)
        return tf.reshape(conv(mixed, *self.output_weights), [1, tokens, -1])


def _token(x: Any, number: int) -> Any:
    """[1, 1, n, c] -> [1, 1, 1, c]."""
    return x[:, :, number:number + 1]
