"""The networks that turn a tile into a feature map: one row each, with the input they were made for."""

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
from keras import layers

from alledge.errors import DataError, UsageError, WeightsMissing
from alledge.preprocess import Preprocessing


@dataclass(frozen=True)
class Backbone:
    """A row of the table.

    Attributes:
        build: (image tensor [n, size, size, 3], Keras weights name or None) -> Keras model ending in a feature map.
        size, scale, offset: see `Preprocessing`; what the ImageNet weights were trained with.
        adapt: what turns the built and loaded model into one that takes RGB scaled that way; same outputs.
        frozen_until: last layer left as it is when pretrained weights are fine-tuned: the end of the stage that is an
            eighth of the image wide.
        learning_rate: peak of Adam's schedule, with and without pretrained weights.
        augmentation: strength, see `augment`.
        dropout: share of the head's inputs left out in training.
        pretrained: whether there are ImageNet weights of it.
        taps: layers whose maps the head `nuclei` reads; the last map when there are none.
    """

    build: Callable[[Any, str | None], keras.Model]
    size: int
    scale: tuple[float, float, float]
    offset: tuple[float, float, float]
    adapt: Callable[[keras.Model], keras.Model] = lambda model: model
    frozen_until: str | None = None
    learning_rate: tuple[float, float] = (1e-4, 1e-3)  # paper, Table 3; without pretrained weights Adam's own
    augmentation: float = 1.0
    dropout: float = 0.3
    pretrained: bool = True
    taps: tuple[str, ...] = ()


def preprocessing_for(backbone: str, segment: str, size: int | None = None, nuclei: bool = False) -> Preprocessing:
    """The input a backbone wants: with the chosen segmentation, the row's size or another, and the nucleus weight
    where the head wants it.

    Raises:
        UsageError: for an unknown backbone.
    """
    row = find(backbone)
    return Preprocessing.model_validate({"size": size or row.size, "segment": segment, "scale": row.scale,
                                         "offset": row.offset, "nuclei": nuclei})


def find(backbone: str) -> Backbone:
    """A row by name.

    Raises:
        UsageError: for an unknown backbone.
    """
    if backbone not in BACKBONES:
        raise UsageError(f"--backbone {backbone!r} is unknown: expected one of {', '.join(BACKBONES)}")
    return BACKBONES[backbone]


def check_weights(backbone: str, weights: str) -> None:
    """Find out whether weights can be had and fit, before minutes go into reading images.

    Raises:
        UsageError, WeightsMissing, DataError: as `feature_maps`.
    """
    if weights != "none":
        size = find(backbone).size
        feature_maps(backbone, keras.Input((size, size, 3)), weights)
        keras.utils.clear_session(free_memory=False)  # names of layers count from 1 again: they are part of a run's id


def default_weights(backbone: str) -> str:
    """`imagenet` where there are such weights."""
    return "imagenet" if find(backbone).pretrained else "none"


def feature_maps(backbone: str, image: Any, weights: str, tapped: bool = False) -> list[Any]:
    """Apply a backbone to an image tensor and return its last feature map [n, h, w, channels], or its tapped ones.

    Args:
        backbone: a row of the table.
        image: [n, size, size, 3].
        weights: `imagenet` (Keras downloads them), `none`, or a file of weights for exactly this backbone.
        tapped: return the maps of the row's `taps`. Pretrained weights up to the last tap then stay as they are.

    Raises:
        UsageError: for an unknown backbone, or one without ImageNet weights.
        WeightsMissing: when they cannot be downloaded.
        DataError: when the file is cut short or belongs to another network.
    """
    row = find(backbone)
    if weights == "imagenet" and not row.pretrained:
        raise UsageError(f"there are no ImageNet weights of {backbone}: choose --weights none, or another --backbone")
    try:
        model = row.build(image, "imagenet" if weights == "imagenet" else None)
    except Exception as error:  # Keras raises bare Exception when the download fails
        if weights != "imagenet":
            raise
        raise WeightsMissing(_why(backbone, error)) from error
    if weights not in ("imagenet", "none"):
        _load(model, backbone, Path(weights))
    model = row.adapt(model)
    taps = row.taps if tapped else ()
    frozen_until = taps[-1] if taps else row.frozen_until
    if weights != "none" and frozen_until:
        _freeze(model, frozen_until)
    return [model.get_layer(name).output for name in taps] or [model.output]


def _why(backbone: str, error: Exception) -> str:
    if _is_cut_short(error):  # Keras knows no checksum of some of its files
        folder = Path(os.environ.get("KERAS_HOME", "~/.keras")) / "models"
        return (f"weights 'imagenet' for {backbone} are on this machine, but cut short, as an interrupted download "
                f"leaves them; delete their file in {folder} and run the same command again")
    return (f"weights 'imagenet' for {backbone} could not be had ({error}); download them elsewhere and pass the file "
            "with --weights FILE, or use --weights none")


def _is_cut_short(error: Exception) -> bool:
    return "truncated" in str(error)  # HDF5 keeps its full length in its head


