"""Every row of the table builds, and hands its network the input that the ImageNet weights were trained with."""

import numpy as np
import pytest

keras = pytest.importorskip("keras", reason="needs the extra `train`")

from alledge.errors import DataError, UsageError  # noqa: E402
from alledge.labels import LABELS  # noqa: E402
from alledge.metrics import score  # noqa: E402
from alledge.preprocess import scale  # noqa: E402
from alledge.synthetic import draw_field  # noqa: E402
from alledge.train.backbones import (  # noqa: E402
    BACKBONES,
    check_weights,
    default_weights,
    feature_maps,
    preprocessing_for,
)
from alledge.train.losses import FocalLoss  # noqa: E402
from alledge.train.model import build_model  # noqa: E402

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
IMAGENET_DEVIATION = np.array([0.229, 0.224, 0.225])  # of RGB in 0-1; EfficientNet's layers hold it
IMAGENET_MEAN = np.array([0.485, 0.456, 0.406])
APPLICATIONS = {  # row: (module of keras.applications, does its first layer want BGR)
    "vgg19": ("vgg19", True), "inceptionv3": ("inception_v3", False), "resnet101": ("resnet", True),
    "resnet152v2": ("resnet_v2", False), "inceptionresnetv2": ("inception_resnet_v2", False),
    "mobilenetv2": ("mobilenet_v2", False), "densenet201": ("densenet", False),
}


@pytest.mark.parametrize("backbone", APPLICATIONS)
def test_the_scaled_input_is_what_keras_prepares(backbone):
    module, bgr = APPLICATIONS[backbone]
    expected = getattr(keras.applications, module).preprocess_input(PIXELS.astype("f4"))
    ours = scale(PIXELS, preprocessing_for(backbone, "none"))
    np.testing.assert_allclose(ours[..., ::-1] if bgr else ours, expected, atol=1e-4)


def test_a_network_trained_on_bgr_gives_the_same_map_for_our_rgb(tmp_path):
    keras.utils.set_random_seed(0)
    caffe = keras.applications.VGG19(weights=None, include_top=False, input_shape=(32, 32, 3))
    caffe.save_weights(tmp_path / "caffe.weights.h5")
    expected = caffe.predict_on_batch(keras.applications.vgg19.preprocess_input(PIXELS.astype("f4")))
    image = keras.Input((32, 32, 3))
    ours = keras.Model(image, feature_maps("vgg19", image, str(tmp_path / "caffe.weights.h5"))[0])
    np.testing.assert_allclose(ours.predict_on_batch(scale(PIXELS, preprocessing_for("vgg19", "none"))), expected,
                               rtol=1e-3, atol=1e-3 * float(np.abs(expected).max()))


def test_efficientnet_scaled_outside_gives_the_map_of_keras_own_scaling():
    """B0 stands in for B7, whose first layers are the same: it is 16 times smaller."""
    keras.utils.set_random_seed(0)
    inside = keras.applications.EfficientNetB0(weights=None, include_top=False, input_shape=(32, 32, 3))
    normalise = next(layer for layer in inside.layers if isinstance(layer, keras.layers.Normalization))
    normalise.set_weights([IMAGENET_MEAN, IMAGENET_DEVIATION ** 2, np.array(1)])
    normalise.finalize_state()
    expected = inside.predict_on_batch(PIXELS.astype("f4"))
    outside = BACKBONES["efficientnetb7"].adapt(inside)
    assert not any(isinstance(layer, (keras.layers.Normalization, keras.layers.Rescaling)) for layer in outside.layers)
    ours = outside.predict_on_batch(scale(PIXELS, preprocessing_for("efficientnetb7", "none")))
    np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-3 * float(np.abs(expected).max()))


@pytest.mark.parametrize("backbone", [name for name, row in BACKBONES.items() if row.frozen_until])
def test_every_row_builds_and_its_freeze_point_exists(backbone):
    image = keras.Input((96, 96, 3))
    network = keras.Model(image, feature_maps(backbone, image, "none")[0])
    frozen = network.get_layer(BACKBONES[backbone].frozen_until)
    assert frozen.output.shape[1] in range(9, 13)  # an eighth of the image, less what valid padding takes
    assert network.output.shape[1] in (1, 3)


