"""The networks that turn a tile into a feature map: one row each, with the input they were made for."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
from keras import layers

from alledge.errors import DataError, UsageError
from alledge.preprocess import Preprocessing


@dataclass(frozen=True)
class Backbone:
    """A row of the table.

    Attributes:
        build: (image tensor [n, size, size, 3], Keras weights name or None) -> Keras model ending in a feature map.
        size, scale, offset: see `Preprocessing`.
        frozen_until: last layer left as it is when pretrained weights are fine-tuned.
        learning_rate: peak of Adam's schedule, with and without pretrained weights.
        augmentation: strength, see `augment`.
        dropout: share of the head's inputs left out in training.
    """

    build: Callable[[Any, str | None], keras.Model]
    size: int
    scale: tuple[float, float, float]
    offset: tuple[float, float, float]
    frozen_until: str | None
    learning_rate: tuple[float, float]
    augmentation: float
    dropout: float


def preprocessing_for(backbone: str, segment: str) -> Preprocessing:
    """The input a backbone wants, with the chosen segmentation.

    Raises:
        UsageError: for an unknown backbone.
    """
    row = find(backbone)
    return Preprocessing.model_validate({"size": row.size, "segment": segment, "scale": row.scale,
                                         "offset": row.offset})


def find(backbone: str) -> Backbone:
    """A row by name.

    Raises:
        UsageError: for an unknown backbone.
    """
    if backbone not in BACKBONES:
        raise UsageError(f"--backbone {backbone!r} is unknown: expected one of {', '.join(BACKBONES)}")
    return BACKBONES[backbone]


def feature_map(backbone: str, image: Any, weights: str) -> Any:
    """Apply a backbone to an image tensor and return its feature map [n, h, w, channels].

    Args:
        weights: `imagenet` (Keras downloads them), `none`, or a file of weights for exactly this backbone.

    Raises:
        UsageError: for an unknown backbone.
        DataError: when the weights cannot be had or belong to another network.
    """
    row = find(backbone)
    try:
        model = row.build(image, "imagenet" if weights == "imagenet" else None)
    except Exception as error:  # Keras raises bare Exception when the download fails
        raise DataError(f"weights 'imagenet' for {backbone} could not be had ({error}); download them elsewhere and "
                        "pass the file with --weights FILE, or use --weights none") from error
    if weights not in ("imagenet", "none"):
        _load(model, backbone, Path(weights))
    if weights != "none" and row.frozen_until:
        _freeze(model, row.frozen_until)
    return model.output


def _load(model: keras.Model, backbone: str, path: Path) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # Keras only warns when it finds no weights for a layer
            model.load_weights(path)
    except (ValueError, OSError, KeyError, UserWarning) as error:
        reason = str(error).strip().splitlines()[0]
        raise DataError(f"--weights {path}: these are not weights of {backbone} without its top ({reason})") from error


def _freeze(model: keras.Model, last: str) -> None:
    """Keep the low-level filters and every normalisation as ImageNet left them.

    Edges and colours need no new filters, half of the training time goes there, and batch statistics of one
    laboratory's stain are exactly what must not be learned.
    """
    reached = False
    for layer in model.layers:
        layer.trainable = reached and not isinstance(layer, layers.BatchNormalization)
        reached = reached or layer.name == last


def _mobilenet_v2(image: Any, weights: str | None) -> keras.Model:
    return keras.applications.MobileNetV2(input_tensor=image, include_top=False, weights=weights)


def _tiny(image: Any, weights: str | None) -> keras.Model:
    """Small enough to learn from scratch on a CPU in about a minute: the demo's network."""
    if weights:
        raise ValueError("the tiny backbone has no pretrained weights")
    x = image
    for stage, channels in enumerate((16, 32, 64, 64)):
        x = layers.Conv2D(channels, 3, strides=2, padding="same", use_bias=False, name=f"down{stage}")(x)
        x = layers.BatchNormalization(momentum=0.9, name=f"down{stage}_norm")(x)
        x = layers.ReLU(6.0, name=f"down{stage}_relu")(x)
    return keras.Model(image, x)


BACKBONES = {
    "mobilenetv2": Backbone(_mobilenet_v2, 224, (1 / 127.5,) * 3, (-1.0,) * 3, "block_5_add", (2e-4, 1e-3), 1.0, 0.3),
    "tiny": Backbone(_tiny, 112, (1 / 127.5,) * 3, (-1.0,) * 3, None, (3e-3, 3e-3), 0.2, 0.0),
}
