"""Cut a network in two: what leads to its attention for the Edge TPU, and the rest for the board's CPU."""

from typing import Any

from alledge.errors import DataError

HEAD = "head.tflite"


def split(model: Any) -> tuple[Any, Any]:
    """(trunk, head): image -> {"features_0": tensor, ...}, and those in a list -> {"probs", "embedding"}.

    Attention, the layers that give the answers and all that needs one of them are the head; what crosses the cut are
    the trunk's outputs. The two share the network's weights.

    Raises:
        DataError: when the head would need the image itself.
    """
    import keras

    late, crossing = {id(tensor) for tensor in model.outputs}, dict[int, Any]()
    for depth in sorted(model._nodes_by_depth, reverse=True):  # from the image on; Keras shows its graph no other way
        for node in model._nodes_by_depth[depth]:
            behind = any(id(tensor) in late for tensor in (*node.input_tensors, *node.output_tensors))
            if behind or isinstance(node.operation, keras.layers.MultiHeadAttention):
                crossing |= {id(tensor): tensor for tensor in node.input_tensors if id(tensor) not in late}
                late |= {id(tensor) for tensor in node.output_tensors}
    cut = list(crossing.values())
    if any(id(image) in crossing for image in model.inputs):
        raise DataError("the network's attention or answers need the image itself, so it cannot be split into a part "
                        "for the Edge TPU and a head for the CPU")
    trunk = keras.Model(model.inputs[0], dict(zip(_names(len(cut)), cut, strict=True)), name="network")
    return trunk, keras.Model(cut, model.output, name="head")


def crossing_names(trunk: Any) -> tuple[str, ...]:
    """What a trunk's outputs are called, in the order in which its head wants them."""
    return _names(len(trunk.outputs))


def _names(count: int) -> tuple[str, ...]:
    return tuple(f"features_{number}" for number in range(count))
