"""Feature map to verdict: one function per head, in stock Keras layers only.

Stock layers matter: the saved file then loads in any stage and on any Keras backend without this package's code.
Every head takes a feature map [n, h, w, c] and the share of its inputs left out in training, and gives
{"probs": [n, 4], softmax; "embedding": [n, d], what the last layer sees}.

Attention is softmax(Q K' / sqrt(d)) V in several heads whose results are concatenated and projected (Vaswani et al.,
NeurIPS 2017, 3.2.1-3.2.2; the block that arXiv 2508.17216, section 5 puts behind the backbone), over the h * w
positions of the map.
"""

from collections.abc import Callable
from typing import Any

from keras import layers, regularizers

from alledge.labels import LABELS

CHANNELS = 128  # width of the compact attention; 7 x 7 x 1280 flattened is twice what an Edge TPU can hold
COMPACT_HEADS = 4
PAPER_HEADS, PAPER_HEAD_WIDTH = 8, 64  # ours: the paper's sizes are not at hand
PAPER_HIDDEN = 256
EMBEDDING = 64
WEIGHT_DECAY = 1e-4  # L2, as the paper has on its hidden layers

Outputs = dict[str, Any]


def plain(features: Any, dropout: float) -> Outputs:
    """The paper's baseline without attention (Table 6): average over positions, one dense layer. d = c."""
    return _verdict(layers.GlobalAveragePooling2D(name="embedding")(features), 0.0)


def mhsa(features: Any, dropout: float) -> Outputs:
    """The paper's network (Table 5): attention on the map, flattened, two hidden layers with L2 and dropout. d = 64.

    Flattening makes it large: 16 M weights behind 7 x 7 x 1280, so it is for desktops and for comparison.
    """
    tokens = _tokens(features)
    attention = layers.MultiHeadAttention(PAPER_HEADS, PAPER_HEAD_WIDTH, name="attention")(tokens, tokens)
    x = _hidden(PAPER_HIDDEN, "hidden")(layers.Flatten(name="flatten")(attention))
    x = layers.Dropout(dropout, seed=1, name="hidden_dropout")(x)
    return _verdict(_hidden(EMBEDDING, "embedding")(x), dropout)


def compact(features: Any, dropout: float) -> Outputs:
    """The paper's idea sized for a board. d = 64.

    The map is projected to 128 channels, its positions attend to each other (4 heads of 32), and the residual sum is
    averaged instead of flattened.
    """
    x = layers.Conv2D(CHANNELS, 1, name="project")(features)
    tokens = _tokens(layers.ReLU(6.0, name="project_relu")(x))
    attention = layers.MultiHeadAttention(COMPACT_HEADS, CHANNELS // COMPACT_HEADS, name="attention")(tokens, tokens)
    x = layers.Add(name="attention_residual")([tokens, attention])
    x = layers.GlobalAveragePooling1D(name="pool")(x)
    x = layers.Dropout(dropout, seed=1, name="pool_dropout")(x)
    return _verdict(_hidden(EMBEDDING, "embedding")(x), dropout)


def _tokens(features: Any) -> Any:
    """[n, h, w, c] -> [n, h * w, c]: one token per position."""
    _, height, width, channels = features.shape
    return layers.Reshape((height * width, channels), name="tokens")(features)


def _hidden(width: int, name: str) -> layers.Layer:
    return layers.Dense(width, activation="relu", kernel_regularizer=regularizers.L2(WEIGHT_DECAY), name=name)


def _verdict(embedding: Any, dropout: float) -> Outputs:
    x = layers.Dropout(dropout, seed=2, name="embedding_dropout")(embedding) if dropout else embedding
    probs = layers.Dense(len(LABELS), activation="softmax", dtype="float32", name="probs")(x)
    return {"probs": probs, "embedding": embedding}


HEADS: dict[str, Callable[[Any, float], Outputs]] = {"compact": compact, "mhsa": mhsa, "plain": plain}
