import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from sklearn.cluster import KMeans

from alledge.errors import UsageError
from alledge.kmeans1d import cluster_histogram
from alledge.morphology import fill_holes, open_close
from alledge.segmentation import balanced_saturation, count_levels, find_cut, lab_a, saturation, segment
from alledge.synthetic import draw_field

LABELS = ("benign", "early_pre_b", "pre_b", "pro_b")


def histogram(channel):
    return np.bincount(channel.ravel(), minlength=256)


def inertia(values, centres):
    return float((np.abs(values[:, None] - centres).min(1) ** 2).sum())


def paper_steps(channel, clusters):
    """6.1.3-6.1.6 pixel by pixel with SciPy and OpenCV's own Otsu, given the clusters."""
    level = np.searchsorted(clusters.lowest, channel, side="right") - 1
    rebuilt = clusters.centres[level].astype(np.uint8)
    _, binary = cv2.threshold(rebuilt, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    filled = ndimage.binary_fill_holes(binary)
    return ndimage.binary_closing(ndimage.binary_opening(filled)).astype(np.uint8) * 255


def dice(one, other):
    one, other = one > 0, other > 0
    return 2 * (one & other).sum() / (one.sum() + other.sum())


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("size", [64, 224, 301])
def test_paper_mask_is_identical_to_the_pixelwise_steps_given_the_same_clusters(seed, size):
    rgb = draw_field(LABELS[seed % 4], seed, size).rgb
    channel = lab_a(rgb)
    clusters = cluster_histogram(histogram(channel), 7)
    mask = segment(rgb, "paper")
    assert not mask.warnings
    assert np.array_equal(mask.pixels, paper_steps(channel, clusters))


@given(st.lists(st.integers(0, 400), min_size=256, max_size=256), st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_rebuilt_levels_cut_by_otsu_equal_one_integer_cut(counts, k):
    counts = np.array(counts)
    clusters = cluster_histogram(counts, k)
    if len(clusters.lowest) < 2:
        return
    values = np.repeat(np.arange(256), counts).astype(np.uint8)
    level = np.searchsorted(clusters.lowest, values, side="right") - 1
    rebuilt = clusters.centres[level].astype(np.uint8)
    _, binary = cv2.threshold(rebuilt[None], 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    assert np.array_equal(binary[0] > 0, values >= find_cut(counts, clusters, "paper"))


@pytest.mark.parametrize("seed", range(8))
def test_inertia_is_never_worse_than_sklearn(seed):
    channel = lab_a(draw_field(LABELS[seed % 4], seed).rgb).reshape(-1, 1).astype(float)
    ours = cluster_histogram(histogram(channel.astype(np.uint8)), 7)
    for n_init in (1, 10):
        theirs = KMeans(7, n_init=n_init, random_state=seed).fit(channel)
        assert ours.inertia <= theirs.inertia_ * (1 + 1e-9)


@given(st.lists(st.integers(0, 255), min_size=1, max_size=9), st.integers(1, 4), st.data())
@settings(max_examples=80, deadline=None)
def test_clusters_are_the_optimum_found_by_trying_every_split(values, k, data):
    from itertools import combinations

    values = np.array(sorted(values))
    found = cluster_histogram(np.bincount(values, minlength=256), k)
    distinct = np.unique(values)
    best = min(
        sum(((part - part.mean()) ** 2).sum() for part in np.split(values, np.searchsorted(values, distinct[list(at)])))
        for at in combinations(range(1, len(distinct)), min(k, len(distinct)) - 1))
    assert found.inertia == pytest.approx(best, abs=1e-6)
    assert inertia(values.astype(float), found.centres) == pytest.approx(best, abs=1e-6)


@pytest.mark.parametrize("seed", range(8))
def test_three_clusters_of_many_levels_are_the_optimum_found_by_trying_every_split(seed):
    random = np.random.default_rng(seed)
    counts = random.integers(0, 400, 256) * (random.random(256) < 0.9)
    counts = counts + counts[::-1] if seed % 2 else counts  # a mirror image has two optima, or ties
    weights, levels = counts.astype(float), np.arange(256.0)
    mass, moment, square = (np.append(0, np.cumsum(weights * levels**power)) for power in range(3))
    with np.errstate(divide="ignore", invalid="ignore"):
        cost = square - square[:, None] - np.nan_to_num((moment - moment[:, None])**2 / (mass - mass[:, None]))
    one, two = np.triu_indices(257)
    found = cluster_histogram(counts, 3)
    assert found.inertia == pytest.approx((cost[0, one] + cost[one, two] + cost[two, 256]).min(), rel=1e-9)


def test_saturation_is_opencvs_for_every_strongest_and_weakest_channel():
    one, other = np.indices((256, 256)).astype(np.uint8)
    for planes in ((one, other, other), (other, one, other), (other, other, one)):
        assert np.array_equal(saturation(*planes), cv2.cvtColor(cv2.merge(planes), cv2.COLOR_RGB2HSV)[..., 1])


def by_definition(rgb):
    """White balance in linear light by tables of double precision (IEC 61966-2-1), then OpenCV's saturation."""
    counts = np.cumsum(histogram(rgb[..., 1]))
    bright = rgb[rgb[..., 1] >= np.searchsorted(counts, np.float32(0.7 * counts[-1]))].astype(float)
    decode = lambda x: np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)  # noqa: E731
    light = decode(np.arange(256) / 255)[:, None] * decode(230 / 255) / decode(bright.mean(0) / 255)
    curves = np.clip(np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055), 0, 1)
    balanced = np.stack([np.rint(curves[:, c] * 255).astype(np.uint8)[rgb[..., c]] for c in range(3)], -1)
    return cv2.cvtColor(balanced, cv2.COLOR_RGB2HSV)[..., 1]


@pytest.mark.parametrize("darkest", [0, 4, 10, 11, 15, 40])  # tables below, lines above sRGB's dark piece
def test_balanced_saturation_is_by_definition_whatever_the_light(darkest):
    random = np.random.default_rng(darkest)
    for lamp in random.uniform(60, 255, (40, 3)):
        rgb = (darkest + random.random((64, 64, 3)) ** 0.5 * (lamp - darkest)).astype(np.uint8)
        assert np.array_equal(balanced_saturation(rgb), by_definition(rgb))


@pytest.mark.parametrize("shape", [(3, 5), (1024, 1024), (1025, 1027)])  # alone, in pairs, and one left over
@pytest.mark.parametrize("highest", [1, 256])
def test_levels_are_counted_one_by_one_or_in_pairs(shape, highest):
    channel = np.random.default_rng(0).integers(0, highest, shape, np.uint8)
    assert np.array_equal(count_levels(channel), histogram(channel))


def test_a_frame_of_several_bands_is_segmented_as_a_whole():
    random = np.random.default_rng(0)
    rgb = cv2.resize(draw_field("pre_b", 1).rgb, (1500, 900)) + random.integers(0, 9, (900, 1500, 3), np.uint8)
    assert np.array_equal(balanced_saturation(rgb), by_definition(rgb))
    assert np.array_equal(lab_a(rgb), cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB)[..., 1])


