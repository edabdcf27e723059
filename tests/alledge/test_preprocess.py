import hashlib

import cv2
import numpy as np
import pytest

from alledge.errors import UsageError
from alledge.preprocess import (
    NUCLEI_SHARE,
    Preprocessing,
    nucleus_weight,
    prepare,
    prepare_field,
    resize,
    scale,
    tensor_digest,
)
from alledge.segmentation import segment
from alledge.synthetic import draw_field


@pytest.mark.parametrize("pixels", [
    np.zeros((300, 300, 3), np.uint16), np.zeros((300, 300, 3), np.float32), np.zeros((300, 300, 3), np.int64),
    np.zeros((300, 300), np.uint8), np.zeros((300, 300, 4), np.uint8),
], ids=lambda p: f"{p.dtype}{list(p.shape)}")
def test_pixels_of_another_kind_are_refused_before_they_are_resized(pixels):
    with pytest.raises(UsageError, match="expected uint8"):
        prepare(pixels, Preprocessing(size=112))


def test_the_tensor_is_the_scaled_tile():
    rgb = draw_field("pre_b", 1).rgb
    tensor = prepare(rgb, Preprocessing(size=224))
    assert tensor.dtype == np.float32
    assert np.allclose(tensor, rgb / 127.5 - 1, atol=1e-6)


def test_a_wide_frame_is_cut_not_squeezed():
    rgb = draw_field("pre_b", 1).rgb
    wide = np.concatenate([np.zeros((224, 50, 3), np.uint8), rgb, np.zeros((224, 50, 3), np.uint8)], axis=1)
    assert np.array_equal(resize(wide, 224), rgb)
    assert resize(wide, 96).shape == (96, 96, 3)


@pytest.mark.parametrize("mode", ["paper", "stain"])
def test_outside_the_mask_the_model_sees_black(mode):
    rgb = draw_field("pre_b", 1).rgb
    prepared = prepare_field(rgb, Preprocessing(size=224, segment=mode))
    assert np.array_equal(prepared.mask.pixels, segment(rgb, mode).pixels)
    assert not prepared.tile[prepared.mask.pixels == 0].any()
    inside = prepared.mask.pixels > 0
    assert np.array_equal(prepared.tile[inside], rgb[inside])


def test_mode_none_shows_everything_and_still_knows_the_nuclei():
    rgb = draw_field("pre_b", 1).rgb
    prepared = prepare_field(rgb, Preprocessing(size=224))
    assert np.array_equal(prepared.tile, rgb)
    assert 0 < prepared.mask.coverage < 0.6


def test_the_digest_tells_tensors_apart():
    tensor = prepare(draw_field("pre_b", 1).rgb, Preprocessing(size=64))
    other = tensor.copy()
    other[0, 0, 0] = np.nextafter(other[0, 0, 0], np.float32(2))
    assert tensor_digest(tensor) == tensor_digest(tensor.copy())
    assert tensor_digest(tensor) != tensor_digest(other)


@pytest.mark.parametrize("preprocessing", [
    Preprocessing(scale=(1 / 127.5, 0.017, 1.0), offset=(-1.0, -2.1, -103.939)), Preprocessing()])
def test_scaling_is_the_formula_to_the_last_bit(preprocessing):
    tile = np.random.default_rng(0).integers(0, 256, (2, 33, 40, 3), np.uint8)
    expected = tile.astype(np.float32) * np.float32(preprocessing.scale) + np.float32(preprocessing.offset)
    assert np.array_equal(scale(tile, preprocessing), expected)
    assert scale(tile, preprocessing).dtype == np.float32


@pytest.mark.parametrize("share", [0.03, 0.1, 0.3])
def test_nuclei_count_alike_however_many_there_are(share):
    mask = np.zeros((224, 224), np.uint8)
    mask.ravel()[:round(share * mask.size)] = 255
    weight = nucleus_weight(mask)
    assert not weight[mask == 0].any()
    assert weight.mean() / 255 == pytest.approx(NUCLEI_SHARE, rel=0.05)


def test_an_empty_mask_has_no_weight():
    assert not nucleus_weight(np.zeros((64, 64), np.uint8)).any()


def test_the_fourth_channel_is_the_weight_of_the_nuclei(field):
    plain, tapped = (prepare_field(field.rgb, Preprocessing(nuclei=n)) for n in (False, True))
    assert tapped.tensor.shape == (224, 224, 4)
    assert np.array_equal(tapped.tensor[..., :3], plain.tensor)
    assert np.array_equal(tapped.tile[..., 3], nucleus_weight(tapped.mask.pixels))


# Made on x86-64; emulated arm64 gave the same, where plain INTER_AREA gave other bytes for 320, 447 and 719.
BYTES = {100: "5eb6c91a9c3d", 256: "1fe4fae1c570", 320: "1a199d0689da", 447: "71d21e666b92", 719: "4b8da44d8131",
         720: "30d650da3aa8", 1000: "30beed4056b0"}


@pytest.mark.parametrize("side", BYTES)
def test_resizing_gives_the_same_bytes_on_every_processor(side):
    noise = np.random.default_rng(side).integers(0, 256, (side, side, 3), dtype=np.uint8)
    assert hashlib.md5(np.ascontiguousarray(resize(noise, 224)).tobytes()).hexdigest()[:12] == BYTES[side]


@pytest.mark.parametrize("factor", [3, 5, 7])
def test_a_whole_step_rounds_every_mean_to_the_nearest_level(factor):
    size, area = 64, factor**2
    sums = np.arange(size * size) % (255 * area + 1) if factor == 3 else np.linspace(0, 255 * area, size**2).astype(int)
    levels = np.zeros((size * size, area), int)  # areas of every sum: as equal levels as can be
    levels[:] = (sums // area)[:, None]
    levels += np.arange(area) < (sums % area)[:, None]
    square = levels.reshape(size, size, factor, factor).swapaxes(1, 2).reshape(size * factor, -1).astype(np.uint8)
    nearest = (2 * sums + area) // (2 * area)
    assert np.array_equal(resize(np.dstack([square] * 3), size)[..., 0].ravel(), nearest)


@pytest.mark.parametrize("side", [240, 480, 720, 1000, 1080, 3040])
def test_whole_steps_first_is_as_good_as_averaging_at_once(side):
    rgb = cv2.resize(draw_field("pre_b", 1).rgb, (side, side), interpolation=cv2.INTER_CUBIC)
    at_once = cv2.resize(rgb, (224, 224), interpolation=cv2.INTER_AREA)
    error = np.square(resize(rgb, 224).astype(float) - at_once).mean()
    assert 10 * np.log10(255**2 / max(error, 1e-9)) > 45  # dB
