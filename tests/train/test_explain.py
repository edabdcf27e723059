"""The maps are what they are called, on every head; checked against arithmetic done here."""

import hashlib
import os
import subprocess
import sys
from importlib.util import find_spec

import cv2
import numpy as np
import pytest
from PIL import Image

from alledge.calibration import Calibration
from alledge.dataset import Item
from alledge.labels import LABELS
from alledge.predictions import PREDICTIONS, write_predictions
from alledge.runfolder import MODEL, TrainingRecord, read_record, write_record
from alledge.segmentation import Mask, segment
from alledge.synthetic import draw_field

keras = pytest.importorskip("keras", reason="needs the extra `train`")

from alledge.preprocess import resize, scale  # noqa: E402
from alledge.train.backbones import preprocessing_for  # noqa: E402
from alledge.train.cli import explain  # noqa: E402
from alledge.train.explain import ATTENTION, GRAD_CAM, Explainer, share_inside  # noqa: E402
from alledge.train.explain_figure import explanation_png  # noqa: E402
from alledge.train.explaining import explain_image  # noqa: E402
from alledge.train.findings import certainty  # noqa: E402
from alledge.train.model import build_model  # noqa: E402

SETTINGS = preprocessing_for("tiny", "none")


@pytest.fixture(scope="module")
def tile():
    return resize(draw_field("pre_b", 4).rgb, SETTINGS.size)


def network(head):
    keras.utils.set_random_seed(3)
    return build_model("tiny", "none", head)


def value_of(model, tensor, tile):
    return keras.Model(model.inputs, tensor).predict_on_batch(scale(tile[None], SETTINGS))[0]


@pytest.mark.parametrize(("head", "names"), [("compact", {ATTENTION, GRAD_CAM}), ("mhsa", {ATTENTION, GRAD_CAM}),
                                             ("plain", {GRAD_CAM})])
def test_every_head_has_its_maps(head, names, tile):
    found = Explainer(network(head), SETTINGS).maps(tile)
    assert set(found.heat) == names
    assert found.probabilities.sum() == pytest.approx(1, abs=1e-5)
    for heat in found.heat.values():
        assert heat.shape == (7, 7)
        assert heat.min() >= 0
        assert heat.sum() == pytest.approx(1) or not heat.any()


def test_attention_is_the_softmax_of_the_layers_own_weights(tile):
    model = network("compact")
    tokens = value_of(model, model.get_layer("tokens").output, tile).astype(np.float64)
    query, query_bias, key, key_bias = (np.asarray(w, np.float64) for w in model.get_layer("attention").weights[:4])
    q = np.einsum("nc,chd->hnd", tokens, query) + query_bias[:, None]
    k = np.einsum("nc,chd->hnd", tokens, key) + key_bias[:, None]
    scores = q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[-1])
    power = np.exp(scores - scores.max(2, keepdims=True))
    received = (power / power.sum(2, keepdims=True)).mean((0, 1))
    assert Explainer(model, SETTINGS).maps(tile).heat[ATTENTION].ravel() == pytest.approx(received, abs=1e-6)


def test_grad_cam_of_a_plain_head_is_its_class_activation_map(tile):
    model = network("plain")  # average, then dense: there the gradient is the class's own weights
    found = Explainer(model, SETTINGS).maps(tile)
    features = value_of(model, model.get_layer("embedding").input, tile)
    weights = np.asarray(model.get_layer("probs").kernel)[:, found.probabilities.argmax()]
    expected = np.maximum(features @ weights, 0)
    assert found.heat[GRAD_CAM] == pytest.approx(expected / expected.sum(), abs=1e-5)


