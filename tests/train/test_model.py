import numpy as np
import pytest

keras = pytest.importorskip("keras", reason="needs the extra `train`")

from alledge.preprocess import (  # noqa: E402
    NUCLEI_SHARE,
    Preprocessing,
    nucleus_weight,
    prepare,
    prepare_field,
    scale,
)
from alledge.synthetic import draw_field  # noqa: E402
from alledge.train.augment import augment  # noqa: E402
from alledge.train.backbones import preprocessing_for  # noqa: E402
from alledge.train.heads import HEADS  # noqa: E402
from alledge.train.losses import FocalLoss  # noqa: E402
from alledge.train.model import build_model  # noqa: E402


def random_probabilities(n=16, seed=0):
    random = np.random.default_rng(seed)
    power = np.exp(random.normal(0, 2, (n, 4)))
    return np.eye(4)[random.integers(0, 4, n)].astype("f4"), (power / power.sum(1, keepdims=True)).astype("f4")


def test_focal_loss_without_focus_is_cross_entropy():
    truth, guess = random_probabilities()
    assert float(FocalLoss(gamma=0.0)(truth, guess)) == pytest.approx(
        float(keras.losses.CategoricalCrossentropy()(truth, guess)), rel=1e-5)


def test_focal_loss_is_equation_5():
    truth, guess = random_probabilities()
    alpha = np.array([0.5, 1.0, 1.5, 2.0])
    p = (truth * guess).sum(1)
    expected = (-(truth @ alpha) * (1 - p) ** 2 * np.log(p)).mean()
    loss = FocalLoss(alpha.tolist(), gamma=2.0)
    assert float(loss(truth, guess)) == pytest.approx(expected, rel=1e-5)
    assert float(FocalLoss.from_config(loss.get_config())(truth, guess)) == pytest.approx(expected, rel=1e-5)


def test_the_focal_loss_survives_a_round_trip_through_keras():
    truth, guess = random_probabilities()
    loss = FocalLoss([0.5, 1.0, 1.5, 2.0], gamma=1.5)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert isinstance(again, FocalLoss)
    assert float(again(truth, guess)) == float(loss(truth, guess))


def test_a_right_and_sure_answer_weighs_almost_nothing():
    sure = np.array([[0.97, 0.01, 0.01, 0.01]], "f4")
    truth = np.eye(4, dtype="f4")[:1]
    assert float(FocalLoss()(truth, sure)) < float(FocalLoss(gamma=0.0)(truth, sure)) / 500


@pytest.mark.parametrize(("backbone", "head", "width"), [
    ("tiny", "compact", 64), ("tiny", "mhsa", 64), ("tiny", "plain", 64), ("mobilenetv2", "compact", 64),
    ("tiny", "nuclei", 128), ("mobilenetv2", "nuclei", 192)])
def test_models_have_two_named_outputs_and_load_without_our_code(backbone, head, width, tmp_path):
    keras.utils.set_random_seed(0)
    model = build_model(backbone, "none", head)
    tile = prepare(draw_field("pro_b", 1).rgb, preprocessing_for(backbone, "none", nuclei=head == "nuclei"))[None]
    first = model.predict_on_batch(tile)
    assert {name: value.shape for name, value in first.items()} == {"probs": (1, 4), "embedding": (1, width)}
    assert first["probs"].sum() == pytest.approx(1, abs=1e-5)
    model.save(tmp_path / "model.keras")
    assert all(type(layer).__module__.startswith("keras.") for layer in model.layers)
    again = keras.models.load_model(tmp_path / "model.keras", compile=False).predict_on_batch(tile)
    assert np.array_equal(first["probs"], again["probs"])


@pytest.mark.parametrize("head", ["compact", "mhsa"])
def test_attention_reaches_the_verdict(head):
    """Other attention weights must change the output, or it is a bypass."""
    keras.utils.set_random_seed(0)
    model = build_model("tiny", "none", head)
    tile = scale(draw_field("pre_b", 2, 112).rgb, preprocessing_for("tiny", "none"))[None]
    before = model.predict_on_batch(tile)["probs"]
    attention = model.get_layer("attention")
    attention.set_weights([w * 3 for w in attention.get_weights()])
    assert np.abs(model.predict_on_batch(tile)["probs"] - before).max() > 1e-4


