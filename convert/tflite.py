"""A Keras model to full-integer TFLite: freeze, quantise, give the tensors their names, and prove it is all there."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alledge.errors import AlledgeError, DataError

from .bias_correction import correct_biases
from .probability_range import widen_probabilities
from .trained import OUTPUTS

INPUT = "image"
_MEAN_TILES = 32  # training tiles that give the mean activations; more changed no prediction
_MIN_BYTES_PER_WEIGHT = 0.9  # int8 is one byte a weight; batch normalisations are folded away


def freeze(model: Any, names: Sequence[str] = OUTPUTS, inputs: Sequence[str] = (INPUT,)) -> Any:
    """A concrete TensorFlow function `inputs` (batch 1) -> outputs in the order of `names`, weights constant.

    `from_concrete_functions` on a live Keras 3 model writes a file without its weights and says nothing, so the
    weights are made constants first.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    def network(*tensors: Any) -> tuple[Any, ...]:
        outputs = model(list(tensors), training=False)
        return tuple(outputs[name] for name in names)

    wanted = [tf.TensorSpec((1, *tensor.shape[1:]), tf.float32, name=name)
              for name, tensor in zip(inputs, model.inputs, strict=True)]
    concrete = tf.function(network, autograph=False).get_concrete_function(*wanted)
    return convert_variables_to_constants_v2(concrete)


def quantise(model: Any, tiles: Sequence[NDArray[np.float32]], low: float, high: float,
             names: Sequence[str] = OUTPUTS) -> bytes:
    """Full-integer TFLite, uint8 in and out, static batch 1, one scale per dense layer.

    Args:
        model: Keras model with the outputs `names`.
        tiles: float32 [1, size, size, channels] each, from training rows; activation ranges come from them.
        low, high: what pixel values 0 and 255 become, the range of the input.

    Raises:
        DataError: when the converter cannot express a layer in integers, or loses the weights.
    """
    import tensorflow as tf

    _check_layers(model)
    function = freeze(model, names)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: _calibrate(tiles, low, high)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.uint8
    # Per-channel dense weights came after the compilers and runtimes of 2021 to 2023, which misread them or crash.
    converter._experimental_disable_per_channel_quantization_for_dense_layers = True
    try:
        real = tf.lite.TFLiteConverter.from_concrete_functions([function]).convert()
        content = converter.convert()
    except Exception as error:  # the converter raises many kinds, with pages of text
        raise DataError(f"the network cannot be expressed in 8-bit integers: {_first_line(error)}") from error
    _check_size(content, model)
    from tensorflow.lite.python import schema_py_generated as schema

    integer = schema.ModelT.InitFromPackedBuf(content)
    correct_biases(integer, schema.ModelT.InitFromPackedBuf(real), tiles[:: max(1, len(tiles) // _MEAN_TILES)], real)
    if OUTPUTS[0] in names:
        widen_probabilities(integer, names.index(OUTPUTS[0]))
    return _named(integer, (INPUT, *names))


def to_float(model: Any, inputs: Sequence[str]) -> bytes:
    """Float32 TFLite of a network whose inputs get these names: for parts that a board's CPU runs.

    Raises:
        DataError: when the converter cannot express a layer.
    """
    import tensorflow as tf
    from tensorflow.lite.python import schema_py_generated as schema

    try:
        content = tf.lite.TFLiteConverter.from_concrete_functions([freeze(model, OUTPUTS, inputs)]).convert()
    except Exception as error:  # as above
        raise DataError(f"the network's head cannot be expressed in TensorFlow Lite: {_first_line(error)}") from error
    _check_size(content, model)
    return _named(schema.ModelT.InitFromPackedBuf(content), (*inputs, *OUTPUTS))


def _named(model: Any, names: Sequence[str]) -> bytes:
    """Give the inputs and the outputs of a `ModelT` their names and pack it."""
    import flatbuffers  # type: ignore[import-untyped]

    graph = model.subgraphs[0]
    for index, name in zip([*graph.inputs, *graph.outputs], names, strict=True):
        graph.tensors[index].name = name.encode()
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _calibrate(tiles: Sequence[NDArray[np.float32]], low: float, high: float) -> Iterator[list[NDArray[np.float32]]]:
    """The tiles, the first with two corner pixels that stretch the input's range to a good grid.

    With the range exactly [-1, 1] the zero point would be 127.5: every pixel falls between two levels and rounding to
    even merges them in pairs. A range in which `low` is a whole number of steps below zero keeps 254 of 255 apart.
    """
    steps = np.floor(-low * 255 / (high - low)) if low < 0 < high else 0
    top = low + 255 * (-low / steps) if steps else high
    for number, tile in enumerate(tiles):
        if number == 0:
            tile = tile.copy()
            tile[0, 0, 0], tile[0, -1, -1] = low, top
        yield [tile]


def _check_layers(model: Any) -> None:
    """Recurrent layers become loops, on which TensorFlow 2.21's integer converter ends the whole process."""
    import keras

    loops = (keras.layers.RNN, keras.layers.Bidirectional)
    found = next((layer for layer in model.layers if isinstance(layer, loops)), None)
    if found is not None:
        raise DataError(f"layer {found.name!r} ({type(found).__name__}) has no 8-bit form: replace it by attention "
                        "(keras.layers.MultiHeadAttention), pooling or convolutions, or choose --target onnx")


def _check_size(content: bytes, model: Any) -> None:
    weights = sum(int(np.prod(w.shape)) for layer in model.layers for w in layer.weights if len(w.shape) > 1)
    if len(content) < _MIN_BYTES_PER_WEIGHT * weights:
        raise AlledgeError(f"the converter wrote {len(content)} bytes for {weights} weights: it lost them; this is a "
                           "fault of the installed TensorFlow, please report it")


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if "error:" in line] or [str(error).strip()[:200]]
    return lines[0][:300]
