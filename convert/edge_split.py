"""Cut a network in two: the convolutions for the Edge TPU, and the head that it cannot map for the board's CPU."""

from typing import Any

from alledge.errors import DataError

FEATURES = "features"
HEAD = "head.tflite"


def split(model: Any) -> tuple[Any, Any]:
    """(trunk, head): image -> {"features": [n, h, w, c]}, and features -> {"probs", "embedding"}; weights are shared.

    The cut is at the last feature map through which everything goes: in front of the attention, after a projection
    that makes the map small.

    Raises:
        DataError: when there is no such place.
    """
    import keras

    for layer in reversed(model.layers[1:]):
        if len(layer.output.shape) == 4 and (head := _behind(layer.output, model)):
            return keras.Model(model.inputs[0], {FEATURES: layer.output}, name="network"), head
    raise DataError("the network has no feature map [n, h, w, c] that everything goes through, so it cannot be split "
                    "into a part for the Edge TPU and a head for the CPU")


def _behind(features: Any, model: Any) -> Any:
    """The network from `features` on, or None when it also needs what came before."""
    import keras

    try:
        return keras.Model(features, model.output, name="head")
    except ValueError:  # Keras: the graph is disconnected
        return None