def test_grad_cam_survives_a_network_that_is_certain(tile):
    model = network("compact")
    unsure, probs = Explainer(model, SETTINGS).maps(tile), model.get_layer("probs")
    probs.kernel.assign(1e4 * np.asarray(probs.kernel))  # the probability is exactly 1, and has no gradient left
    certain = Explainer(model, SETTINGS).maps(tile)
    assert certain.probabilities.max() == 1.0
    assert certain.probabilities.argmax() == unsure.probabilities.argmax()
    assert certain.heat[GRAD_CAM] == pytest.approx(unsure.heat[GRAD_CAM], abs=1e-4)


def test_a_network_with_two_opinions_is_explained_where_both_come_from(tile):
    """The shape of a head that reads two maps, is told where the nuclei are, and averages two opinions."""
    image = keras.Input((112, 112, 4), name="image")
    first = keras.layers.Conv2D(6, 3, strides=4, padding="same", activation="relu", name="early")(image[..., :3])
    second = keras.layers.Conv2D(8, 3, strides=4, padding="same", activation="relu", name="late")(first)
    weight = keras.layers.Rescaling(0.5, 0.5, name="nucleus_weight")(image[..., 3:])
    where = keras.layers.AveragePooling2D(4, name="where")(weight)
    seen = keras.layers.GlobalAveragePooling2D()(keras.layers.Multiply()([first, where]))
    tokens = keras.layers.Reshape((49, 8))(second)
    attended = keras.layers.GlobalAveragePooling1D()(
        keras.layers.MultiHeadAttention(2, 4, name="attention")(tokens, tokens))
    opinions = [keras.layers.Dense(4, activation="softmax")(x) for x in (seen, attended)]
    probs = keras.layers.Average(name="probs")(opinions)
    explainer = Explainer(keras.Model(image, {"probs": probs, "embedding": seen}), SETTINGS.model_copy(
        update={"scale": (1 / 255,) * 4, "offset": (0.0,) * 4}))
    found = explainer.maps(np.dstack([tile, segment(tile).pixels]))
    assert found.heat[GRAD_CAM].shape == (28, 28)  # the later map alone would not know the first opinion
    assert found.heat[ATTENTION].shape == (7, 7)
    assert found.heat[GRAD_CAM].sum() == pytest.approx(1)


@pytest.fixture
def run_with_two_opinions(tmp_path, tile):
    """The smallest network with head `nuclei`, made to disagree with itself, in a run taught on all rows; an image."""
    model, run, image = network("nuclei"), tmp_path / "run", tmp_path / "field.png"
    for name, chosen in (("nuclei_opinion", 2), ("attention_opinion", 0)):
        layer = model.get_layer(name)
        layer.set_weights([np.zeros(layer.kernel.shape), 20.0 * np.eye(4)[chosen]])
    run.mkdir()
    model.save(run / MODEL)
    write_record(run, TrainingRecord(
        run_id="0123456789ab", labels=list(LABELS), preprocessing=preprocessing_for("tiny", "none", nuclei=True),
        calibration=Calibration(temperature=0.1, abstain_below=0.5), options={}, metrics={}, history={},
        provenance={"images": {"train": 9, "val": 0, "test": 0}}))
    Image.fromarray(tile).save(image)
    return run, image


def test_two_opinions_that_disagree_are_told_with_their_weight(run_with_two_opinions, tmp_path, capsys):
    run, image = run_with_two_opinions
    found = explain_image(run, image, tmp_path / "why.png")
    assert found["opinions"] == {"nuclei_opinion": {"voice": 0.7, "most_likely": "pre_b"},
                                 "attention_opinion": {"voice": 0.3, "most_likely": "benign"}}
    explain(run, image, tmp_path / "why.png")
    told = capsys.readouterr().out
    assert told.startswith("Pre-B, >99%; share inside")  # 0.7 to 0.3 at this temperature is 0.9998
    assert "Attention is the smaller of two opinions, 30% of the verdict; the opinions disagree" in told
    assert "nuclei's calls it Pre-B, attention's Benign" in told
    assert "learned from all listed images, perhaps from this one" in told


