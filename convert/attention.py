"""A copy of a network in which self-attention is written in other operations, with the trained weights."""

from collections.abc import Callable
from typing import Any

import keras

from alledge.errors import DataError

Form = Callable[[Any], Callable[[Any], Any]]


def with_attention(model: Any, form: Form, leave_others: bool = False) -> Any:
    """A copy of a model, sharing its weights, in which every attention layer has the given form.

    Args:
        form: makes of a trained `keras.layers.MultiHeadAttention` a layer [1, tokens, channels] -> the same shape.
        leave_others: keep an attention layer that no form can stand for as Keras writes it.

    Raises:
        DataError: when a layer attends to something other than its own input, or with a mask, and may not be left.
    """
    def call(layer: Any, *inputs: Any, **options: Any) -> Any:
        if isinstance(layer, keras.layers.MultiHeadAttention):
            unusual = _unusual(*inputs, **options)
            if not unusual:
                return form(layer)(inputs[0])
            if not leave_others:
                raise DataError(f"layer {layer.name!r}: only plain self-attention over [n, tokens, channels] can be "
                                f"re-expressed for the Edge TPU, received {unusual}")
        # A MEAN over tokens: the Edge TPU has none, and its int8 kernel rounds worse than average pooling.
        if isinstance(layer, keras.layers.GlobalAveragePooling1D):
            tokens, channels = inputs[0].shape[1:]
            column = keras.layers.Reshape((tokens, 1, channels), name=f"{layer.name}_column")(inputs[0])
            return keras.layers.GlobalAveragePooling2D(name=f"{layer.name}_table")(column)
        return layer(*inputs, **options)

    return keras.models.clone_model(model, clone_function=lambda layer: layer, call_function=call)


def has_attention(model: Any) -> bool:
    """Whether there is anything to re-express."""
    return any(isinstance(layer, keras.layers.MultiHeadAttention) for layer in model.layers)


def _unusual(query: Any, value: Any, key: Any = None, **options: Any) -> str:
    """What is not plain self-attention in a call, in words; empty when nothing."""
    masked = [name for name, option in options.items() if option is not None and option is not False]
    if masked:
        return f"{masked}"
    plain = query is value and key in (None, query) and len(query.shape) == 3
    return "" if plain else "different query, key or value"
