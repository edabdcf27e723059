"""Probabilities keep the range they can have, even where no calibration tile was sure of anything."""

from itertools import product

import numpy as np
import pytest

keras = pytest.importorskip("keras", reason="needs the extra `train`")
pytest.importorskip("tensorflow", reason="needs the extra `convert`")

from ai_edge_litert.interpreter import Interpreter  # noqa: E402

from alledge.convert.tflite import quantise  # noqa: E402
from alledge.quiet import quiet  # noqa: E402


def two_opinions():
    """Average colour to four classes, twice; the opinions are added 7 to 3, as head `nuclei` does."""
    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 3), batch_size=1)
    mean = keras.layers.GlobalAveragePooling2D()(image)
    one, other = (keras.layers.Dense(4, activation="softmax")(mean) for _ in range(2))
    model = keras.Model(image, {"probs": 0.7 * one + 0.3 * other, "embedding": keras.layers.Dense(5)(mean)})
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dense) and layer.units == 4:
            layer.set_weights([np.array([[-9, 9, 0, 0], [0, 9, 0, -9], [0, 9, -9, 0]], np.float32), np.zeros(4)])
    return model


def test_a_sure_field_adds_up_to_one_although_every_tile_was_dull():
    model = two_opinions()
    dull = [np.full((1, 16, 16, 3), level, np.float32) for level in np.linspace(-0.05, 0.05, 8)]
    with quiet():
        interpreter = Interpreter(model_content=quantise(model, dull, -1.0, 1.0), num_threads=1)
        interpreter.allocate_tensors()
    image, = interpreter.get_input_details()
    probs = next(o for o in interpreter.get_output_details() if o["shape"].tolist() == [1, 4])
    scale, zero = image["quantization"]
    sure = np.clip(round(0.9 / scale + zero), 0, 255)
    interpreter.set_tensor(image["index"], np.full((1, 16, 16, 3), sure, np.uint8))
    interpreter.invoke()
    real = (interpreter.get_tensor(probs["index"]).astype(float) - probs["quantization"][1]) * probs["quantization"][0]
    assert probs["quantization"] == pytest.approx((2 / 511, 0))
    assert real.sum() == pytest.approx(1, abs=4 / 255)


def test_no_sum_of_two_opinions_falls_halfway_between_two_steps():
    """Kernels round halves differently; their multipliers have at least 16 bits."""
    from tensorflow.lite.python import schema_py_generated as schema

    with quiet():
        content = quantise(two_opinions(), [np.zeros((1, 16, 16, 3), np.float32)], -1.0, 1.0)
    model = schema.ModelT.InitFromPackedBuf(content)
    adds = [operator for operator in model.subgraphs[0].operators
            if model.operatorCodes[operator.opcodeIndex].builtinCode == schema.BuiltinOperator.ADD]
    assert len(adds) == 1
    one, other, total = (float(model.subgraphs[0].tensors[i].quantization.scale[0])
                         for i in (*adds[0].inputs, *adds[0].outputs))
    steps = np.array([(a * one + b * other) / total for a, b in product(range(256), repeat=2)])
    assert np.abs(steps % 1 - 0.5).min() > 1e-4
