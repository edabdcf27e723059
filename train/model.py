"""Backbone + multi-head self-attention + two outputs, in stock Keras layers only.

Stock layers matter: the saved file then loads in any stage and on any Keras backend without this package's code.
"""

from typing import Any

import keras
from keras import layers, regularizers

from alledge.labels import LABELS

from .backbones import feature_map, find

CHANNELS = 128  # width of the attention; the paper flattens 7 x 7 x 1280, twice what an Edge TPU can hold
HEADS = 4
EMBEDDING = 64
WEIGHT_DECAY = 1e-4  # L2, as the paper has on its hidden layers


def build_model(backbone: str, weights: str) -> keras.Model:
    """image float32 [n, size, size, 3] -> {"probs": [n, 4], "embedding": [n, 64]}.

    Raises:
        UsageError, DataError: as `backbones.feature_map`.
    """
    row = find(backbone)
    image = keras.Input((row.size, row.size, 3), name="image")
    outputs = compact_head(feature_map(backbone, image, weights), row.dropout)
    return keras.Model(image, outputs, name=f"{backbone}_compact")


def compact_head(features: Any, dropout: float) -> dict[str, Any]:
    """The paper's head (section 5: MHSA on the feature map, hidden layer, dropout, L2, softmax), sized for a board.

    The map [n, h, w, c] is projected to 128 channels, its h * w positions attend to each other (4 heads of 32), and
    the residual sum is averaged instead of flattened.
    """
    x = layers.Conv2D(CHANNELS, 1, name="project")(features)
    x = layers.ReLU(6.0, name="project_relu")(x)
    _, height, width, _ = x.shape
    tokens = layers.Reshape((height * width, CHANNELS), name="tokens")(x)
    attention = layers.MultiHeadAttention(HEADS, CHANNELS // HEADS, name="attention")(tokens, tokens)
    x = layers.Add(name="attention_residual")([tokens, attention])
    x = layers.GlobalAveragePooling1D(name="pool")(x)
    x = layers.Dropout(dropout, seed=1, name="pool_dropout")(x)
    embedding = layers.Dense(EMBEDDING, activation="relu", kernel_regularizer=regularizers.L2(WEIGHT_DECAY),
                             name="embedding")(x)
    x = layers.Dropout(dropout, seed=2, name="embedding_dropout")(embedding)
    probs = layers.Dense(len(LABELS), activation="softmax", dtype="float32", name="probs")(x)
    return {"probs": probs, "embedding": embedding}