@given(st.integers(0, 2**32 - 1), st.floats(0.02, 0.98), st.integers(2, 40), st.integers(2, 40))
@settings(max_examples=120, deadline=None)
def test_morphology_is_bit_equal_to_scipy(seed, share, height, width):
    binary = (np.random.default_rng(seed).random((height, width)) < share).astype(np.uint8) * 255
    filled = ndimage.binary_fill_holes(binary)
    assert np.array_equal(fill_holes(binary) > 0, filled)
    closed = ndimage.binary_closing(ndimage.binary_opening(filled))
    assert np.array_equal(open_close(fill_holes(binary)) > 0, closed)


@pytest.mark.parametrize("mode", ["paper", "stain"])
@pytest.mark.parametrize("level", [0, 7, 128, 255])
def test_a_constant_frame_gives_an_empty_mask_and_says_so(mode, level):
    mask = segment(np.full((224, 224, 3), level, np.uint8), mode)
    assert mask.coverage == 0
    assert not mask.pixels.any()
    assert mask.warnings


def test_an_empty_field_is_never_a_silent_full_mask():
    for seed in range(12):
        mask = segment(draw_field(None, seed).rgb, "stain")
        assert mask.coverage < 0.5 or mask.warnings


def test_stain_mode_finds_the_true_nuclei_and_survives_a_yellow_cast():
    plain, cast, paper = [], [], []
    for seed in range(16):
        drawn = draw_field(LABELS[seed % 4], seed)
        yellow = np.clip(drawn.rgb * np.array([1.0, 0.93, 0.62]), 0, 255).astype(np.uint8)
        plain.append(dice(segment(drawn.rgb, "stain").pixels, drawn.nuclei))
        cast.append(dice(segment(yellow, "stain").pixels, drawn.nuclei))
        paper.append(dice(segment(yellow, "paper").pixels, drawn.nuclei))
    assert np.mean(plain) >= 0.85
    assert np.mean(cast) >= np.mean(plain) - 0.05
    assert np.mean(cast) > np.mean(paper)


def test_top_keeps_that_many_clusters():
    rgb = draw_field("pro_b", 1).rgb
    channel = lab_a(rgb)
    clusters = cluster_histogram(histogram(channel), 7)
    assert [segment(rgb, "paper", top=n).cut for n in (1, 2, 7)] == [clusters.lowest[i] for i in (6, 5, 0)]


def test_none_keeps_everything():
    mask = segment(draw_field("benign", 0).rgb, "none")
    assert mask.coverage == 1.0
    assert mask.pixels.min() == 255


def test_same_frame_same_mask_whatever_ran_before():
    rgb = draw_field("benign", 2).rgb
    first = segment(rgb, "stain")
    segment(draw_field("pro_b", 3).rgb, "paper")
    assert np.array_equal(first.pixels, segment(rgb, "stain").pixels)
    assert balanced_saturation(rgb).dtype == np.uint8


@pytest.mark.parametrize(("pixels", "mode", "top", "says"), [
    (np.zeros((9, 9, 3), np.uint8), "otsu", None, "otsu"),
    (np.zeros((9, 9, 3), np.uint8), "stain", 0, "top=0"),
    (np.zeros((9, 9), np.uint8), "stain", None, r"\[9, 9\]"),
    (np.zeros((9, 9, 3), np.float32), "stain", None, "float32"),
])
def test_bad_arguments_are_named(pixels, mode, top, says):
    with pytest.raises(UsageError, match=says):
        segment(pixels, mode, top=top)