def test_the_doubt_is_spared_for_a_test_image(run_with_two_opinions, tmp_path):
    run, image = run_with_two_opinions
    record = read_record(run).model_copy(update={"provenance": {"images": {"train": 9, "val": 3, "test": 1}}})
    write_record(run, record)
    assert "none of the run's test images" in explain_image(run, image, tmp_path / "why.png")["notes"][-1]
    item = Item(image, "pre_b", hashlib.md5(image.read_bytes()).hexdigest())
    write_predictions(run / PREDICTIONS, [item], np.eye(4)[[2]], np.array([True]))
    assert len(explain_image(run, image, tmp_path / "why.png")["notes"]) == 1


@pytest.mark.parametrize(("p", "told"), [(1.0, ">99%"), (0.996, ">99%"), (0.99, "99%"), (0.5, "50%"), (0.004, "<1%")])
def test_no_certainty_is_rounded_to_all_or_nothing(p, told):
    assert certainty(p) == told


def test_the_share_inside_is_the_area_for_an_even_map_and_all_for_a_pointed_one():
    pixels = np.zeros((112, 112), np.uint8)
    pixels[:32, :16] = 255
    mask = Mask(pixels, float((pixels > 0).mean()), 1)
    assert share_inside(np.full((7, 7), 1 / 49), mask) == pytest.approx(mask.coverage)
    pointed = np.zeros((7, 7))
    pointed[0, 0] = 1
    assert share_inside(pointed, mask) == pytest.approx(1)
    assert share_inside(np.zeros((7, 7)), mask) == 0


def test_the_picture_holds_the_field_and_as_many_maps_as_there_are(tile):
    mask, heat = segment(tile), np.zeros((7, 7))
    heat[3, 3] = 1
    sizes = []
    for maps in ({GRAD_CAM: heat}, {ATTENTION: heat, GRAD_CAM: heat}):
        png = explanation_png("Pre-B, 97%", "somewhere", tile, mask, maps, dict.fromkeys(maps, 0.5))
        picture = cv2.cvtColor(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        sizes.append(picture.shape[1])
        assert png == explanation_png("Pre-B, 97%", "somewhere", tile, mask, maps, dict.fromkeys(maps, 0.5))
        panel = picture[260:480, 40:540]  # upper part of the first panel: the field in its own colours
        assert np.abs(panel.reshape(-1, 3).mean(0) - tile[:56].reshape(-1, 3).mean(0)).max() < 25
    noted = explanation_png("Pre-B, 97%", "somewhere", tile, mask, maps, dict.fromkeys(maps, 0.5), ["Mind."], 0.3)
    assert cv2.imdecode(np.frombuffer(noted, np.uint8), cv2.IMREAD_COLOR).shape[0] > picture.shape[0]
    assert sizes[1] - sizes[0] == pytest.approx(sizes[0] / 2, rel=0.1)


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_the_maps_are_the_same_on_another_backend(backend, tile, tmp_path):
    if find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    model = network("compact")
    model.save(tmp_path / "model.keras")
    Image.fromarray(tile).save(tmp_path / "tile.png")
    program = ("import sys, numpy, keras\nfrom alledge.images import read_image\n"
               "from alledge.train.backbones import preprocessing_for\nfrom alledge.train.explain import Explainer\n"
               "model = keras.models.load_model(sys.argv[1], compile=False)\n"
               "found = Explainer(model, preprocessing_for('tiny', 'none')).maps(read_image(sys.argv[2]))\n"
               "numpy.savez(sys.argv[3], **found.heat)\n")
    out = tmp_path / "maps.npz"
    subprocess.run([sys.executable, "-c", program, tmp_path / "model.keras", tmp_path / "tile.png", out], check=True,
                   env={**os.environ, "KERAS_BACKEND": backend})
    ours = Explainer(model, SETTINGS).maps(tile).heat
    with np.load(out) as theirs:
        assert all(theirs[name] == pytest.approx(heat, abs=1e-4) for name, heat in ours.items())