@pytest.mark.parametrize(("backbone", "head"), [("mobilenetv2", "mhsa"), ("vgg19", "compact")])
def test_a_network_learns_a_few_steps_and_comes_back_from_disk(backbone, head, tmp_path):
    """The other pairs: benchmarks/backbones.py. Eager, because tracing a gradient costs more than all steps."""
    keras.utils.set_random_seed(0)
    model = build_model(backbone, "none", head, size=64)
    tiles = np.stack([draw_field(label, 3, 64).rgb for label in LABELS])
    images, truth = scale(tiles, preprocessing_for(backbone, "none")), np.eye(len(LABELS), dtype="f4")
    trained = keras.Model(model.inputs[0], model.output["probs"])
    trained.compile(keras.optimizers.Adam(1e-4), FocalLoss(), run_eagerly=True)
    losses = [float(trained.train_on_batch(images, truth)) for _ in range(3)]
    assert losses[2] < losses[0]
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", compile=False)
    before, after = ({name: np.asarray(value) for name, value in network(images, training=False).items()}
                     for network in (model, again))
    assert all(np.array_equal(before[name], after[name]) for name in ("probs", "embedding"))
    assert score(after["probs"], np.arange(len(LABELS))).n == len(LABELS)


def test_weights_of_another_network_are_refused(tmp_path):
    build_model("tiny", "none").save_weights(tmp_path / "foreign.weights.h5")
    (tmp_path / "text.weights.h5").write_text("no weights")
    for name in ("foreign", "text"):
        with pytest.raises(DataError, match="expected weights of mobilenetv2"):
            build_model("mobilenetv2", str(tmp_path / f"{name}.weights.h5"))


def test_pretrained_low_levels_and_norms_stay_as_they_are(tmp_path):
    base = keras.applications.MobileNetV2(weights=None, include_top=False, input_shape=(224, 224, 3))
    base.save_weights(tmp_path / "a.weights.h5")
    model = build_model("mobilenetv2", str(tmp_path / "a.weights.h5"))
    trainable = {layer.name for layer in model.layers if layer.trainable and layer.weights}
    assert "Conv1" not in trainable
    assert "block_6_expand" in trainable
    assert not any(layer.endswith("_BN") for layer in trainable)
    assert "attention" in trainable
    weights = dict(zip([w.path for w in base.weights], base.get_weights(), strict=True))
    assert all(np.array_equal(w, weights[w.path]) for w in model.get_layer("Conv1").weights)


def test_an_unknown_backbone_is_named():
    with pytest.raises(UsageError, match=r"vgg16.*mobilenetv2"):
        build_model("vgg16", "none")


def test_a_download_of_keras_that_was_interrupted_is_named_with_its_folder(alledge, smears, tmp_path):
    whole = tmp_path / "whole.weights.h5"
    build_model("tiny", "none").save_weights(whole)
    cached = tmp_path / "models" / "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
    cached.parent.mkdir()
    cached.write_bytes(whole.read_bytes()[:20_000])
    done = alledge("train", "--data", smears, "--out", tmp_path / "run", env={"KERAS_HOME": str(tmp_path)})
    assert done.returncode == 1
    said = done.stderr.strip().splitlines()[-1]
    assert said.startswith("error: weights 'imagenet' for mobilenetv2 are on this machine, but cut short")
    assert str(cached.parent) in said


def test_an_interrupted_download_is_told_from_a_wrong_file(tmp_path):
    build_model("tiny", "none").save_weights(tmp_path / "whole.weights.h5")
    whole = (tmp_path / "whole.weights.h5").read_bytes()
    (tmp_path / "half.weights.h5").write_bytes(whole[:len(whole) // 2])
    with pytest.raises(DataError, match=r"half\.weights\.h5.*cut short.*download it again"):
        build_model("tiny", str(tmp_path / "half.weights.h5"))


def test_a_backbone_without_imagenet_weights_has_none_by_default_and_says_so():
    assert (default_weights("tiny"), default_weights("mobilenetv2")) == ("none", "imagenet")
    with pytest.raises(UsageError, match="no ImageNet weights of tiny: choose --weights none"):
        check_weights("tiny", "imagenet")
