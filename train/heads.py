"""Feature map to verdict: one function per head, in stock Keras layers only.

Stock layers matter: the saved file then loads in any stage and on any Keras backend without this package's code.
Every head but `nuclei` takes a feature map [n, h, w, c] and the share of its inputs left out in training, and gives
{"probs": [n, 4], softmax; "embedding": [n, d], what the domain gate measures: what the last layer sees}.

Attention is softmax(Q K' / sqrt(d)) V in several heads whose results are concatenated and projected (Vaswani et al.,
NeurIPS 2017, 3.2.1-3.2.2; the block that arXiv 2508.17216, section 5 puts behind the backbone), over the h * w
positions of the map.
"""

from collections.abc import Callable, Sequence
from typing import Any

from keras import initializers, layers, regularizers

from alledge.errors import UsageError
from alledge.labels import LABELS
from alledge.preprocess import NUCLEI_SHARE

CHANNELS = 128  # width of the compact attention; 7 x 7 x 1280 flattened is twice what an Edge TPU can hold
COMPACT_HEADS = 4
PAPER_HEADS, PAPER_HEAD_WIDTH = 8, 64  # ours: the paper's sizes are not at hand
PAPER_HIDDEN = 256
EMBEDDING = 64
ATTENTION_SIDE = 7  # places across, as at the end of a 224 px backbone: 49 tokens are what an Edge TPU can hold
ATTENTION_VOICE = 0.3
NUCLEI = "nuclei"
POOLED_BY = "attended_weight"  # layer with the weight that each place behind the attention is pooled by
NUCLEUS_WEIGHT = "nucleus_weight"  # layer through which a network is told where the nuclei are
OPINIONS = ("nuclei_opinion", "attention_opinion")
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


def nuclei(maps: Sequence[Any], weight: Any, dropout: float) -> Outputs:
    """What nuclei look like, wherever and however many they are: two opinions, 7 to 3. d = twice the maps' channels.

    The first opinion: mean and spread (mean excess over the mean) of every channel over the nuclei, standardised, one
    hidden layer. The second: multi-head self-attention over the places of the field, averaged over the nuclei in the
    same way. Both are pooled over nuclei only, so neither averages over background; attention still compares all
    places, can see density, and alone learns the training slides by heart (docs/decisions/011-nuclei.md), so it has
    the smaller voice.

    Args:
        maps: feature maps [n, h, w, c], widest first; h and w divide the image's.
        weight: [n, size, size, 1], `alledge.preprocess.nucleus_weight` scaled to -1 to 1.
        dropout: share left out.

    Raises:
        UsageError: when a map is not a whole fraction of the image.
    """
    share = layers.Rescaling(0.5, 0.5, name=NUCLEUS_WEIGHT)(weight)
    figures = [figure for i, m in enumerate(maps) for figure in _over_nuclei(m, share, f"map{i}")]
    x = layers.Concatenate(name="figures")(figures)
    embedding = layers.BatchNormalization(momentum=0.95, name="embedding")(layers.Flatten(name="figures_flat")(x))
    x = layers.Dropout(dropout, seed=1, name="figures_dropout")(embedding)
    x = layers.Dropout(dropout, seed=2, name="hidden_dropout")(_hidden(EMBEDDING, "hidden")(x))
    first = layers.Dense(len(LABELS), activation="softmax", dtype="float32", name=OPINIONS[0])(x)
    second = _attended(maps, share, dropout)
    probs = layers.Add(dtype="float32", name="probs")(
        [layers.Rescaling(voice, dtype="float32", name=f"{name}_voice")(opinion)
         for name, voice, opinion in (("nuclei", 1 - ATTENTION_VOICE, first), ("attention", ATTENTION_VOICE, second))])
    return {"probs": probs, "embedding": embedding}


def _attended(maps: Sequence[Any], share: Any, dropout: float) -> Any:
    """The opinion [n, 4] of self-attention: the maps side by side on the smallest one's grid, pooled to about 7 places
    across where that is 14 wide or more.
    """
    side = maps[-1].shape[1]
    x = [m if m.shape[1] == side else layers.AveragePooling2D(m.shape[1] // side)(m) for m in maps]
    x = layers.Concatenate(name="maps")(x) if len(x) > 1 else x[0]
    if side >= 2 * ATTENTION_SIDE:
        x = layers.AveragePooling2D(side // ATTENTION_SIDE, name="places")(x)
    x = layers.ReLU(6.0, name="project_relu")(layers.Conv2D(CHANNELS, 1, name="project")(x))
    tokens = _tokens(x)
    attention = layers.MultiHeadAttention(COMPACT_HEADS, CHANNELS // COMPACT_HEADS, name="attention")(tokens, tokens)
    y = layers.Reshape(x.shape[1:], name="attended")(layers.Add(name="attention_residual")([tokens, attention]))
    y = layers.Concatenate(name="attended_figures")(_over_nuclei(y, share, "attended"))
    y = layers.Dropout(dropout, seed=3, name="attended_dropout")(layers.Flatten(name="attended_flat")(y))
    return layers.Dense(len(LABELS), activation="softmax", dtype="float32", name=OPINIONS[1],
                        kernel_regularizer=regularizers.L2(WEIGHT_DECAY))(y)


def _over_nuclei(features: Any, share: Any, name: str) -> list[Any]:
    """Mean and spread over the nuclei of each channel of [n, h, w, c], each [n, 1, 1, c].

    The sum is a convolution with a constant, which 8-bit kernels add up in 32 bits; their mean and sum do not all.
    """
    side, image = features.shape[1], share.shape[1]
    if image % side:
        raise UsageError(f"--head nuclei needs maps that divide the image, received {side} px of {image} px; choose "
                         "another --head or --backbone")
    weight = layers.AveragePooling2D(image // side, name=f"{name}_weight")(share)

    def summed(x: Any, what: str) -> Any:
        total = layers.DepthwiseConv2D(side, use_bias=False, trainable=False, name=f"{name}_{what}",
                                       depthwise_initializer=initializers.Constant(1 / (side * side * NUCLEI_SHARE)))
        return total(layers.Multiply(name=f"{name}_{what}_weighted")([x, weight]))

    mean = summed(features, "mean")
    excess = layers.ReLU(name=f"{name}_excess")(layers.Subtract(name=f"{name}_centred")([features, mean]))
    return [mean, summed(excess, "spread")]


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