def _load(model: keras.Model, backbone: str, path: Path) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # Keras only warns when it finds no weights for a layer
            model.load_weights(path)
    except (ValueError, OSError, KeyError, UserWarning) as error:
        if _is_cut_short(error):
            raise DataError(f"--weights {path}: the file is cut short, as an interrupted download leaves it; download "
                            "it again") from error
        raise DataError(f"--weights {path}: expected weights of {backbone} without its top, received something else; "
                        f"pass the file of {backbone}, or choose the --backbone that the file belongs to") from error


def _freeze(model: keras.Model, last: str) -> None:
    """Keep the low-level filters and every normalisation as ImageNet left them.

    Edges and colours need no new filters, half of the training time goes there, and batch statistics of one
    laboratory's stain are exactly what must not be learned.
    """
    reached = False
    for layer in model.layers:
        layer.trainable = reached and not isinstance(layer, layers.BatchNormalization)
        reached = reached or layer.name == last


def _application(name: str) -> Callable[[Any, str | None], keras.Model]:
    """A network of keras.applications, without its classifier."""

    def build(image: Any, weights: str | None) -> keras.Model:
        return getattr(keras.applications, name)(input_tensor=image, include_top=False, weights=weights)

    return build


def _take_rgb(model: keras.Model) -> keras.Model:
    """Turn a network that was trained on BGR (Caffe's order) into the same one for RGB.

    The first convolution's input channels are put in the other order: the sums it makes stay the same, every tile in
    this package is RGB, and a converted model has no operation more.
    """
    first = next(layer for layer in model.layers if isinstance(layer, layers.Conv2D))
    kernel, *rest = first.get_weights()  # [h, w, in, out]
    first.set_weights([kernel[:, :, ::-1], *rest])
    return model


def _scale_outside(model: keras.Model) -> keras.Model:
    """Take the scaling layers out of EfficientNet: the row's scale and offset do it.

    Keras builds other layers there with `imagenet` than with a weights file, so the same weights would see two
    different inputs; and an int8 model would round the image before it is scaled.
    """
    scaling = (layers.Rescaling, layers.Normalization)
    return keras.models.clone_model(
        model, input_tensors=model.input, clone_function=lambda layer: layer,
        call_function=lambda layer, *x, **options: x[0] if isinstance(layer, scaling) else layer(*x, **options))


def _tiny(image: Any, weights: str | None) -> keras.Model:
    """Small enough to learn from scratch on a CPU in about a minute: the demo's network."""
    if weights:
        raise ValueError("the tiny backbone has no pretrained weights")
    x = image
    for stage, channels in enumerate((16, 32, 64, 64)):
        x = layers.Conv2D(channels, 3, strides=2, padding="same", use_bias=False, name=f"down{stage}")(x)
        x = layers.BatchNormalization(momentum=0.9, name=f"down{stage}_norm")(x)
        x = layers.ReLU(6.0, name=f"down{stage}_relu")(x)
    return keras.Model(keras.utils.get_source_inputs(image), x)


_PLUS_MINUS_ONE = ((1 / 127.5,) * 3, (-1.0,) * 3)
_CAFFE = ((1.0,) * 3, (-123.68, -116.779, -103.939))  # ImageNet's mean colour, here in RGB order
_TORCH = ((1 / 58.395, 1 / 57.12, 1 / 57.375), (-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225))  # mean and deviation

BACKBONES = {
    "vgg19": Backbone(_application("VGG19"), 224, *_CAFFE, _take_rgb, "block3_pool"),
    "inceptionv3": Backbone(_application("InceptionV3"), 299, *_PLUS_MINUS_ONE, frozen_until="mixed2"),
    "resnet101": Backbone(_application("ResNet101"), 224, *_CAFFE, _take_rgb, "conv3_block4_out"),
    "resnet152v2": Backbone(_application("ResNet152V2"), 224, *_PLUS_MINUS_ONE, frozen_until="conv3_block7_out"),
    "inceptionresnetv2": Backbone(_application("InceptionResNetV2"), 299, *_PLUS_MINUS_ONE,
                                  frozen_until="block35_10_ac"),
    "mobilenetv2": Backbone(_application("MobileNetV2"), 224, *_PLUS_MINUS_ONE, frozen_until="block_5_add",
                            learning_rate=(2e-4, 1e-3), taps=("block_5_add", "block_9_add")),
    "densenet201": Backbone(_application("DenseNet201"), 224, *_TORCH, frozen_until="conv3_block12_concat"),
    # made for 600 px, but the smears of the paper's data set are 224 px: enlarging them is seven times the work
    "efficientnetb7": Backbone(_application("EfficientNetB7"), 224, *_TORCH, _scale_outside, "block3g_add"),
    "tiny": Backbone(_tiny, 112, *_PLUS_MINUS_ONE, learning_rate=(3e-3, 3e-3), augmentation=0.2, dropout=0.0,
                     pretrained=False),
}