def test_the_embedding_is_what_the_last_layer_sees():
    for head in HEADS:
        model = build_model("tiny", "none", head)
        outputs = model.predict_on_batch(np.random.default_rng(0).normal(size=(2, 112, 112, 3)).astype("f4"))
        kernel, bias = model.get_layer("probs").get_weights()
        logits = outputs["embedding"] @ kernel + bias
        power = np.exp(logits - logits.max(1, keepdims=True))
        np.testing.assert_allclose(outputs["probs"], power / power.sum(1, keepdims=True), rtol=1e-4, atol=1e-6)


def test_augmentation_is_repeatable_varied_and_keeps_the_form():
    tile = draw_field("early_pre_b", 4).rgb
    one, same, other = (augment(tile, np.random.default_rng(s)) for s in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    assert one.shape == tile.shape
    assert one.dtype == np.uint8
    assert np.array_equal(tile, draw_field("early_pre_b", 4).rgb)


def test_nuclei_are_judged_by_their_looks_and_not_by_their_number_or_surroundings():
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(3)
    model = build_model("tiny", "none", "nuclei")
    colours = random.uniform(-1, 1, (2, 3)).astype(np.float32)

    def field(nuclei, background):
        """Squares of 32 px in one colour on another: no edge of a map's cell cuts them."""
        image = np.empty((1, 112, 112, 4), np.float32)
        image[..., :3] = background
        mask = np.zeros((112, 112), np.uint8)
        for row, column in nuclei:
            mask[row * 16:row * 16 + 32, column * 16:column * 16 + 32] = 255
        image[0, mask > 0, :3] = colours[0]
        image[0, ..., 3] = nucleus_weight(mask) / 127.5 - 1
        return image

    one, two = field([(2, 2)], colours[1]), field([(1, 1), (4, 4)], colours[1])
    weights = [float(x[..., 3].mean() + 1) / 2 for x in (one, two)]
    assert weights == pytest.approx([NUCLEI_SHARE] * 2, rel=0.05)
    uniform = [np.concatenate([np.broadcast_to(colours[0], (1, 112, 112, 3)), x[..., 3:]], -1) for x in (one, two)]
    inside = [model.predict(x, verbose=0)["embedding"] for x in uniform]  # all alike: only the weights differ
    assert np.allclose(*inside, atol=0.15)
    assert not np.allclose(inside[0], model.predict(field([(2, 2)], -colours[0]), verbose=0)["embedding"], atol=0.15)


def test_a_trunk_that_is_tapped_is_not_trained_once_it_has_weights(tmp_path):
    keras.applications.MobileNetV2(weights=None, include_top=False, input_shape=(224, 224, 3)).save_weights(
        tmp_path / "w.weights.h5")
    model = build_model("mobilenetv2", str(tmp_path / "w.weights.h5"), "nuclei")
    trained = {w.path.split("/")[0] for w in model.trainable_weights}
    assert trained == {"project", "attention", "embedding", "hidden", "nuclei_opinion", "attention_opinion"}
    assert "block_10_expand" not in {layer.name for layer in model.layers}  # nothing behind the last tap is carried


def test_the_nucleus_weight_follows_the_pixels_through_augmentation():
    field = prepare_field(draw_field("pro_b", 4).rgb, Preprocessing(nuclei=True))
    for seed in range(8):
        varied = augment(field.tile, np.random.default_rng(seed), strength=1.0)
        assert varied.shape == field.tile.shape
        inside = varied[..., 3] > 0
        assert varied[..., 3].mean() / 255 == pytest.approx(NUCLEI_SHARE, rel=0.1)
        assert varied[..., :3][inside].mean() < varied[..., :3][~inside].mean()  # nuclei are the dark places
